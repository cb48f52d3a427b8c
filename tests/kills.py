"""Commands killed (SIGKILL, with what they started left alone) at random moments and started again until they end."""

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ligandsmith.cli.main import main
from tiny_runs import ROOT

EXAMPLES = ROOT / "examples/complexes"
GENERATE = "--checkpoint tiny --num_atoms 9 --steps 4 --candidates 2 --device cpu --seed 3"
# Forks of a process that has all libraries: without their import, most kills would hit it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["kills", "ligandsmith.design.setup", "ligandsmith.data.preparation", "ligandsmith.cli.main"]
)


def run_command(words: list[str], folder: Path) -> None:
    """In a process of its own: a command in a folder, with the place for temporary files below it."""
    os.chdir(folder)
    os.environ |= {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    tempfile.tempdir = None
    with Path("err.txt").open("w") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    sys.exit(main(words))


@dataclass(frozen=True)
class Job:
    """A command that writes into `out` below its folder, and the files of it in which times stand."""

    words: str
    differs: tuple[str, ...] = ()

    def start(self, folder: Path) -> Any:
        (folder / "tmp").mkdir(exist_ok=True)
        words = [*self.words.split(), "--out", "out"]
        process = FORKS.Process(target=run_command, args=(words, folder), daemon=False)
        process.start()
        return process

    def finish(self, folder: Path) -> None:
        """Run it to its end."""
        process = self.start(folder)
        process.join(600)
        assert process.exitcode == 0, (folder / "err.txt").read_text()


def sites(folder: Path) -> None:
    """Two complexes, a manifest of both, and a file of their ligands."""
    for name in ("7sza", "7off"):
        shutil.copytree(EXAMPLES / name, folder / "in" / name)
    rows = [f"{name},in/{name}/protein.pdb.gz,in/{name}/ligand.sdf" for name in ("7sza", "7off")]
    (folder / "pockets.csv").write_text("\n".join(["pocket,protein,ligand", *rows, ""]))
    ligand = (EXAMPLES / "7sza" / "ligand.sdf").read_text()
    (folder / "made.sdf").write_text(ligand + (EXAMPLES / "7off" / "ligand.sdf").read_text())


JOBS = {
    "prepare": Job("prepare in"),
    "generate": Job(
        f"generate --protein in/7sza/protein.pdb.gz --ligand in/7sza/ligand.sdf --num 16 --batch_size 16 --threads 1 "
        f"{GENERATE}", ("samples.json",),
    ),
    "generate --manifest": Job(f"generate --manifest pockets.csv --num 6 --chunk 2 --workers 2 {GENERATE}", (".json",)),
    "evaluate": Job(
        "evaluate made.sdf --protein in/7sza/protein.pdb.gz --ligand in/7sza/ligand.sdf --tools strain vina",
        ("summary.json", ".jsonl"),
    ),
    "optimise": Job(
        "optimise --protein in/7sza/protein.pdb.gz --ligand in/7sza/ligand.sdf --objective qed,-strain_uff --budget 30 "
        "--checkpoint small --num_atoms 8-10 --steps 6 --candidates 1 --device cpu --threads 1", (".json", ".jsonl"),
    ),
}  # fmt: skip


def files(folder: Path, differs: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Content of all files by name; empty for those with times, or with answers in the order in which they came."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): b"" if differs and path.name.endswith(differs) else path.read_bytes()
        for path in found
    }


def killed_until_done(job: Job, folder: Path, kills: int, seconds: float, chance: random.Random) -> None:
    """Start the job and kill it within `seconds`, `kills` times, then let it end. Where it ended before it could be
    killed, its results go, and it starts afresh."""
    killed = 0
    while killed < kills:
        began = time.monotonic()
        process = job.start(folder)
        process.join(seconds * chance.random())
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0, (folder / "err.txt").read_text()
            shutil.rmtree(folder / "out")
            seconds = min(seconds, time.monotonic() - began)  # the first one also waited for the libraries
    job.finish(folder)


def compare_with_undisturbed(job: Job, folder: Path, kills: int, seed: int = 0) -> None:
    """A job that is killed ends with the results of one that is not, and leaves nothing beside them."""
    whole, parts = folder / "whole", folder / "parts"
    for place in (whole, parts):
        place.mkdir(parents=True)
        sites(place)
    began = time.monotonic()
    job.finish(whole)
    killed_until_done(job, parts, kills, time.monotonic() - began, random.Random(seed))
    expected, found = (files(place / "out", job.differs) for place in (whole, parts))
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    assert sorted(p.name for p in parts.iterdir()) == sorted(p.name for p in whole.iterdir())
    assert list((parts / "tmp").iterdir()) == []
