"""The index opens a data set as its splits and shards do, and is left aside where it does not fit them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ligandsmith.data import dataset as dataset_module
from ligandsmith.data.conformers import embed_conformers
from ligandsmith.data.dataset import SPLITS, ComplexDataset, Manifest, write_manifest
from ligandsmith.data.index import INDEX_FILE
from ligandsmith.data.preparation import prepare
from ligandsmith.data.properties import write_properties

EXAMPLES = Path(__file__).parents[2] / "examples" / "complexes"
SMILES = ["CCOCC", "c1ccccc1", "CC(=O)OC", "CCNCC", "CCCCC", "OCCOCC", "CC#CCN"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three complexes and seven ligands in two shards, in splits of another order than the shards'."""
    folder = tmp_path_factory.mktemp("index")
    prepare(EXAMPLES, folder / "set")
    for part in (SMILES[:4], SMILES[4:]):
        smiles = folder / "few.smi"
        smiles.write_text("".join(f"{text} {text}\n" for text in part))
        embed_conformers(smiles, folder / part[0])
        number = len(list((folder / "set").glob("ligands-*")))
        shutil.copy(folder / part[0] / "ligands-00000.parquet", folder / "set" / f"ligands-{number:05d}.parquet")
    write_properties(folder / "set")
    splits = {"train": ["CCOCC", "7sza", "CC#CCN", "3ln1", "nobody", "c1ccccc1"], "validation": ["7off", "CCNCC"]}
    write_manifest(folder / "set", splits, Manifest.load(folder / "set").rejections)
    return folder / "set"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "set"))


def facts(folder: Path, split: str, kind: str) -> list[tuple[object, ...]]:
    data = ComplexDataset(folder, split, kind)  # type: ignore[arg-type]
    records = [data[i] for i in range(len(data))]
    assert [record.id for record in records] == data.ids
    return [
        (r.id, *sizes, None if r.ligand.properties is None else tuple(r.ligand.properties.tolist()))
        for r, *sizes in zip(records, *data.sizes(), strict=True)
    ]


def test_the_index_says_what_the_shards_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [("train", "complexes"), ("train", "ligands"), ("validation", "complexes"), ("validation", "ligands")]
    with monkeypatch.context() as patch:
        patch.setattr(dataset_module, "read_splits", lambda _: pytest.fail("the index was not used"))
        patch.setattr(dataset_module, "read_properties", lambda *_: pytest.fail("the ids were looked for"))
        indexed = [facts(folder, *pair) for pair in wanted]
    (folder / INDEX_FILE).unlink()
    assert [facts(folder, *pair) for pair in wanted] == indexed
    assert [row[0] for row in indexed[1]] == ["CCOCC", "CC#CCN", "c1ccccc1"]
    assert all(np.isfinite(row[3]).all() for rows in indexed for row in rows)


def test_a_changed_split_is_obeyed(folder: Path) -> None:
    (folder / SPLITS).write_text(json.dumps({"train": ["7off"], "validation": ["CCNCC"]}))
    assert [row[0] for row in facts(folder, "train", "complexes")] == ["7off"]


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_damaged_index_is_left_aside(damage: bytes | None, folder: Path) -> None:
    whole = (folder / INDEX_FILE).read_bytes()
    (folder / INDEX_FILE).write_bytes(whole[:200] + b"\xff" * 100 + whole[300:] if damage is None else damage)
    assert [row[0] for row in facts(folder, "train", "complexes")] == ["7sza", "3ln1"]


def test_other_properties_are_found_by_their_ids(folder: Path) -> None:
    before = facts(folder, "train", "ligands")
    first = folder / "ligands-00000.parquet"
    kept = first.read_bytes()
    first.unlink()
    write_properties(folder)  # lists fewer records than the index
    first.write_bytes(kept)
    after = facts(folder, "train", "ligands")
    assert after[1] == before[1]
    assert np.isnan(after[0][3]).all()
