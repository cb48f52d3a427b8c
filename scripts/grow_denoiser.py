"""Add self blocks to a trained denoiser without changing its output, for training on with `--init_from`.

`python scripts/grow_denoiser.py best_denoiser.pt 8 grown.pt`
then `train_denoiser.py --init_from grown.pt --set denoiser.self_layers=8`. The new blocks are spread evenly between the
old ones; everything that leaves a new block is zero at the start.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ligandsmith.config import Config, from_dict, to_dict
from ligandsmith.errors import LigandsmithError
from ligandsmith.training.checkpoint import load_checkpoint, save_checkpoint
from ligandsmith.training.modules import DiffusionModel
from ligandsmith.training.sharing import slim

BLOCKS = "denoiser.self_blocks."
LEAVING = ("out.", "ffn_out.", "gates.", "edge_out.")  # of a block, into scalars, coordinates and edge state


def places(old: int, new: int, cross: int) -> list[int]:
    """Number of each old block among the new ones; those before a cross block stay before it."""
    if new % cross or old % cross or new < old:
        raise LigandsmithError(f"{new} self blocks: choose a multiple of the {cross} cross blocks, more than {old}")
    before, after = old // cross, new // cross
    return [i // before * after + i % before * after // before for i in range(old)]


def grown(content: dict[str, Any], layers: int) -> dict[str, Any]:
    """A checkpoint (averaged weights only) with `layers` self blocks."""
    content = slim(content)
    config = from_dict(Config, content["config"])
    at = places(config.denoiser.self_layers, layers, config.denoiser.cross_layers)
    config = replace(config, denoiser=replace(config.denoiser, self_layers=layers))
    torch.manual_seed(0)
    state: dict[str, Tensor] = DiffusionModel(config).state_dict()
    for name, value in content["diffusion_state"].items():
        if name.startswith(BLOCKS):
            number, rest = name.removeprefix(BLOCKS).split(".", 1)
            name = f"{BLOCKS}{at[int(number)]}.{rest}"  # noqa: PLW2901
        state[name] = value
    for number in set(range(layers)) - set(at):
        for part in LEAVING:
            for name in [n for n in state if n.startswith(f"{BLOCKS}{number}.{part}")]:
                state[name] = torch.zeros_like(state[name])
    return {**content, "config": to_dict(config), "diffusion_state": state}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("layers", type=int)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    save_checkpoint(args.out, grown(load_checkpoint(args.checkpoint, ("denoiser",)), args.layers))


if __name__ == "__main__":
    main()
