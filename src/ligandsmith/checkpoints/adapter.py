"""Adapters: what fine-tuning with LoRA changes in a denoiser, as a safetensors file of at most a megabyte.

An adapter belongs to one base: the averaged weights that it was trained on, whose fingerprint it carries. Numbers are
stored in half precision; the weights that come with an adapter are made from the stored numbers, so both are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ligandsmith.checkpoints.export import slim
from ligandsmith.checkpoints.files import averaged_diffusion_state, fingerprint, refused_if_unfit
from ligandsmith.config import Config, from_dict
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import atomic_write
from ligandsmith.models.latent_diffusion import DiffusionModel
from ligandsmith.models.lora import merged_state

ADAPTER_FORMAT_VERSION = 1
MOST_BYTES = 1_000_000
LOW_RANK = ("a", "b")


@dataclass(frozen=True)
class Adapter:
    """Updates of the diffusion model's weights."""

    base: str  # fingerprint of the averaged weights
    pairs: Mapping[str, tuple[Tensor, Tensor]]  # A [R, I] and B [O, R] by the name of a linear layer
    scale: float
    shifts: Mapping[str, Tensor] = field(default_factory=dict)  # added to parameters, by name
    about: Mapping[str, str] = field(default_factory=dict)  # rank, targets and whatever a reader may want to know

    def rounded(self) -> "Adapter":
        """The numbers as a file keeps them."""
        pairs = {name: (a.half(), b.half()) for name, (a, b) in self.pairs.items()}
        return Adapter(self.base, pairs, self.scale, {n: t.half() for n, t in self.shifts.items()}, self.about)

    def applied(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the diffusion model with the updates."""
        merged = merged_state(state, self.pairs, self.scale)
        return merged | {name: merged[name] + shift.float() for name, shift in self.shifts.items()}


def save_adapter(path: Path, adapter: Adapter) -> None:
    """Write an adapter. Raises LigandsmithError for one of more than a megabyte."""
    adapter = adapter.rounded()
    tensors = {f"{n}.{part}": t for n, pair in adapter.pairs.items() for part, t in zip(LOW_RANK, pair, strict=True)}
    tensors |= {f"{name}.shift": shift for name, shift in adapter.shifts.items()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > MOST_BYTES:
        raise LigandsmithError(
            f"{path}: the adapter would have {size / 1e6:.1f} MB, at most 1 is allowed; lower --lora"
        )
    about = {
        "format_version": str(ADAPTER_FORMAT_VERSION), "kind": "ligandsmith adapter", "base": adapter.base,
        "scale": repr(adapter.scale),
    }  # fmt: skip
    with atomic_write(path) as part:
        whole = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
        part.write_bytes(save(whole, metadata={**adapter.about, **about}))


def load_adapter(path: Path) -> Adapter:
    """Read an adapter. Raises LigandsmithError for anything else."""
    try:
        with safe_open(path, "pt") as stored:
            about = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - safe_open is no dict
    except FileNotFoundError:
        raise LigandsmithError(f"{path}: no such adapter; `ligandsmith finetune --lora RANK` makes one") from None
    except (OSError, SafetensorError) as error:
        raise LigandsmithError(f"{path}: not a readable adapter: {str(error).splitlines()[0]}") from None
    if about.get("kind") != "ligandsmith adapter":
        raise LigandsmithError(f"{path}: not an adapter of this program")
    if about.get("format_version") != str(ADAPTER_FORMAT_VERSION):
        raise LigandsmithError(f"{path}: adapter format {about.get('format_version')}; this program reads 1")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise LigandsmithError(f"{path}: holds numbers that are not finite")
    with refused_if_unfit(path):
        names = sorted({name.rpartition(".")[0] for name in tensors if name.endswith(".a")})
        pairs = {name: (tensors[f"{name}.a"], tensors[f"{name}.b"]) for name in names}
        shifts = {n.removesuffix(".shift"): t for n, t in tensors.items() if n.endswith(".shift")}
        return Adapter(about["base"], pairs, float(about["scale"]), shifts, about)


def base_state(content: dict[str, Any]) -> dict[str, Tensor]:
    """The averaged weights of a denoiser under the names of today, which are what an adapter refers to."""
    model = DiffusionModel(from_dict(Config, content["config"]))
    with refused_if_unfit("checkpoint"):
        model.load_state_dict(averaged_diffusion_state(content))
    return model.state_dict()


def with_adapter(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content of a checkpoint with an adapter merged into its weights.

    Raises LigandsmithError for an adapter of another base.
    """
    adapter, state = load_adapter(path), base_state(content)
    base = fingerprint(state)
    if adapter.base != base:
        raise LigandsmithError(
            f"{path}: made for a denoiser with the fingerprint {adapter.base}, and this checkpoint has {base}; name "
            "the one that it was fine-tuned from with --checkpoint"
        )
    with refused_if_unfit(path):
        return slim(content) | {"diffusion_state": adapter.applied(state)}
