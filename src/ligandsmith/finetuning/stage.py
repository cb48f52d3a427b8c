"""The stage of the training loop that fine-tunes: the averaged weights of a denoiser, its VAEs frozen."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ligandsmith.checkpoints.adapter import Adapter, base_state
from ligandsmith.checkpoints.files import averaged_vae_state, fingerprint
from ligandsmith.config import Config, from_dict
from ligandsmith.finetuning.options import FinetuneOptions
from ligandsmith.models.latent_diffusion import build_vaes
from ligandsmith.models.lora import SCALE, adapters, add_adapters
from ligandsmith.models.pocket_vae import PocketVAE
from ligandsmith.structure.vocabulary import Vocabulary
from ligandsmith.training.stages import DiffusionStage

WARMUP_STEPS = 50
EMA_DECAY = 0.99  # short runs: an average over some hundred steps


class FinetuneStage(DiffusionStage):
    """A denoiser that starts from averaged weights, all of them trained, or adapters only.

    The size models are not trained here, and the latent statistics are those of the base.
    """

    def __init__(self, content: dict[str, Any], options: FinetuneOptions) -> None:
        config, vocabulary = from_dict(Config, content["config"]), Vocabulary.from_dict(content["vocabulary"])
        vaes = build_vaes(config, vocabulary)
        for name, vae in vaes.items():
            vae.load_state_dict(averaged_vae_state(content, name))
        super().__init__("denoiser", _finetuning(config, options), vocabulary, vaes, frozenset(vaes))
        self.base = base_state(content)
        self.model.load_state_dict(self.base)
        self.model.requires_grad_(False)
        self.rank, self.targets = options.lora, options.lora_targets
        if self.rank is None:
            self.model.denoiser.requires_grad_(True)
        else:
            add_adapters(self.model.denoiser, self.rank, self.targets)

    @property
    def pocket_vae(self) -> PocketVAE:
        """The frozen encoder of pockets."""
        vae = self.vaes["protein"]
        assert isinstance(vae, PocketVAE)
        return vae

    def adapter(self, average: Any, about: dict[str, str]) -> Adapter:
        """What was learned, as the adapter of the base: averaged A and B of a training module."""
        found = adapters(average.model)
        pairs = {name: (layer.a.detach().cpu(), layer.b.detach().cpu()) for name, layer in found.items()}
        return Adapter(fingerprint(self.base), pairs, SCALE, {}, about).rounded()

    def tuned_state(self, average: Any, about: dict[str, str]) -> tuple[dict[str, Tensor], Adapter | None]:
        """The state dict of the fine-tuned diffusion model, and its adapter if one was trained."""
        if self.rank is None:
            return {name: value.detach().cpu().clone() for name, value in average.model.state_dict().items()}, None
        adapter = self.adapter(average, about)
        return adapter.applied(self.base), adapter


def _finetuning(config: Config, options: FinetuneOptions) -> Config:
    """The configuration of the checkpoint with an optimizer for short runs."""
    optimizer = replace(config.optimizer, warmup_steps=WARMUP_STEPS, ema_decay=EMA_DECAY)
    if options.lora is not None:
        optimizer = replace(optimizer, name="adamw", weight_decay=0.0)
    return replace(config, optimizer=optimizer)


def seeded_stage(content: dict[str, Any], options: FinetuneOptions) -> FinetuneStage:
    """A stage whose adapters start from the seed."""
    torch.manual_seed(options.seed)
    return FinetuneStage(content, options)
