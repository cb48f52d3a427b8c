"""`prepare-protein`: what is kept, completed and protonated, under the labels of the file, and what is said of it."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.completeness import chain_gaps, incompleteness, missing_atoms, standard_atoms
from ligandsmith.structure.hydrogens import protonated
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import read_pocket
from ligandsmith.structure.protein import Protein, read_protein
from ligandsmith.structure.protein_preparation import PreparationOptions, prepare_protein, write_prepared
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"
LIGAND = SITE / "ligand.sdf"
LINES = [x for x in gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode().splitlines() if x[:4] == "ATOM"]
LACKING = {14, 131, 137, 144, 213, 233, 237, 245}  # residues whose side chains the deposition does not have whole


def number(line: str) -> int:
    return int(line[22:26])


def name(line: str) -> str:
    return line[12:16].strip()


def relabelled(line: str, record: str = "ATOM  ", residue: str = "", label: str = "") -> str:
    """A line with another record name, residue name (three letters), or chain and number (`A  30B`)."""
    line = f"{record}{line[6:17]}{residue or line[17:20]}{line[20:]}"
    return f"{line[:21]}{label:<6}{line[27:]}" if label else line


def het(residue: str, at: tuple[float, float, float], element: str, label: str) -> str:
    place = "".join(f"{v:8.3f}" for v in at)
    return f"HETATM 9000 {element:>2}   {residue:>3} {label:<6}   {place}  1.00 20.00          {element:>2}"


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / "protein.pdb"
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def prepared(path: Path, out: Path, ligand: Chem.Mol | None = None, het: str = "", **options: Any) -> dict[str, Any]:
    """The report on a file, which is prepared and written to `out`."""
    return json.loads(
        write_prepared(prepare_protein(path, PreparationOptions(**options), ligand, het), out).read_text()
    )


def hydrogens(path: Path, place: str) -> set[str]:
    """Names of the hydrogens of the residue CHAIN:NUMBER."""
    chain, wanted = place.split(":")
    (residue,) = (r for r in gemmi.read_structure(str(path))[0][chain] if str(r.seqid) == wanted)
    return {atom.name for atom in residue if atom.is_hydrogen()}


def labels(protein: Protein) -> list[str]:
    return [residue.full_label for residue in protein.residues]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example protein, prepared with its ligand by the command."""
    out = tmp_path_factory.mktemp("prepared") / "p.pdb"
    words = ["prepare-protein", str(SITE / "protein.pdb.gz"), "--ligand", str(LIGAND), "--out", str(out)]
    assert main(words) == OK
    return out


def test_side_chains_are_completed_and_every_residue_gets_hydrogens(example: Path) -> None:
    before, after = read_protein(SITE / "protein.pdb.gz"), read_protein(example)
    assert labels(after) == labels(before)
    assert {before.residues[i].number for i in missing_atoms(before)} == LACKING
    assert missing_atoms(after) == {}
    report = json.loads(example.with_suffix(".json").read_text())
    built = report["changes"]["side chains completed"]
    assert "A:GLU14 (CG CD OE1 OE2)" in built
    assert len(built) == report["counts"]["side chains completed"] == len(LACKING)
    assert (
        after.num_atoms
        == report["heavy_atoms"]
        == before.num_atoms + sum(len(n) for n in missing_atoms(before).values())
    )
    assert after.dropped == {"hydrogens": report["hydrogens"]}
    assert all(hydrogens(example, residue.label) for residue in after.residues)


def test_atoms_of_the_file_stay_where_they_were_but_for_reported_flips(example: Path) -> None:
    before, after = read_protein(SITE / "protein.pdb.gz"), read_protein(example)
    place = {
        (after.residues[i].number, n): x for i, n, x in zip(after.residue_of, after.atom_label, after.x, strict=True)
    }
    moved = {
        before.residues[i].full_label
        for i, n, x in zip(before.residue_of, before.atom_label, before.x, strict=True)
        if np.abs(place[before.residues[i].number, n] - x).max() > 0.001
    }
    assert moved == set(json.loads(example.with_suffix(".json").read_text())["changes"]["side chains flipped"])
    assert len(moved) == 1


