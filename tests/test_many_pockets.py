"""Ligands for many pockets: the same as pocket by pocket, whoever makes them, however often the work is cut off."""

import csv
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.cli.main import FAILED, OK, USAGE, main
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.evaluate import evaluate
from ligandsmith.generation.batch.manifest import read_manifest
from ligandsmith.generation.generator import LigandGenerator
from ligandsmith.generation.sampler import LigandSampler
from ligandsmith.generation.unfinished import KeptLatents
from ligandsmith.parallel.engines import ENGINES
from ligandsmith.records import GeneratedLigand
from tiny_runs import ROOT, start

COMPLEXES = ROOT / "examples/complexes"
SETTINGS = ["--checkpoint", "tiny", "--num", "5", "--num_atoms", "6-9", "--steps", "2", "--batch_size", "2"]
SETTINGS += ["--device", "cpu", "--threads", "1"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two proteins with ligands and pockets.csv: both, and a pocket whose protein is not there."""
    folder = tmp_path_factory.mktemp("inputs")
    for number, name in enumerate(("7sza", "7off"), start=1):
        shutil.copy(COMPLEXES / name / "protein.pdb.gz", folder / f"protein_{number}.pdb.gz")
        shutil.copy(COMPLEXES / name / "ligand.sdf", folder / f"ligand_{number}.sdf")
    center = Chem.MolFromMolFile(str(folder / "ligand_2.sdf")).GetConformer().GetPositions().mean(0)
    lines = [
        "pocket,protein,ligand,residues,center,radius",
        "7sza,protein_1.pdb.gz,ligand_1.sdf,,,",
        f'7off,protein_2.pdb.gz,,,"{_xyz(center)}",9',
    ]
    (folder / "pockets.csv").write_text("\n".join([*lines, "gone,gone.pdb,,A:1,,", ""]))
    return folder


def _xyz(point: np.ndarray) -> str:
    return ",".join(f"{value:.3f}" for value in point)


def many(inputs: Path, out: Path, *extra: str) -> int:
    words = ["generate", *SETTINGS, "--manifest", str(inputs / "pockets.csv"), "--chunk", "2", "--out", str(out)]
    return main([*words, *extra])


@pytest.fixture(scope="module")
def run(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one worker."""
    out = tmp_path_factory.mktemp("many") / "run"
    assert many(inputs, out) == OK
    return out


def samples(folder: Path) -> dict[str, Any]:
    """samples.json without the seconds and the command."""
    record: dict[str, Any] = json.loads((folder / "samples.json").read_text())
    return {k: v for k, v in record.items() if k not in ("seconds", "command")}


def same(a: Path, b: Path, pockets: tuple[str, ...] = ("7sza", "7off")) -> bool:
    return all(
        (a / name / "ligands.sdf").read_bytes() == (b / name / "ligands.sdf").read_bytes()
        and samples(a / name) == samples(b / name)
        for name in pockets
    )


def chunk_times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.glob("*/chunks/*.json")}


def test_a_pocket_of_many_is_the_pocket_alone(inputs: Path, run: Path, tmp_path: Path) -> None:
    sites = {"7sza": ["--ligand", str(inputs / "ligand_1.sdf")]}
    rows = {row.pocket: row for row in read_manifest(inputs / "pockets.csv")}
    sites["7off"] = ["--center", rows["7off"].center, "--radius", "9"]
    for number, (name, site) in enumerate(sites.items(), start=1):
        protein = str(inputs / f"protein_{number}.pdb.gz")
        assert main(["generate", *SETTINGS, "--protein", protein, *site, "--out", str(tmp_path / name)]) == OK
        alone, among = ((folder / name / "samples.json").read_text().splitlines() for folder in (tmp_path, run))
        varying = ('"seconds"', '"command"')
        assert [a for a, b in zip(alone, among, strict=True) if a != b and not a.strip().startswith(varying)] == []
    assert same(tmp_path, run)


