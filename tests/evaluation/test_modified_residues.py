"""Modified amino acids have the bond orders, charges and hydrogen bonds of what they are."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ligandsmith.chem.protein import ProteinView
from ligandsmith.chem.receptor import atom_types
from ligandsmith.chem.residues import parent_name, residue_molecule
from ligandsmith.structure.protein import Residue
from ligandsmith.structure.vocabulary import Kind

# SMILES in the order of the names; types of some atoms in the receptor, and whether they give a hydrogen bond
MODIFIED = {
    "SEP": ("N[C@@H](COP(=O)([O-])[O-])C=O", "N CA CB OG P O1P O2P O3P C O",
            {"OG": ("OA", False), "P": ("P", False), "O1P": ("OA", False), "N": ("N", True)}),
    "TPO": ("N[C@@H]([C@@H](C)OP(=O)([O-])[O-])C=O", "N CA CB CG2 OG1 P O1P O2P O3P C O", {"OG1": ("OA", False)}),
    "PTR": ("N[C@@H](Cc1ccc(OP(=O)([O-])[O-])cc1)C=O", "N CA CB CG CD1 CE1 CZ OH P O1P O2P O3P CE2 CD2 C O",
            {"OH": ("OA", False), "CZ": ("A", False)}),
    "TYS": ("N[C@@H](Cc1ccc(OS(=O)(=O)[O-])cc1)C=O", "N CA CB CG CD1 CE1 CZ OH S O1 O2 O3 CE2 CD2 C O",
            {"O1": ("OA", False)}),
    "ALY": ("N[C@@H](CCCCNC(C)=O)C=O", "N CA CB CG CD CE NZ CH CH3 OH C O", {"NZ": ("N", True), "OH": ("OA", False)}),
    "MLY": ("N[C@@H](CCCC[NH+](C)C)C=O", "N CA CB CG CD CE NZ CH1 CH2 C O", {"NZ": ("N", True)}),
    "M3L": ("N[C@@H](CCCC[N+](C)(C)C)C=O", "N CA CB CG CD CE NZ CM1 CM2 CM3 C O", {"NZ": ("N", False)}),
    "KCX": ("N[C@@H](CCCCNC(=O)[O-])C=O", "N CA CB CG CD CE NZ CX OQ1 OQ2 C O", {"NZ": ("N", True)}),
    "CSO": ("N[C@@H](CSO)C=O", "N CA CB SG OD C O", {"OD": ("OA", True)}),
    "CSD": ("N[C@@H](CS(=O)[O-])C=O", "N CA CB SG OD1 OD2 C O", {"OD1": ("OA", False)}),
    "OCS": ("N[C@@H](CS(=O)(=O)[O-])C=O", "N CA CB SG OD1 OD2 OD3 C O", {"OD1": ("OA", False)}),
    "HYP": ("N1[C@@H](C[C@@H](O)C1)C=O", "N CA CB CG OD1 CD C O", {"OD1": ("OA", True), "N": ("N", False)}),
    "CGU": ("N[C@@H](CC(C(=O)[O-])C(=O)[O-])C=O", "N CA CB CG CD1 OE11 OE12 CD2 OE21 OE22 C O",
            {"OE11": ("OA", False)}),
    "PCA": ("N1C(=O)CC[C@H]1C=O", "N CD OE CG CB CA C O", {"OE": ("OA", False)}),
    "DAL": ("N[C@H](C)C=O", "N CA CB C O", {}),
}  # fmt: skip


def view_of(residue: str) -> tuple[ProteinView, Chem.Mol]:
    """A protein of that residue alone, and the molecule."""
    smiles, names, _ = MODIFIED[residue]
    mol = Chem.MolFromSmiles(smiles)
    full = Chem.AddHs(mol)
    assert rdDistGeom.EmbedMolecule(full, randomSeed=1) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(full)
    x = full.GetConformer().GetPositions()[: mol.GetNumAtoms()]
    element = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    number = np.zeros(len(x), dtype=np.int64)
    return ProteinView("", (Residue("A", 1, "", residue, Kind.POLYMER),), number, tuple(names.split()), element, x), mol


@pytest.mark.parametrize("residue", MODIFIED)
def test_bond_orders_and_charges(residue: str) -> None:
    view, mol = view_of(residue)
    found, own = residue_molecule(view, 0)
    assert found is not None
    assert own == mol.GetNumAtoms()
    assert Chem.MolToSmiles(found, isomericSmiles=False) == Chem.MolToSmiles(mol, isomericSmiles=False)


@pytest.mark.parametrize("residue", MODIFIED)
def test_types_and_donors_of_the_receptor(residue: str) -> None:
    view, _ = view_of(residue)
    types, donor = atom_types(view)
    expected = MODIFIED[residue][2]
    assert {n: (t, d) for n, t, d in zip(view.name, types, donor, strict=True) if n in expected} == expected


def test_a_residue_whose_bonds_cannot_be_told_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of lysine with pyridoxal phosphate, a ring of short bonds."""
    smiles = "N[C@@H](CCCC/N=C/c1c(COP(=O)([O-])[O-])cnc(C)c1O)C=O"
    names = "N CA CB CG CD CE NZ C4' C4 C5 C5' OP4 P OP1 OP2 OP3 C6 N1 C2 C2' C3 O3 C O"
    monkeypatch.setitem(MODIFIED, "LLP", (smiles, names, {}))
    assert parent_name("LLP") == "LYS"
    assert residue_molecule(view_of("LLP")[0], 0) == (None, 0)


def test_parents() -> None:
    names = {"SEP": "SER", "MSE": "MET", "HIS": "HIS", "DAL": "ALA", "GOL": "", "HEM": "", "A": "", "ZN": "", "XXX": ""}
    assert {name: parent_name(name) for name in names} == names
