"""Cost of sampling ligands for one pocket, from encoding the pocket to RDKit molecules; the last line is JSON.

`python benchmarks/sampling.py --preset small --num 20 --steps 50 --ligand 23 --pocket 350` (random weights: the cost
does not depend on them)
"""

import argparse
import time
from dataclasses import asdict, replace

import torch
from measure import cpu_seconds, peak_gib, report, synthetic_complex

from ligandsmith.config import preset
from ligandsmith.data.vocabulary import VOCABULARY
from ligandsmith.generation import LigandGenerator
from ligandsmith.training.modules import DiffusionModel, build_vaes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--num", type=int, default=20)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ligand", type=int, default=23)
    parser.add_argument("--pocket", type=int, default=350)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--cfg_scale", type=float, default=1.0, help="another value doubles the calls in its interval")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    config = preset(args.preset)
    config = replace(config, pocket=replace(config.pocket, max_atoms=max(args.pocket, config.pocket.max_atoms)))
    model, vaes = DiffusionModel(config), build_vaes(config, VOCABULARY)
    content = {
        "kind": "denoiser", "config": asdict(config), "vocabulary": VOCABULARY.to_dict(),
        "diffusion_state": model.state_dict(), "vae_state": vaes.state_dict(),
    }  # fmt: skip
    generator = LigandGenerator(content, "random weights")
    pocket = synthetic_complex(args.ligand, args.pocket, 0).pocket
    assert pocket is not None
    options = {
        "num_atoms": str(args.ligand),
        "steps": args.steps,
        "batch_size": args.batch,
        "cfg_scale": args.cfg_scale,
    }
    generator.generate(pocket, num=2, **{**options, "steps": 2})
    began, began_cpu = time.perf_counter(), cpu_seconds()
    made = generator.generate(pocket, num=args.num, **options)
    wall_s, core_s = time.perf_counter() - began, cpu_seconds() - began_cpu
    report(
        benchmark="sampling", preset=args.preset, num=len(made), steps=args.steps, ligand=args.ligand,
        pocket=args.pocket, cfg_scale=args.cfg_scale, threads=args.threads, core_s_per_100=core_s * 100 / args.num,
        wall_s=wall_s, peak_rss_gib=peak_gib(), params=sum(p.numel() for p in model.parameters()),
    )  # fmt: skip


if __name__ == "__main__":
    main()
