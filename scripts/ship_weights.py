"""Make a small file for `src/ligandsmith/weights/` from a training checkpoint: averaged weights, no optimizer state.

`python scripts/ship_weights.py best_denoiser.pt tiny --set sampling.noise_scale=0.5`
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from ligandsmith.checkpoints.export import slim
from ligandsmith.checkpoints.files import load_checkpoint, save_checkpoint
from ligandsmith.config import Config, from_dict, override

WEIGHTS = Path(__file__).parents[1] / "src/ligandsmith/weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name", help="name of the preset, as in --checkpoint NAME")
    parser.add_argument("--set", action="append", default=[], metavar="sampling.KEY=VALUE", help="chosen for sampling")
    args = parser.parse_args()
    if any(not item.startswith("sampling.") for item in args.set):
        parser.error("--set: only settings of sampling may change after training")
    content = load_checkpoint(args.checkpoint)
    content["config"] = asdict(override(from_dict(Config, content["config"]), args.set))
    path = WEIGHTS / f"{content['kind']}_{args.name}.pt"
    save_checkpoint(path, slim(content))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