def test_every_row_is_accounted_for(run: Path, inputs: Path) -> None:
    summary = json.loads((run / "generation.json").read_text())
    assert summary["totals"]["pockets"] == {"made": 2, "that cannot be used": 1}
    assert summary["totals"]["requested"] == 10
    with (run / "failures.csv").open() as file:
        (failure,) = csv.DictReader(file)
    assert (failure["pocket"], failure["line"]) == ("gone", "4")
    assert "gone.pdb: no such file" in failure["reason"]
    scored = evaluate(run)
    assert [(s.source.pocket, len(s.data.samples)) for s in scored.pockets] == [("7sza", 5), ("7off", 5), ("gone", 5)]
    assert [s.data.site.reference is not None for s in scored.pockets] == [True, False, False]
    assert [s.data.site.protein is not None for s in scored.pockets] == [True, True, False]
    assert scored.summary["failures"]["unusable pocket"] == 5
    assert main(["evaluate", str(run), "--protocol", "none"]) == OK
    assert main(["report", str(run / "evaluation")]) == OK


def test_what_is_finished_is_not_made_again(
    inputs: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = LigandGenerator.batches
    made: list[int] = []

    def counted(self: LigandGenerator, *args: Any, **kwargs: Any) -> Iterator[list[GeneratedLigand]]:
        made.append(kwargs["start"])
        if len(made) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(LigandGenerator, "batches", counted)
    assert many(inputs, tmp_path / "run") == 130
    assert "the same command continues" in capsys.readouterr().err
    before = chunk_times(tmp_path / "run")
    assert len(before) == 4
    assert many(inputs, tmp_path / "run") == OK
    assert made == [0, 2, 4, 0, 2, 2, 4]
    assert chunk_times(tmp_path / "run").items() >= before.items()
    assert same(run, tmp_path / "run")
    assert many(inputs, tmp_path / "run") == OK
    assert len(made) == 7
    more = "--num", "6"
    assert many(inputs, tmp_path / "run", *more) == OK
    assert made[7:] == [4, 4]
    assert samples(tmp_path / "run" / "7off")["requested"] == 6


def test_a_killed_worker_loses_and_repeats_nothing(inputs: Path, run: Path, tmp_path: Path) -> None:
    """Two processes as a user starts them; the first to finish a unit is killed in the midst of its next."""
    out = tmp_path / "run"
    words = [*SETTINGS, "--manifest", str(inputs / "pockets.csv"), "--chunk", "2", "--workers", "2", "--out", str(out)]
    process = start([sys.executable, "-m", "ligandsmith.cli.main", "generate", *words], tmp_path)
    deadline = time.monotonic() + 500
    while not chunk_times(out) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    before = chunk_times(out)
    victim = max(children(process.pid), key=cpu_ticks)
    os.kill(victim, signal.SIGKILL)
    text, err = process.communicate(timeout=500)
    assert process.returncode == OK, err
    assert "2 made" in text
    assert before.items() <= chunk_times(out).items()
    assert same(run, out)


CANDIDATES = ["--candidates", "3", "--num", "12", "--chunk", "12", "--batch_size", "12", "--steps", "20"]


def latents(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*/chunks/*.unfinished/*/*.npy")}


def test_a_killed_task_goes_on_where_it_was(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed like by the system short of memory, in the midst of a task; what it sampled is not sampled again."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    sampled: list[int] = []
    original = LigandSampler._latents

    def counted(*args: Any) -> torch.Tensor:
        sampled.append(len(args[2].sizes))
        return original(*args)

    monkeypatch.setattr(LigandSampler, "_latents", counted)
    assert many(inputs, whole, *CANDIDATES) == OK
    words = [*SETTINGS, "--manifest", str(inputs / "pockets.csv"), *CANDIDATES, "--out", str(parts)]
    process = start([sys.executable, "-m", "ligandsmith", "generate", *words], tmp_path)
    deadline = time.monotonic() + 300
    while len(latents(parts)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = latents(parts)
    assert kept
    assert not chunk_times(parts)
    of_whole = len(sampled)
    assert many(inputs, parts, *CANDIDATES) == OK
    assert len(sampled) - of_whole == of_whole - len(kept)
    assert same(whole, parts)
    assert sorted(p.relative_to(parts) for p in parts.rglob("*")) == sorted(
        p.relative_to(whole) for p in whole.rglob("*")
    )


def test_two_workers_with_one_task_do_not_disturb_each_other(tmp_path: Path) -> None:
    """One was taken for dead. It still works when the other has finished the task."""
    first, second = (KeptLatents(tmp_path / "task") for _ in range(2))

    def not_needed() -> torch.Tensor:
        raise AssertionError

    a = first.latents("a", lambda: torch.arange(3.0))
    assert torch.equal(second.latents("a", not_needed), a)
    assert second.own != first.own
    second.latents("b", lambda: a)
    next(first.folder.glob("*/b.npy")).write_bytes(b"damaged")
    assert torch.equal(first.latents("b", lambda: a + 1), a + 1)
    second.clear()
    assert torch.equal(first.latents("c", lambda: a + 2), a + 2)
    first.clear()
    assert list(tmp_path.iterdir()) == []


def children(pid: int) -> list[int]:
    """Worker processes of a run."""
    words = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [int(word) for word in words if b"spawn_main" in Path(f"/proc/{word}/cmdline").read_bytes()]


def cpu_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11])


def test_a_ray_cluster_makes_the_same(inputs: Path, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray, an extra, is not installed")
    assert many(inputs, tmp_path / "run", "--engine", "ray", "--workers", "1") == OK
    assert same(run, tmp_path / "run")


def test_without_ray_one_line_says_how_to_get_it(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert many(inputs, tmp_path / "run", "--engine", "ray") == FAILED
    assert "error: --engine ray: ray is not installed; pip install" in capsys.readouterr().err


SMILES = ["CCO", "OCC", "C[C@H](N)O", "C[C@@H](N)O", "CCN", "CCO", "CCO", "CCN", "CCC", "CCCC"]


def made_of(smiles: list[str]) -> Callable[..., Iterator[list[GeneratedLigand]]]:
    """A generator of given molecules, for what is done with them afterwards; "" is one that failed."""

    def batches(
        self: LigandGenerator, pocket: Any, options: Any, start: int = 0, keeping: Any = None
    ) -> Iterator[list[GeneratedLigand]]:
        for index in range(start, options.num):
            mol = Chem.MolFromSmiles(smiles[index]) if smiles[index] else None
            if mol is None:
                yield [GeneratedLigand(index, 3, None, False, False, False, "valence", "atom 1")]
                continue
            conformer = Chem.Conformer(mol.GetNumAtoms())
            conformer.Set3D(True)
            conformer.SetPositions(np.random.default_rng(index).normal(size=(mol.GetNumAtoms(), 3)))
            mol.AddConformer(conformer)
            yield [GeneratedLigand(index, 3, mol, True, False, True)]

    return batches


def test_duplicates_leave_and_are_listed(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LigandGenerator, "batches", made_of(["", *SMILES]))
    out = tmp_path / "run"
    assert many(inputs, out, "--num", "11", "--unique") == OK
    record = samples(out / "7sza")
    kept = [m["index"] for m in record["molecules"]]
    assert kept == [1, 3, 5, 9, 10]  # an epimer is no new molecule, as the metric `unique` has it
    assert [(f["index"], f["reason"]) for f in record["failures"]] == [
        (0, "valence"), *((i, "duplicate") for i in (2, 4, 6, 7, 8)),
    ]  # fmt: skip
    assert [entry.title for entry in read_sdf(out / "7sza" / "ligands.sdf")] == [f"ligand_{i:05d}" for i in kept]
    assert (record["unique"], record["requested"]) == (True, 11)
    assert evaluate(out).pockets[0].columns["unique"].count(0.0) == 0
    assert many(inputs, out, "--num", "11") == OK  # they are kept, and nothing is made anew
    assert len(samples(out / "7sza")["molecules"]) == 10


@pytest.mark.parametrize(("order", "made"), [("in turn", 3), ("the other way round", 5)])
def test_a_pocket_stops_when_little_is_new(
    order: str, made: int, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Whichever unit is done first: what counts are the chunks in the order of their index."""
    monkeypatch.setattr(LigandGenerator, "batches", made_of(["", "", *SMILES[2:]]))
    if order != "in turn":
        local = ENGINES["local"]
        monkeypatch.setitem(ENGINES, "local", lambda work, units, n: local(work, reversed(list(units)), n))
    out = tmp_path / "run"
    assert many(inputs, out, "--num", "10", "--stop_below", "0.6") == OK
    record = samples(out / "7sza")
    reason = "stopped after 4: 1 of 2 molecules of the last chunk were new, a share below 0.6"
    assert (record["requested"], record["done"], record["stopped"]) == (4, 4, reason)
    assert [m["index"] for m in record["molecules"]] == [2, 3]
    assert f"7sza {reason}" in capsys.readouterr().out
    assert len(list((out / "7sza" / "chunks").glob("*.json"))) == (2 if order == "in turn" else made)
    assert len(evaluate(out).pockets[0].data.samples) == 4


def test_a_folder_of_something_else_is_left_alone(
    inputs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = chunk_times(run)
    for extra, said in ((["--seed", "1"], "different seed"), (["--chunk", "3"], "different chunk")):
        assert many(inputs, run, *extra) == FAILED
        assert f"another request ({said}); choose another --out" in capsys.readouterr().err
    moved = inputs / "moved.csv"
    moved.write_text((inputs / "pockets.csv").read_text().replace("ligand_1.sdf,,,", ",A:100 A:101,,"))
    assert main(["generate", *SETTINGS, "--manifest", str(moved), "--chunk", "2", "--out", str(run)]) == FAILED
    assert "7sza: holds samples of another request (different pocket)" in capsys.readouterr().err
    (tmp_path / "7sza").mkdir()
    assert many(inputs, tmp_path) == FAILED
    assert "7sza: is there without a generation.json" in capsys.readouterr().err
    assert chunk_times(run) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column pocket"),
        ("pocket,ligand\na,b\n", "line 1: no column protein"),
        ("pocket,protein\na,b\n", "line 1: no site"),
        ("pocket,protein,het,residue\na,b,c,d\n", "line 1: unknown column 'residue'"),
        ("pocket,protein,het\n", "no rows"),
        ("pocket,protein,het\na,b,c\nb,b,c\na,b,c\n", "line 4: pocket a is in line 2 already"),
        ("pocket,protein,het\n../a,b,c\n", "line 2: pocket '../a' cannot name a folder"),
        ("pocket,protein,het\nevaluation,b,c\n", "line 2: pocket 'evaluation' cannot name a folder"),
        ("pocket,protein,het\na,b,c\n", "no row can be used; the first: a:"),
    ],
)
def test_manifests_that_cannot_be_used(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pockets.csv").write_text(text)
    assert many(tmp_path, tmp_path / "run") == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ("protein_1.pdb.gz,,,,", "this row has no site"),
        ("protein_1.pdb.gz,ligand_1.sdf,A:1,,", "this row has"),
        (",ligand_1.sdf,,,", "give a protein"),
        ('protein_1.pdb.gz,,,"1,2",', "is not three numbers"),
        ('protein_1.pdb.gz,,,"1,2,3",-4', "radius '-4' is not a number above 0"),
        ('protein_1.pdb.gz,,,"1000,2,3",', "empty pocket"),
        ("ligand_1.sdf,ligand_1.sdf,,,", "ligand_1.sdf"),
    ],
)
def test_rows_that_cannot_be_used(cells: str, said: str, inputs: Path, tmp_path: Path) -> None:
    path = inputs / f"{tmp_path.name}.csv"
    path.write_text(f"pocket,protein,ligand,residues,center,radius\na,{cells}\n")
    (row,) = read_manifest(path)
    with pytest.raises(LigandsmithError, match=said.replace("(", r"\(")):
        row.read()


@pytest.mark.parametrize(
    "words",
    [
        "--manifest {m} --ligand x.sdf", "--protein p.pdb", "--protein p.pdb --het X --workers 2",
        "--protein p.pdb --het X --unique",
    ],
)  # fmt: skip
def test_flags_that_do_not_go_together(
    words: str, inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    given = words.format(m=inputs / "pockets.csv").split()
    assert main(["generate", *SETTINGS, *given, "--out", str(out)]) == USAGE
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not out.exists()
