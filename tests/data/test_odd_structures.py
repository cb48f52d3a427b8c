"""Protein and ligand files as other programs write them: the right atoms, residues and labels, or one clear line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import gemmi
import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Rejection
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import pocket_from_het, pocket_from_residues
from ligandsmith.structure.protein import Protein, UnreadableFile, read_protein
from ligandsmith.structure.vocabulary import Kind

SITE = Path(__file__).parents[2] / "examples/complexes/7off"
PDB = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode()
SDF = (SITE / "ligand.sdf").read_text()
ATOM = "{:<6}{:>5} {:<4} {:<4}{}{:>4}    {:8.3f}{:8.3f}{:8.3f}  1.00 20.00          {:>2}\n"


@pytest.fixture(scope="module")
def plain() -> Protein:
    return read_protein(SITE / "protein.pdb.gz")


def read(folder: Path, text: str, name: str = "x.pdb") -> Protein:
    (folder / name).write_text(text)
    return read_protein(folder / name)


def same_atoms(a: Protein, b: Protein) -> bool:
    return np.array_equal(a.x, b.x) and np.array_equal(a.element, b.element) and np.array_equal(a.residue, b.residue)


def each_atom(change: Callable[[str, int], str]) -> str:
    lines = PDB.splitlines()
    return "\n".join(change(line, i) if line.startswith("ATOM") else line for i, line in enumerate(lines)) + "\n"


def with_atoms(*atoms: str) -> str:
    return PDB.replace("END\n", "") + "".join(atoms) + "END\n"


@pytest.mark.parametrize("name", ["HOH", "SOL", "TIP3", "TIP4", "SPC", "OPC", "T3P", "HHO", "WAT", "W4X"])
def test_waters_of_every_program_are_left_out(name: str, plain: Protein, tmp_path: Path) -> None:
    water = [
        ATOM.format("HETATM", 9000, " OW", name, "W", 900, 0, 0, 0, "O"),
        ATOM.format("HETATM", 9001, " HW1", name, "W", 900, 0.8, 0.5, 0, "H"),
        ATOM.format("HETATM", 9002, " MW", name, "W", 900, 0.1, 0.1, 0, ""),
    ]
    found = read(tmp_path, with_atoms(*water))
    assert same_atoms(found, plain)
    assert found.dropped["atoms of waters"] >= 1


def test_a_hydroxide_and_an_ion_are_no_waters(tmp_path: Path) -> None:
    added = [ATOM.format("HETATM", 9000 + i, f" {n}", n, "W", 900 + i, 50 * i, 0, 0, e)
             for i, (n, e) in enumerate([("OH", "O"), ("ZN", "ZN"), ("NH4", "N")])]  # fmt: skip
    found = read(tmp_path, with_atoms(*added))
    assert [found.residues[i].name for i in found.hets] == ["OH", "ZN", "NH4"]


def test_serials_of_six_digits_do_not_move_the_columns(plain: Protein, tmp_path: Path) -> None:
    wide = each_atom(lambda line, i: f"ATOM  {99_000 + i}{line[11:]}")
    assert any(line.startswith("ATOM  100") for line in wide.splitlines())
    assert same_atoms(read(tmp_path, wide), plain)


def test_names_in_the_wrong_column_without_elements(plain: Protein, tmp_path: Path) -> None:
    left = each_atom(lambda line, _: f"{line[:12]}{line[12:16].strip():<4}{line[16:66]}")
    assert same_atoms(read(tmp_path, left), plain)


@pytest.mark.parametrize("value", ["********", "     nan", "     inf", "    1e30", "   1.2.3", "        "])
def test_a_coordinate_that_is_no_number_is_refused_with_its_line(value: str, tmp_path: Path) -> None:
    lines = PDB.splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("ATOM"))
    lines[row] = lines[row][:38] + value + lines[row][46:]
    with pytest.raises(UnreadableFile, match=rf"x\.pdb, line {row + 1}: .*not a number"):
        read(tmp_path, "\n".join(lines))


def test_pdbqt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="AutoDock's atom types"):
        read(tmp_path, PDB, "x.pdbqt")


def test_chain_names_of_any_length(plain: Protein, tmp_path: Path) -> None:
    structure = gemmi.read_pdb_string(PDB)
    for chain in structure[0]:
        chain.name = "protein_chain_1"
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "x.cif"))
    found = read_protein(tmp_path / "x.cif")
    assert same_atoms(found, plain)
    assert {residue.chain for residue in found.residues} == {"protein_chain_1"}


def test_segments_name_chains_and_repeated_labels_are_refused(plain: Protein, tmp_path: Path) -> None:
    blank = each_atom(lambda line, _: f"{line[:21]} {line[22:]}")
    far = [f"{line[:30]}{float(line[30:38]) + 70:8.3f}{line[38:]}" for line in blank.splitlines() if line[:4] == "ATOM"]
    atoms = [line for line in blank.splitlines() if line.startswith("ATOM")]
    label = f":{plain.residues[0].number}"
    named = [
        f"{line[:72]:<72}{segment}{line[76:]}" for segment, group in (("PROA", atoms), ("PROB", far)) for line in group
    ]
    found = read(tmp_path, "\n".join(named) + "\n")
    assert {residue.chain for residue in found.residues} == {"PROA", "PROB"}
    assert len(pocket_from_residues(found, [f"PROA{label}"])[1].residues) == 1
    with pytest.raises(LigandsmithError, match="is there more than once"):
        pocket_from_residues(read(tmp_path, "\n".join([*atoms, *far]) + "\n"), [label])


GLUTAMATE = [
    ("N", 0, 0, 0),
    ("CA", 1.5, 0, 0),
    ("C", 2, 1.4, 0),
    ("O", 1.2, 2.3, 0),
    ("OXT", 3.3, 1.6, 0),
    ("CB", 2, -1, 1),
]


@pytest.mark.parametrize(("record", "kind"), [("HETATM", Kind.LIGAND), ("ATOM", Kind.POLYMER)])
def test_a_free_amino_acid_is_a_ligand(record: str, kind: Kind, plain: Protein, tmp_path: Path) -> None:
    far = plain.x.max(0) + 20
    added = [ATOM.format(record, 9000 + i, f" {n}", "GLU", "A", 901, x + far[0], y + far[1], z + far[2], n[0])
             for i, (n, x, y, z) in enumerate(GLUTAMATE)]  # fmt: skip
    found = read(tmp_path, with_atoms(*added))
    assert found.residues[-1].kind == kind
    if kind is Kind.LIGAND:
        with pytest.raises(LigandsmithError, match="empty pocket"):  # found, not one of the glutamates of the chain
            pocket_from_het(found, "GLU")


def test_drawings_and_coordinates_of_zero_are_no_pose(tmp_path: Path) -> None:
    mol = Chem.MolFromMolBlock(SDF)
    flat, zero = Chem.Mol(mol), Chem.Mol(mol)
    Chem.rdDepictor.Compute2DCoords(flat)  # type: ignore[attr-defined]
    zero.GetConformer().SetPositions(np.zeros((mol.GetNumAtoms(), 3)))
    for made in (flat, zero):
        (tmp_path / "x.sdf").write_text(Chem.MolToMolBlock(made))
        with pytest.raises(UnreadableFile, match="no 3D coordinates"):
            read_ligand(tmp_path / "x.sdf")


def changed(folder: Path, change: Callable[[Chem.RWMol], None]) -> Complex | Rejection:
    """The example with another ligand."""
    mol = Chem.RWMol(Chem.MolFromMolBlock(SDF))
    Chem.Kekulize(mol, clearAromaticFlags=True)
    change(mol)
    (folder / "ligand.sdf").write_text(Chem.MolToMolBlock(mol, kekulize=False))
    return read_complex(SITE / "protein.pdb.gz", folder / "ligand.sdf", "x")


def test_lost_bonds_and_bond_orders_are_refused(tmp_path: Path) -> None:
    def single(mol: Chem.RWMol) -> None:
        for bond in mol.GetBonds():
            bond.SetBondType(Chem.BondType.SINGLE)

    def none(mol: Chem.RWMol) -> None:
        for i, j in [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]:
            mol.RemoveBond(i, j)

    reasons = [
        found.reason for found in (changed(tmp_path, single), changed(tmp_path, none)) if isinstance(found, Rejection)
    ]
    assert reasons == ["bond orders lost", "no bonds"]
    assert isinstance(changed(tmp_path, lambda _: None), Complex)


def test_a_covalently_bound_ligand_is_refused_with_its_bond(plain: Protein, tmp_path: Path) -> None:
    ligand = Chem.MolFromMolBlock(SDF)
    x = ligand.GetConformer().GetPositions()
    carbon = next(a.GetIdx() for a in ligand.GetAtoms() if a.GetAtomicNum() == 6)
    away = x[carbon] - x.mean(0)
    sulfur = x[carbon] + 1.81 * away / np.linalg.norm(away)
    line = ATOM.format("ATOM", 9000, " SG", "CYS", "A", 999, *sulfur, "S")
    (tmp_path / "x.pdb").write_text(with_atoms(line))
    found = read_complex(tmp_path / "x.pdb", SITE / "ligand.sdf", "x")
    assert isinstance(found, Rejection)
    assert found.reason == "covalent ligand"
    assert f"C{carbon + 1} is 1.81 Å from SG of A:CYS999" in found.detail


def test_of_two_formats_the_readable_one_is_used(tmp_path: Path) -> None:
    (tmp_path / "x.mol2").write_text("@<TRIPOS>MOLECULE\nx\n1 0\n\n\n@<TRIPOS>ATOM\n1 C1 0 0 0 c3 1 LIG 0\n")
    (tmp_path / "x.sdf").write_text(SDF)
    assert isinstance(read_complex(SITE / "protein.pdb.gz", tmp_path / "x.mol2", "x"), Complex)
    with pytest.raises(UnreadableFile, match="atom type c3 is no Sybyl type"):
        read_ligand(tmp_path / "x.mol2")
