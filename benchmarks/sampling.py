"""Cost of sampling ligands for one pocket, from encoding the pocket to RDKit molecules; the last line is JSON.

`python -m benchmarks sampling --preset small --num 20 --steps 50 --ligand 23 --pocket 350` (random weights: the cost
does not depend on them)
"""

import argparse

import torch

from benchmarks.measure import against_matmul, counted_gflop, edges, matmul_rate, peak_gib, repeat, report, size_flags
from benchmarks.own import configuration, denoising_step, generator, synthetic_pocket


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size_flags(parser, batch=20, repeats=3)
    parser.add_argument("--num", type=int, default=20)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--cfg_scale", type=float, default=1.0, help="another value doubles the calls in its interval")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = configuration(args.preset, args.pocket)
    sampler, pocket = generator(config), synthetic_pocket(args.ligand, args.pocket)
    options = {"num_atoms": str(args.ligand), "batch_size": args.batch, "cfg_scale": args.cfg_scale}

    def work(steps: int = args.steps) -> None:
        sampler.generate(pocket, args.num, steps=steps, **options)

    work(2)
    rate = matmul_rate()
    core_s, wall_s = repeat(work, args.repeats, warmup=0)
    call = denoising_step(config, args.batch, args.ligand, args.pocket)
    call_core_s, _ = repeat(call, 7)
    report(
        benchmark="sampling", preset=args.preset, num=args.num, batch=args.batch, steps=args.steps, ligand=args.ligand,
        pocket=args.pocket, cfg_scale=args.cfg_scale, threads=args.threads, core_s_per_100=core_s * 100 / args.num,
        core_s_per_call=call_core_s, wall_s=wall_s, peak_rss_gib=peak_gib(),
        **against_matmul(counted_gflop(call), call_core_s, rate),
        params=sum(p.numel() for p in sampler.model.parameters()),
        edges=edges(config, args.batch, args.ligand, args.pocket),
    )  # fmt: skip


if __name__ == "__main__":
    main()
