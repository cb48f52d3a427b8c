"""RDKit molecules to records and back, and what is refused with which reason."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.records import Ligand, Rejection
from ligandsmith.structure.ligands import ligand_from_mol, mol_from_ligand


def embedded(smiles: str, hydrogens: bool = True) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=7) == 0
    return mol if hydrogens else Chem.RemoveHs(mol)


def rejected(mol: Chem.Mol, x: np.ndarray | None = None) -> Rejection:
    result = ligand_from_mol(mol, "case", x)
    assert isinstance(result, Rejection)
    assert result.id == "case"
    return result


@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](N)C(=O)[O-]",
        "F/C=C/c1ccc[nH]1",
        "C[N+](C)(C)CC#N",
        "OB(O)c1ccc(Br)cc1",
        "O=P(O)(O)OC[C@@H]1CCCO1",
        "CS(=O)(=O)Nc1ccc2[nH]cnc2c1",
    ],
)
def test_a_molecule_comes_back_with_its_stereo_and_charges(smiles: str) -> None:
    mol = embedded(smiles)
    ligand = ligand_from_mol(mol, "m")
    assert isinstance(ligand, Ligand)
    back = mol_from_ligand(ligand)
    assert Chem.MolToSmiles(Chem.RemoveHs(back)) == Chem.CanonSmiles(smiles)
    assert (ligand.bond_index[:, 0] < ligand.bond_index[:, 1]).all()
    heavy = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
    assert np.allclose(ligand.x, mol.GetConformer().GetPositions()[heavy], atol=1e-5)


def test_hydrogens_count_whether_they_are_drawn_or_not() -> None:
    drawn, implied = (ligand_from_mol(embedded("CCOc1ccccc1N", h), "m") for h in (True, False))
    assert isinstance(drawn, Ligand)
    assert isinstance(implied, Ligand)
    assert drawn.num_h.tolist() == implied.num_h.tolist() == [3, 2, 0, 0, 1, 1, 1, 1, 0, 2]


def test_the_ligands_of_the_data_set_are_sound_molecules() -> None:
    data = ComplexDataset(None, "train")
    for i in range(0, 60, 2):
        record = data[i]
        mol = mol_from_ligand(record.ligand)
        again = ligand_from_mol(mol, record.id)
        assert isinstance(again, Ligand)
        for name in ("element", "charge", "aromatic", "num_h", "bond_type"):
            assert np.array_equal(getattr(again, name), getattr(record.ligand, name)), (record.id, name)
        assert Chem.MolToSmiles(mol, isomericSmiles=False) == Chem.MolToSmiles(
            Chem.MolFromSmiles(record.smiles), isomericSmiles=False
        )


def test_given_coordinates_replace_the_conformer() -> None:
    mol = Chem.MolFromSmiles("CCCCCO")
    x = np.arange(18.0).reshape(6, 3)
    ligand = ligand_from_mol(mol, "m", x)
    assert isinstance(ligand, Ligand)
    assert np.array_equal(ligand.x, x.astype(np.float32))
    assert rejected(mol, x[:5]).reason == "wrong coordinates"


@pytest.mark.parametrize(
    ("smiles", "reason", "detail"),
    [
        ("CCO", "ligand size", "3 heavy atoms"),
        ("C" * 81, "ligand size", "81 heavy atoms"),
        ("C[Si](C)(C)CCO", "unknown element", "atom 2 (Si)"),
        ("CCC[N+2]CC", "unsupported charge", "atom 4 (N) has charge +2"),
        ("CCCC[CH]C", "radical", "atom 5"),
        ("CCCCCC.O", "several fragments", "2 fragments"),
    ],
)
def test_a_refusal_says_why_and_where(smiles: str, reason: str, detail: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    x = 2.0 * np.arange(3 * mol.GetNumAtoms()).reshape(-1, 3)
    rejection = rejected(mol, x)
    assert rejection.reason == reason
    assert detail in rejection.detail


def test_four_hydrogens_are_too_many() -> None:
    mol = Chem.MolFromSmiles("CCCCC[NH4+]", sanitize=False)
    mol.UpdatePropertyCache(strict=False)
    x = 2.0 * np.arange(18).reshape(6, 3)
    assert rejected(mol, x).reason == "unsupported hydrogens"


def test_bad_geometry_is_refused() -> None:
    assert rejected(Chem.MolFromSmiles("CCCCCC")).reason == "no 3D coordinates"
    mol = embedded("CCCCCC", hydrogens=False)
    x = mol.GetConformer().GetPositions()
    x[3] = x[4] + 0.2
    close = rejected(mol, x)
    assert (close.reason, close.detail[:19]) == ("overlapping atoms", "atoms 4 and 5 are 0")
    x[2, 1] = np.nan
    assert rejected(mol, x).detail == "atom 3"
