"""Data sets on an object store: the same records, the same losses; a bounded cache that several processes share."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ligandsmith.cli.main import FAILED, OK, main
from ligandsmith.data.dataset import DATASET_FILES, ComplexDataset, Manifest, open_dataset, read_splits, write_manifest
from ligandsmith.data.object_store import StoredFile
from ligandsmith.data.preparation import prepare
from ligandsmith.data.shard_cache import CacheOptions, make_room
from ligandsmith.errors import LigandsmithError
from stores import s3_server
from tiny_runs import Tiny, assert_same, content

EXAMPLES = Path(__file__).parents[2] / "examples" / "complexes"
VAE = ("--model_type", "ligand")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as found:
        yield found


@pytest.fixture(scope="module")
def shipped(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URI of the shipped data set, with an index, on the store."""
    uri = f"s3://bucket/shipped?endpoint_override={endpoint}"
    folder = Path(shutil.copytree(open_dataset(None), tmp_path_factory.mktemp("shipped") / "set"))
    write_manifest(folder, read_splits(folder), Manifest.load(folder).rejections)
    for path in sorted(folder.iterdir()):
        if any(path.match(pattern) for pattern in DATASET_FILES):
            StoredFile(uri).child(path.name).upload(path)
    return uri


def test_files_are_read_and_written(endpoint: str, tmp_path: Path) -> None:
    for uri in (f"s3://bucket/a/b?endpoint_override={endpoint}", f"{tmp_path.as_uri()}/a/b"):
        folder = StoredFile(uri)
        assert folder.names() == []
        assert folder.child("x").size_and_time() is None
        folder.child("x").write(b"123")
        assert (folder.name, folder.names(), folder.child("x").parent()) == ("b", ["x"], folder)
        assert folder.child("x").read() == b"123"
        assert folder.child("x").size_and_time()[0] == 3
        folder.child("x").download(tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"123"
        folder.child("x").remove()
        assert folder.names() == []


def test_the_endpoint_may_come_from_the_environment(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    StoredFile("s3://bucket/env/x").write(b"1")
    assert StoredFile(f"s3://bucket/env/x?endpoint_override={endpoint}").read() == b"1"


def test_training_from_a_store_is_training_from_a_folder(shipped: str, tiny: Tiny, tmp_path: Path) -> None:
    """Same records, same order, same losses, to the last bit, with workers that fork after the store was used."""
    flags = [*VAE, "--num_workers", "2", "--limit", "20"]
    cache = ["--cache_dir", str(tmp_path / "cache")]
    runs = [
        tiny.script("train_vae.py", tmp_path / "local", *flags),
        tiny.script("train_vae.py", tmp_path / "stored", *flags, "--data", shipped, *cache),
    ]
    for run in runs:
        assert run.communicate(timeout=300)[1].find("error:") < 0
        assert run.returncode == OK
    ours, theirs = (content(tmp_path / place / "best_ligand_vae.pt") for place in ("stored", "local"))
    assert_same(ours, theirs)
    (copies,) = (tmp_path / "cache").glob("shipped-*")
    assert (copies / "complexes-00000.parquet").is_file()


def test_a_small_cache_holds_no_more_than_it_may(shipped: str, tmp_path: Path) -> None:
    limit = 2.3e-3  # GB: two of the four shards
    folder = open_dataset(shipped, CacheOptions(tmp_path, limit))
    data, local = ComplexDataset(folder, "train", "ligands"), ComplexDataset(None, "train", "ligands")
    assert list(folder.glob("ligands-*")) == []  # none was needed yet
    for i in [0, 4000, 8000, 12000, 0, 12000, 4000]:
        assert data[i].smiles == local[i].smiles
        assert sum(path.stat().st_size for path in folder.glob("ligands-*")) <= limit * 1e9
    assert [path for path in tmp_path.rglob("*.part")] == []


def _read_all(folder: Path, rows: list[int], results: "multiprocessing.Queue[object]") -> None:
    try:
        data = ComplexDataset(folder, "train", "ligands")
        results.put([data[i].smiles for i in rows])
    except LigandsmithError as error:
        results.put(str(error))


def test_processes_share_a_cache(shipped: str, tmp_path: Path) -> None:
    folder = open_dataset(shipped, CacheOptions(tmp_path, 2.3e-3))
    local = ComplexDataset(None, "train", "ligands")
    rows = [0, 12000, 4000, 8000, 1]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_read_all, args=(folder, rows, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert found == [[local[i].smiles for i in rows]] * 3


def test_a_damaged_copy_is_made_again_and_a_damaged_shard_refused(endpoint: str, tmp_path: Path) -> None:
    uri = f"s3://bucket/damaged?endpoint_override={endpoint}"
    prepare(EXAMPLES, uri)
    folder = open_dataset(uri, CacheOptions(tmp_path / "one"))
    shard = folder / "complexes-00000.parquet"
    shard.write_bytes(b"x" * 1000)
    assert ComplexDataset(folder, "train")[0].id == "3ln1"
    StoredFile(uri).child(shard.name).write(shard.read_bytes()[:-1])
    folder = open_dataset(uri, CacheOptions(tmp_path / "two"))
    with pytest.raises(LigandsmithError, match=r"s3://bucket/damaged/complexes-00000.*: differs from its hash"):
        ComplexDataset(folder, "train")[0]
    StoredFile(uri).child(shard.name).remove()
    with pytest.raises(LigandsmithError, match=r"s3://bucket/damaged/complexes-00000.*: the manifest names this shard"):
        ComplexDataset(folder, "train")[0]
    assert list(folder.glob("complexes-*")) == []


def test_a_shard_that_is_larger_than_the_cache_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match="higher --cache_size"):
        make_room(tmp_path, 2000, 1000)


def test_nothing_of_others_is_removed_to_make_room(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    kept = tmp_path / "mine" / "complexes-00000.parquet"
    kept.write_bytes(b"x" * 2000)
    make_room(tmp_path, 900, 1000)
    assert kept.exists()


def test_prepare_writes_to_and_reads_from_a_store(endpoint: str, tmp_path: Path) -> None:
    query = f"?endpoint_override={endpoint}"
    rows = ["id,protein,ligand"]
    for name in ("3ln1", "7sza"):
        for file in ("protein.pdb.gz", "ligand.sdf"):
            StoredFile(f"s3://bucket/sources/{name}/{file}{query}").upload(EXAMPLES / name / file)
        rows.append(f"{name},{name}/protein.pdb.gz,s3://bucket/sources/{name}/ligand.sdf{query}")
    rows.append("gone,gone/protein.pdb,gone/ligand.sdf")
    StoredFile(f"s3://bucket/sources/list.csv{query}").write("\n".join(rows).encode())
    out = f"s3://bucket/prepared{query}"
    words = ["prepare", f"s3://bucket/sources/list.csv{query}", "--out", out]
    assert main(words) == OK
    assert prepare(EXAMPLES, tmp_path / "local").counts["complexes"] == 3
    data = ComplexDataset(open_dataset(out, CacheOptions(tmp_path / "cache")), "train")
    assert data.ids == ["3ln1", "7sza"]
    assert data[1].smiles == ComplexDataset(tmp_path / "local", "train")[2].smiles
    manifest = json.loads(StoredFile(out).child("manifest.json").read())
    assert [(r["id"], r["reason"]) for r in manifest["rejections"]] == [("gone", "missing file")]
    assert main(words) == FAILED
    assert main([*words, "--overwrite"]) == OK


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://bucket/nothing?endpoint_override={endpoint}", "no manifest.json there"),
        ("s3://nobucket/set?endpoint_override={endpoint}", "no manifest.json there"),
        ("s3://bucket/set?endpoint_override=http://127.0.0.1:9", "check the address, the credentials and the network"),
        ("s3://bucket/set?endpoint=x", "Unexpected query parameter"),
        ("s4://bucket/set", "Unrecognized filesystem type"),
        ("s3://key:secret@bucket/set", "keys in a URI end up in logs"),
        ("file:///no/such/place", "no manifest.json there"),
    ],
)
def test_what_is_not_there_is_one_line_with_the_uri(
    uri: str, said: str, endpoint: str, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = uri.format(endpoint=endpoint)
    assert tiny.run("train-vae", tmp_path, *VAE, "--data", place, "--cache_dir", str(tmp_path / "cache")) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert place.partition("?")[0].replace("key:secret", "...") in line
    assert "secret" not in line


def test_a_changed_data_set_is_copied_again(endpoint: str, tmp_path: Path) -> None:
    uri, cache = f"s3://bucket/changing?endpoint_override={endpoint}", CacheOptions(tmp_path / "cache")
    prepare(EXAMPLES, uri)
    assert len(ComplexDataset(open_dataset(uri, cache), "train")) == 3
    shutil.copytree(EXAMPLES / "7off", tmp_path / "in" / "7off")
    StoredFile(uri).child("manifest.json").remove()
    with pytest.raises(LigandsmithError, match="exists already and holds"):
        prepare(tmp_path / "in", uri)
    assert main(["prepare", str(tmp_path / "in"), "--out", uri, "--overwrite"]) == OK
    data = ComplexDataset(open_dataset(uri, cache), "train")
    assert (data.ids, data[0].id) == (["7off"], "7off")
    assert os.environ["AWS_ACCESS_KEY_ID"] == "key"
