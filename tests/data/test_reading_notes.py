"""What is said of a protein file, what is refused, and the names by which residues and molecules are chosen."""

import gzip
import json
import logging
from pathlib import Path

import pytest
from rdkit import Chem

from ligandsmith.chem.protein import load_protein
from ligandsmith.cli.main import main
from ligandsmith.data.preparation import PrepareOptions, prepare
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.pocket import pocket_from_het, pocket_from_residues, read_pocket, site_sequences
from ligandsmith.structure.protein import Protein, UnreadableFile, read_protein
from ligandsmith.structure.vocabulary import Kind
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7off"
PDB = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode()
LINES = [line for line in PDB.splitlines() if line.startswith("ATOM")]
PEPTIDE = [line for line in LINES if 594 <= int(line[22:26]) <= 598]  # far from the ends of the chain


def write(folder: Path, lines: list[str], name: str = "protein.pdb") -> Path:
    path = folder / name
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def with_unseen(share: float) -> list[str]:
    """A share of the atoms has no occupancy."""
    return [f"{x[:54]}  0.00{x[60:]}" if i % 20 < 20 * share else x for i, x in enumerate(LINES)]


def het(name: str, number: int, element: str, x: float) -> str:
    return (
        f"HETATM 9000 {element:<4} {name:<3} A{number:>4}    {x:8.3f}{0:8.3f}{0:8.3f}  1.00 20.00          {element:>2}"
    )


def test_one_line_says_what_was_kept_renamed_and_left_out(tmp_path: Path) -> None:
    lines = [x.replace("HIS A", "HIE A") for x in LINES]
    lines += [het("HOH", 900, "O", 90), het("GOL", 901, "C", 95), het("ZN", 902, "ZN", 99), het("XYZ", 903, "C", 104)]
    _, report = read_pocket(write(tmp_path, lines), SITE / "ligand.sdf")
    renamed = sum(1 for r in read_protein(SITE / "protein.pdb.gz").residues if r.name == "HIS")
    assert report.lines()[0] == (
        "protein.pdb: 2,238 heavy atoms of 294 residues in chains A; buffers GOL 1; ions ZN 1; other molecules XYZ 1; "
        f"renamed: HIE→HIS {renamed}; left out: 1 atoms of waters"
    )


def test_many_lost_atoms_are_a_warning_and_too_many_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_protein(write(tmp_path, with_unseen(0.0)))
    assert not caplog.records
    with caplog.at_level(logging.WARNING, logger="ligandsmith"):
        read_protein(write(tmp_path, with_unseen(0.1)))
        assert "of the atoms cannot be used" in caplog.text
        path = write(tmp_path, with_unseen(0.3))
        with pytest.raises(UnreadableFile, match=r"30 % of the atoms .*atoms of zero occupancy.*--allow_dropped"):
            read_protein(path)
        assert "30 % of the atoms cannot be used" in read_protein(path, allow_dropped=True).description()


