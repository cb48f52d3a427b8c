"""Fine-tuning on a congeneric series that training never saw: ligands before and after 10 minutes of one core.

`python -m benchmarks finetuning --series a2a --out /tmp/a2a` takes about a quarter of an hour of one core. The minutes are CPU time
of training and its tests. The series, with their protein, are in benchmarks/series; docs/experiments/finetuning.md has
their origin. A share of a series is held out. The last line is JSON.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import report
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.finetuning.options import FinetuneOptions
from ligandsmith.finetuning.run import finetune, summary
from ligandsmith.options import Hardware

SERIES = Path(__file__).parent / "series"


def posebusters(sdf: Path, protein: Path, requested: int) -> float:
    """Share of the requested ligands that pass all checks."""
    options = EvaluationOptions(adapted("quick", ["posebusters"]))
    metrics: dict[str, Any] = evaluate(sdf, protein, requested=requested, options=options).summary["metrics"]
    return float(metrics["pb_valid_of_requested"]["mean"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", choices=sorted(p.name for p in SERIES.iterdir()), default="a2a")
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--lora", type=int, help="rank; default: all weights are trained")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU time of training")
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--mix", type=float)
    parser.add_argument("--num", type=int, default=40, help="ligands before and after")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    folder = SERIES / args.series
    protein = folder / "protein.pdb.gz"
    options = FinetuneOptions(
        args.checkpoint, ligands=folder / "ligands.sdf.gz", protein=protein, lora=args.lora, minutes=args.minutes,
        learning_rate=args.learning_rate, batch_size=args.batch_size, mix=args.mix, samples=args.num, seed=args.seed,
        patience=0,
    )  # fmt: skip
    began = time.process_time()
    record = finetune(options, args.out, Hardware(device="cpu", threads=1), clock=time.process_time)
    core_s = time.process_time() - began
    print(*summary(record), sep="\n")
    before, after = record["before"], record["after"]
    for name, numbers in (("before", before), ("after", after)):
        numbers["posebusters"] = posebusters(args.out / f"{name}.sdf", protein, args.num)
    report(
        benchmark="finetuning", series=args.series, lora=args.lora or 0, minutes=args.minutes, seed=args.seed,
        steps=record["steps"], best_step=record["best_step"], core_s=core_s,
        **{f"{key}_{when}": float(numbers[key]) for when, numbers in (("before", before), ("after", after))
           for key in ("loss_held_out", "loss_others", "in_series", "similar_held_out", "nearest_train", "copies",
                       "connected", "no_defects", "posebusters", "heavy_atoms")},
    )  # fmt: skip


if __name__ == "__main__":
    main()
