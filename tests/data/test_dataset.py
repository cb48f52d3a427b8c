"""The shipped data set, and a reader that refuses what is damaged or not meant for training."""

import csv
import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles
from torch.utils.data import DataLoader

from ligandsmith.data.dataset import ComplexDataset, Manifest, Split, open_dataset, read_splits
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex

SHIPPED = open_dataset(None)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A data set folder of its own, with the complexes only."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("complexes-00000.parquet", "splits.json", "manifest.json"):
        shutil.copy(SHIPPED / name, folder / name)
    return folder


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_shipped_data_set_has_both_kinds_in_both_splits() -> None:
    counts = Manifest.load(SHIPPED).counts
    for kind in ("complexes", "ligands"):
        sizes = [len(ComplexDataset(None, split, kind)) for split in (Split.TRAIN, Split.VALIDATION)]
        assert sizes == [counts[f"{kind}/train"], counts[f"{kind}/validation"]]
        assert sum(sizes) == counts[kind]


def test_the_shipped_data_set_may_be_redistributed() -> None:
    train = ComplexDataset(None, "train")
    licences = Counter(train[i].licence for i in range(len(train)))
    assert set(licences) <= {"CC0-1.0", "MIT", "Apache-2.0"}
    with open(SHIPPED / "provenance.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for licence, count in licences.items():
        listed = [r for r in rows if r["kind"] == "complexes" and r["split"] == "train" and r["licence"] == licence]
        assert sum(int(r["count"]) for r in listed) == count
    assert sum(int(r["count"]) for r in rows) == sum(Manifest.load(SHIPPED).counts[k] for k in ("complexes", "ligands"))
    assert sum(p.stat().st_size for p in SHIPPED.iterdir()) < 15e6


def test_no_cluster_is_in_two_splits() -> None:
    train, validation = ({r.cluster for r in ComplexDataset(None, s)} for s in ("train", "validation"))
    assert -1 not in train | validation
    assert not train & validation


def test_no_scaffold_is_in_two_splits_of_the_ligands() -> None:
    train, validation = (ComplexDataset(None, s, "ligands") for s in ("train", "validation"))
    held_out = {MurckoScaffoldSmiles(validation[i].smiles) for i in range(len(validation))}
    assert "" not in held_out
    assert not held_out & {MurckoScaffoldSmiles(train[i].smiles) for i in range(0, len(train), 10)}


def test_records_agree_with_the_index() -> None:
    data = ComplexDataset(None, "validation")
    ligand, pocket = data.sizes()
    for i in range(len(data)):
        record = data[i]
        assert (record.id, record.ligand.num_atoms, record.pocket.num_atoms) == (data.ids[i], ligand[i], pocket[i])
        gap = np.linalg.norm(record.ligand.x[:, None] - record.pocket.x[None], axis=-1).min()
        assert 1.0 < gap < 5.0


def test_ligand_only_records_have_no_pocket() -> None:
    data = ComplexDataset(None, "validation", "ligands")
    assert data[0].pocket is None
    assert data.sizes()[1].max() == 0


def test_worker_processes_read_the_same_records() -> None:
    data = ComplexDataset(None, "validation")
    data[0]  # opens files, which must not travel
    assert len(pickle.dumps(data)) < 100_000
    loader = DataLoader(data, batch_size=None, num_workers=1, collate_fn=_identity)
    assert [record.id for record in loader] == data.ids


def _identity(record: Complex) -> Complex:
    return record


def test_the_test_split_opens_on_request_only(copy: Path) -> None:
    splits = json.loads((copy / "splits.json").read_text())
    edit(copy / "splits.json", test=splits["validation"][:2], validation=splits["validation"][2:])
    with pytest.raises(LigandsmithError, match="final evaluation"):
        ComplexDataset(copy, "test")
    assert len(ComplexDataset(copy, Split.TEST, allow_test=True)) == 2


def test_damage_is_named_in_one_line(copy: Path) -> None:
    def message(*arguments: object, **options: object) -> str:
        with pytest.raises(LigandsmithError) as caught:
            ComplexDataset(*arguments, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no such data set folder" in message(copy / "absent", "train")
    assert "no manifest.json" in message(copy.parent, "train")
    assert "no split 'dev'; there are train, validation, test" in message(copy, "dev")
    assert "no complexes in the split test" in message(copy, "test", allow_test=True)
    edit(copy / "manifest.json", format_version=99)
    assert "format version 99" in message(copy, "train")
    (copy / "manifest.json").write_text("{")
    assert "not JSON" in message(copy, "train")
    (copy / "manifest.json").write_text('{"format_version": 1}')
    assert "not a manifest" in message(copy, "train")


def test_a_shard_that_changed_is_refused(copy: Path) -> None:
    shard = copy / "complexes-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(LigandsmithError, match="differs from its hash"):
        ComplexDataset(copy, "train")
    shard.unlink()
    with pytest.raises(LigandsmithError, match="missing"):
        ComplexDataset(copy, "train")


def test_a_shard_that_the_manifest_does_not_name_is_refused(copy: Path) -> None:
    (copy / "complexes-00009.parquet").write_bytes((copy / "complexes-00000.parquet").read_bytes())
    with pytest.raises(LigandsmithError, match=r"complexes-00009\.parquet: a shard that manifest\.json does not name"):
        ComplexDataset(copy, "train")


def test_another_table_of_residues_is_refused(copy: Path) -> None:
    vocabulary = json.loads((copy / "manifest.json").read_text())["vocabulary"]
    edit(copy / "manifest.json", vocabulary=vocabulary | {"residues": vocabulary["residues"][::-1]})
    with pytest.raises(LigandsmithError, match="another table of residues"):
        ComplexDataset(copy, "train")


def test_an_id_in_two_splits_is_refused(copy: Path) -> None:
    splits = read_splits(copy)
    edit(copy / "splits.json", validation=splits["validation"] + splits["train"][:1])
    with pytest.raises(LigandsmithError, match="in train and in validation"):
        ComplexDataset(copy, "train")
