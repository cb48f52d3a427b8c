"""Every command on mutated inputs, each run in a process of its own: an exit status of 0, or one line that says why.

`python tests/fuzz/fuzz_commands.py --number 2000 --seed 19` tries so many over all commands and lists what is wrong.
"""

# ruff: noqa: T201 - this is a program, too

import argparse
import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/fuzz"), str(ROOT / "tests/data")]

from mutations import mutate  # noqa: E402
from sound_files import MAKE, SMALL, TRAIN, make_sound_files  # noqa: E402

from ligandsmith.cli.main import COMMANDS, main  # noqa: E402

EXTRA_SECONDS = 20  # of processor time and beyond what the command takes on sound files
WAIT = 8  # times longer on the clock, on a machine that others use
MEMORY = 4 << 30  # bytes that a command may take beyond what is taken at its start


@dataclass(frozen=True)
class Target:
    """A command line over files of a folder: which of them are mutated, and how often in 100 of all trials."""

    words: str  # {here}: the folder with the files, {out}: a new one
    files: tuple[str, ...]
    share: int
    folder: str  # with the sound files

    @property
    def command(self) -> str:
        """The name of the command."""
        return self.words.split()[0]


SITE = "--protein {here}/protein.pdb --ligand {here}/ligand.sdf"
TARGETS = (
    Target("prepare {here} --out {out}", ("a/protein.pdb", "a/ligand.sdf", "b/protein.cif", "b/ligand.mol2",
                                          "split.csv"), 8, "pairs"),
    Target("prepare {here}/table.csv --out {out} --split_file {here}/split.csv", ("table.csv", "split.csv"), 4,
           "pairs"),
    Target("split {here} --by random", ("complexes-00000.parquet", "manifest.json", "sequences.json"), 4, "data"),
    Target("split {here} --by sequence", ("complexes-00000.parquet", "sequences.json"), 3, "data"),
    Target("split {here} --by file --file {here}/new.csv", ("new.csv",), 3, "data"),
    Target("split {here} --by file --file {here}/new.json", ("new.json",), 2, "data"),
    Target("conformers {here}/x.smi --out {out}", ("x.smi",), 5, "words"),
    Target("conformers {here}/x.smi.gz --out {out}", ("x.smi.gz",), 2, "words"),
    Target("properties {here}", ("complexes-00000.parquet", "manifest.json"), 4, "data"),
    Target("pseudo-complexes {here} --out {out} --per_protein 2", ("protein.pdb", "protein.cif"), 4, "proteins"),
    Target("prepare-protein {here}/protein.pdb --ligand {here}/ligand.sdf --keep_waters 5 --out {out}/p.pdb",
           ("protein.pdb", "ligand.sdf"), 3, "site"),
    Target("train-vae --model_type ligand --data {here} " + TRAIN,
           ("complexes-00000.parquet", "manifest.json", "splits.json", "tiny.yaml", "properties.parquet"), 6, "data"),
    Target("train-vae --model_type protein --init_from {here}/protein_vae.pt " + TRAIN, ("protein_vae.pt", "tiny.yaml"),
           2, "words"),
    Target("train-denoiser --data {here}/x.lmdb --split_file {here}/split.pt " + TRAIN,
           ("x.lmdb", "split.pt", "tiny.yaml"), 4, "crossdocked"),
    Target("train-denoiser --data {here} " + TRAIN + " --ligand_vae_path {here}/ligand_vae.pt", ("ligand_vae.pt",), 2,
           "data"),
    Target("train-all --num_samples 0 --data {here} " + TRAIN.replace("tiny.yaml", "tiny.json"),
           ("tiny.json", "properties.parquet"), 2, "data"),
    Target("train-vae --model_type ligand --data {here} " + TRAIN + " --resume {here}/ligand_vae.pt --max_steps 2",
           ("ligand_vae.pt",), 1, "data"),
    Target(f"generate {SITE} {MAKE} --checkpoint tiny --out {{out}}", ("protein.pdb", "ligand.sdf"), 5, "site"),
    Target(f"generate {SITE} {MAKE} --checkpoint small --fix {{here}}/part.sdf --out {{out}}", ("part.sdf",), 2,
           "site"),
    Target(f"generate {SITE} {MAKE} --checkpoint {{here}}/denoiser.pt --out {{out}}", ("denoiser.pt",), 3, "site"),
    Target(f"generate {SITE} {MAKE} --checkpoint {{here}}/export --out {{out}}",
           ("export/config.json", "export/model.safetensors"), 2, "site"),
    Target(f"generate {SITE} {SMALL} --num 3 --steps 2 --candidates 1 --checkpoint tiny --out {{here}}/made",
           ("made/samples.json", "made/ligands.sdf"), 2, "site"),
    Target(f"generate --manifest {{here}}/pockets.csv {MAKE} --checkpoint tiny --out {{here}}/many --chunk 1",
           ("pockets.csv", "many/generation.json", "many/a/pocket.json", "many/a/chunks/00000000-00000001.json",
            "many/a/chunks/00000000-00000001.sdf"), 3, "site"),
    Target(f"optimise {SITE} {SMALL} --steps 2 --candidates 1 --checkpoint tiny --objective qed --num_atoms 8-12 "
           "--budget 2 --out {here}/better",
           ("protein.pdb", "ligand.sdf", "better/rounds/0001.json", "better/optimisation.json"), 3, "site"),
    Target("analogues {here}/ligand.sdf --protein {here}/protein.pdb " + MAKE + " --checkpoint tiny --out {out}",
           ("protein.pdb", "ligand.sdf"), 2, "site"),
    Target("export {here}/ligand_vae.pt --out {out} --card {here}/card.md", ("ligand_vae.pt", "card.md"), 2, "words"),
    Target("evaluate {here}/scored/ligands.sdf --protein {here}/protein.pdb --ligand {here}/ligand.sdf --protocol none "
           "--known {here}/x.smi --out {out}",
           ("scored/ligands.sdf", "scored/samples.json", "protein.pdb", "ligand.sdf", "x.smi"), 8, "site"),
    Target("evaluate {here}/list.csv --protocol none --out {out}", ("list.csv",), 2, "site"),
    Target("evaluate {here}/results.pt --protocol none --out {out}", ("results.pt",), 2, "site"),
    Target("evaluate {here}/scored/ligands.sdf --protein {here}/protein.pdb --tools strain --out {here}/scored",
           ("scored/answers/strain.jsonl", "scored/ligands.sdf"), 3, "site"),
    Target("report {here}/scored", ("scored/summary.json", "scored/per_molecule.csv", "scored/molecules.sdf",
                                  "scored/interactions.json", "scored/pockets/scored.pdb"), 6, "site"),
    Target("report {here}/better", ("better/history.csv", "better/optimisation.json"), 4, "site"),
    Target("report {here}", ("x_history.json", "x_report_card.json"), 3, "run"),
    Target("relax {here}/scored/ligands.sdf --protein {here}/protein.pdb --ligand {here}/ligand.sdf --out {out}",
           ("scored/ligands.sdf", "protein.pdb", "ligand.sdf", "scored/samples.json"), 4, "site"),
    Target("rank {here}/scored --by qed,-logp:2 --filters connected", ("scored/per_molecule.csv", "scored/summary.json",
                                                                     "scored/molecules.sdf"), 6, "site"),
    Target("doctor --preset tiny --device cpu --threads 1 --batch_size 2 --data {here}",
           ("manifest.json", "complexes-00000.parquet", "splits.json"), 1, "data"),
)  # fmt: skip


