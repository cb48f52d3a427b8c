"""Building molecules from decoded arrays: real ones survive, broken decodes are repaired or refused with a reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from ligandsmith.chem.builder import FAILURE_REASONS, BuiltLigand, build_molecule
from ligandsmith.records import BuildFailure, DecodedLigand, Ligand
from ligandsmith.structure.ligands import ligand_from_mol
from ligandsmith.structure.vocabulary import AROMATIC, NONE

SMILES = [line.split()[0] for line in (Path(__file__).parents[1] / "data_files/molecules.smi").read_text().splitlines()]


def spread(n: int) -> np.ndarray:
    """Distinct coordinates that no chemistry is read from."""
    return np.arange(3 * n, dtype=np.float32).reshape(n, 3)


def decode(ligand: Ligand, certainty: float = 1.0) -> DecodedLigand:
    """A decoder that is right, and this sure of its bonds."""
    n = ligand.num_atoms
    classes = np.zeros((n, n), dtype=int)
    classes[tuple(ligand.bond_index.T)] = ligand.bond_type
    one_hot = np.eye(5, dtype=np.float32)[classes + classes.T]
    probs = (certainty * one_hot + (1 - certainty) / 5).astype(np.float32)
    return DecodedLigand(ligand.element, ligand.charge, ligand.aromatic, ligand.num_h, probs, ligand.x)


def decoded(smiles: str, certainty: float = 0.97) -> DecodedLigand:
    mol = Chem.MolFromSmiles(smiles)
    atoms = list(mol.GetAtoms())
    bonds = np.array([sorted((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()], dtype=np.int16)
    kinds = {Chem.BondType.SINGLE: 1, Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3, Chem.BondType.AROMATIC: 4}
    ligand = Ligand(
        element=np.array([a.GetAtomicNum() for a in atoms], dtype=np.uint8),
        charge=np.array([a.GetFormalCharge() for a in atoms], dtype=np.int8),
        aromatic=np.array([a.GetIsAromatic() for a in atoms]),
        num_h=np.array([a.GetTotalNumHs() for a in atoms], dtype=np.uint8),
        x=spread(len(atoms)),
        bond_index=bonds.reshape(-1, 2),
        bond_type=np.array([kinds[b.GetBondType()] for b in mol.GetBonds()], dtype=np.uint8),
    )
    return decode(ligand, certainty)


def with_bond(ligand: DecodedLigand, i: int, j: int, probs: list[float]) -> DecodedLigand:
    changed = ligand.bond_probs.copy()
    changed[i, j] = changed[j, i] = probs
    return replace(ligand, bond_probs=changed)


def flat(smiles: str) -> str:
    return Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)


def built(ligand: DecodedLigand) -> BuiltLigand:
    result = build_molecule(ligand)
    assert isinstance(result, BuiltLigand), result
    assert Chem.MolFromSmiles(Chem.MolToSmiles(result.mol)) is not None
    return result


def smiles_of(result: BuiltLigand) -> str:
    return Chem.MolToSmiles(result.mol, isomericSmiles=False)


def test_every_real_molecule_survives_as_it_is() -> None:
    assert len(SMILES) >= 300
    for smiles in SMILES:
        result = built(decoded(smiles, certainty=1.0))
        assert (smiles_of(result), result.raw_valid, result.hydrogen_mismatches) == (flat(smiles), True, 0)
        assert not result.repaired
        assert not result.changes


@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](N)C(=O)N[C@@H](CO)C(=O)O",
        "CC(C)[C@@H](NS(=O)(=O)c1ccc(OC)cc1)C(=O)O",
        "OC(=O)/C=C/c1c[nH]cn1",
        "OC(=O)/C=C\\c1ccccc1",
        "C[C@]12CC[C@H]3[C@@H](CCc4cc(O)ccc43)[C@@H]1CC[C@@H]2O",
        "CN1[C@H]2CC[C@@H]1[C@H]([C@H](C2)OC(=O)c3ccccc3)C(=O)OC",
    ],
)
def test_stereo_comes_from_the_coordinates(smiles: str) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=7)
    ligand = ligand_from_mol(mol, "id")
    assert isinstance(ligand, Ligand)
    assert Chem.MolToSmiles(built(decode(ligand)).mol) == Chem.CanonSmiles(smiles)
    mirrored = built(decode(replace(ligand, x=ligand.x * np.float32([-1, 1, 1]))))
    has_centres = "@" in smiles
    assert (Chem.MolToSmiles(mirrored.mol) != Chem.CanonSmiles(smiles)) == has_centres


def test_over_valent_carbon_loses_its_least_probable_bond() -> None:
    ligand = decoded("CC(C)(C)CCO")
    result = built(with_bond(ligand, 1, 6, [0.45, 0.5, 0.03, 0.01, 0.01]))
    assert smiles_of(result) == flat("CC(C)(C)CCO")
    assert result.changes == ("bond 2-7 dropped",)
    assert result.changed == (1, 6)
    assert (result.raw_valid, result.repaired) == (False, True)


def test_over_valent_carbonyl_carbon_keeps_its_sigma_bonds() -> None:
    ligand = with_bond(decoded("CC(C)(C)C"), 1, 4, [0.01, 0.48, 0.5, 0.0, 0.01])
    result = built(ligand)
    assert smiles_of(result) == flat("CC(C)(C)C")
    assert result.changes == ("bond 2-5 has order 1 instead of 2",)
    assert (result.raw_valid, result.repaired, result.most_probable) == (True, False, False)


@pytest.mark.parametrize("smiles", ["C[N+](C)(C)CCO", "O=[N+]([O-])c1ccccc1", "CN=[N+]=[N-]", "[O-][n+]1ccccc1CC"])
def test_lost_charges_come_back_where_the_bonds_are_sure(smiles: str) -> None:
    ligand = decoded(smiles)
    assert smiles_of(built(replace(ligand, charge=np.zeros_like(ligand.charge)))) == flat(smiles)


def test_an_unsure_fourth_bond_of_nitrogen_is_dropped_not_charged() -> None:
    ligand = decoded("CN(C)CCCO")
    result = built(with_bond(ligand, 1, 6, [0.4, 0.57, 0.01, 0.01, 0.01]))
    assert smiles_of(result) == flat("CN(C)CCCO")
    assert Chem.GetFormalCharge(result.mol) == 0


@pytest.mark.parametrize("smiles", ["c1cc[nH]c1", "c1ccc2[nH]ccc2c1", "Cc1nnn[nH]1", "O=c1cc[nH]c2ccccc12"])
def test_pyrrole_that_lost_its_hydrogen_gets_one(smiles: str) -> None:
    ligand = decoded(smiles)
    result = built(replace(ligand, num_h=np.where(ligand.element == 7, 0, ligand.num_h).astype(np.uint8)))
    assert (result.raw_valid, result.repaired, result.most_probable) == (True, False, False)
    assert result.hydrogen_mismatches == 1
    assert CalcMolFormula(result.mol) == CalcMolFormula(Chem.MolFromSmiles(smiles))


def test_pyridine_with_a_hydrogen_loses_it() -> None:
    ligand = decoded("Cc1ccncc1")
    result = built(replace(ligand, num_h=np.where(ligand.element == 7, 1, ligand.num_h).astype(np.uint8)))
    assert smiles_of(result) == flat("Cc1ccncc1")


def test_aromatic_five_ring_of_carbon_becomes_a_diene() -> None:
    ligand = decoded("C1=CC=CC1")
    probs = ligand.bond_probs.copy()
    ring = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]
    for i, j in ring:
        probs[i, j] = probs[j, i] = np.eye(5)[AROMATIC] * 0.9 + 0.02
    result = built(replace(ligand, bond_probs=probs, aromatic=np.ones(5, dtype=bool)))
    assert smiles_of(result) == flat("C1=CC=CC1")
    assert not result.repaired


def test_aromatic_ring_with_one_missing_aromatic_bond_is_closed() -> None:
    result = built(with_bond(decoded("O=c1ccoc2ccccc12"), 1, 2, [0.01, 0.5, 0.04, 0.01, 0.44]))
    assert smiles_of(result) == flat("O=c1ccoc2ccccc12")


def test_aromatic_bond_outside_a_ring_is_localised() -> None:
    result = built(with_bond(decoded("CC=CC"), 1, 2, [0.01, 0.02, 0.3, 0.01, 0.66]))
    assert smiles_of(result) == flat("CC=CC")
    assert not any(bond.GetIsAromatic() for bond in result.mol.GetBonds())


def test_aromatic_oxygen_with_a_double_bond_is_no_valid_molecule() -> None:
    """RDKit sanitises it once, and refuses every copy of the result."""
    bonds = {(0, 1): 4, (0, 6): 4, (1, 2): 4, (2, 3): 4, (2, 7): 1, (3, 4): 4, (3, 8): 4, (4, 5): 4, (5, 6): 4,
             (7, 8): 2}  # fmt: skip
    ligand = Ligand(
        element=np.array([6, 6, 7, 6, 6, 6, 6, 6, 8], dtype=np.uint8), charge=np.zeros(9, np.int8),
        aromatic=np.array([True] * 7 + [False, True]), num_h=np.array([1, 1, 0, 0, 1, 1, 1, 1, 0], np.uint8),
        x=spread(9), bond_index=np.array(list(bonds), dtype=np.int16),
        bond_type=np.array(list(bonds.values()), dtype=np.uint8),
    )  # fmt: skip
    result = build_molecule(decode(ligand))
    assert isinstance(result, BuiltLigand)
    assert not result.most_probable
    Chem.SanitizeMol(Chem.Mol(result.mol))


def test_wrong_aromatic_flag_does_not_change_the_molecule() -> None:
    ligand = decoded("Cc1ccccc1")
    result = built(replace(ligand, aromatic=np.ones(7, dtype=bool)))
    assert smiles_of(result) == flat("Cc1ccccc1")
    assert not result.changes
    assert not result.repaired


def test_real_molecules_survive_without_the_hydrogens_of_nitrogen() -> None:
    """What the decoder is least sure of. Where two are lost, their form without both may be right, too."""
    same = 0
    for smiles in SMILES:
        ligand = decoded(smiles)
        result = built(replace(ligand, num_h=np.where((ligand.element == 7) & ligand.aromatic, 0, ligand.num_h)))
        assert not result.repaired
        same += CalcMolFormula(result.mol) == CalcMolFormula(Chem.MolFromSmiles(smiles))
    assert same >= 0.98 * len(SMILES)


def test_real_molecules_survive_uncertain_bonds_of_rings() -> None:
    """An aromatic bond that is read as single leaves a ring without a Kekulé form of its own."""
    found = 0
    for smiles in SMILES[:150]:
        ligand = decoded(smiles)
        classes = ligand.bond_probs.argmax(-1)
        i, j = (int(k[0]) for k in np.where(np.triu(classes == AROMATIC))) if (classes == AROMATIC).any() else (0, 0)
        if i != j:
            found += 1
            result = built(with_bond(ligand, i, j, [0.01, 0.5, 0.04, 0.01, 0.44]))
            assert (smiles_of(result), result.repaired) == (flat(smiles), False)
    assert found > 50


def test_fragments_are_kept_and_reported() -> None:
    ligand = with_bond(decoded("CCCCCO"), 2, 3, [0.9, 0.1, 0, 0, 0])
    result = built(ligand)
    assert smiles_of(result) == flat("CCC.CCO")
    assert result.raw_valid
    assert not result.connected
    lonely = built(replace(ligand, bond_probs=np.tile(np.eye(5, dtype=np.float32)[NONE], (6, 6, 1))))
    assert smiles_of(lonely) == "C.C.C.C.C.O"


def test_hydrogens_that_disagree_are_counted_not_obeyed() -> None:
    ligand = decoded("CCO")
    result = built(replace(ligand, num_h=np.array([3, 1, 0], dtype=np.uint8)))
    assert smiles_of(result) == "CCO"
    assert result.hydrogen_mismatches == 2


def test_bond_is_decided_by_its_total_probability() -> None:
    ligand = decoded("CC")
    assert smiles_of(built(with_bond(ligand, 0, 1, [0.45, 0.25, 0.3, 0, 0]))) == "C=C"
    assert smiles_of(built(with_bond(ligand, 0, 1, [0.55, 0.45, 0, 0, 0]))) == "C.C"


def test_input_is_not_changed() -> None:
    ligand = replace(decoded("c1ccc2[nH]ccc2c1"), num_h=np.zeros(9, dtype=np.uint8))
    before = ligand.bond_probs.copy()
    built(ligand)
    assert not ligand.num_h.any()
    assert (ligand.bond_probs == before).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x": np.full((3, 3), np.nan, dtype=np.float32)}, "non-finite values"),
        ({"bond_probs": np.full((3, 3, 5), np.nan, dtype=np.float32)}, "non-finite values"),
        ({"element": np.array([6, 0, 8], dtype=np.uint8)}, "unknown element"),
    ],
)
def test_unusable_decodes_fail_with_a_reason(change: dict[str, np.ndarray], reason: str) -> None:
    result = build_molecule(replace(decoded("CCO"), **change))
    assert isinstance(result, BuildFailure)
    assert result.reason == reason
    assert result.reason in FAILURE_REASONS
    assert "atom" in result.detail


def test_no_atoms_is_a_failure_and_wrong_shapes_are_an_error() -> None:
    nothing = DecodedLigand(*(np.zeros(0, dtype=np.uint8),) * 4, np.zeros((0, 0, 5)), np.zeros((0, 3)))  # type: ignore[arg-type]
    assert build_molecule(nothing) == BuildFailure("no atoms", "the decoder gave no atom")
    with pytest.raises(ValueError, match="3 atoms"):
        build_molecule(replace(decoded("CCO"), x=np.zeros((2, 3), dtype=np.float32)))


def test_charge_that_contradicts_a_sure_bond_goes() -> None:
    ligand = decoded("FCCO")
    result = built(replace(ligand, charge=np.array([-1, 0, 0, 0], dtype=np.int8)))
    assert smiles_of(result) == "OCCF"
    assert result.changes == ("charge of atom 1 -1 -> +0",)


def test_random_bonds_never_crash_and_always_repair() -> None:
    rng = np.random.default_rng(0)
    for smiles in SMILES[:60]:
        ligand = decoded(smiles)
        noise = rng.dirichlet(np.full(5, 0.1), size=ligand.bond_probs.shape[:2])
        probs = 0.4 * (noise + noise.transpose(1, 0, 2)) / 2 + 0.6 * ligand.bond_probs
        built(replace(ligand, bond_probs=probs.astype(np.float32)))
