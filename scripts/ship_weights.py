"""Make a small file for `src/ligandsmith/weights/` from a training checkpoint: averaged weights, no optimizer state.

`python scripts/ship_weights.py best_denoiser.pt tiny`
"""

import argparse
from pathlib import Path
from typing import Any

from ligandsmith.models.latents import fingerprint
from ligandsmith.training.checkpoint import load_checkpoint, save_checkpoint
from ligandsmith.training.trained_vae import averaged_vae_state

WEIGHTS = Path(__file__).parents[1] / "src/ligandsmith/weights"
KEPT = (
    "kind",
    "epoch",
    "step",
    "config",
    "vocabulary",
    "train_loss",
    "test_loss",
    "history",
    "git_commit",
    "frozen_vaes",
)


def slim(content: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint for use only: the averages take the place of the trained weights."""
    kept = {key: content[key] for key in KEPT if key in content}
    if content["kind"].endswith("_vae"):
        state = averaged_vae_state(content, content["kind"].removesuffix("_vae"))
        return {**kept, "vae_state": state, "fingerprint": fingerprint(state)}
    average = content["ema_state"]["values"]
    kept["diffusion_state"] = {k.removeprefix("model."): v for k, v in average.items() if k.startswith("model.")}
    states = {name: averaged_vae_state(content, name) for name in ("ligand", "protein")}
    kept["vae_state"] = {f"{name}.{k}": v for name, state in states.items() for k, v in state.items()}
    kept["vae_hashes"] = {name: fingerprint(state) for name, state in states.items()}
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name", help="name of the preset, as in --checkpoint NAME")
    args = parser.parse_args()
    content = load_checkpoint(args.checkpoint)
    path = WEIGHTS / f"{content['kind']}_{args.name}.pt"
    save_checkpoint(path, slim(content))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
