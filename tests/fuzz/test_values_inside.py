"""Values inside our own files that cannot be are refused by name: shards, manifests, splits, logs, records of LMDBs."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem

from ligandsmith.checkpoints.files import load_checkpoint, weights_folder
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.data.crossdocked.reader import IndexEntry, load_index, read_split_file
from ligandsmith.data.dataset import Manifest, read_splits
from ligandsmith.data.shards import ShardReader
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.molecule_table import read_molecule_table
from ligandsmith.evaluation.sources import load_samples
from ligandsmith.evaluation.tools.runner import AnswerStore
from ligandsmith.files import write_csv
from ligandsmith.generation.output import require_rows
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.vocabulary import VOCABULARY, Vocabulary
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    assert main(["prepare", str(SITE.parent), "--out", str(folder)]) == OK
    return folder


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "set"))


def with_cell(folder: Path, column: str, change: Callable[[Any], Any]) -> Path:
    """The shard with one cell of its second record changed, and the manifest with its hash."""
    shard = folder / "complexes-00000.parquet"
    table = pq.read_table(shard)
    cells = table[column].to_pylist()
    cells[1] = change(cells[1])
    field = table.schema.field(column)
    pq.write_table(table.set_column(table.column_names.index(column), field, pa.array(cells, type=field.type)), shard)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][shard.name] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return shard


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("ligand_charge", lambda cell: cell[:-1], r"ligand_charge has \d+ values for \d+ atoms"),
        ("ligand_x", lambda cell: cell[:-1], r"ligand_x has [\d.]+ values for \d+ atoms"),
        ("ligand_element", lambda cell: b"\xff" + cell[1:], "ligand_element is 255, at most 118 is known"),
        ("num_ligand", lambda _: 10**9, r"ligand_element has \d+ values for 1000000000 atoms"),
        ("bond_type", lambda cell: cell + cell, r"\d+ bond types for \d+ bonds"),
        ("bond_index", lambda cell: b"\xff\x7f" + cell[2:], "a bond to atom 32768 of"),
        ("bond_index", lambda cell: b"\xff\xff" + cell[2:], "a bond to atom 0 of"),
        ("origin", lambda cell: cell[:8], "its origin is no point"),
        ("origin", lambda _: np.full(3, np.nan, "<f4").tobytes(), "its origin is no point"),
        ("pocket_residue", lambda cell: b"\xfe" * len(cell), "pocket_residue is 254, at most 20 is known"),
        ("pocket_residue_index", lambda cell: b"\xff\xff" + cell[2:], "a residue has a negative number"),
        ("pocket_x", lambda cell: cell[: len(cell) // 2], r"pocket_x has [\d.]+ values for \d+ atoms"),
    ],
)
def test_lists_of_a_shard_that_disagree_are_named(
    column: str, change: Callable[[Any], Any], said: str, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = with_cell(own, column, change)
    with pytest.raises(LigandsmithError, match=rf"complexes-00000.parquet: record 7off: {said}.*prepare"):
        list(ShardReader([shard]))
    train = ["train-vae", "--model_type", "protein", "--data", str(own), "--device", "cpu", "--num_workers", "0"]
    for words in (["split", str(own)], ["properties", str(own)], [*train, "--run_dir", str(tmp_path / "run")]):
        status = main(words)
        lines = capsys.readouterr().err.splitlines()
        if words[0] != "train-vae":  # training may refuse the whole set for another reason first
            assert status == FAILED
        assert status == OK or len([line for line in lines if line.startswith("error: ")]) == 1


def test_a_sound_shard_passes(data: Path) -> None:
    assert len(list(ShardReader([data / "complexes-00000.parquet"]))) == 3


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("splits.json", {"train": 0.5}, "not lists of ids by split"),
        ("splits.json", {"train": [1]}, "not lists of ids by split"),
        ("splits.json", [], "a JSON object was expected"),
    ],
)
def test_splits_of_other_types_are_refused(file: str, content: Any, said: str, own: Path) -> None:
    (own / file).write_text(json.dumps(content))
    with pytest.raises(LigandsmithError, match=said):
        read_splits(own)


@pytest.mark.parametrize("content", [[], 0.5, {"7off": "ABC"}, {"7off": [None, "A"]}, {"7off": None}])
def test_sequences_of_other_types_are_refused(content: Any, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "sequences.json").write_text(json.dumps(content))
    assert main(["split", str(own)]) == FAILED
    assert "sequences.json: not lists of sequences by id" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"files": []}, {"counts": 3}, {"vocabulary": None}, {"rejections": [{"id": 1, "reason": "x"}]}]
)
def test_a_manifest_of_other_types_is_refused(change: dict[str, Any], own: Path) -> None:
    content = json.loads((own / "manifest.json").read_text()) | change
    (own / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(LigandsmithError, match=r"manifest.json: not a manifest"):
        Manifest.load(own)


def test_the_damage_of_a_parquet_file_is_told_in_one_line(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own / "properties.parquet"
    text = path.read_bytes()
    begin = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    path.write_bytes(text[:begin] + b"\xff" * 20 + text[begin + 20 :])
    main(["train-vae", "--model_type", "ligand", "--data", str(own), "--device", "cpu", "--run_dir", str(own / "r")])
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert "properties.parquet: damaged" in line


def test_a_truncated_lmdb_is_refused_and_ends_no_process(tmp_path: Path) -> None:
    import lmdb  # noqa: PLC0415

    path = tmp_path / "x.lmdb"
    with lmdb.open(str(path), subdir=False, map_size=1 << 24) as file, file.begin(write=True) as transaction:
        for i in range(50):
            transaction.put(str(i).encode(), b"x" * 20_000)
    path.write_bytes(path.read_bytes()[: 3 * 4096])
    with pytest.raises(LigandsmithError, match=r"x.lmdb: .*get the file again"):
        load_index(path)


@pytest.mark.parametrize("part", [3, "abc", None, {"a": 1}, [True]])
def test_a_split_file_whose_parts_are_no_lists_is_refused(part: Any, tmp_path: Path) -> None:
    torch.save({"train": [0], "test": part}, tmp_path / "split.pt")
    with pytest.raises(LigandsmithError, match=r"split.pt: a split is"):
        read_split_file(tmp_path / "split.pt", [IndexEntry("0", "a", "p/a", "p/b")])


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ([], "a list, no object"),
        ({"requested": -1}, "'requested' is -1, no count"),
        ({"requested": True}, "'requested' is True, no count"),
        ({"requested": 1.5}, "'requested' is 1.5, no count"),
        ({"done": "3"}, "'done' is '3', no count"),
        ({"seconds": float("nan")}, "'seconds' is nan"),
        ({"failures": [{"index": 1e400, "reason": "x"}]}, "'failures' is no list of objects with an index"),
        ({"failures": [{"index": 0, "reason": 7}]}, "'failures' is no list of objects with an index"),
        ({"removed_from_site": "A:LIG:1"}, "'removed_from_site' is no list of texts"),
        ({"identity": 3}, "'identity' is no object"),
    ],
)
def test_a_log_that_cannot_be_is_refused(log: Any, said: str, tmp_path: Path) -> None:
    shutil.copyfile(SITE / "ligand.sdf", tmp_path / "ligands.sdf")
    (tmp_path / "samples.json").write_text(json.dumps(log))
    with pytest.raises(LigandsmithError, match=r"samples.json: ") as caught:
        load_samples(tmp_path / "ligands.sdf")
    assert said in str(caught.value)


@pytest.mark.parametrize("index", ["²", "-1", "1e3", "9" * 5000, "nan"])
def test_an_index_that_is_no_number_leaves_the_order(index: str, tmp_path: Path) -> None:
    text = (SITE / "ligand.sdf").read_text().split("M  END")[0] + f"M  END\n>  <index>\n{index}\n\n$$$$\n"
    (tmp_path / "x.sdf").write_text(text, encoding="utf-8")
    (sample,) = load_samples(tmp_path / "x.sdf")
    assert sample.index == 0
    assert sample.mol is not None


ROW = {"index": 0, "smiles": "CC", "raw_valid": True, "connected": True}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (3, "molecules is no list of rows"),
        ({"molecules": ["x"], "failures": []}, "molecules is no list of rows"),
        ({"molecules": [ROW | {"connected": "yes"}], "failures": []}, "a row of molecules lacks one of"),
        ({"molecules": [ROW], "failures": [{"index": 1}]}, "a row of failures lacks one of"),
        ({"molecules": [ROW | {"candidates": "x"}], "failures": []}, "candidates that are no number"),
    ],
)
def test_rows_that_a_run_continues_from_are_looked_at(record: Any, said: str) -> None:
    require_rows({"molecules": [ROW], "failures": [{"index": 1, "reason": "x"}]})
    with pytest.raises(ValueError, match=said):
        require_rows(record)


@pytest.mark.parametrize(
    "change", [{"charges": None}, {"ligand_elements": [6, 200]}, {"residues": [1]}, {"bonds": []}, {"new": 3}]
)
def test_a_vocabulary_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(LigandsmithError, match="vocabulary"):
        Vocabulary.from_dict(VOCABULARY.to_dict() | change)
    assert Vocabulary.from_dict(VOCABULARY.to_dict()) == VOCABULARY


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epoch": "x"}, "epoch is x"),
        ({"step": -1}, "step is -1"),
        ({"step": 2**63}, "step is 9223372036854775808"),
        ({"config": [1]}, "config: expected a table of keys"),
        ({"vocabulary": 3}, "vocabulary: a int, no table"),
        ({"vae_state": {"a": 1}}, "vae_state has an entry that is no whole tensor"),
    ],
)
def test_values_of_a_checkpoint_that_cannot_be_are_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    content = torch.load(weights_folder() / "ligand_vae_tiny.pt", weights_only=True) | change
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(LigandsmithError, match=said):
        load_checkpoint(tmp_path / "x.pt")


def test_weights_of_another_shape_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = torch.load(weights_folder() / "ligand_vae_tiny.pt", weights_only=True)
    for states in (content.get("vae_state", {}), content.get("ema_state", {}).get("values", {})):
        for name in list(states)[:1]:
            states[name] = states[name].reshape(-1)[:-1].clone()
    torch.save(content, tmp_path / "x.pt")
    train = ["train-denoiser", "--device", "cpu", "--num_workers", "0", "--limit", "2", "--preset", "tiny"]
    assert main([*train, "--ligand_vae_path", str(tmp_path / "x.pt"), "--run_dir", str(tmp_path / "run")]) == FAILED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert "x.pt: does not fit its own config" in line


def test_a_molecule_that_could_not_be_written_again_is_refused_where_it_is_read(tmp_path: Path) -> None:
    """Every molecule that is read can be written: evaluation and ranking do."""
    rng = np.random.default_rng(0)
    lines = (SITE / "ligand.sdf").read_text().splitlines()
    bonds = [i for i, line in enumerate(lines) if len(line.split()) in (3, 4) and i > 4]
    for _ in range(40):
        changed = list(lines)
        for i in rng.choice(bonds, size=2):
            changed[i] = changed[i][:8] + str(rng.integers(1, 5)) + changed[i][9:]
        (tmp_path / "x.sdf").write_text("\n".join(changed) + "\n")
        for record in read_sdf(tmp_path / "x.sdf"):
            assert record.mol is None or Chem.MolToMolBlock(record.mol)


ODD = ["nan", "inf", "-inf", "1e30", "******", "", "1,5", "x", "0x10", "1e400"]


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_coordinate_of_a_ligand_that_is_no_number_never_becomes_another(text: str, axis: int, tmp_path: Path) -> None:
    """RDKit reads 1,5 as 1, and the next field where one is empty."""
    lines = (SITE / "ligand.sdf").read_text().splitlines()
    lines[5] = lines[5][: 10 * axis] + text.rjust(10) + lines[5][10 * axis + 10 :]
    (tmp_path / "x.sdf").write_text("\n".join(lines) + "\n")
    said = f"atom 2 has a coordinate that is no number: '{text}'"
    with pytest.raises(LigandsmithError) as caught:
        read_ligand(tmp_path / "x.sdf")
    assert said in str(caught.value)
    (record,) = read_sdf(tmp_path / "x.sdf")
    assert record.mol is None
    assert record.reason == f"non-finite coordinates: {said}"


def test_a_coordinate_of_a_mol2_beyond_all_structures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.mol2").write_text(
        "@<TRIPOS>MOLECULE\nX\n 5 4 1\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n1 C 1e30 0.0 0.0 C.3 1 LIG 0.0\n"
        + "".join(f"{i} H{i} {i}.0 0.5 0.0 H 1 LIG 0.0\n" for i in range(2, 6))
        + "@<TRIPOS>BOND\n" + "".join(f"{i - 1} 1 {i} 1\n" for i in range(2, 6))
    )  # fmt: skip
    with pytest.raises(LigandsmithError, match="atom 1 has a coordinate that is no number"):
        read_ligand(tmp_path / "x.mol2")


def test_a_number_of_a_table_that_is_none_is_a_missing_value(tmp_path: Path) -> None:
    rows = [
        {"index": i, "smiles": "CCO", "reason": "", "qed": q} for i, q in enumerate(["nan", "inf", "1e400", "x", "0.5"])
    ]
    write_csv(tmp_path / "per_molecule.csv", rows)
    assert [row.values["qed"] for row in read_molecule_table(tmp_path).rows] == [None, None, None, None, 0.5]


def test_a_protein_file_of_another_encoding_or_kind_is_one_line(tmp_path: Path) -> None:
    text = gzip.decompress((SITE / "protein.pdb.gz").read_bytes()).decode()
    (tmp_path / "x.pdb").write_text(text, encoding="utf-16")
    assert main(["pseudo-complexes", str(tmp_path / "x.pdb"), "--out", str(tmp_path / "out")]) == FAILED


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"metrics": {"qed": {"meaning": {}}}}, "metrics.qed.meaning"),
        ({"metrics": [1]}, "metrics"),
        ({"failures": {"valence": "x"}}, "failures.valence"),
        ({"funnel": [{"n": 1}, 3]}, "funnel.1"),
        ({"pockets": {"a": {"qed": "high"}}}, "pockets.a.qed"),
        ({"requested": 10**400}, "requested"),
        ({"protocol": {"name": ["quick"]}}, "protocol.name"),
        ({"distributions": {"bond_length": {"C-C": {"n": "x"}}}}, "distributions.bond_length.C-C.n"),
        ({"posebusters": {"status": "ok", "checks": {"a": {"mean": True}}}}, "posebusters.checks.a.mean"),
    ],
)
def test_a_summary_of_other_types_is_refused_with_its_place(
    change: dict[str, Any], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(SITE / "ligand.sdf", tmp_path / "x.sdf")
    assert main(["evaluate", str(tmp_path / "x.sdf"), "--protocol", "none", "--out", str(tmp_path / "out")]) == OK
    path = tmp_path / "out/summary.json"
    sound = json.loads(path.read_text())
    assert main(["report", str(tmp_path / "out")]) == OK
    capsys.readouterr()
    path.write_text(json.dumps(sound | change))
    assert main(["report", str(tmp_path / "out")]) == FAILED
    assert f"summary.json: {place} has another type than" in capsys.readouterr().err


def test_answers_that_were_damaged_are_computed_again(tmp_path: Path) -> None:
    good = json.dumps(["a", {"x": 1.5}]).encode()
    (tmp_path / "t.jsonl").write_bytes(good + b'\n["b", {"x": "\xec"}]\n["c", 3]\n["d"\n' + b"[" * 100_000 + b"\n")
    assert AnswerStore(tmp_path / "t.jsonl").answers == {"a": {"x": 1.5}}
