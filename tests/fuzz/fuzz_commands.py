"""Every command on mutated inputs, each run in a process of its own: an exit status of 0, or one line that says why.

`python tests/fuzz/fuzz_commands.py --number 2000 --seed 19` tries so many over all commands and lists what is wrong.
"""

# ruff: noqa: T201 - this is a program, too

import argparse
import gc
import gzip
import io
import json
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import gemmi
import lmdb
import numpy as np
import torch
import yaml
from rdkit import Chem

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/fuzz"), str(ROOT / "tests/data")]

from mutations import mutate  # noqa: E402
from test_crossdocked import published_record  # noqa: E402

from ligandsmith.chem.sdf import write_sdf  # noqa: E402
from ligandsmith.cli.main import COMMANDS, main  # noqa: E402
from tiny_runs import TINY  # noqa: E402

EXAMPLES = ROOT / "examples/complexes"
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


SMALL = "--device cpu --threads 1"
TRAIN = f"{SMALL} --num_workers 0 --max_steps 1 --batch_size 2 --limit 4 --config {{here}}/tiny.yaml --run_dir {{out}}"
SITE = "--protein {here}/protein.pdb --ligand {here}/ligand.sdf"
MAKE = f"{SMALL} --num 2 --steps 2 --candidates 1"
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
    Target("report {here}", ("x_history.json", "x_report_card.json"), 3, "run"),
    Target("relax {here}/scored/ligands.sdf --protein {here}/protein.pdb --ligand {here}/ligand.sdf --out {out}",
           ("scored/ligands.sdf", "protein.pdb", "ligand.sdf", "scored/samples.json"), 4, "site"),
    Target("rank {here}/scored --by qed,-logp:2 --filters connected", ("scored/per_molecule.csv", "scored/summary.json",
                                                                     "scored/molecules.sdf"), 6, "site"),
    Target("doctor --preset tiny --device cpu --threads 1 --batch_size 2 --data {here}",
           ("manifest.json", "complexes-00000.parquet", "splits.json"), 1, "data"),
)  # fmt: skip


def _cut_protein(site: str) -> str:
    """The residues within 9 Å of the ligand: enough for all commands, and quick to read."""

    structure = gemmi.read_structure(str(EXAMPLES / site / "protein.pdb.gz"))
    structure.setup_entities()
    lines = (EXAMPLES / site / "ligand.sdf").read_text().splitlines()
    x = [gemmi.Position(*map(float, line.split()[:3])) for line in lines[4:] if len(line) > 60 and line[31].isalpha()]
    for chain in structure[0]:
        for i in reversed(range(len(chain))):
            if min(atom.pos.dist(p) for atom in chain[i] for p in x) > 9:
                del chain[i]
    structure.remove_empty_chains()
    return str(structure.make_pdb_string())


def _mol2(block: str) -> str:
    """A molecule of a molfile, with hydrogens, as MOL2."""
    mol = Chem.AddHs(Chem.MolFromMolBlock(block), addCoords=True)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    ending = {Chem.HybridizationType.SP3: ".3", Chem.HybridizationType.SP2: ".2", Chem.HybridizationType.SP: ".1"}
    lines = ["@<TRIPOS>MOLECULE", "LIG", f" {mol.GetNumAtoms()} {mol.GetNumBonds()} 1", "SMALL", "NO_CHARGES", "",
             "@<TRIPOS>ATOM"]  # fmt: skip
    for atom, (x, y, z) in zip(mol.GetAtoms(), mol.GetConformer().GetPositions(), strict=True):
        kind = atom.GetSymbol() + (ending.get(atom.GetHybridization(), "") if atom.GetSymbol() in "CNO" else "")
        lines.append(
            f"{atom.GetIdx() + 1} {atom.GetSymbol()}{atom.GetIdx() + 1} {x:.4f} {y:.4f} {z:.4f} {kind} 1 LIG 0.0"
        )
    lines.append("@<TRIPOS>BOND")
    for i, bond in enumerate(mol.GetBonds(), 1):
        lines.append(f"{i} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1} {bond.GetBondTypeAsDouble():.0f}")
    return "\n".join(lines) + "\n"


def make_sound_files(base: Path) -> None:
    """The folders of the targets, with files of each kind that are sound and small."""
    for folder in ("pairs/a", "pairs/b", "words", "proteins", "crossdocked", "site", "run"):
        (base / folder).mkdir(parents=True)
    _make_pairs(base)
    _make_words(base)
    _make_data(base)
    _make_runs(base)
    _make_site(base / "site")


def _make_pairs(base: Path) -> None:
    protein, ligand = _cut_protein("7sza"), (EXAMPLES / "7sza/ligand.sdf").read_text()
    cif = gemmi.read_pdb_string(protein).make_mmcif_document().as_string()
    for folder in ("pairs/a", "proteins", "site"):
        (base / folder / "protein.pdb").write_text(protein)
    for folder in ("pairs/b", "proteins"):
        (base / folder / "protein.cif").write_text(cif)
    for folder in ("pairs/a", "site"):
        (base / folder / "ligand.sdf").write_text(ligand)
    (base / "pairs/b/ligand.mol2").write_text(_mol2(ligand))
    (base / "pairs/split.csv").write_text("id,split\na,train\nb,validation\n")
    (base / "pairs/table.csv").write_text(
        "id,protein,ligand\na,a/protein.pdb,a/ligand.sdf\nb,b/protein.cif,b/ligand.mol2\n"
    )


