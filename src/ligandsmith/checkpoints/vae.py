"""A trained VAE read back from a checkpoint. Apart from the code that trains, whose imports take seconds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ligandsmith.checkpoints.files import load_checkpoint
from ligandsmith.config import LigandVAEConfig, PocketVAEConfig, from_dict
from ligandsmith.structure.vocabulary import Vocabulary

VAE_KINDS = {"ligand": "ligand_vae", "protein": "protein_vae"}


@dataclass(frozen=True)
class LoadedVAE:
    config: Any
    state: dict[str, Tensor]
    vocabulary: Vocabulary


def load_vae(path: Path, name: str) -> LoadedVAE:
    """The averaged weights of a VAE checkpoint (or of the VAE within a denoiser's). Raises LigandsmithError."""
    content = load_checkpoint(path, (VAE_KINDS[name], "denoiser", "joint"))
    section: type[Any] = {"ligand": LigandVAEConfig, "protein": PocketVAEConfig}[name]
    key = {"ligand": "ligand_vae", "protein": "pocket_vae"}[name]
    config = from_dict(section, content["config"][key], str(path))
    return LoadedVAE(config, averaged_vae_state(content, name), Vocabulary.from_dict(content["vocabulary"]))


def averaged_vae_state(content: dict[str, Any], name: str) -> dict[str, Tensor]:
    """Weights for use: the moving average where the VAE was trained, else the ones that were frozen."""
    average = content.get("ema_state", {}).get("values", {})
    if content["kind"] == VAE_KINDS[name]:
        return entries_under(average, "vae.") or content["vae_state"]
    return entries_under(average, f"trained.{name}.") or entries_under(content["vae_state"], f"{name}.")


def entries_under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