@dataclass
class Outcome:
    """What one run came to. `problem` is empty for an exit status of 0 and for an error of one line."""

    problem: str
    seconds: float
    output: str = ""


def run_in_fork(words: list[str], folder: Path, seconds: float) -> Outcome:
    """Run a command in a forked process in `folder`, with bounded time and memory."""
    log = folder / "output.txt"
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(words, folder, log, seconds)
    deadline = began + WAIT * seconds
    status: int | None = None
    while status is None and time.monotonic() < deadline:
        done, code = os.waitpid(pid, os.WNOHANG)
        status = code if done else None
        if status is None:
            time.sleep(0.01)
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return Outcome(_problem(status, log.read_text(errors="replace")), time.monotonic() - began,
                   log.read_text(errors="replace")[-3000:])  # fmt: skip


def _child(words: list[str], folder: Path, log: Path, seconds: float) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(stream, descriptor)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001 (it is what is looked for)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _problem(status: int | None, text: str) -> str:
    if status is None:
        return "timeout"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "timeout" if number in (signal.SIGXCPU, signal.SIGKILL) else f"crash: signal {number}"
    code = os.WEXITSTATUS(status)
    if "Traceback (most recent call last)" in text or code >= 98:
        return "traceback: " + next((line for line in reversed(text.splitlines()) if line.strip()), "")
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    if code == 0 and not errors:
        return ""
    if code == 0 or len(errors) != 1 or len(errors[0]) > 2000:
        return f"status {code} with {len(errors)} lines of error"
    last = text.splitlines()[-1]
    return "" if last == errors[0] else f"more than a line: {last}"


