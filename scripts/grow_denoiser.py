"""Add self blocks, sums over third atoms or bonds to a trained denoiser, for training on with `--init_from`.

`python scripts/grow_denoiser.py best_denoiser.pt grown.pt --self_layers 8 --triangles 16 --bonds`
then `train_denoiser.py --init_from grown.pt --set denoiser.self_layers=8 ...`. What it says of coordinates and features
does not change: new blocks are spread evenly between the old ones, and everything that leaves a new part is zero.
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
BOND_INPUT = "denoiser.bond_embedding.weight"
LEAVING = ("out.", "ffn_out.", "gates.", "edge_out.")  # of a block, into scalars, coordinates and edge state


def places(old: int, new: int, cross: int) -> list[int]:
    """Number of each old block among the new ones; those before a cross block stay before it."""
    if new % cross or old % cross or new < old:
        raise LigandsmithError(f"{new} self blocks: choose a multiple of the {cross} cross blocks, more than {old}")
    before, after = old // cross, new // cross
    return [i // before * after + i % before * after // before for i in range(old)]


def grown(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A checkpoint (averaged weights only) with `changes` of its DenoiserConfig: self_layers, triangles, bonds."""
    content = slim(content)
    config = from_dict(Config, content["config"])
    old, new = config.denoiser, replace(config.denoiser, **changes)
    layers = new.self_layers
    at = places(old.self_layers, layers, old.cross_layers)
    config = replace(config, denoiser=new)
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
    if new.bonds and not old.bonds:
        state[BOND_INPUT] = torch.zeros_like(state[BOND_INPUT])
    return {**content, "config": to_dict(config), "diffusion_state": state}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--self_layers", type=int)
    parser.add_argument("--triangles", type=int)
    parser.add_argument("--bonds", action="store_true", default=None)
    args = parser.parse_args()
    given = {name: getattr(args, name) for name in ("self_layers", "triangles", "bonds")}
    changes = {name: value for name, value in given.items() if value is not None}
    save_checkpoint(args.out, grown(load_checkpoint(args.checkpoint, ("denoiser",)), **changes))


if __name__ == "__main__":
    main()
