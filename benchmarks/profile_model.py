"""The operations that a training or a sampling step spends its time on, as a markdown table; the last line is JSON.

`python -m benchmarks profile_model train --batch 8`, `python -m benchmarks profile_model sample --batch 20`
Self time of each operation by torch.profiler, which counts wall time: run it on an idle core, or compare shares only.
"""

import argparse

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.measure import report, size_flags
from benchmarks.own import MODELS, Step, configuration, denoising_step, synthetic_batch, training_module, training_step

CALLS = 4


def table(work: Step, rows: int) -> tuple[str, dict[str, float]]:
    """Markdown, and the share of each operation in percent."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(CALLS):
            work()
    events = sorted(recorded.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    shares = {e.key: 100 * e.self_cpu_time_total / total for e in events[:rows]}
    lines = ["| operation | share of self time | calls per step |", "|---|---|---|"]
    lines += [f"| `{e.key}` | {shares[e.key]:.1f} % | {e.count // CALLS} |" for e in events[:rows]]
    count = sum(e.count for e in events) // CALLS
    lines.append(f"| all {len(events)} operations | {total / CALLS / 1e6:.3f} s per step | {count} |")
    return "\n".join(lines), {name: round(share, 2) for name, share in shares.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "sample"))
    size_flags(parser, batch=8)
    parser.add_argument("--model", choices=MODELS, default="denoiser")
    parser.add_argument("--rows", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = configuration(args.preset, args.pocket)
    if args.step == "train":
        batch = synthetic_batch(args.batch, args.ligand, args.pocket)
        work = training_step(training_module(args.model, config), config, batch)
    else:
        work = denoising_step(config, args.batch, args.ligand, args.pocket)
    markdown, shares = table(work, args.rows)
    print(markdown)
    report(benchmark="profile", step=args.step, batch=args.batch, shares=shares, table=markdown)


if __name__ == "__main__":
    main()
