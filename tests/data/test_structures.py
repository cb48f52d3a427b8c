"""Structure files become complexes, or a rejection that says what is wrong with which record."""

import gzip
from pathlib import Path

import gemmi
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from ligandsmith.records import Complex, Rejection
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.ligands import read_ligand, read_ligand_file
from ligandsmith.structure.protein import Kind, UnreadableFile, read_protein

EXAMPLE = Path(__file__).parents[2] / "examples" / "complexes" / "7sza"
PROTEIN = gzip.decompress((EXAMPLE / "protein.pdb.gz").read_bytes()).decode()
LIGAND = (EXAMPLE / "ligand.sdf").read_text()


def atom_line(name: str, residue: str, number: str, x: tuple[float, float, float], **more: object) -> str:
    """One HETATM line of the PDB format; `number` may end in an insertion code."""
    code = number[-1] if number[-1].isalpha() else " "
    element, altloc, occupancy = more.get("element", name[0]), more.get("altloc", " "), more.get("occupancy", 1.0)
    place = f"A{number.removesuffix(code):>4}{code}"
    position = "".join(f"{v:8.3f}" for v in x)
    return (
        f"HETATM 9999  {name:<3}{altloc}{residue:>3} {place}   {position}{occupancy:6.2f} 20.00          {element:>2}\n"
    )


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def reason(protein: Path, ligand: Path) -> tuple[str, str]:
    record = read_complex(protein, ligand, "x")
    assert isinstance(record, Rejection)
    assert "\n" not in record.detail
    return record.reason, record.detail


@pytest.fixture
def protein(tmp_path: Path) -> Path:
    return write(tmp_path / "protein.pdb", PROTEIN)


@pytest.fixture
def ligand(tmp_path: Path) -> Path:
    return write(tmp_path / "ligand.sdf", LIGAND)


def test_a_complex_has_the_ligand_and_whole_residues_within_ten_angstroms() -> None:
    record = read_complex(EXAMPLE / "protein.pdb.gz", EXAMPLE / "ligand.sdf", "7sza")
    assert isinstance(record, Complex)
    assert record.smiles == "Nc1cccc2c1C(=O)N([C@@H]1CCC(=O)NC1=O)C2=O"
    assert record.ligand.num_atoms == 20
    whole = read_protein(EXAMPLE / "protein.pdb.gz")
    distance = np.linalg.norm(whole.x[:, None] - record.ligand.x[None], axis=-1).min(axis=1)
    residues = np.unique(whole.residue_of[distance <= 10])
    assert record.pocket.num_atoms == np.isin(whole.residue_of, residues).sum()
    assert record.pocket.residue_index.max() + 1 == len(residues)
    assert set(record.pocket.residue.tolist()) <= set(range(20))
    assert (record.pocket.atom_name == vocab.CALPHA).sum() == len(residues)


@pytest.mark.parametrize("name", ["p.cif", "p.cif.gz", "p.pdb.gz", "p.ent"])
def test_every_protein_format_gives_the_same_atoms(name: str, tmp_path: Path) -> None:
    structure = gemmi.read_pdb_string(PROTEIN)
    text = structure.make_mmcif_document().as_string() if "cif" in name else PROTEIN
    data = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    read, expected = read_protein(tmp_path / name), read_protein(EXAMPLE / "protein.pdb.gz")
    assert [r.label for r in read.residues] == [r.label for r in expected.residues]
    np.testing.assert_array_equal(read.atom_name, expected.atom_name)
    np.testing.assert_array_equal(read.x, expected.x)


def test_waters_hydrogens_and_unseen_atoms_are_left_out_and_counted(tmp_path: Path) -> None:
    extra = (
        atom_line("O", "HOH", "501", (0, 0, 0))
        + atom_line("O", "DOD", "502", (0, 0, 3))
        + atom_line("H1", "LIG", "601", (5, 0, 0))
        + atom_line("D1", "LIG", "601", (6, 0, 0), element="D")
        + atom_line("C1", "LIG", "601", (7, 0, 0), occupancy=0.0)
        + atom_line("C2", "LIG", "601", (8, 0, 0))
        + atom_line("Q1", "LIG", "601", (9, 0, 0), element="X")
    )
    read = read_protein(write(tmp_path / "p.pdb", PROTEIN.replace("END\n", extra + "END\n")))
    assert read.num_atoms == read_protein(EXAMPLE / "protein.pdb.gz").num_atoms + 1
    assert read.dropped == {
        "atoms of waters": 2,
        "hydrogens": 2,
        "atoms of unknown element": 1,
        "atoms of zero occupancy": 1,
    }


