"""Quality against sampler, steps, guidance, noise and candidates: one table for each, and a JSON line.

`python -m benchmarks frontier --checkpoint small --out /tmp/frontier`
Each row is a run of `quality.py` on the same validation pockets with the same seed.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks import run_all
from benchmarks.measure import report
from benchmarks.performance_page import table

TABLES = {
    "sampler and steps": [
        f"--sampler {sampler} --steps {steps}"
        for sampler, all_steps in {
            "euler": (10, 20, 35, 50, 100), "ddpm": (50, 100, 200), "ddim": (20, 50), "heun": (10, 25),
            "dpmpp_2m": (10, 20, 50),
        }.items()
        for steps in all_steps
    ],
    "guidance": [
        f"--cfg_scale {w} --cfg_scale_x {x}"
        for w, x in ((0, 0), (1, 1), (1.5, 1), (1.5, 1.5), (2, 1), (3, 1), (3, 3))
    ],
    "autoguidance": [f"--autoguidance {w}" for w in (1, 1.5, 2, 2.5, 3, 4)],
    "noise": [
        f"--noise_scale {x} --noise_scale_h {h} --churn {c}"
        for x, h, c in (
            (1, 1, 0.6), (0.7, 1, 0.6), (0.5, 1, 0.6), (0.3, 1, 0.6), (0.5, 0.5, 0.6), (0.5, 1, 0), (0.5, 1, 1.5),
        )
    ],
    "candidates": [f"--candidates {k}" for k in (1, 2, 4, 8, 12, 16)],
    "mending": [
        f"--candidates 8 --set sampling.refine_time={refine} --set sampling.regrow_time={regrow}"
        for refine, regrow in ((0, 0), (0.2, 0), (0.3, 0), (0, 0.55), (0.3, 0.55))
    ],
}  # fmt: skip
COLUMNS = {
    "raw_valid_connected": "no repair", "valid_connected": "after repair", "plausible": "no fault",
    "no_clash": "no close contact", "strain_uff": "strain", "qed": "QED", "sa_normalised": "SA",
    "six_rings": "rings of 6", "carbon": "carbon",
    "diversity": "diversity", "unique": "unique", "core_s_per_100": "core-s / 100",
}  # fmt: skip


def run(flags: str, args: argparse.Namespace) -> dict[str, Any]:
    """The JSON line of quality.py."""
    common = f"--checkpoint {args.checkpoint} --pockets {args.pockets} --num {args.num} --seed 1 --threads 1"
    out = args.out / flags.replace("--", "").replace(" ", "_")
    return {"flags": flags, **run_all.run(f"quality.py {common} {flags} --out {out}")}


def cell(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--pockets", type=int, default=12)
    parser.add_argument("--num", type=int, default=8, help="ligands per pocket")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = {}
    for name in args.tables:
        found[name] = [
            run(flags if "--candidates" in flags else f"{flags} --candidates 1", args) for flags in TABLES[name]
        ]
        rows = [[f"`{r['flags']}`", *(cell(r[c]) for c in COLUMNS)] for r in found[name]]
        print(f"\n{name}\n\n{table(['flags', *COLUMNS.values()], rows)}", flush=True)
    report(benchmark="frontier", checkpoint=args.checkpoint, pockets=args.pockets, num=args.num, tables=found)


if __name__ == "__main__":
    main()