def _make_words(base: Path) -> None:
    smiles = "CCOC(=O)c1ccccc1 ester\nCC(=O)Nc1ccc(O)cc1\nc1ccc2ccccc2c1 tar\nCN1CCC[C@H]1c1cccnc1 n\n"
    for folder in ("words", "site"):
        (base / folder / "x.smi").write_text(smiles)
    (base / "words/x.smi.gz").write_bytes(gzip.compress(smiles.encode()))
    (base / "words/card.md").write_text("# A model\n\nMade for a test.\n")


def _make_data(base: Path) -> None:
    _run("prepare", str(base / "pairs"), "--out", str(base / "data"))
    for name in ("words", "data", "crossdocked"):
        (base / name / "tiny.yaml").write_text(TINY)
    (base / "data/tiny.json").write_text(json.dumps(yaml.safe_load(TINY)))
    (base / "data/new.csv").write_text("id,split\na,train\nb,test\n")
    (base / "data/new.json").write_text('{"train": ["a"], "validation": [], "test": ["b"]}')
    records = [published_record(i, group) for i, group in enumerate(["A", "A", "B", "B"])]
    place = str(base / "crossdocked/x.lmdb")
    with lmdb.open(place, subdir=False, map_size=1 << 28) as file, file.begin(write=True) as transaction:
        for i, record in enumerate(records):
            transaction.put(str(i).encode(), pickle.dumps(record))
    torch.save({"train": [0, 1], "val": [2], "test": [3]}, base / "crossdocked/split.pt")


def _make_runs(base: Path) -> None:
    flags = [*TRAIN.format(here=base / "data", out=base / "run").split(), "--data", str(base / "data")]
    for kind in ("ligand", "protein"):
        _run("train-vae", "--model_type", kind, *flags)
        shutil.copyfile(base / f"run/best_{kind}_vae.pt", base / f"words/{kind}_vae.pt")
    shutil.copyfile(base / "words/ligand_vae.pt", base / "data/ligand_vae.pt")
    _run("train-denoiser", *flags)
    shutil.copyfile(base / "run/best_denoiser.pt", base / "site/denoiser.pt")
    for path in (base / "run").iterdir():
        if not path.name.endswith(("_history.json", "_report_card.json")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    next((base / "run").glob("*denoiser_history.json")).rename(base / "run/x_history.json")
    next((base / "run").glob("*_report_card.json")).rename(base / "run/x_report_card.json")
    _run("properties", str(base / "data"))


def _make_site(site: Path) -> None:
    mol = Chem.MolFromMolFile(str(site / "ligand.sdf"))
    _run("export", str(site / "denoiser.pt"), "--out", str(site / "export"))
    part = Chem.RWMol(mol)
    ring = set(mol.GetRingInfo().AtomRings()[0])
    for i in sorted(set(range(mol.GetNumAtoms())) - ring, reverse=True):
        part.RemoveAtom(i)
    Chem.SanitizeMol(part)
    (site / "part.sdf").write_text(Chem.MolToMolBlock(part) + "$$$$\n")
    (site / "pockets.csv").write_text(
        "pocket,protein,ligand,radius\na,protein.pdb,ligand.sdf,\nb,protein.pdb,ligand.sdf,\n"
    )
    where = ["--protein", str(site / "protein.pdb"), "--ligand", str(site / "ligand.sdf")]
    make = [*MAKE.split(), "--checkpoint", "tiny"]
    _run("generate", *where, *make, "--out", str(site / "made"))
    _run("generate", "--manifest", str(site / "pockets.csv"), *make, "--chunk", "1", "--out", str(site / "many"))
    _make_scored(site / "scored", mol)
    scored = str(site / "scored")
    _run("evaluate", f"{scored}/ligands.sdf", *where, "--tools", "strain", "interactions", "--out", scored)
    (site / "list.csv").write_text(
        "pocket,ligands,protein,reference,requested\na,scored/ligands.sdf,protein.pdb,ligand.sdf,4\nb,ligand.sdf,,,3\n"
    )
    records = [{"mol": mol, "ligand_filename": "p/a.sdf"}, {"mol": None, "ligand_filename": "p/a.sdf"}]
    torch.save([records], site / "results.pt")


def _make_scored(folder: Path, mol: Chem.Mol) -> None:
    """Three poses of a ligand and a failure, as `generate` would leave them."""
    folder.mkdir()
    poses = []
    for index in range(3):
        pose = Chem.Mol(mol)
        pose.GetConformer().SetPositions(mol.GetConformer().GetPositions() + 0.1 * index)
        poses.append((pose, {"index": index}))
    write_sdf(folder / "ligands.sdf", poses)
    log = {"requested": 4, "done": 4, "seconds": 2.0, "identity": {"seed": 0}, "molecules": [],
           "failures": [{"index": 3, "reason": "valence", "detail": "atom 1"}], "removed_from_site": []}  # fmt: skip
    (folder / "samples.json").write_text(json.dumps(log))


def _run(*words: str) -> None:
    with redirect_stdout(io.StringIO()) as said:
        status = main(list(words))
    assert status == 0, (words, said.getvalue())


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