def test_the_flag_lifts_the_limit_in_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, with_unseen(0.25))
    ligand, out = str(SITE / "ligand.sdf"), tmp_path / "out"
    (tmp_path / "pairs.csv").write_text(f"id,protein,ligand\nx,{path},{ligand}\n")
    sampling = [
        "--checkpoint",
        "tiny",
        "--num",
        "1",
        "--num_atoms",
        "8",
        "--steps",
        "2",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    commands = {
        "generate": ["generate", "--protein", str(path), "--ligand", ligand, "--out", str(out / "g"), *sampling],
        "evaluate": ["evaluate", ligand, "--protein", str(path), "--protocol", "none", "--out", str(out / "e")],
        "relax": ["relax", ligand, "--protein", str(path), "--out", str(out / "r")],
        "prepare": ["prepare", str(tmp_path / "pairs.csv"), "--out", str(out / "p")],
    }
    for words in commands.values():
        assert main(words) == 1
        assert "--allow_dropped" in capsys.readouterr().err
        assert main([*words, "--allow_dropped"]) == 0
    notes = (
        json.loads((out / "g/samples.json").read_text())["preflight"][0],
        json.loads((out / "e/summary.json").read_text())["inputs"][0]["protein_reading"],
        json.loads((out / "r/relax.json").read_text())["protein_reading"],
        json.loads((out / "p/reading.json").read_text())["x"],
    )
    assert all("25 % of the atoms cannot be used" in note for note in notes)


def test_which_of_two_formats_was_read_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "x"
    folder.mkdir(parents=True)
    (folder / "protein.pdb").write_text(PDB)
    (folder / "lig.sdf").write_text((SITE / "ligand.sdf").read_text())
    (folder / "lig.mol2").write_text("@<TRIPOS>MOLECULE\nx\n1 0\n\n\n@<TRIPOS>ATOM\n1 C1 0 0 0 c3 1 LIG 0\n")
    prepare(tmp_path / "in", tmp_path / "a", PrepareOptions())
    assert "lig.sdf is used, not lig.mol2" in json.loads((tmp_path / "a/reading.json").read_text())["x"]
    (tmp_path / "pairs.csv").write_text("id,protein,ligand\nx,in/x/protein.pdb,in/x/lig.mol2\n")
    prepare(tmp_path / "pairs.csv", tmp_path / "b", PrepareOptions())
    said = json.loads((tmp_path / "b/reading.json").read_text())["x"]
    assert "lig.sdf is used: " in said
    assert "atom type c3 is no Sybyl type" in said


def with_peptide(folder: Path, record: str) -> Path:
    """The protein with five residues of it as a peptide in a chain of its own."""
    rest = [line for line in LINES if line not in PEPTIDE and not 592 <= int(line[22:26]) <= 600]
    return write(folder, [*rest, *(f"{record:<6}{line[6:21]}P{line[22:]}" for line in PEPTIDE)])


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
def test_a_peptide_is_a_ligand_by_its_chain_and_by_its_place(record: str, tmp_path: Path) -> None:
    path = with_peptide(tmp_path, record)
    protein = read_protein(path)
    pocket, report = pocket_from_het(protein, "P")
    peptide = {i for i, r in enumerate(protein.residues) if r.chain == "P"}
    labels = tuple(protein.residues[i].het_label for i in sorted(peptide))
    assert report.removed_reference == labels
    assert len(labels) == 5
    assert "the 5 residues of chain P" in report.selection
    mol = Chem.MolFromPDBBlock("\n".join(PEPTIDE))
    Chem.MolToMolFile(mol, str(tmp_path / "peptide.sdf"))
    by_place, found = read_pocket(path, tmp_path / "peptide.sdf")
    assert found.removed_reference == labels
    assert (by_place.x == pocket.x).all()
    record_of = read_complex(path, tmp_path / "peptide.sdf", "x")
    assert isinstance(record_of, Complex), record_of
    assert all("P" not in label for label in found.residues)
    assert len(site_sequences(protein, mol.GetConformer().GetPositions())) == 1
    view = load_protein(path, removed_from_site=labels)
    assert len(view.x) == protein.num_atoms - mol.GetNumAtoms()
    assert len(load_protein(path, mol).x) == len(view.x)


def test_labels_of_what_is_there_are_listed(tmp_path: Path) -> None:
    protein = read_protein(with_peptide(tmp_path, "ATOM"))
    with pytest.raises(LigandsmithError, match="no het molecule XYZ; there chain P"):
        pocket_from_het(protein, "XYZ")
    with pytest.raises(LigandsmithError, match=r"chain A \(323 to 613\), chain P \(594 to 598\)"):
        pocket_from_residues(protein, ["B:1"])


def both_copies(folder: Path) -> Protein:
    far = [f"{x[:30]}{float(x[30:38]) + 80:8.3f}{x[38:]}" for x in LINES]
    return read_protein(write(folder, [*LINES, *far]))


def test_copies_of_a_chain_have_names_to_type(tmp_path: Path) -> None:
    protein = both_copies(tmp_path)
    assert protein.sequence("A-1") == protein.sequence("A-2") == read_protein(SITE / "protein.pdb.gz").sequence("A")
    assert pocket_from_residues(protein, ["A-2:400"])[1].residues == ("A-2:400",)
    with pytest.raises(
        LigandsmithError, match=r"residue A:400 is there more than once; choose one of A-1:400, A-2:400"
    ):
        pocket_from_residues(protein, ["A:400"])


def test_a_ligand_with_the_number_of_a_residue_does_not_hide_it(tmp_path: Path) -> None:
    protein = read_protein(write(tmp_path, [*LINES, het("LIG", 400, "C", 90)]))
    assert pocket_from_residues(protein, ["A:400"])[1].residues == ("A:400",)
    assert [protein.residues[i].het_label for i in protein.hets] == ["A:LIG:400"]


def test_chloride_of_charmm_is_no_chlorophyll(tmp_path: Path) -> None:
    lines = [
        f"{het('CLA', 901, 'CLA', 90)[:66]}",
        f"{het('SOD', 902, 'SOD', 95)[:66]}",
        f"{het('Na+', 903, 'Na+', 99)[:66]}",
    ]
    protein = read_protein(write(tmp_path, [*LINES, *lines]))
    found = [(protein.residues[i].kind, int(protein.element[protein.residue_of == i][0])) for i in protein.hets]
    assert found == [(Kind.LIGAND, 17), (Kind.METAL, 11), (Kind.METAL, 11)]


@pytest.mark.parametrize("number", [9_999, 10_000, 12_345])
def test_numbers_beyond_the_columns_are_typed_as_numbers(number: int, tmp_path: Path) -> None:
    text = {9_999: "9999", 10_000: "A000", 12_345: "A1T5"}[number]
    line = f"{LINES[0][:22]}{text}{LINES[0][26:]}"
    protein = read_protein(write(tmp_path, [line, *LINES[200:]]))
    assert protein.residues[0].label == f"A:{number}"
    assert pocket_from_residues(protein, [f"A:{number}"])[1].residues == (f"A:{number}",)
