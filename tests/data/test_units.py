"""`prepare --engine ray`: the shards of one process, also if it is killed and started again; no unit is done twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ligandsmith.cli.main import OK, main
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.preparation import PrepareOptions, prepare, read_pair
from ligandsmith.data.sources import find_pairs
from ligandsmith.data.units import Units, folder_of_units
from ligandsmith.errors import LigandsmithError
from stores import s3_server

EXAMPLES = Path(__file__).parents[2] / "examples" / "complexes"
UNFINISHED = ".out.units"
RUN = """
import sys
from pathlib import Path
from ligandsmith.data.preparation import PrepareOptions, prepare
prepare(Path(sys.argv[1]), Path("out"), PrepareOptions(2, engine="ray", unit_size=2))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine complexes, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("sources")
    for number in range(3):
        for path in EXAMPLES.glob("*/"):
            shutil.copytree(path, folder / f"{path.name}-{number}")
    (folder / "7off-1" / "ligand.sdf").write_text("rubbish")
    return folder


@pytest.fixture(scope="module")
def whole(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared by one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    prepare(sources, out)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_killed_run_goes_on_and_repeats_nothing(sources: Path, whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray, an extra, is not installed")
    command = [sys.executable, "-c", RUN, str(sources)]
    units = tmp_path / UNFINISHED
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(list(units.glob("0*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    time.sleep(2)  # tasks that are under way end with their cluster
    done = {path.name: path.stat().st_mtime_ns for path in units.glob("0*.parquet")}
    assert 2 <= len(done) < 5
    stamps: dict[str, int] = {}
    follower = subprocess.Popen(command, cwd=tmp_path)
    while follower.poll() is None:
        stamps |= _stamps(units)
        time.sleep(0.005)
    assert follower.returncode == 0
    assert {name: stamps[name] for name in done} == done
    assert files(tmp_path / "out") == files(whole)
    assert not units.exists()


def _stamps(folder: Path) -> dict[str, int]:
    found = {}
    for path in folder.glob("0*.parquet"):
        try:
            found[path.name] = path.stat().st_mtime_ns
        except FileNotFoundError:  # merged meanwhile
            continue
    return found


@pytest.fixture
def endpoint() -> Iterator[str]:
    with s3_server() as found:
        yield found


def test_units_of_a_store_are_kept_there(endpoint: str, sources: Path, whole: Path) -> None:
    """With the local engine, as the same mechanism without a cluster; some units are there from before."""
    out = f"s3://bucket/set?endpoint_override={endpoint}"
    units = Units(folder_of_units(out), "local", 1, 4)
    pairs, _ = find_pairs(sources)
    first = list(units.results(_reader, pairs[:4]))
    assert units.folder.names() == ["00000000.parquet"]
    written = units.folder.child("00000000.parquet").size_and_time()
    again = list(units.results(_reader, pairs))
    assert units.folder.child("00000000.parquet").size_and_time() == written
    assert [read.record for read in again[:4]] == [read.record for read in first]
    ids = [read.record["id"] if isinstance(read.record, dict) else read.record.id for read in again]
    assert ids == [pair.id for pair in pairs]
    units.clear()
    assert units.folder.names() == []
    assert ComplexDataset(whole, "train").ids == [id for id in ids if id != "7off-1"]


def _reader(pair: object) -> object:
    return read_pair(pair, PrepareOptions())  # type: ignore[arg-type]


def test_a_unit_that_fails_keeps_the_others(sources: Path, tmp_path: Path) -> None:
    units = Units(folder_of_units(tmp_path / "out"), "local", 1, 3)
    pairs, _ = find_pairs(sources)

    def read(pair: object) -> object:
        if pair == pairs[4]:
            raise LigandsmithError("the network is down")
        return _reader(pair)

    with pytest.raises(LigandsmithError, match="1 of 3 units failed, the first: the network is down; what is done"):
        list(units.results(read, pairs))  # type: ignore[arg-type]
    assert units.folder.names() == ["00000000.parquet", "00000002.parquet"]
    assert len(list(units.results(_reader, pairs))) == len(pairs)  # type: ignore[arg-type]


def test_the_work_of_another_request_is_refused(tmp_path: Path) -> None:
    units = Units(folder_of_units(tmp_path / "out"), "local", 1, 3)
    units.claim({"sources": "a"}, overwrite=False)
    units.folder.child("00000000.parquet").write(b"x")
    units.claim({"sources": "a"}, overwrite=False)
    with pytest.raises(LigandsmithError, match="unfinished work of another request"):
        units.claim({"sources": "b"}, overwrite=False)
    units.claim({"sources": "b"}, overwrite=True)
    assert units.folder.names() == ["request.json"]


def test_a_damaged_unit_is_named(tmp_path: Path, sources: Path) -> None:
    units = Units(folder_of_units(tmp_path / "a b" / "out"), "local", 1, 100)
    pairs, _ = find_pairs(sources)
    units.folder.child("00000000.parquet").write(b"PAR1")
    assert (tmp_path / "a b" / UNFINISHED / "00000000.parquet").is_file()
    with pytest.raises(LigandsmithError, match=r"00000000.parquet: damaged .*; remove it to read it again"):
        list(units.results(_reader, pairs))  # type: ignore[arg-type]


def test_the_command_has_the_engine(sources: Path, whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray, an extra, is not installed")
    command = ["prepare", str(sources), "--out", str(tmp_path / "out"), "--engine", "ray", "--workers", "2"]
    assert main(command) == OK
    assert files(tmp_path / "out") == files(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
