"""Crystal ligands are plausible in their own pockets; each fault costs about one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdMolTransforms

from ligandsmith.chem.plausibility import (
    PAPER_VALENCE,
    PIECES,
    PLAUSIBLE,
    REPAIR,
    WORST,
    PocketAtoms,
    find_defects,
    property_distance,
    tight_contacts,
)
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.records import GeneratedLigand
from ligandsmith.structure.ligands import mol_from_ligand

Move = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def site() -> PocketAtoms:
    pocket = ComplexDataset(None, "validation")[0].pocket
    assert pocket is not None
    return PocketAtoms.of(pocket.x, pocket.element)


def generated(mol: Chem.Mol | None, repaired: bool = False, connected: bool = True) -> GeneratedLigand:
    size = mol.GetNumAtoms() if mol is not None else 0
    return GeneratedLigand(0, size, mol, not repaired, repaired, connected)


def plausibility_score(ligand: GeneratedLigand, pocket: PocketAtoms) -> float:
    return find_defects(ligand, pocket).score


def embedded(smiles: str) -> Chem.Mol:
    """A conformer far from the pocket."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    return moved(Chem.RemoveHs(mol), lambda x: x + 500)


def moved(mol: Chem.Mol, move: Move) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(move(np.array(mol.GetConformer().GetPositions())))
    return copy


def pulled(atom: int, shift: tuple[float, float, float]) -> Move:
    def move(x: np.ndarray) -> np.ndarray:
        x[atom] += shift
        return x

    return move


def shifted_to(place: np.ndarray) -> Move:
    return lambda x: x - x.mean(0) + place


def test_crystal_ligands_are_plausible_where_they_are_and_not_in_the_wall() -> None:
    data = ComplexDataset(None, "validation")
    scores, buried = [], []
    for i in range(0, len(data), 3):
        record = data[i]
        assert record.pocket is not None
        mol, around = mol_from_ligand(record.ligand), PocketAtoms.of(record.pocket.x, record.pocket.element)
        scores.append(plausibility_score(generated(mol), around))
        wall = record.pocket.x[np.linalg.norm(record.pocket.x - record.ligand.x.mean(0), axis=1).argmax()]
        buried.append(plausibility_score(generated(moved(mol, shifted_to(wall))), around))
    assert np.mean(np.array(scores) < PLAUSIBLE) >= 0.8
    assert min(buried) > PLAUSIBLE


@pytest.mark.parametrize(
    ("smiles", "move"),
    [("CCCCO", pulled(0, (0.8, 0.8, 0.8))), ("c1ccccc1C", pulled(0, (0.0, 0.0, 0.9)))],
    ids=["bond", "ring"],
)
def test_bad_geometry_is_a_fault(smiles: str, move: Move, site: PocketAtoms) -> None:
    good = embedded(smiles)
    assert plausibility_score(generated(good), site) < PLAUSIBLE
    assert plausibility_score(generated(moved(good, move)), site) > PLAUSIBLE


def test_atoms_of_a_molecule_that_touch_are_a_fault(site: PocketAtoms) -> None:
    chain = embedded("CCCCCCCC")
    x = np.array(chain.GetConformer().GetPositions())
    touching = moved(chain, pulled(7, tuple(x[0] - x[7] + 0.5)))
    assert plausibility_score(generated(touching), site) > plausibility_score(generated(chain), site) + 1


def test_cages_and_macrocycles_are_less_plausible_than_a_six_membered_ring(site: PocketAtoms) -> None:
    ring, cage, large = (
        plausibility_score(generated(embedded(s)), site) for s in ("C1CCCCC1", "C12C3C4C1C5C2C3C45", "C1CCCCCCCCC1")
    )
    assert ring < PLAUSIBLE < large
    assert cage > large > ring


REAL_VALENCES = (
    "CS(C)=O", "CS(C)(=O)=O", "CS(N)(=O)=O", "CS(C)(=N)=O", "CS(N)(=N)=O", "C[S+](C)C", "CS(C)=N", "CS(=O)O", "CS",
    "CS(=O)[O-]", "C[S-]", "c1ccsc1", "c1ccc2[s+]c3ccccc3nc2c1", "FS(F)(F)(F)(F)c1ccccc1", "COS(=O)(=O)O", "CC(N)=S",
    "O=S1(=O)N=CC=N1", "COP(=O)(O)O", "CP(=O)(O)O", "CO[PH](=O)O", "C[PH](=O)O", "CP(C)C", "C[P+](C)(C)C",
    "COP(=S)(O)O", "COP(=O)(N)O",
)  # fmt: skip
PAPER_VALENCES = (
    "O=[SH]1CCCCC1", "C[SH](=O)=O", "C[SH2]C", "C[SH+]C", "CS(O)(O)O", "CPC", "C[PH](C)(C)C", "COP(O)(O)(O)O"
)  # fmt: skip