def test_zero_occupancy_throughout_means_nothing(tmp_path: Path) -> None:
    lines = [f"{line[:54]}  0.00{line[60:]}" if line.startswith("ATOM") else line for line in PROTEIN.splitlines()]
    read = read_protein(write(tmp_path / "p.pdb", "\n".join(lines) + "\n"))
    assert read.num_atoms == read_protein(EXAMPLE / "protein.pdb.gz").num_atoms


def test_of_alternate_locations_the_fullest_stays_and_the_first_of_equals(tmp_path: Path) -> None:
    def side_chain(number: str, occupancies: tuple[float, float]) -> str:
        text = atom_line("CA", "SER", number, (0, 0, 0))
        for x, (label, occupancy) in enumerate(zip("AB", occupancies, strict=True), start=1):
            for name, y in (("CB", 0.0), ("OG", 1.4)):
                text += atom_line(name, "SER", number, (x, y, 0), altloc=label, occupancy=occupancy)
        return text

    def kept(text: str) -> list[float]:
        read = read_protein(write(tmp_path / "p.pdb", text))
        assert read.dropped == {"atoms in alternate locations": 2}
        assert len(read.residues) == 1
        return read.x[:, 0].tolist()

    assert kept(side_chain("7", (0.4, 0.6))) == [0, 2, 2]
    assert kept(side_chain("7", (0.5, 0.5))) == [0, 1, 1]


def test_two_amino_acids_at_one_place_are_conformers(tmp_path: Path) -> None:
    text = atom_line("CA", "SER", "7", (0, 0, 0), altloc="A", occupancy=0.3)
    text += atom_line("CA", "THR", "7", (1, 0, 0), altloc="B", occupancy=0.7)
    read = read_protein(write(tmp_path / "p.pdb", text))
    assert [r.name for r in read.residues] == ["THR"]


def test_insertion_codes_and_chains_separate_residues(tmp_path: Path) -> None:
    text = "".join(atom_line("CA", "GLY", n, (i, 0, 0)) for i, n in enumerate(("57", "57A", "57B")))
    read = read_protein(write(tmp_path / "p.pdb", text))
    assert [r.label for r in read.residues] == ["A:57", "A:57A", "A:57B"]


def test_the_first_model_is_used(tmp_path: Path) -> None:
    line = atom_line("CA", "GLY", "1", (1, 2, 3))
    models = "".join(f"MODEL     {i:4}\n{line}ENDMDL\n" for i in (1, 2, 3))
    read = read_protein(write(tmp_path / "p.pdb", models))
    assert (read.num_atoms, read.dropped) == (1, {"further models": 2})


def test_residues_are_sorted_by_what_they_are_to_a_pocket(tmp_path: Path) -> None:
    backbone = (("N", 0.0), ("CA", 1.5), ("C", 3.0), ("O", 4.2))
    text = "".join(atom_line(name, "SEP", "10", (x, 0, 0)) for name, x in backbone)
    text += "".join(atom_line(name, "DGL", "11", (x, 5, 0)) for name, x in (*backbone, ("OXT", 5.0)))
    text += atom_line("ZN", "ZN", "201", (0, 9, 0), element="ZN")
    text += atom_line("FE", "HEM", "202", (0, 15, 0), element="FE")
    text += atom_line("C1", "GOL", "203", (0, 20, 0))
    text += atom_line("CL", "CL", "204", (0, 25, 0), element="CL")
    text += atom_line("SE", "MSE", "205", (0, 30, 0), element="SE")
    read = read_protein(write(tmp_path / "p.pdb", text))
    kinds = {r.name: r.kind for r in read.residues}
    assert kinds == {
        "SEP": Kind.POLYMER,
        "DGL": Kind.LIGAND,
        "ZN": Kind.METAL,
        "HEM": Kind.COFACTOR,
        "GOL": Kind.LIGAND,
        "CL": Kind.LIGAND,
        "MET": Kind.POLYMER,
    }
    classes = {read.residues[i].name: c for i, c in zip(read.residue_of, read.residue, strict=True)}
    assert classes["SEP"] == vocab.OTHER_RESIDUE
    assert classes["MET"] == vocab.RESIDUES.index("MET")


