"""Run the benchmarks with few repeats and write docs/experiments/performance.md: about ten minutes on two idle cores.

`python -m benchmarks run_all`; with --page_only the page is written again from benchmarks/results/. Each run has a
process of its own and one thread. Results against other projects and earlier states come from `vs_peers.py --out` and
`profile_model.py`, whose JSON lies in benchmarks/results/ too.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import machine
from benchmarks.performance_page import RESULTS, write_page

ROOT = Path(__file__).resolve().parents[1]
RUNS = {
    "train ligand_vae": "train_step --model ligand_vae --batch 8 --repeats 5",
    "train protein_vae": "train_step --model protein_vae --batch 8 --repeats 3",
    "train denoiser 4": "train_step --model denoiser --batch 4 --repeats 5",
    "train denoiser 8": "train_step --model denoiser --batch 8 --repeats 5",
    "train denoiser 8 cached": "train_step --model denoiser --batch 8 --cached --repeats 5",
    "train denoiser 8 checkpointing": "train_step --model denoiser --batch 8 --gradient_checkpointing --repeats 3",
    "train joint": "train_step --model joint --batch 8 --repeats 3",
    "train base": "train_step --model denoiser --preset base --batch 8 --repeats 3",
    "sampling": "sampling --num 20 --repeats 1",
    "sampling guided": "sampling --num 20 --cfg_scale 1.5 --repeats 1",
    "sampling base": "sampling --num 20 --preset base --repeats 1",
    "scaling": "scaling --repeats 3",
    "loading": "loading",
    "prepare": "commands prepare --num 10",
    "generate": "commands generate --num 20",
    "profile train": "profile_model train --batch 8",
    "profile sample": "profile_model sample --batch 20",
}


def run(command: str) -> dict[str, Any]:
    """The last line that a benchmark prints."""
    script, *flags = command.split()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks", script, *flags],
        stdout=subprocess.PIPE, text=True, check=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "command": f"python -m benchmarks {command}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page_only", action="store_true", help="write the page from the stored results")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), help="run these, keep the stored results of the rest")
    args = parser.parse_args()
    path = RESULTS / "own.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, command in RUNS.items():
        if args.page_only or (args.only and name not in args.only):
            continue
        print(f"{name} ...", flush=True)
        found |= {name: run(command), "machine": machine()}
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {write_page(found)}")


if __name__ == "__main__":
    main()
