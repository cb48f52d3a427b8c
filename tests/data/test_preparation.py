"""`prepare` turns files into a data set: every complex is a record or a row with a reason, nothing is half-written."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from ligandsmith.data.dataset import ComplexDataset, Manifest
from ligandsmith.data.preparation import PrepareOptions, prepare
from ligandsmith.data.sources import find_pairs
from ligandsmith.errors import LigandsmithError

EXAMPLES = Path(__file__).parents[2] / "examples" / "complexes"
NAMES = ["3ln1", "7off", "7sza"]


def records(manifest: Manifest) -> dict[str, str]:
    return {r.id: r.reason for r in manifest.rejections}


def flat_copy(folder: Path, protein: str = "{}_protein.pdb.gz", ligand: str = "{}_ligand.sdf") -> Path:
    folder.mkdir()
    for name in NAMES:
        shutil.copy(EXAMPLES / name / "protein.pdb.gz", folder / protein.format(name))
        shutil.copy(EXAMPLES / name / "ligand.sdf", folder / ligand.format(name))
    return folder


def test_a_folder_per_complex(tmp_path: Path) -> None:
    options = PrepareOptions(source="tests", licence="CC0-1.0")
    manifest = prepare(EXAMPLES, tmp_path / "data", options)
    data = ComplexDataset(tmp_path / "data", "train")
    assert data.ids == NAMES
    assert (data[0].source, data[0].licence) == ("tests", "CC0-1.0")
    assert manifest.counts == {"complexes": 3, "complexes/train": 3, "ligands": 0}
    assert Manifest.load(tmp_path / "data") == manifest
    sequences = json.loads((tmp_path / "data" / "sequences.json").read_text())
    assert list(sequences) == NAMES
    assert all(len(chains[0]) > 200 for chains in sequences.values())


@pytest.mark.parametrize(
    ("protein", "ligand"),
    [("{}_protein.pdb.gz", "{}_ligand.sdf"), ("{}.pdb.gz", "{}.sdf"), ("{}_pocket.pdb.gz", "{}.sdf")],
)
def test_pairs_by_name(protein: str, ligand: str, tmp_path: Path) -> None:
    folder = flat_copy(tmp_path / "flat", protein, ligand)
    (folder / "README.txt").write_text("not a structure")
    (folder / "lonely_protein.pdb").write_text("")
    manifest = prepare(folder, tmp_path / "data")
    assert ComplexDataset(tmp_path / "data", "train").ids == NAMES
    assert records(manifest) == {"lonely": "missing file"}


def test_a_csv_keeps_its_order_and_ids(tmp_path: Path) -> None:
    flat_copy(tmp_path / "files")
    table = tmp_path / "list.csv"
    rows = ["id,ligand,protein"]
    rows += [f"id-{n},files/{n}_ligand.sdf,files/{n}_protein.pdb.gz" for n in reversed(NAMES)]
    rows += ["id-7off,files/3ln1_ligand.sdf,files/3ln1_protein.pdb.gz", "gone,files/no.sdf,files/no.pdb", "short,,"]
    table.write_text("\n".join(rows) + "\n")
    manifest = prepare(table, tmp_path / "data")
    data = ComplexDataset(tmp_path / "data", "train")
    assert data.ids == [f"id-{n}" for n in reversed(NAMES)]
    assert data[1].ligand.num_atoms == 27  # of 7off, the first of the two
    assert records(manifest) == {"id-7off": "duplicate id", "gone": "missing file", "short": "incomplete row"}


def test_the_whole_protein_is_preferred_and_two_ligands_are_ambiguous(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(EXAMPLES / "7sza", tmp_path / name)
    (tmp_path / "a" / "a_pocket.pdb").write_text("")
    shutil.copy(EXAMPLES / "7off" / "ligand.sdf", tmp_path / "b" / "ligand_2.sdf")
    (tmp_path / "c").mkdir()
    pairs, rejections = find_pairs(tmp_path)
    assert [(p.id, p.protein.name) for p in pairs] == [("a", "protein.pdb.gz")]
    assert [(r.id, r.reason) for r in rejections] == [("b", "ambiguous ligand"), ("c", "missing file")]


def test_a_bad_record_is_a_row_not_the_end(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "in")
    (tmp_path / "in" / "7off" / "ligand.sdf").write_text("rubbish")
    (tmp_path / "in" / "3ln1" / "protein.pdb.gz").write_bytes(b"rubbish")
    manifest = prepare(tmp_path / "in", tmp_path / "data")
    assert ComplexDataset(tmp_path / "data", "train").ids == ["7sza"]
    assert records(manifest) == {"3ln1": "not a structure", "7off": "RDKit rejects the ligand"}
    written = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert written["rejection_counts"] == {"not a structure": 1, "RDKit rejects the ligand": 1}


def test_the_result_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        prepare(EXAMPLES, tmp_path / str(workers), PrepareOptions(workers=workers))
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / w).iterdir()} for w in ("1", "2"))
    assert one == two


def test_a_worker_that_is_killed_ends_the_run_with_one_line(tmp_path: Path) -> None:
    for number in range(200):
        shutil.copytree(EXAMPLES / "7sza", tmp_path / "in" / f"copy-{number:03d}")

    def kill_a_worker() -> None:
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.05)
        os.kill(workers[0].pid or 0, signal.SIGKILL)

    threading.Thread(target=kill_a_worker, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(LigandsmithError, match=r"^copy-\d+: its worker process ended \(-9\); .*fewer workers$"):
        prepare(tmp_path / "in", tmp_path / "data", PrepareOptions(workers=2))
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()
    assert not (tmp_path / "data").exists()


def test_a_split_file_assigns_the_records(tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    table.write_text("id,split\n7sza,validation\n3ln1,train\nunused,test\n")
    manifest = prepare(EXAMPLES, tmp_path / "data", PrepareOptions(split_file=table))
    assert ComplexDataset(tmp_path / "data", "validation").ids == ["7sza"]
    assert ComplexDataset(tmp_path / "data", "train").ids == ["3ln1"]
    assert records(manifest) == {"7off": "not in the split file"}
    assert manifest.counts["complexes/none"] == 1
    table.write_text("id,split\n7sza,dev\n")
    with pytest.raises(LigandsmithError, match="line 2: no split 'dev'"):
        prepare(EXAMPLES, tmp_path / "more", PrepareOptions(split_file=table))
    table.write_text("id,split\n7sza,train\n7sza,test\n")
    with pytest.raises(LigandsmithError, match="line 3: 7sza is in train as well"):
        prepare(EXAMPLES, tmp_path / "more", PrepareOptions(split_file=table))


def test_an_existing_output_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(LigandsmithError, match="exists already"):
        prepare(EXAMPLES, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_source_without_complexes_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "list.csv").write_text("name,protein\na,b\n")
    for source, text in (
        (tmp_path / "in", "no complexes found; expected ID/"),
        (tmp_path / "absent", "no such folder or CSV file"),
        (EXAMPLES / "README.md", "give a folder of complexes or a CSV"),
        (tmp_path / "list.csv", "line 1: no column id, ligand"),
    ):
        with pytest.raises(LigandsmithError, match=text):
            prepare(source, tmp_path / "data")
    (tmp_path / "in" / "x").mkdir()
    with pytest.raises(LigandsmithError, match="none of 1 complexes could be used: x: missing file"):
        prepare(tmp_path / "in", tmp_path / "data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "list.csv"]


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ligandsmith.data.preparation.site_sequences", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(EXAMPLES, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
