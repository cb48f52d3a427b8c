"""Terminal amides and sulfonamides of crystal ligands whose N and O the X-ray data could not tell apart."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.records import Pocket
from ligandsmith.structure.ligands import mol_from_ligand
from ligandsmith.structure.protein import read_protein
from ligandsmith.structure.vocabulary import ATOM_NAMES, RESIDUES

GROUPS = [
    Chem.MolFromSmarts(s) for s in ("[#6][CX3](=[OX1])[NX3H2]", "[#6,#7]S(=[OX1])(=[OX1])[NX3H2]")
]  # the nitrogen is the last atom
SIDE_CHAINS = {("ARG", "NE"): 1, ("ARG", "NH1"): 1, ("ARG", "NH2"): 1, ("LYS", "NZ"): 1, ("TRP", "NE1"): 1,
               ("ASP", "OD1"): -1, ("ASP", "OD2"): -1, ("GLU", "OE1"): -1, ("GLU", "OE2"): -1}  # fmt: skip
METALS = (12, 20, 25, 26, 27, 28, 29, 30)
REACH = 3.5  # Å
CLEAR = 3  # partners that fit better after an exchange of N and O; metals at a sulfonamide explain a bare nitrogen


def donors(pocket: Pocket) -> NDArray[np.int64]:
    """1 for each atom that can only donate a hydrogen bond, -1 for those that can only accept one, 0 for others."""
    found = []
    for residue, name in zip(pocket.residue, pocket.atom_name, strict=True):
        key = RESIDUES[residue], ATOM_NAMES[name]
        backbone = {"N": 0 if key[0] == "PRO" else 1, "O": -1, "OXT": -1}.get(key[1], 0) if key[0] != "OTHER" else 0
        found.append(SIDE_CHAINS.get(key, backbone))
    return np.array(found)


def exchanged(mol: Chem.Mol, pocket: Pocket) -> bool:
    """Whether the partners around a terminal group speak clearly for an exchange of its N with an O."""
    x, charge = mol.GetConformer().GetPositions(), donors(pocket)
    metal = np.isin(pocket.element, METALS)
    for match in (match for group in GROUPS for match in mol.GetSubstructMatches(group)):
        nitrogen, oxygens = match[-1], [i for i in match if mol.GetAtomWithIdx(i).GetAtomicNum() == 8]
        near = {i: np.linalg.norm(pocket.x - x[i], axis=1) < REACH for i in (nitrogen, *oxygens)}
        surplus = {i: int(charge[near[i]].sum()) for i in near}
        gain = 2 * (surplus[nitrogen] - min(surplus[i] for i in oxygens))
        if gain >= CLEAR and not metal[near[nitrogen]].any():
            return True
    return False


def test_two_validation_complexes_have_the_nitrogen_of_a_sulfonamide_at_acceptors_places_of_an_oxygen() -> None:
    data = ComplexDataset(None, "validation")
    records = [data[i] for i in range(len(data))]
    found = [r.id for r in records if r.pocket is not None and exchanged(mol_from_ligand(r.ligand), r.pocket)]
    assert found == ["dude_shape__1cx2_S58_A701", "dude_shape__3ln1_CEL_C682"]


def test_the_example_3ln1_has_its_sulfonamide_as_deposited() -> None:
    folder = Path(__file__).parents[2] / "examples/complexes/3ln1"
    mol, protein = read_sdf(folder / "ligand.sdf")[0].mol, read_protein(folder / "protein.pdb.gz")
    assert mol is not None
    x = mol.GetConformer().GetPositions()
    length = {i: float(np.linalg.norm(x[i] - x[0])) for i in (23, 24, 25)}
    assert [mol.GetAtomWithIdx(i).GetSymbol() for i in (0, 23, 24, 25)] == ["S", "N", "O", "O"]
    # The deposited model was refined with this nitrogen: the bond of S to N is the long one.
    assert [round(length[i], 2) for i in (23, 24, 25)] == [1.69, 1.46, 1.44]
    carbonyls = {
        i: sorted(
            f"{protein.residues[protein.residue_of[j]].label} {protein.atom_label[j]}"
            for j in np.flatnonzero(np.linalg.norm(protein.x - x[i], axis=1) < 3.3)
            if protein.element[j] == 8
        )
        for i in (23, 24, 25)
    }
    # Three acceptors are at an oxygen and none at the nitrogen: it was built into the density of that oxygen.
    assert carbonyls == {23: [], 24: ["C:178 OE1", "C:338 O", "C:339 O"], 25: []}