def test_hydrogens_are_bonded_and_their_number_is_right(example: Path) -> None:
    """By RDKit's own reading of the amino acids, at the states of the report."""
    structure = gemmi.read_structure(str(example))
    for residue in structure[0]["A"]:
        heavy = np.array([a.pos.tolist() for a in residue if not a.is_hydrogen()])
        for atom in residue:
            if atom.is_hydrogen():
                assert 0.9 < np.linalg.norm(heavy - atom.pos.tolist(), axis=1).min() < 1.2, (residue, atom.name)
    (alanine,) = (r for r in structure[0]["A"] if r.seqid.num == 16)
    assert hydrogens(example, "A:16") == {"H", "HA", "HB1", "HB2", "HB3"}
    assert alanine.name == "ALA"


def test_what_follows_reads_the_same_labels(example: Path, tmp_path: Path) -> None:
    one, other = (read_pocket(path, LIGAND)[1].residues for path in (SITE / "protein.pdb.gz", example))
    assert one == other
    words = ["evaluate", str(LIGAND), "--protein", str(example), "--ligand", str(LIGAND), "--out", str(tmp_path)]
    assert main([*words, "--protocol", "none"]) == OK


def test_the_ligand_bears_on_the_pka_values(example: Path, tmp_path: Path) -> None:
    def pka(report: dict[str, Any]) -> float:
        (value,) = (row["pka"] for row in report["pka"] if (row["residue"], row["group"]) == ("A:GLU115", "GLU"))
        return float(value)

    alone = pka(prepared(SITE / "protein.pdb.gz", tmp_path / "p.pdb"))
    with_ligand = pka(json.loads(example.with_suffix(".json").read_text()))
    assert with_ligand < alone - 0.5  # the amine and the imide hydrogens of the ligand are beside the acid


@pytest.mark.parametrize(("ph", "state", "expected"), [(1.0, "HIP", {"HD1", "HE2"}), (13.0, "HI[DE]", None)])
def test_the_ph_decides_the_states(ph: float, state: str, expected: set[str] | None, tmp_path: Path) -> None:
    lines = [x for x in LINES if 55 <= number(x) <= 75]
    report = prepared(write(tmp_path, lines), tmp_path / "p.pdb", ph=ph)
    found = hydrogens(tmp_path / "p.pdb", "A:61") & {"HD1", "HE2"}
    assert found == expected if expected else len(found) == 1
    assert report["ph"] == ph
    assert re.search(rf"A:HIS61 {state}", " ".join(report["changes"]["histidines"]))


def test_odd_labels_and_names_come_back(tmp_path: Path) -> None:
    """Insertion codes, a chain of two letters, selenomethionine, names of force fields."""
    lines = []
    for line in (x for x in LINES if 55 <= number(x) <= 115):
        label = f"Z{60:>4}{' ABC'[number(line) - 60]}" if 60 <= number(line) <= 63 else f"Z{number(line):>4} "
        residue = {"HIS": "HIE", "MET": "MSE"}.get(line[17:20], "")
        other = relabelled(line, residue=residue, label=label)
        selenium = residue == "MSE" and name(line) == "SD"
        lines.append(f"{other[:12]}SE  {other[16:76]}SE" if selenium else other)
    path = write(tmp_path, lines)
    report = prepared(path, tmp_path / "p.pdb")
    assert labels(read_protein(tmp_path / "p.pdb")) == labels(read_protein(path))
    assert "Z:60C" in {residue.label for residue in read_protein(tmp_path / "p.pdb").residues}
    assert {text.split()[0] for text in report["changes"]["names replaced"]} >= {"HIE→HIS", "MSE→MET"}
    text = (tmp_path / "p.pdb").read_text()
    assert "MSE" not in text
    assert all(" SD  MET" in x for x in text.splitlines() if x[76:78].strip() == "S" and "MET" in x)


