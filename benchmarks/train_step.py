"""Cost of one training step on synthetic complexes of given sizes; the last line printed is JSON.

`python -m benchmarks train_step --model denoiser --preset small --batch 4 --ligand 23 --pocket 350`
"""

import argparse

import torch

from benchmarks.measure import edges, measured, report, size_flags
from benchmarks.own import MODELS, configuration, synthetic_batch, training_module, training_step, with_latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size_flags(parser, batch=4)
    parser.add_argument("--model", choices=MODELS, default="denoiser", help="denoiser: VAEs frozen; joint: all trained")
    parser.add_argument("--cached", action="store_true", help="pocket latents stored, as with --cache_latents")
    parser.add_argument("--gradient_checkpointing", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = configuration(args.preset, args.pocket)
    module = training_module(args.model, config)
    batch = synthetic_batch(args.batch, args.ligand, args.pocket)
    if args.cached:
        batch = with_latents(batch, config)
    cost = measured(training_step(module, config, batch, args.gradient_checkpointing), args.repeats)
    report(
        benchmark="train_step", model=args.model, preset=args.preset, batch=args.batch, ligand=args.ligand,
        pocket=args.pocket, cached=args.cached, gradient_checkpointing=args.gradient_checkpointing,
        threads=args.threads, **cost, params=sum(p.numel() for p in module.parameters() if p.requires_grad),
        edges=edges(config, args.batch, args.ligand, args.pocket),
    )  # fmt: skip


if __name__ == "__main__":
    main()