def test_sequence_reads_variants_and_modified_residues(tmp_path: Path) -> None:
    names = ("MSE", "HIE", "CYX", "SEP", "ZZZ")
    text = "".join(
        atom_line(atom, name, str(i), (5 * i + j, 0, 0))
        for i, name in enumerate(names, start=1)
        for j, atom in enumerate(("N", "CA", "C", "O"))
    )
    assert read_protein(write(tmp_path / "p.pdb", text)).sequence("A") == "MHCSX"


def test_a_bad_protein_file_is_a_rejection(tmp_path: Path, ligand: Path) -> None:
    assert reason(tmp_path / "none.pdb", ligand)[0] == "missing file"
    assert (
        reason(write(tmp_path / "prose.pdb", "Dear reader,\nthis is not a protein.\n"), ligand)[0] == "not a structure"
    )
    assert reason(write(tmp_path / "prose.cif", "Dear reader"), ligand)[0] == "not a structure"
    assert reason(write(tmp_path / "empty.pdb", ""), ligand)[0] == "not a structure"
    water = write(tmp_path / "water.pdb", atom_line("O", "HOH", "1", (0, 0, 0)))
    assert reason(water, ligand) == ("not a structure", f"{water}: no heavy atoms besides waters")
    (tmp_path / "cut.pdb.gz").write_bytes((EXAMPLE / "protein.pdb.gz").read_bytes()[:5000])
    assert reason(tmp_path / "cut.pdb.gz", ligand)[0] == "not a structure"


def test_a_coordinate_that_is_no_number_is_a_rejection(tmp_path: Path, protein: Path, ligand: Path) -> None:
    for text in ("     nan", "     inf"):
        broken = write(tmp_path / "nan.pdb", PROTEIN.replace(" -83.739", f"{text} ", 1))
        assert reason(broken, ligand)[0] in ("non-finite coordinates", "not a structure")
        broken = write(tmp_path / "nan.sdf", LIGAND.replace("  -55.4580", f"  {text}", 1))
        assert reason(protein, broken)[0] in ("non-finite coordinates", "RDKit rejects the ligand")


def test_what_rdkit_rejects_is_quoted_with_its_record(tmp_path: Path, protein: Path) -> None:
    path = write(tmp_path / "five.sdf", LIGAND.replace(" 14 18  2  0", " 14 18  3  0"))
    why, detail = reason(protein, path)
    assert why == "RDKit rejects the ligand"
    assert "five.sdf: record 1: Explicit valence for atom # 13 C, 5" in detail
    garbled = write(tmp_path / "garbled.sdf", LIGAND.replace(" 20 22  0", " xx yy  0"))
    assert reason(protein, garbled)[0] == "RDKit rejects the ligand"
    assert reason(protein, write(tmp_path / "empty.sdf", ""))[0] == "no molecule"
    assert reason(protein, write(tmp_path / "ligand.txt", LIGAND))[0] == "not a ligand file"
    assert reason(protein, tmp_path / "none.sdf")[0] == "missing file"


def test_a_flat_drawing_is_no_pose(tmp_path: Path, protein: Path) -> None:
    flat = Chem.MolFromSmiles("Nc1cccc2c1C(=O)NC2=O")
    rdDepictor.Compute2DCoords(flat)
    path = write(tmp_path / "flat.sdf", Chem.MolToMolBlock(flat))
    assert reason(protein, path)[0] == "no 3D coordinates"


def test_a_ligand_the_size_of_a_protein_is_refused_at_once(tmp_path: Path, protein: Path) -> None:
    chain = Chem.MolFromSmiles("C" * 5000)
    chain.AddConformer(Chem.Conformer(5000))
    path = write(tmp_path / "huge.sdf", Chem.MolToV3KMolBlock(chain))
    assert reason(protein, path) == ("ligand size", f"{path}: record 1: 5000 heavy atoms; at most 80 are accepted")


def test_an_element_without_a_class_is_named(tmp_path: Path, protein: Path) -> None:
    path = write(tmp_path / "se.sdf", LIGAND.replace("24.5500 C  ", "24.5500 Se ", 1))
    why, detail = reason(protein, path)
    assert (why, detail) == ("unknown element", "atom 3 (Se)")