def test_gaps_missing_backbones_and_modified_residues_stay_as_they_are(tmp_path: Path) -> None:
    lines = [x for x in LINES if 45 <= number(x) <= 75 and not 55 <= number(x) <= 57]
    lines = [x for x in lines if not (number(x) == 50 and name(x) == "O")]
    lines = [relabelled(x, "HETATM", "SEP") if number(x) == 65 else x for x in lines]
    path = write(tmp_path, lines)
    report = prepared(path, tmp_path / "p.pdb")["changes"]
    assert report["gaps, left open"] == ["A:54 to 58"]
    assert [text.split()[0] for text in report["incomplete, left as they are"]] == ["A:GLY50"]
    assert set(report["residues without hydrogens"]) == {"A:GLY50", "A:SEP65"}
    before, after = read_protein(path), read_protein(tmp_path / "p.pdb")
    assert labels(after) == labels(before)
    assert chain_gaps(after) == chain_gaps(before)
    assert "OXT" not in after.atom_label


def test_of_alternate_locations_one_is_written(tmp_path: Path) -> None:
    lines = []
    for line in (x for x in LINES if 60 <= number(x) <= 75):
        both = number(line) == 69 and name(line) not in ("N", "CA", "C", "O")
        shifted = f"{line[:16]}B{line[17:30]}{float(line[30:38]) + 0.8:8.3f}{line[38:54]}  0.30{line[60:]}"
        lines += [f"{line[:16]}A{line[17:54]}  0.70{line[60:]}", shifted] if both else [line]
    report = prepared(write(tmp_path, lines), tmp_path / "p.pdb")["changes"]
    assert report["alternate locations, one kept"] == ["A:HIS69"]
    assert {atom.altloc for chain in gemmi.read_structure(str(tmp_path / "p.pdb"))[0] for r in chain for atom in r} == {
        "\0"
    }


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """The site with zinc at a histidine, a cofactor's atom, a buffer, two waters and its ligand in two chains."""
    mol = read_ligand(LIGAND)
    center = mol.GetConformer().GetPositions().mean(axis=0)
    nitrogen = next(x for x in LINES if number(x) == 61 and name(x) == "ND1")
    carbon = next(x for x in LINES if number(x) == 61 and name(x) == "CD2")
    x, y = (np.array([float(line[k : k + 8]) for k in (30, 38, 46)]) for line in (nitrogen, carbon))
    zinc = x + 2.0 * (x - y) / np.linalg.norm(x - y)
    near = center + np.array([0.0, 0.0, 4.0])
    extra = [
        het("ZN", tuple(zinc), "ZN", "A 301 "),
        het("GOL", (0, 0, 0), "C", "A 302 "),
        het("HOH", tuple(near), "O", "A 401 "),
        het("HOH", (30, 30, 30), "O", "A 402 "),
    ]
    block = Chem.MolToPDBBlock(mol).splitlines()
    extra += [relabelled(line, "HETATM", "LIG", "A 500 ") for line in block if line.startswith("HETATM")]
    first = [line for line in LINES if 50 <= number(line) <= 75]
    second = [relabelled(line, label=f"B{number(line):>4} ") for line in LINES if number(line) < 20]
    second = [f"{line[:30]}{float(line[30:38]) + 90:8.3f}{line[38:]}" for line in second]
    return write(tmp_path, [*first, *second, *extra])


def test_chains_and_molecules_are_chosen(crowded: Path, tmp_path: Path) -> None:
    report = prepared(crowded, tmp_path / "p.pdb", read_ligand(LIGAND), chains=("A",), keep_waters=6.0)["changes"]
    assert report["chains left out"] == ["B"]
    assert report["molecules kept"] == ["A:ZN:301"]
    assert report["ligand of the site, left out"] == ["A:LIG:500"]
    assert report["molecules left out"] == ["A:GOL:302"]
    assert (report["waters kept"], report["waters left out"]) == (["A:HOH:401"], ["A:HOH:402"])
    assert hydrogens(tmp_path / "p.pdb", "A:401") == {"H1", "H2"}
    after = read_protein(tmp_path / "p.pdb", waters=True)
    assert [after.residues[i].het_label for i in after.hets] == ["A:ZN:301", "A:HOH:401"]
    assert {residue.chain for residue in after.residues} == {"A"}


