"""Cost of one training step on synthetic complexes of given sizes; the last line printed is JSON.

`python benchmarks/train_step.py --preset small --batch 4 --ligand 23 --pocket 350`
"""

import argparse
from dataclasses import replace

import torch
from measure import peak_gib, repeat, report, synthetic_complex

from ligandsmith.config import preset
from ligandsmith.data.collate import collate
from ligandsmith.data.vocabulary import VOCABULARY
from ligandsmith.training.memory import enable_gradient_checkpointing
from ligandsmith.training.modules import DiffusionModel, DiffusionTraining, build_vaes, step_keys
from ligandsmith.training.optimization import make_optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--ligand", type=int, default=23)
    parser.add_argument("--pocket", type=int, default=350)
    parser.add_argument("--joint", action="store_true", help="train the VAEs too (default: both frozen)")
    parser.add_argument("--cached", action="store_true", help="pocket latents stored, as with --cache_latents")
    parser.add_argument("--gradient_checkpointing", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = preset(args.preset)
    frozen = frozenset() if args.joint else frozenset({"ligand", "protein"})
    module = DiffusionTraining(DiffusionModel(config), build_vaes(config, VOCABULARY), frozen)
    if args.gradient_checkpointing:
        enable_gradient_checkpointing(module)
    optimizer = make_optimizer(module, config.optimizer, 1e-4)
    batch = collate([synthetic_complex(args.ligand, args.pocket, i) for i in range(args.batch)], VOCABULARY)
    if args.cached:
        assert batch.pocket is not None
        latent = torch.zeros(*batch.pocket.mask.shape, config.pocket_vae.latent_width)
        batch = replace(batch, pocket=replace(batch.pocket, latent=latent))
    share = torch.full((args.batch,), 1 / args.batch)
    steps = iter(range(10_000))

    def step() -> None:
        keys = step_keys(0, next(steps), args.batch, (0, 1), torch.device("cpu"))
        loss = module(batch, keys, share)
        (loss.total if loss.objective is None else loss.objective).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    core_s, wall_s = repeat(step, args.repeats)
    report(
        benchmark="train_step", preset=args.preset, batch=args.batch, ligand=args.ligand, pocket=args.pocket,
        joint=args.joint, cached=args.cached, gradient_checkpointing=args.gradient_checkpointing, threads=args.threads,
        core_s_per_step=core_s, wall_s=wall_s, peak_rss_gib=peak_gib(),
        params=sum(p.numel() for p in module.parameters() if p.requires_grad),
    )  # fmt: skip


if __name__ == "__main__":
    main()