@dataclass
class Tally:
    """Runs by command, how many of them were refused, and what went wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def trials(number: int, seed: int) -> Iterator[tuple[int, Target]]:
    """So many numbered trials, the targets in turn by their share."""
    rng = np.random.default_rng(seed)
    shares = np.array([t.share for t in TARGETS], dtype=float)
    first = [k for k in range(len(TARGETS))] if number >= len(TARGETS) else []
    rest = rng.choice(len(TARGETS), size=number - len(first), p=shares / shares.sum()).tolist()
    for n, k in enumerate([*first, *rest]):
        yield n, TARGETS[k]


def one_trial(base: Path, target: Target, number: int, seed: int, place: Path) -> tuple[str, Outcome]:
    """Mutate a copy of the sound files and run the command; says what was changed."""
    rng = np.random.default_rng((seed, number))
    here, out = place / "in", place / "out"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base / target.folder, here)
    name = target.files[int(rng.integers(len(target.files)))]
    changed = "nothing: the file is not there"
    if (here / name).exists():
        changed = mutate(here / name, rng)
    words = target.words.format(here=here, out=out).split()
    return f"{name}, {changed}", run_in_fork(words, place, EXTRA_SECONDS + 10)


def fuzz(number: int, seed: int, base: Path, only: str = "", part: range | None = None) -> Tally:
    """Try so many mutations over all commands, or those of one, or a part of them."""
    tally = Tally()
    place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=base.parent))
    for n, target in trials(number, seed):
        if (part is not None and n not in part) or (only and only not in target.words):
            continue
        if n % 50 == 0:
            print(f"trial {n} at {time.strftime('%H:%M:%S')}", flush=True)
        changed, outcome = one_trial(base, target, n, seed, place)
        tally.tried[target.command] += 1
        tally.refused[target.command] += "error: " in outcome.output
        if outcome.problem:
            text = f"trial {n}: {target.words}: {changed}: {outcome.problem} ({outcome.seconds:.0f} s)"
            tally.findings.append(text)
            print(text, flush=True)
            if os.environ.get("FUZZ_VERBOSE"):
                print(outcome.output)
    shutil.rmtree(place, ignore_errors=True)
    return tally


def preload() -> None:
    """Import everything before the forks, so that each does not."""
    import pkgutil  # noqa: PLC0415
    from importlib import import_module  # noqa: PLC0415

    import ligandsmith  # noqa: PLC0415

    for module in pkgutil.walk_packages(ligandsmith.__path__, "ligandsmith."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # so that collections in the forks copy no page


def run() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=19)
    parser.add_argument("--only", default="")
    parser.add_argument("--begin", type=int, default=0)
    parser.add_argument("--end", type=int, default=10**9)
    parser.add_argument("--base", type=Path, default=None)
    args = parser.parse_args()
    preload()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-base-"))
    base = args.base or folder / "base"
    if not base.is_dir():
        make_sound_files(base)
    tally = fuzz(args.number, args.seed, base, args.only, range(args.begin, args.end))
    for command in COMMANDS:
        print(f"{command:<18}{tally.tried[command]:5d} tried {tally.refused[command]:5d} refused")
    print(f"{tally.tried.total()} tried, {len(tally.findings)} findings, seed {args.seed}")
    shutil.rmtree(folder, ignore_errors=True)
    return bool(tally.findings)


if __name__ == "__main__":
    sys.exit(run())