def test_a_histidine_at_a_metal_has_its_hydrogen_on_the_other_side(crowded: Path, tmp_path: Path) -> None:
    for keep, expected in ((("metals",), {"HE2"}), ((), {"HD1"})):
        out = tmp_path / f"{len(keep)}.pdb"
        prepared(crowded, out, chains=("A",), keep=keep)
        assert hydrogens(out, "A:61") & {"HD1", "HE2"} == expected


def test_the_ligand_can_be_named_in_the_file_and_kept(crowded: Path, tmp_path: Path) -> None:
    report = prepared(crowded, tmp_path / "p.cif", het="LIG", keep=("LIG", "buffers"), chains=("A",))["changes"]
    assert report["molecules kept"] == ["A:GOL:302", "A:LIG:500"]
    assert report["molecules left out"] == ["A:ZN:301"]
    assert "ligand of the site, left out" not in report
    assert read_pocket(tmp_path / "p.cif", het="LIG")[1].removed_reference == ("A:LIG:500",)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--chains", "Q"], "no chain Q; there are A, B"),
        (["--keep", "NAG"], "no molecule NAG to keep; give metals, cofactors, ligands, buffers"),
        (["--keep_waters", "5"], "name it with --ligand or --het"),
        (["--het", "XYZ"], "no het molecule XYZ"),
        (["--ligand", "no.sdf"], "no.sdf: no such file"),
        (["--out", "p.xyz"], "ends in .pdb or .cif"),
    ],
)
def test_a_wrong_choice_is_one_line(
    flags: list[str], said: str, crowded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "p.pdb"
    assert main(["prepare-protein", str(crowded), "--out", str(out), *flags]) == FAILED
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not out.parent.exists()


def test_a_long_name_of_a_chain_asks_for_mmcif(tmp_path: Path) -> None:
    structure = gemmi.read_pdb_string("\n".join(x for x in LINES if 60 <= number(x) <= 70))
    structure[0][0].name = "chain_1"
    (tmp_path / "in.cif").write_text(structure.make_mmcif_document().as_string())
    done = prepare_protein(tmp_path / "in.cif", PreparationOptions())
    with pytest.raises(
        LigandsmithError, match=r"p\.pdb: a PDB file cannot hold the name of chain chain_1; name a \.cif"
    ):
        write_prepared(done, tmp_path / "p.pdb")
    write_prepared(done, tmp_path / "p.cif")
    assert labels(read_protein(tmp_path / "p.cif")) == labels(read_protein(tmp_path / "in.cif"))


def test_files_are_replaced_only_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, [x for x in LINES if 60 <= number(x) <= 70])
    words = ["prepare-protein", str(path), "--out", str(tmp_path / "p.pdb")]
    assert main(words) == OK
    before = (tmp_path / "p.pdb").read_bytes()
    assert main(words) == FAILED
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--ph", "3"]) == OK
    assert (tmp_path / "p.pdb").read_bytes() != before
    assert main(["prepare-protein", str(path), "--out", str(path), "--overwrite"]) == FAILED


def test_failures_of_the_program_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    protein = write(tmp_path, [x for x in LINES if 60 <= number(x) <= 70])
    with pytest.raises(LigandsmithError, match=r"took more than 0.05 s"):
        protonated([], 7.0, "x", seconds=0.05)
    with pytest.raises(LigandsmithError, match=r"^x: PDB2PQR cannot protonate it \(.+\)$"):
        protonated([], 7.0, "x")
    monkeypatch.setattr("ligandsmith.structure.hydrogens.find_spec", lambda name: None)
    with pytest.raises(
        LigandsmithError, match=r"pdb2pqr and propka not installed: pip install 'ligandsmith\[protonate\]'"
    ):
        prepare_protein(protein, PreparationOptions())


def test_generate_says_what_the_site_lacks(tmp_path: Path) -> None:
    path = write(tmp_path, [x for x in LINES if not 62 <= number(x) <= 64])
    said = read_pocket(path, residues=["A:14", "A:61"])[1].lines()[-1]
    assert said.startswith("missing at the site: atoms of A:GLU14 and what lies between A:61 to 65; side chains")
    whole = read_protein(SITE / "protein.pdb.gz")
    assert incompleteness(whole, [10]) == ""
    assert set(standard_atoms("SER")) == {"N", "CA", "C", "O", "CB", "OG", "OXT"}
