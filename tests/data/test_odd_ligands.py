"""Ligand files as PubChem, Maestro, OpenEye, GOLD and drawing programs write them: read right, or refused by name."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.poses import read_poses
from ligandsmith.evaluation.sources import load_reference, load_samples
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.protein import UnreadableFile

SITE = Path(__file__).parents[2] / "examples/complexes/7off"
MOL = Chem.MolFromMolBlock((SITE / "ligand.sdf").read_text())
BLOCK = Chem.MolToMolBlock(MOL)
WITH_H = Chem.AddHs(MOL, addCoords=True)
SMILES = Chem.MolToSmiles(MOL)
FIELDS = ">  <a>\nb\n\n$$$$\n"
SODIUM = Chem.MolFromPDBBlock(
    "HETATM    1 NA    NA A   1       1.000   2.000   3.000  1.00 20.00          NA\n", sanitize=False
)


def first_atom(symbol: str) -> str:
    lines = BLOCK.split("\n")
    return "\n".join([*lines[:4], lines[4][:31] + symbol.ljust(3) + lines[4][34:], *lines[5:]])


def first_bond(order: int) -> str:
    lines = BLOCK.split("\n")
    i = 4 + MOL.GetNumAtoms()
    return "\n".join([*lines[:i], lines[i][:6] + f"{order:3d}" + lines[i][9:], *lines[i + 1 :]])


def some_hydrogens() -> str:
    mol = Chem.RWMol(WITH_H)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    for atom in [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 1][::-2]:
        mol.RemoveAtom(atom)
    return str(Chem.MolToMolBlock(mol, kekulize=False))


def heavy_hydrogens(symbol: str) -> str:
    return re.sub(r"(?m)^(.{31})H ", rf"\1{symbol} ", Chem.MolToMolBlock(WITH_H))


def mol2(mol: Chem.Mol, atom_type: Callable[[Chem.Atom], str]) -> str:
    bonds = Chem.RWMol(mol)
    Chem.Kekulize(bonds, clearAromaticFlags=True)
    lines = ["@<TRIPOS>MOLECULE", "lig", f"{mol.GetNumAtoms()} {mol.GetNumBonds()}", "SMALL", "NO_CHARGES", ""]
    lines.append("@<TRIPOS>ATOM")
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        number = atom.GetIdx() + 1
        lines.append(f"{number} {atom.GetSymbol()}{number} {x:.3f} {y:.3f} {z:.3f} {atom_type(atom)} 1 LIG 0.0")
    lines.append("@<TRIPOS>BOND")
    for bond in bonds.GetBonds():
        ends = bond.GetBeginAtomIdx() + 1, bond.GetEndAtomIdx() + 1
        lines.append(f"{bond.GetIdx() + 1} {ends[0]} {ends[1]} {int(bond.GetBondTypeAsDouble())}")
    return "\n".join(lines) + "\n"


def sybyl(atom: Chem.Atom) -> str:
    symbol = str(atom.GetSymbol())
    if symbol in ("H", "Cl", "Br"):
        return symbol
    ends = {Chem.HybridizationType.SP: ".1", Chem.HybridizationType.SP2: ".2"}
    return symbol + (".ar" if atom.GetIsAromatic() else ends.get(atom.GetHybridization(), ".3"))


def in_pocket(path: Path) -> Complex | Rejection:
    return read_complex(SITE / "protein.pdb.gz", path, "x")


READ = {
    "v3000.sdf": Chem.MolToV3KMolBlock(WITH_H) + FIELDS,
    "windows.sdf": (Chem.MolToV3KMolBlock(WITH_H) + FIELDS).replace("\n", "\r\n"),
    "macintosh.sdf": (BLOCK + FIELDS).replace("\n", "\r"),
    "deuterium.sdf": heavy_hydrogens("D") + FIELDS,
    "tritium.sdf": heavy_hydrogens("T") + FIELDS,
    "some_hydrogens.sdf": some_hydrogens() + FIELDS,
    "aromatic_bonds.sdf": Chem.MolToMolBlock(MOL, kekulize=False) + FIELDS,
    "byte_order_mark.sdf": "\ufeff" + BLOCK + FIELDS,
    "marked_2d.sdf": BLOCK.replace("3D", "2D", 1) + FIELDS,
    "old_ending.mol": BLOCK,
    "sybyl.mol2": mol2(WITH_H, sybyl),
    "macintosh.mol2": mol2(WITH_H, sybyl).replace("\n", "\r"),
}


@pytest.mark.parametrize("name", READ)
def test_the_same_molecule_in_other_clothes_is_the_same_molecule(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(READ[name].encode())
    assert Chem.MolToSmiles(Chem.RemoveAllHs(read_ligand(path))) == SMILES
    assert Chem.MolToSmiles(load_reference(path)) == SMILES
    (pose,) = load_samples(path)
    assert pose.mol is not None
    assert Chem.MolToSmiles(pose.mol) == SMILES
    assert isinstance(in_pocket(path), Complex)


PLACEHOLDER, BOND = "atom 1 is a placeholder", "bond 1 has no definite order"
REFUSED = {
    **{f"{symbol.replace('*', 'any')}.sdf": (first_atom(symbol), PLACEHOLDER) for symbol in ("A", "Q", "*", "R#", "X")},
    **{f"bond{order}.sdf": (first_bond(order), BOND) for order in (0, 5, 6, 7, 8)},
    "dummy.mol2": (mol2(WITH_H, lambda a: "Du" if a.GetIdx() == 0 else sybyl(a)), PLACEHOLDER),
    "unknown.mol2": (re.sub(r"(?m)^(\d+ \d+ \d+) [12]$", r"\1 un", mol2(WITH_H, sybyl), count=1), BOND),
}


@pytest.mark.parametrize("name", REFUSED)
def test_atoms_and_bonds_that_stand_for_several_are_refused_by_their_number(name: str, tmp_path: Path) -> None:
    text, message = REFUSED[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UnreadableFile, match=message):
        read_ligand(path)
    found = in_pocket(path)
    assert isinstance(found, Rejection)
    assert found.reason == "unsupported atom or bond"
    (pose,) = load_samples(path)
    assert pose.mol is None
    assert pose.reason == "unsupported atom or bond"
    assert message in pose.detail


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.sdf", BLOCK.replace("M  END\n", ""), "not a molfile"),
        ("x.sdf", "\n" + BLOCK, "not a molfile"),
        ("x.mol2", mol2(WITH_H, lambda a: {"C": "CT", "H": "HC"}.get(a.GetSymbol(), a.GetSymbol())), "CT is no Sybyl"),
        ("x.mol2", mol2(WITH_H, lambda _: "opls_145"), "opls_145 is no Sybyl type"),
        ("x.mae", "{\n", "must end in"),
        ("x.xyz", Chem.MolToXYZBlock(MOL), "must end in"),
    ],
)
def test_what_no_program_should_write_is_refused_with_what_to_do(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UnreadableFile, match=message) as error:
        read_ligand(tmp_path / name)
    assert "\n" not in str(error.value)
    assert not str(error.value).endswith(": ")


def test_aromatic_bonds_without_the_hydrogen_of_a_nitrogen_need_it_or_a_smiles(tmp_path: Path) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("Cc1ccc2[nH]ccc2c1"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    path = tmp_path / "indole.sdf"
    block = Chem.MolToMolBlock(Chem.RemoveHs(mol), kekulize=False)
    path.write_text(re.sub(r"(?m)^M  (?!END).*\n", "", block))
    with pytest.raises(UnreadableFile, match="aromatic nitrogens, or the SMILES"):
        read_ligand(path)
    assert Chem.MolToSmiles(read_ligand(path, "Cc1ccc2[nH]ccc2c1")) == Chem.CanonSmiles("Cc1ccc2[nH]ccc2c1")


def test_upper_case_halogens_of_a_mol2_are_halogens(tmp_path: Path) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("Clc1ccc(Br)cc1"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    (tmp_path / "x.mol2").write_text(mol2(mol, lambda a: sybyl(a).upper() if a.GetSymbol() in "ClBr" else sybyl(a)))
    assert Chem.MolToSmiles(Chem.RemoveHs(read_ligand(tmp_path / "x.mol2"))) == "Clc1ccc(Br)cc1"


def test_counter_ions_of_a_reference_are_left_out_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "salt.sdf"
    path.write_text(Chem.MolToMolBlock(Chem.CombineMols(MOL, SODIUM)))
    assert Chem.MolToSmiles(load_reference(path)) == SMILES
    assert "left out the ions Na" in caplog.messages[-1]
    assert isinstance(in_pocket(path), Complex)


def test_poses_of_one_name_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "poses.sdf"
    path.write_text(3 * ("same\n" + BLOCK.split("\n", 1)[1] + FIELDS))
    assert [record.title for record in read_poses(path)] == ["same"] * 3
    assert [sample.index for sample in load_samples(path)] == [0, 1, 2]
    (tmp_path / "poses.mol2").write_text(2 * mol2(WITH_H, sybyl))
    assert [record.title for record in read_poses(tmp_path / "poses.mol2")] == ["lig"] * 2


def test_a_ligand_of_a_thousand_atoms_is_refused_as_a_reference(tmp_path: Path) -> None:
    chain = Chem.MolFromSmiles("C" * 1000)
    conformer = Chem.Conformer(1000)
    conformer.SetPositions(np.random.default_rng(0).normal(0, 30, (1000, 3)))
    chain.AddConformer(conformer)
    (tmp_path / "x.sdf").write_text(Chem.MolToV3KMolBlock(chain))
    with pytest.raises(UnreadableFile, match="1000 heavy atoms; at most 80"):
        read_ligand(tmp_path / "x.sdf")


def test_an_aromatic_oxygen_with_a_double_bond_is_refused(tmp_path: Path) -> None:
    """RDKit sanitises it once, and refuses every copy of the result."""
    atoms, bonds = "CCNCCCCCO", "124 234 344 454 564 674 714 381 892 944"
    block = f"\n     RDKit          3D\n\n{len(atoms):3d}{len(bonds.split()):3d}  0  0  0  0  0  0  0  0999 V2000\n"
    block += "".join(f"{1.4 * i:10.4f}{i % 2:10.4f}    0.0000 {symbol}   0  0\n" for i, symbol in enumerate(atoms))
    block += "".join(f"{a:>3}{b:>3}{order:>3}  0\n" for a, b, order in bonds.split())
    (tmp_path / "x.sdf").write_text(block + "M  END\n")
    with pytest.raises(UnreadableFile, match=r"x\.sdf: record 1: Can't kekulize"):
        read_ligand(tmp_path / "x.sdf")
