"""Another project's model and ours, side by side in one run: CPU seconds, memory, ratios; the last line is JSON.

`PEER_ROOT=DiffSBDD python -m benchmarks vs_peers --peer diffsbdd --batch 4`
PEER_ROOT is a checkout of the peer (of MolCRAFT: the folder MolCRAFT in it), PEER_PYTHON (default: this Python) one
that imports it. Each model has a process of its own, with one thread; the steps alternate, so that a busy machine slows
all alike. The peer runs at its published size with random weights on the same synthetic complexes. "100 molecules": the
peer's denoising step times its published steps times 100 / batch; ours by making a batch with the preset's own settings
(random weights, one candidate), RDKit molecules included. The row `defaults` is what a user gets: --num ligands of a
real pocket (7OFF) with the shipped weights `small` and their own settings: all candidates, restarts and relaxation.
`--peer ligandsmith` compares with another checkout of this project: before and after a change.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine, report, synthetic_complex

HERE = Path(__file__).resolve().parent
PUBLISHED_STEPS = {"diffsbdd": 500, "targetdiff": 1000, "molcraft": 100, "geoldm": 1000, "ligandsmith": 50}
DEFAULTS = "defaults"  # our row that is no preset


class Worker:
    """A process that runs one step of a model per line that it is sent."""

    def __init__(self, command: list[str], **environment: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **environment}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        self.facts = self._read()
        self.costs: dict[str, list[dict[str, float]]] = {}

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise SystemExit(f"{' '.join(map(str, self.process.args))}: it ended without an answer")  # type: ignore[arg-type]

    def run(self, step: str, keep: bool = True) -> None:
        assert self.process.stdin
        self.process.stdin.write(step + "\n")
        cost = self._read()
        if keep:
            self.costs.setdefault(step, []).append(cost)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def core_s(self, step: str) -> float:
        return statistics.median(cost["core_s"] for cost in self.costs[step])

    def mean_core_s(self, step: str) -> float:
        return statistics.mean(cost["core_s"] for cost in self.costs[step])

    def peak(self) -> float:
        return max(cost["peak_rss_gib"] for costs in self.costs.values() for cost in costs)


def workers(args: argparse.Namespace, folder: Path) -> dict[str, Worker]:
    """The peer's process, one for each preset of ours, and one for the shipped weights."""
    root = os.environ.get("PEER_ROOT")
    if not root or not Path(root).is_dir():
        raise SystemExit("set PEER_ROOT to a checkout of the peer")
    made = [synthetic_complex(args.ligand, args.pocket, i) for i in range(args.batch)]
    sites = [c.pocket.x for c in made if c.pocket is not None]
    np.savez(folder / "complexes.npz", ligand=np.stack([c.ligand.x for c in made]), pocket=np.stack(sites))
    python = os.environ.get("PEER_PYTHON", sys.executable)
    sizes = [str(n) for n in (args.batch, args.ligand, args.pocket)]
    if args.peer == "ligandsmith":
        command = [python, f"{root}/benchmarks/own.py", args.presets[0], *sizes]
        paths = {"PYTHONPATH": f"{root}/src{os.pathsep}{root}"}
    else:
        command = [python, str(HERE / "peers.py"), args.peer, root, str(folder / "complexes.npz")]
        paths = {"PYTHONPATH": str(HERE.parent)}
    ours = {"PYTHONPATH": str(HERE.parent)}
    own = {name: Worker([sys.executable, str(HERE / "own.py"), name, *sizes], **ours) for name in args.presets}
    shipped = [sys.executable, str(HERE / "own.py"), DEFAULTS, str(args.num), *sizes[1:]]
    return {"peer": Worker(command, **paths)} | own | {DEFAULTS: Worker(shipped, **ours)}


def alternate(found: dict[str, Worker], repeats: int, warmup: int) -> None:
    """Every step of every model in turn. Ours is short, so it is repeated within a turn."""
    for turn in range(-warmup, repeats):
        for step in ("train", "denoise"):
            for name, worker in found.items():
                for _ in range({"peer": 1, DEFAULTS: 0}.get(name, 3)):
                    worker.run(step, turn >= 0)
        for worker in found.values():
            if "steps" in worker.facts and turn >= 0:
                worker.run("molecules")


def outcome(peer: str, batch: int, num: int, found: dict[str, Worker]) -> dict[str, Any]:
    """Per model: CPU seconds, parameters, memory, and how many times less than the peer's."""
    steps = PUBLISHED_STEPS[peer]
    theirs = found["peer"]
    one = theirs.core_s("molecules") if "molecules" in theirs.costs else theirs.core_s("denoise") * steps
    molecules = one * 100 / batch
    rows: dict[str, Any] = {"peer": {
        "parameters": theirs.facts["parameters"], "train_core_s": theirs.core_s("train"),
        "denoise_core_s": theirs.core_s("denoise"), "steps": steps, "molecules_100_core_s": molecules,
        "peak_rss_gib": theirs.peak(), "stand_ins": theirs.facts.get("stand_ins", []),
    }}  # fmt: skip
    for name, own in found.items():
        if name in ("peer", DEFAULTS):
            continue
        cost = own.core_s("molecules") * 100 / batch
        rows[name] = {
            "parameters": own.facts["parameters"], "train_core_s": own.core_s("train"),
            "denoise_core_s": own.core_s("denoise"), "steps": own.facts["steps"], "molecules_100_core_s": cost,
            "peak_rss_gib": own.peak(), "train_ratio": theirs.core_s("train") / own.core_s("train"),
            "denoise_ratio": theirs.core_s("denoise") / own.core_s("denoise"), "molecules_ratio": molecules / cost,
            "memory_ratio": theirs.peak() / own.peak(),
        }  # fmt: skip
    shipped = found[DEFAULTS]
    cost = shipped.mean_core_s("molecules") * 100 / num  # the seeds differ, and with them the number of candidates
    rows[DEFAULTS] = {
        "parameters": shipped.facts["parameters"], "ligands": num * len(shipped.costs["molecules"]),
        "steps": shipped.facts["steps"], "molecules_100_core_s": cost, "peak_rss_gib": shipped.peak(),
        "molecules_ratio": molecules / cost, "memory_ratio": theirs.peak() / shipped.peak(),
    }  # fmt: skip
    return {name: {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for name, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", choices=PUBLISHED_STEPS, required=True)
    parser.add_argument("--presets", nargs="+", default=["small"], help="ours, e.g. small base")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--ligand", type=int, default=23, help="heavy atoms of every ligand")
    parser.add_argument("--pocket", type=int, default=350, help="atoms of the synthetic pockets")
    parser.add_argument("--num", type=int, default=8, help="ligands of `defaults` in each repeat, whose seeds differ")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = workers(args, Path(folder))
        alternate(found, args.repeats, args.warmup)
        for worker in found.values():
            worker.close()
    result = {
        "benchmark": "vs_peers", "peer": args.peer, "batch": args.batch, "ligand": args.ligand, "pocket": args.pocket,
        "num": args.num, "repeats": args.repeats, "machine": machine(),
        "models": outcome(args.peer, args.batch, args.num, found),
    }  # fmt: skip
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report(**result)


if __name__ == "__main__":
    main()