def test_a_ligand_far_away_or_inside_the_protein_is_refused(tmp_path: Path, ligand: Path) -> None:
    def moved(shift: np.ndarray) -> Path:
        structure = gemmi.read_pdb_string(PROTEIN)
        for site in structure[0].all():
            site.atom.pos += gemmi.Position(*shift)
        structure.write_pdb(str(tmp_path / "moved.pdb"))
        return tmp_path / "moved.pdb"

    assert reason(moved(np.array([0, 500, 0])), ligand)[0] == "ligand far from the protein"
    molecule = read_ligand(ligand).GetConformer().GetPositions()
    whole = read_protein(EXAMPLE / "protein.pdb.gz")
    assert reason(moved(molecule[0] - whole.x[100] + 0.1), ligand)[0] == "ligand overlaps the protein"


def test_a_copy_of_the_ligand_in_the_protein_file_is_not_pocket(tmp_path: Path, ligand: Path) -> None:
    positions = read_ligand(ligand).GetConformer().GetPositions()
    lines = "".join(atom_line(f"C{i}", "ATP", "401", tuple(x)) for i, x in enumerate(positions))
    with_copy = write(tmp_path / "p.pdb", PROTEIN.replace("END\n", lines + "END\n"))
    record, expected = (read_complex(p, ligand, "x") for p in (with_copy, EXAMPLE / "protein.pdb.gz"))
    np.testing.assert_array_equal(record.pocket.x, expected.pocket.x)


METHYLAMMONIUM = """@<TRIPOS>MOLECULE
methylammonium
 8 7 1
SMALL
NO_CHARGES
@<TRIPOS>ATOM
1 C1 0.0000 0.0000 0.0000 C.3 1 LIG 0.0
2 N1 1.5100 0.0000 0.0000 N.4 1 LIG 0.0
3 H1 -0.3600 1.0300 0.0000 H 1 LIG 0.0
4 H2 -0.3600 -0.5100 0.8900 H 1 LIG 0.0
5 H3 -0.3600 -0.5100 -0.8900 H 1 LIG 0.0
6 H4 1.8500 0.9600 0.0000 H 1 LIG 0.0
7 H5 1.8500 -0.4800 0.8300 H 1 LIG 0.0
8 H6 1.8500 -0.4800 -0.8300 H 1 LIG 0.0
@<TRIPOS>BOND
1 1 2 1
2 1 3 1
3 1 4 1
4 1 5 1
5 2 6 1
6 2 7 1
7 2 8 1
"""


def test_mol2_gives_the_charges_its_hydrogens_imply(tmp_path: Path, protein: Path) -> None:
    (tmp_path / "l.mol2.gz").write_bytes(gzip.compress(METHYLAMMONIUM.encode()))
    for path in (write(tmp_path / "l.mol2", METHYLAMMONIUM), tmp_path / "l.mol2.gz"):
        assert Chem.MolToSmiles(Chem.RemoveHs(read_ligand(path))) == "C[NH3+]"
    heads, tails = METHYLAMMONIUM.split("3 H1", maxsplit=1)[0], "@<TRIPOS>BOND\n1 1 2 1\n"
    bare = write(tmp_path / "bare.mol2", heads.replace(" 8 7 1", " 2 1 1") + tails)
    assert reason(protein, bare) == (
        "MOL2 without hydrogens",
        f"{bare}: record 1: no hydrogens; add them or give an SDF",
    )
    assert reason(protein, write(tmp_path / "none.mol2", "nothing"))[0] == "no molecule"


def test_a_compressed_sdf_is_the_same_molecule(tmp_path: Path, ligand: Path) -> None:
    (tmp_path / "l.sdf.gz").write_bytes(gzip.compress(LIGAND.encode()))
    assert Chem.MolToSmiles(read_ligand(tmp_path / "l.sdf.gz")) == Chem.MolToSmiles(read_ligand(ligand))
    (tmp_path / "cut.sdf.gz").write_bytes((tmp_path / "l.sdf.gz").read_bytes()[:200])
    with pytest.raises(UnreadableFile) as caught:
        read_ligand(tmp_path / "cut.sdf.gz")
    assert caught.value.reason == "unreadable file"


def test_of_several_molecules_the_first_is_used_and_that_is_said(tmp_path: Path) -> None:
    other = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")) + "$$$$\n"
    read = read_ligand_file(write(tmp_path / "two.sdf", LIGAND + other))
    assert read.mol.GetNumAtoms() == 20
    assert read.note == "the first of 2 molecules is used"
    assert read_ligand_file(EXAMPLE / "ligand.sdf").note == ""
