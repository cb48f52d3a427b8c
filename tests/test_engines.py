"""Whoever does the work, it is done once, also if workers die. No torch here: the processes start quickly."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.parallel.engines import ENGINES, TRIES
from ligandsmith.parallel.processes import map_in_processes
from many_work import KilledAtFirst, SlowToLoad, square_slowly
from tiny_runs import ROOT

COMPLEXES = ROOT / "examples/complexes"


@pytest.mark.parametrize(("times", "left"), [(1, {}), (TRIES, {3: f"its worker ended (-9), {TRIES} times"})])
def test_processes_that_die(times: int, left: dict[int, str], tmp_path: Path) -> None:
    work = KilledAtFirst(tmp_path, victim=3, times=times)
    found = dict(ENGINES["local"](work, iter(range(8)), 2))
    assert {unit: reason for unit, reason in found.items() if reason} == left | {5: "ValueError: five is odd"}
    assert sorted(found) == list(range(8))
    tries = work.tries()
    assert tries.pop(3) == min(times + 1, TRIES)
    assert set(tries.values()) == {1}


def test_processes_that_start_slowly() -> None:
    """The work is loaded by each process once: with each unit, the others would wait for it, and give up."""
    began = time.monotonic()
    found = dict(ENGINES["local"](SlowToLoad(1.0), iter(range(100)), 2))
    assert len(found) == 100
    assert not any(found.values())
    assert time.monotonic() - began < 100 * 1.0


def test_results_in_order_come_as_the_items_do() -> None:
    assert list(map_in_processes(square_slowly, iter(range(8)), 2)) == [n * n for n in range(8)]
    with pytest.raises(ZeroDivisionError):
        list(map_in_processes(square_slowly, iter([1, -1, 2]), 2))
    assert not multiprocessing.active_children()


def test_an_interrupted_run_leaves_no_process() -> None:
    for _ in map_in_processes(square_slowly, iter(range(8)), 2):
        assert multiprocessing.active_children()
        break
    assert not multiprocessing.active_children()


def test_workers_of_a_killed_process_end(tmp_path: Path) -> None:
    code = (
        "from ligandsmith.parallel.processes import map_in_processes; from many_work import wait_long; "
        f"list(map_in_processes(wait_long, [{str(tmp_path)!r}] * 2, 2))"
    )
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    main = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path})
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    main.kill()
    main.wait()
    for worker in tmp_path.iterdir():
        wait_until(lambda worker=worker: not Path("/proc", worker.name).exists())


def wait_until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_tasks_of_a_ray_cluster_that_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="ray, an extra, is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]))
    for times, ends in ((1, ""), (TRIES, f"its worker ended, {TRIES} times (WorkerCrashedError)")):
        folder = tmp_path / str(times)
        folder.mkdir()
        work = KilledAtFirst(folder, victim=3, times=times)
        found = dict(ENGINES["ray"](work, iter(range(5)), 2))
        assert found == {0: "", 1: "", 2: "", 3: ends, 4: ""}
        assert work.tries() == {0: 1, 1: 1, 2: 1, 3: min(times + 1, TRIES), 4: 1}


def test_slow_tools_answer_on_a_ray_cluster_as_here(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray, an extra, is not installed")
    names = ("7off", "7sza")
    rows = [f"{name},{COMPLEXES / name / 'ligand.sdf'},{COMPLEXES / name / 'protein.pdb.gz'}" for name in names]
    (tmp_path / "manifest.csv").write_text("\n".join(["pocket,ligands,protein", *rows, ""]))
    found = {}
    for engine in ("ray", "local", "ray"):
        protocol = adapted("crossdocked-v1", ["strain"], set(), False)
        options = EvaluationOptions(protocol, None, tmp_path / engine, 2, engine=engine)
        evaluation = evaluate(tmp_path / "manifest.csv", options=options)
        answers = [scored.data.answers for scored in evaluation.pockets]
        assert found.setdefault("first", json.dumps(answers)) == json.dumps(answers)
        files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("ray/*/strain.jsonl")}
        assert {path.parent.name for path in files} == set(names)
        assert found.setdefault("files", files) == files  # computed once, by the tasks
