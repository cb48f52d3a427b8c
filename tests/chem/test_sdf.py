"""SDF files: what is written comes back; an interruption or a bad record costs nothing else."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.errors import LigandsmithError

LIGAND = Path(__file__).parents[2] / "examples/complexes/7off/ligand.sdf"


@pytest.fixture
def ligand() -> Chem.Mol:
    mol = read_sdf(LIGAND)[0].mol
    assert mol is not None
    return mol


def test_round_trip_keeps_molecule_stereo_coordinates_and_properties(ligand: Chem.Mol, tmp_path: Path) -> None:
    path = tmp_path / "ligands.sdf"
    assert write_sdf(path, [(ligand, {"index": 4, "qed": 0.5, "note": "two\nlines"})] * 2) == 2
    first, second = read_sdf(path)
    assert first.mol is not None
    assert second.mol is not None
    assert Chem.MolToSmiles(first.mol) == Chem.MolToSmiles(ligand)
    assert "@" in Chem.MolToSmiles(first.mol)
    assert first.mol.GetPropsAsDict() == {"index": 4, "qed": 0.5, "note": "two\nlines"}
    assert first.title == "7off_VCB_A712"
    difference = first.mol.GetConformer().GetPositions() - ligand.GetConformer().GetPositions()
    assert np.abs(difference).max() < 1e-4


@pytest.mark.parametrize("smiles", ["c1ccc2[nH]cnc2c1", "[O-][n+]1ccccc1", "C[N+](C)(C)CC(=O)[O-]", "OB(O)c1ccccc1"])
def test_charges_and_ring_hydrogens_survive(smiles: str, tmp_path: Path) -> None:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.random.default_rng(0).normal(size=(mol.GetNumAtoms(), 3)))
    mol.AddConformer(conformer)
    write_sdf(tmp_path / "x.sdf", [(mol, {})])
    back = read_sdf(tmp_path / "x.sdf")[0].mol
    assert back is not None
    assert Chem.MolToSmiles(back, isomericSmiles=False) == Chem.CanonSmiles(smiles)


def test_interrupted_write_leaves_the_old_file_and_no_other(ligand: Chem.Mol, tmp_path: Path) -> None:
    path = tmp_path / "ligands.sdf"
    write_sdf(path, [(ligand, {})])

    def interrupted() -> Iterator[tuple[Chem.Mol, dict[str, object]]]:
        yield ligand, {}
        yield ligand, {}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sdf(path, interrupted())
    assert len(read_sdf(path)) == 1
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(KeyboardInterrupt):
        write_sdf(path, interrupted(), append=True)
    assert [record.mol is not None for record in read_sdf(path)] == [True] * 3


def test_append_replaces_a_record_that_was_cut_short(ligand: Chem.Mol, tmp_path: Path) -> None:
    path = tmp_path / "ligands.sdf"
    assert write_sdf(path, [(ligand, {"index": 0})], append=True) == 1
    whole = path.read_text()
    for cut in (whole + whole[: len(whole) // 2], whole + whole[:3], whole[:-1]):
        path.write_text(cut)
        write_sdf(path, [(ligand, {"index": 1})], append=True)
        assert [r.mol.GetProp("index") for r in read_sdf(path) if r.mol is not None] == ["0", "1"]
        assert len(read_sdf(path)) == 2


def test_bad_records_keep_their_place_and_reason(ligand: Chem.Mol, tmp_path: Path) -> None:
    path = tmp_path / "mixed.sdf"
    write_sdf(path, [(ligand, {})])
    good = path.read_text()
    five_bonded = re.sub(r"^(  1 [ \d]\d)  [12]  0", r"\1  3  0", good, flags=re.MULTILINE)
    path.write_text("garbage\n$$$$\n" + five_bonded + good.replace("42.9958", "    nan", 1) + good + good[:300])
    records = read_sdf(path)
    assert [record.mol is not None for record in records] == [False, False, False, True, False]
    assert records[0].reason == "not a molfile record"
    assert "valence" in records[1].reason
    assert records[4].reason == "truncated record"
    assert all("\n" not in record.reason for record in records)
    assert all(record.reason for record in records if record.mol is None)


def test_gzip_and_windows_line_ends_are_read(ligand: Chem.Mol, tmp_path: Path) -> None:
    path = tmp_path / "x.sdf.gz"
    path.write_bytes(gzip.compress(LIGAND.read_bytes().replace(b"\n", b"\r\n")))
    record = read_sdf(path)[0]
    assert record.mol is not None
    assert Chem.MolToSmiles(record.mol) == Chem.MolToSmiles(ligand)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LigandsmithError, match=r"cannot read .*x\.sdf\.gz"):
        read_sdf(path)


def test_missing_file_is_an_error_and_empty_file_has_no_records(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match="no such file"):
        read_sdf(tmp_path / "none.sdf")
    (tmp_path / "empty.sdf").write_text("\n")
    assert read_sdf(tmp_path / "empty.sdf") == []


def test_what_sdf_cannot_hold_is_refused_by_record(ligand: Chem.Mol, tmp_path: Path) -> None:
    bad = Chem.Mol(ligand)
    bad.GetConformer().SetAtomPosition(0, [float("nan"), 0.0, 0.0])
    path = tmp_path / "x.sdf"
    for record, message in [
        ((Chem.MolFromSmiles("CCO"), {}), "no molecule with coordinates"),
        ((bad, {}), "not finite"),
        ((ligand, {"a\nb": 1}), "SD property"),
        ((ligand, {"": 1}), "SD property"),
    ]:
        with pytest.raises(LigandsmithError, match=f"record 2 of .*{message}"):
            write_sdf(path, [(ligand, {}), record])
        assert not path.exists()
    with pytest.raises(LigandsmithError, match="cannot write"):
        write_sdf(tmp_path / "no" / "x.sdf", [(ligand, {})])


FIELDS = {
    "an empty value": ("> <name>\n \n\n> <score>\n-8.1\n\n", {"name": "", "score": "-8.1"}),
    "no empty line before the end mark": ("> <id>\n7\n", {"id": "7"}),
    "lines of blanks end values": ("> <a>\n1\n \n> <b>\nx y\n \n", {"a": "1", "b": "x y"}),
    "brackets in names": ("> <1 > 2>\nhello\n\n> <IC50 <nM>>\n12\n\n", {"1 > 2": "hello", "IC50 <nM>": "12"}),
    "a field without a name": ("> <a>\n1\n\n> <>\n2\n\n> <c>\n3\n\n", {"a": "1", "c": "3"}),
    "several lines": ("> <note>\nfirst\n> second\n\n> <id> (1)\n7\n\n", {"note": "first\n> second", "id": "7"}),
}


@pytest.mark.parametrize(("text", "fields"), FIELDS.values(), ids=FIELDS)
def test_data_fields_of_other_programs_are_read_and_written_back(
    text: str, fields: dict[str, str], ligand: Chem.Mol, tmp_path: Path
) -> None:
    path = tmp_path / "x.sdf"
    path.write_text(2 * (Chem.MolToMolBlock(ligand) + text + "$$$$\n"))
    for _ in range(2):
        records = read_sdf(path)
        assert [r.mol.GetPropsAsDict(autoConvertStrings=False) for r in records if r.mol] == [fields, fields]
        write_sdf(path, [(r.mol, fields) for r in records if r.mol])


def test_a_value_that_sdf_cannot_hold_is_cleaned_and_said(
    ligand: Chem.Mol, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_sdf(tmp_path / "x.sdf", [(ligand, {"note": "x\n\ny\n$$$$"})])
    record = read_sdf(tmp_path / "x.sdf")[0]
    assert record.mol is not None
    assert record.mol.GetProp("note") == "x\ny"
    assert "left out empty lines and end marks in the value of note" in caplog.text