def test_valences_of_sulfur_and_phosphorus_that_exist_only_on_paper_are_implausible(
    site: PocketAtoms,
) -> None:
    molecules = [Chem.MolFromSmiles(s) for s in (*REAL_VALENCES, *PAPER_VALENCES)]
    found = [mol.HasSubstructMatch(PAPER_VALENCE) for mol in molecules]
    assert found == [False] * len(REAL_VALENCES) + [True] * len(PAPER_VALENCES)
    sulfone, odd = embedded("C1CCS(=O)(=O)CC1"), embedded("C1CC[SH](=O)CC1")
    assert plausibility_score(generated(sulfone), site) < PLAUSIBLE < plausibility_score(generated(odd), site)
    assert find_defects(generated(odd), site).atoms.tolist() == [atom.GetSymbol() == "S" for atom in odd.GetAtoms()]


def test_no_crystal_ligand_of_the_shipped_complexes_has_a_valence_that_exists_only_on_paper() -> None:
    data = ComplexDataset(None, "train")
    smiles = [data[i].smiles for i in range(len(data))]
    flagged = [s for s in smiles if Chem.MolFromSmiles(s).HasSubstructMatch(PAPER_VALENCE)]
    assert len(smiles) > 900
    assert flagged == []


def test_faults_lie_on_atoms(site: PocketAtoms) -> None:
    chain = embedded("CCCCCO")
    assert not find_defects(generated(chain), site).atoms.any()
    bent = find_defects(generated(moved(chain, pulled(0, (3.0, 3.0, 3.0)))), site).atoms
    assert bent[0]
    assert not bent[4:].any()
    bridged = embedded("c1ccc2CCCCCCCc2c1")  # the large ring, but not the benzene that it shares atoms with
    rings = find_defects(generated(bridged), site).atoms
    benzene = [atom.GetIsAromatic() for atom in bridged.GetAtoms()]
    assert rings.tolist() == [not flag for flag in benzene]
    repaired = replace(generated(chain, repaired=True), changed=(2, 3))
    assert np.flatnonzero(find_defects(repaired, site).atoms).tolist() == [2, 3]


def test_hydrogens_that_touch_are_a_fault_of_the_atoms_that_bear_them(site: PocketAtoms) -> None:
    chain, folded = embedded("CCCCCCC"), embedded("CCCCCCC")
    for mol, turns in ((chain, (180, 180, 180, 180)), (folded, (60, -60, 180, 180))):  # the latter is syn-pentane
        for first, degrees in enumerate(turns):
            rdMolTransforms.SetDihedralDeg(mol.GetConformer(), *range(first, first + 4), degrees)
    assert not find_defects(generated(chain), site).atoms.any()
    assert np.flatnonzero(find_defects(generated(folded), site).atoms).tolist() == [0, 4]
    assert plausibility_score(generated(folded), site) > PLAUSIBLE


def test_repair_and_pieces_count_and_nothing_is_worst(site: PocketAtoms) -> None:
    mol = embedded("CCO")
    plain = plausibility_score(generated(mol), site)
    assert plausibility_score(generated(mol, repaired=True), site) == pytest.approx(plain + REPAIR)
    assert plausibility_score(generated(mol, connected=False), site) == pytest.approx(plain + PIECES)
    assert plausibility_score(generated(None), site) == WORST


def test_a_tight_contact_with_the_pocket_counts() -> None:
    mol = Chem.MolFromSmiles("C")
    mol.AddConformer(Chem.Conformer(1))
    carbon = PocketAtoms.of(np.zeros((1, 3)), np.array([6]))
    oxygen = PocketAtoms.of(np.zeros((1, 3)), np.array([8]))
    for pocket, distance, tight in ((carbon, 3.1, 1), (carbon, 3.3, 0), (oxygen, 3.1, 0), (oxygen, 2.9, 1)):
        mol.GetConformer().SetAtomPosition(0, (distance, 0.0, 0.0))
        assert tight_contacts(mol, pocket).tolist() == [tight]
    water = Chem.MolFromSmiles("O")
    water.AddConformer(Chem.Conformer(1))
    water.GetConformer().SetAtomPosition(0, (2.7, 0.0, 0.0))
    assert tight_contacts(water, oxygen).sum() == 0  # a hydrogen bond
    assert tight_contacts(water, carbon).sum() == 1


def test_the_distance_from_requested_properties_is_in_standard_deviations() -> None:
    benzene = Chem.MolFromSmiles("c1ccccc1")  # Crippen logP 1.687, QED 0.443
    assert property_distance(benzene, {}) == property_distance(None, {}) == 0
    assert property_distance(None, {"qed": 0.5}) == np.inf
    assert property_distance(benzene, {"logp": 1.687 + 1.8}) == pytest.approx(1, abs=1e-3)
    assert property_distance(benzene, {"logp": 1.687 + 1.8, "qed": 0.443}) == pytest.approx(0.5**0.5, abs=3e-3)
