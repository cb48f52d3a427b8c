"""Add blocks, triangle updates, bonds or inputs to a trained denoiser, for training on with `--init_from`.

`python scripts/grow_denoiser.py best_denoiser.pt grown.pt --self_layers 8 --cross_layers 4 --triangles 16 --bonds`
then `train_denoiser.py --init_from grown.pt --set denoiser.self_layers=8 ...`. What it says of coordinates and features
does not change: new blocks are spread evenly between the old ones, and everything that leaves a new part is zero.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ligandsmith.checkpoints.export import slim
from ligandsmith.checkpoints.files import load_checkpoint, save_checkpoint
from ligandsmith.config import Config, DenoiserConfig, from_dict, to_dict
from ligandsmith.errors import LigandsmithError
from ligandsmith.models.latent_diffusion import DiffusionModel

SELF, CROSS = "denoiser.self_blocks.", "denoiser.cross_blocks."
INPUTS = {  # by option; what enters through a new one is zero
    "bonds": "denoiser.bond_embedding.weight",
    "fragments": "denoiser.fixed_embedding.weight",
    "properties": "denoiser.property_embedding.weight",
}
LEAVING = ("out.", "ffn_out.", "gates.")  # of a block, into scalars and coordinates
INTO_EDGES = ("edge_out.",)  # of a self block; a cross block keeps no edge state


def self_places(old: DenoiserConfig, new: DenoiserConfig) -> list[int]:
    """Number of each old self block among the new ones; those before an old cross block stay before it."""
    cross = old.cross_layers
    if new.self_layers % new.cross_layers or old.self_layers % cross or new.self_layers < old.self_layers:
        raise LigandsmithError(
            f"{new.self_layers} self blocks: choose a multiple of the {new.cross_layers} cross blocks, not fewer than "
            f"{old.self_layers}"
        )
    before, after = old.self_layers // cross, new.self_layers // cross
    return [i // before * after + i % before * after // before for i in range(old.self_layers)]


def cross_places(old: DenoiserConfig, new: DenoiserConfig) -> list[int]:
    """Number of each old cross block among the new ones: the same share of the self blocks lies before it."""
    times, rest = divmod(new.cross_layers, old.cross_layers)
    if rest or not times:
        raise LigandsmithError(f"{new.cross_layers} cross blocks: choose a multiple of {old.cross_layers}")
    return [(i + 1) * times - 1 for i in range(old.cross_layers)]


def moved(state: dict[str, Tensor], prefix: str, at: list[int]) -> dict[str, Tensor]:
    """The weights of a list of blocks under their new numbers; the others unchanged."""
    renamed = {}
    for name, value in state.items():
        number, _, rest = name.removeprefix(prefix).partition(".")
        renamed[f"{prefix}{at[int(number)]}.{rest}" if name.startswith(prefix) else name] = value
    return renamed


def silence(state: dict[str, Tensor], prefix: str, new: set[int], parts: tuple[str, ...]) -> None:
    """Set to zero what leaves the new blocks."""
    silent = tuple(f"{prefix}{number}.{part}" for number in new for part in parts)
    for name in [n for n in state if n.startswith(silent)]:
        state[name] = torch.zeros_like(state[name])


def grown(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A checkpoint (averaged weights only) with `changes` of its DenoiserConfig: blocks, triangles, inputs."""
    content = slim(content)
    config = from_dict(Config, content["config"])
    old, new = config.denoiser, replace(config.denoiser, **changes)
    at, crossing = self_places(old, new), cross_places(old, new)
    config = replace(config, denoiser=new)
    torch.manual_seed(0)
    state: dict[str, Tensor] = DiffusionModel(config).state_dict()
    trained = DiffusionModel(from_dict(Config, content["config"]))
    trained.load_state_dict(content["diffusion_state"])
    state |= moved(moved(trained.state_dict(), SELF, at), CROSS, crossing)
    silence(state, SELF, set(range(new.self_layers)) - set(at), LEAVING + INTO_EDGES)
    silence(state, CROSS, set(range(new.cross_layers)) - set(crossing), LEAVING)
    for option, name in INPUTS.items():
        if getattr(new, option) and not getattr(old, option):
            state[name] = torch.zeros_like(state[name])
    return {**content, "config": to_dict(config), "diffusion_state": state}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--self_layers", type=int)
    parser.add_argument("--cross_layers", type=int)
    parser.add_argument("--triangles", type=int)
    for option in INPUTS:
        parser.add_argument(f"--{option}", action="store_true", default=None)
    args = parser.parse_args()
    given = {name: getattr(args, name) for name in ("self_layers", "cross_layers", "triangles", *INPUTS)}
    changes = {name: value for name, value in given.items() if value is not None}
    save_checkpoint(args.out, grown(load_checkpoint(args.checkpoint, ("denoiser",)), **changes))


if __name__ == "__main__":
    main()
