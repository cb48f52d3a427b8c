"""Cost of whole commands, `prepare` and `generate`, in a process of their own; the last line is JSON.

`python -m benchmarks commands prepare --num 20` prepares copies of an example complex;
`python -m benchmarks commands generate --num 20` makes ligands for its pocket with the shipped weights.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import report

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "complexes" / "7off"


def command(kind: str, args: argparse.Namespace, folder: Path) -> list[str]:
    if kind == "generate":
        site = ["--protein", str(EXAMPLE / "protein.pdb.gz"), "--ligand", str(EXAMPLE / "ligand.sdf")]
        made = ["--checkpoint", args.checkpoint, "--num", str(args.num), "--steps", str(args.steps)]
        return ["generate", *site, *made, "--out", str(folder / "out")]
    for i in range(args.num):
        shutil.copytree(EXAMPLE, folder / "complexes" / f"c{i}")
    return ["prepare", str(folder / "complexes"), "--out", str(folder / "out")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("prepare", "generate"))
    parser.add_argument("--num", type=int, default=20, help="complexes or ligands")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--checkpoint", default="small")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        words = command(args.command, args, Path(name))
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "from ligandsmith.cli.main import main; main()", *words],
            check=True, stdout=sys.stderr, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        wall_s = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    core_s = used.ru_utime + used.ru_stime
    report(
        benchmark=args.command, num=args.num, core_s=core_s, core_s_each=core_s / args.num, wall_s=wall_s,
        peak_rss_gib=used.ru_maxrss / 2**20, device="cpu",
        **({"checkpoint": args.checkpoint, "steps": args.steps} if args.command == "generate" else {}),
    )  # fmt: skip


if __name__ == "__main__":
    main()
