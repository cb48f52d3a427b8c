"""Fine-tuning on a congeneric series that training never saw: ligands before and after 10 minutes of one core.

`python -m benchmarks finetuning --series a2a --lora 8 --out /tmp/a2a` takes a quarter of an hour of one core. The
minutes are CPU time of training and its tests. The series, with their protein, are in benchmarks/series; a part of each
is held out. docs/experiments/finetuning.md has the results. What is in the folder is not made again; `--part` makes one
part, so that `before` and `train` can run side by side. The last line is JSON.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import cpu_seconds, report
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.files import json_content, write_json
from ligandsmith.finetuning.options import FinetuneOptions
from ligandsmith.finetuning.records import own_records, prepared_data
from ligandsmith.finetuning.report import compared_samples
from ligandsmith.finetuning.run import WEIGHTS, finetune
from ligandsmith.generation.generator import load
from ligandsmith.options import Hardware
from ligandsmith.parallel.devices import use_threads

SERIES = Path(__file__).parent / "series"
PARTS = ("before", "train", "after")
SHOWN = (
    "in_series", "scaffold", "similar_train", "similar_held_out", "nearest_train", "nearest_held_out", "copies",
    "unique", "connected", "no_defects", "posebusters", "heavy_atoms", "qed", "sa", "core_s",
)  # fmt: skip


def sampled(checkpoint: str, options: FinetuneOptions, args: argparse.Namespace, sdf: Path) -> dict[str, Any]:
    """Sample ligands in the pockets of the held-out complexes: similarity to the series, and PoseBusters."""
    began = cpu_seconds()
    generator = load(checkpoint)
    own = own_records(
        prepared_data(options, args.out / f"data_{sdf.stem}"), options, generator.vocabulary.ligand_elements
    )
    numbers = compared_samples(generator, own.held_out, own, (args.num, args.seed), sdf)
    numbers["core_s"] = cpu_seconds() - began
    evaluation = evaluate(
        sdf, options.protein, requested=args.num, options=EvaluationOptions(adapted("quick", ["posebusters"]))
    )
    return numbers | {"posebusters": evaluation.summary["metrics"]["pb_valid_of_requested"]["mean"]}


def trained(options: FinetuneOptions, args: argparse.Namespace) -> dict[str, Any]:
    """Fine-tune by CPU time; what the record says of it."""
    began = time.process_time()
    record = finetune(options, args.out / "run", Hardware(device="cpu", threads=1), clock=time.process_time)
    losses = {f"{name}_{when}": record[when][name] for when in ("before", "after") for name in record[when]}
    return {
        **losses, "core_s": time.process_time() - began, "steps": record["steps"], "best_step": record["best_step"],
        **{name: record["own"][name] for name in ("train", "held_out")},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", choices=sorted(p.name for p in SERIES.iterdir() if p.is_dir()), default="a2a")
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--lora", type=int, help="rank; default: all weights are trained")
    parser.add_argument("--minutes", type=float, default=10.0, help="CPU time of training")
    parser.add_argument("--learning_rate", type=float)
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--mix", type=float)
    parser.add_argument("--num", type=int, default=40, help="ligands before and after")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, help="only this; default: all, one after another")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    use_threads(1)
    folder = SERIES / args.series
    options = FinetuneOptions(
        args.checkpoint, ligands=folder / "ligands.sdf.gz", protein=folder / "protein.pdb.gz", lora=args.lora,
        minutes=args.minutes, learning_rate=args.learning_rate, batch_size=args.batch_size, mix=args.mix, samples=0,
        seed=args.seed, patience=0,
    )  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    for part in [args.part] if args.part else PARTS:
        path = args.out / f"{part}.json"
        if not path.exists():
            checkpoint = str(args.out / "run" / WEIGHTS) if part == "after" else args.checkpoint
            made = (
                trained(options, args)
                if part == "train"
                else sampled(checkpoint, options, args, path.with_suffix(".sdf"))
            )
            write_json(path, made)
    found = {part: json_content(path) for part in PARTS if (path := args.out / f"{part}.json").exists()}
    report(
        benchmark="finetuning", series=args.series, lora=args.lora or 0, minutes=args.minutes, seed=args.seed,
        num=args.num, **found.get("train", {}),
        **{f"{name}_{when}": found[when][name] for when in ("before", "after") if when in found for name in SHOWN
           if name in found[when]},
    )  # fmt: skip


if __name__ == "__main__":
    main()
