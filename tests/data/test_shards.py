"""Shards give back what was written, one record at a time, and refuse what does not fit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ligandsmith.data.shards import ShardReader, write_shards
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Pocket, Rejection
from ligandsmith.structure.files import read_complex

TOLERANCE = 0.5e-3 + 1e-5  # Å: half a stored unit, and float32 at 100 Å
EXAMPLES = Path(__file__).parents[2] / "examples" / "complexes"


@pytest.fixture(scope="module")
def records() -> list[Complex]:
    found = [read_complex(d / "protein.pdb.gz", d / "ligand.sdf", d.name) for d in sorted(EXAMPLES.glob("*/"))]
    assert all(isinstance(record, Complex) for record in found)
    return found


def moved(record: Complex, shift: np.ndarray, id: str) -> Complex:
    ligand = replace(record.ligand, x=record.ligand.x + shift)
    return replace(record, id=id, ligand=ligand, pocket=replace(record.pocket, x=record.pocket.x + shift))


def assert_same(a: Complex, b: Complex, tolerance: float) -> None:
    assert (a.id, a.smiles, a.source, a.licence, a.cluster) == (b.id, b.smiles, b.source, b.licence, b.cluster)
    for one, other in ((a.ligand, b.ligand), (a.pocket, b.pocket)):
        assert type(one) is type(other)
        for name, value in vars(one).items() if one is not None else ():
            if name == "labels":  # of the residues in their file; nothing is trained on them
                continue
            read = getattr(other, name)
            if name == "x":
                assert np.abs(value.astype(np.float64) - read).max() <= tolerance
            else:
                np.testing.assert_array_equal(value, read)
            if isinstance(value, np.ndarray):
                assert value.dtype == read.dtype


def test_coordinates_of_pdb_files_come_back_exactly(records: list[Complex], tmp_path: Path) -> None:
    write_shards(tmp_path, "complexes", records)
    for written, read in zip(records, ShardReader([tmp_path / "complexes-00000.parquet"]), strict=True):
        # Both are float32 of the same three-decimal number, up to its last bit.
        np.testing.assert_allclose(read.pocket.x, written.pocket.x, rtol=0, atol=1e-5)


def test_any_coordinates_come_back_within_half_a_milliangstrom(records: list[Complex], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shifted = [moved(records[0], rng.uniform(-90, 90, 3).astype(np.float32), f"r{i}") for i in range(20)]
    write_shards(tmp_path, "complexes", shifted)
    for written, read in zip(shifted, ShardReader([tmp_path / "complexes-00000.parquet"]), strict=True):
        assert_same(written, read, TOLERANCE)


def test_every_field_survives_with_and_without_pocket(records: list[Complex], tmp_path: Path) -> None:
    pocket = replace(records[0].pocket, center=np.array([1.5, -2.25, 3.0], np.float32), name="site 1")
    full = replace(records[0], pocket=pocket, source="a/b@1", licence="MIT", cluster=7)
    alone = replace(records[1], pocket=None)
    ids, rejections = write_shards(tmp_path, "complexes", [full, alone])
    assert (ids, rejections) == ([full.id, alone.id], [])
    path = tmp_path / "complexes-00000.parquet"
    reader = ShardReader([path])
    assert_same(full, reader[0], TOLERANCE)
    assert_same(alone, reader[1], TOLERANCE)
    assert reader[1].pocket is None


def test_random_access_numbers_records_through_all_shards(records: list[Complex], tmp_path: Path) -> None:
    many = (replace(records[i % 3], id=f"r{i}") for i in range(200))
    write_shards(tmp_path, "complexes", many, rows_per_shard=70)
    paths = sorted(tmp_path.glob("*.parquet"))
    assert len(paths) == 3
    reader = ShardReader(paths, cached_groups=1)
    assert len(reader) == 200
    for i in (199, 0, 69, 70, 139, 140, 64):
        assert_same(replace(records[i % 3], id=f"r{i}"), reader[i], TOLERANCE)
    assert [record.id for record in reader] == [f"r{i}" for i in range(200)]
    assert reader.index()["num_ligand"][3] == records[0].ligand.num_atoms
    with pytest.raises(IndexError, match="record 200 of 200"):
        reader[200]


def test_the_same_records_give_the_same_bytes(records: list[Complex], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shards(tmp_path / name, "complexes", records)
    one, other = ((tmp_path / name / "complexes-00000.parquet").read_bytes() for name in ("a", "b"))
    assert one == other


def test_what_cannot_be_stored_is_rejected_with_its_reason(records: list[Complex], tmp_path: Path) -> None:
    far = records[0].ligand.x.copy()
    far[0] += 80
    broken = records[0].ligand.x.copy()
    broken[2, 1] = np.nan
    bad = [
        replace(records[0], id="wide", ligand=replace(records[0].ligand, x=far)),
        replace(records[0], id="nan", ligand=replace(records[0].ligand, x=broken)),
        records[0],
        replace(records[1], id=records[0].id),
        Rejection("earlier", "missing file"),
    ]
    ids, rejections = write_shards(tmp_path, "complexes", bad)
    assert ids == [records[0].id]
    assert [(r.id, r.reason) for r in rejections] == [
        ("wide", "too large"),
        ("nan", "non-finite coordinates"),
        (records[0].id, "duplicate id"),
        ("earlier", "missing file"),
    ]


def test_a_failure_while_writing_leaves_no_file(records: list[Complex], tmp_path: Path) -> None:
    def failing() -> Iterator[Complex]:
        for i in range(65):
            yield replace(records[0], id=f"r{i}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, "complexes", failing(), rows_per_shard=30)
    assert list(tmp_path.iterdir()) == []


def test_no_shard_bears_its_name_before_all_are_written(records: list[Complex], tmp_path: Path) -> None:
    def watched() -> Iterator[Complex]:
        yield from records[:2]
        assert not list(tmp_path.glob("*.parquet"))

    write_shards(tmp_path, "complexes", watched(), rows_per_shard=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["complexes-00000.parquet", "complexes-00001.parquet"]


def test_a_file_that_is_no_shard_is_named(tmp_path: Path) -> None:
    path = tmp_path / "complexes-00000.parquet"
    path.write_bytes(b"not parquet at all")
    with pytest.raises(LigandsmithError, match=r"complexes-00000\.parquet: not a readable Parquet shard"):
        ShardReader([path])
    with pytest.raises(LigandsmithError, match="no such shard"):
        ShardReader([tmp_path / "absent.parquet"])


def test_records_of_one_atom_pockets_keep_their_types(records: list[Complex], tmp_path: Path) -> None:
    pocket = Pocket(
        element=np.array([30], np.uint8),
        residue=np.array([20], np.uint8),
        atom_name=np.array([37], np.uint8),
        residue_index=np.array([0], np.int16),
        x=records[0].ligand.x[:1] + np.float32(3),
    )
    record = replace(records[0], pocket=pocket)
    write_shards(tmp_path, "complexes", [record])
    assert_same(record, ShardReader([tmp_path / "complexes-00000.parquet"])[0], TOLERANCE)
