"""The four training runs (ligand VAE, protein VAE, denoiser, joint): from a request to modules, loaders and files."""

import logging
import math
import warnings
from dataclasses import asdict, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ligandsmith.checkpoints.files import SECTIONS, VAE_KINDS, LoadedVAE, fingerprint, load_vae, refused_if_unfit
from ligandsmith.config import Config, differences
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import write_json
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes, moments
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.structure.vocabulary import ORIGIN_VOCABULARY, VOCABULARY, Vocabulary
from ligandsmith.training.cudagraphs import GraphTrainer
from ligandsmith.training.gradient_checkpointing import enable_gradient_checkpointing
from ligandsmith.training.hardware import make_fabric, process_counts
from ligandsmith.training.latent_cache import cached_pocket_latents
from ligandsmith.training.loaders import Loaders, TrainingPopulation, make_loaders
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.optim import scaled_learning_rate
from ligandsmith.training.options import Progress, Request, Stage, held_run_folder
from ligandsmith.training.report_card import ligand_report_card
from ligandsmith.training.trainer import Trainer
from ligandsmith.training.vae_losses import VAE_LOSSES, VAETraining

log = logging.getLogger("ligandsmith")
REPORT_CARD_BATCHES = 16
STATISTICS_RECORDS = 4096  # records from which the latent statistics and the size histogram are computed


class VAEStage:
    """One VAE, "ligand" or "protein"."""

    def __init__(self, name: str, vae: nn.Module, config: Config, vocabulary: Vocabulary) -> None:
        self.kind = VAE_KINDS[name]
        self.module: nn.Module = VAETraining(vae, name)
        self.config, self.vae, self.vocabulary = config, vae, vocabulary

    def state_dict(self) -> dict[str, Any]:
        """See `Stage`."""
        state = self.vae.state_dict()
        return {"vae_state": state, "vocabulary": self.vocabulary.to_dict(), "fingerprint": fingerprint(state)}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """See `Stage`."""
        self.vae.load_state_dict(saved["vae_state"])


class DiffusionStage:
    """The denoiser with VAEs that are frozen or trained with it; `kind` is "denoiser" or "joint"."""

    def __init__(
        self, kind: str, config: Config, vocabulary: Vocabulary, vaes: nn.ModuleDict, frozen: frozenset[str]
    ) -> None:
        self.kind, self.config, self.vocabulary, self.vaes, self.frozen = kind, config, vocabulary, vaes, sorted(frozen)
        self.model = DiffusionModel(config)
        losses = {name: loss for name, loss in VAE_LOSSES.items() if name not in frozen}
        self.training = DiffusionTraining(self.model, vaes, losses)
        self.module: nn.Module = self.training

    def state_dict(self) -> dict[str, Any]:
        """See `Stage`."""
        return {
            "diffusion_state": self.model.state_dict(),
            "vae_state": self.vaes.state_dict(),
            "vocabulary": self.vocabulary.to_dict(),
            "vae_hashes": self._fingerprints(list(self.vaes)),
            "frozen_vaes": self.frozen,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """See `Stage`."""
        theirs = {name: saved["vae_hashes"][name] for name in saved["frozen_vaes"]}
        ours = self._fingerprints(self.frozen)
        if theirs != ours:
            raise LigandsmithError(
                f"the run to resume froze the VAEs {theirs or 'none'}, now they are {ours or 'none'}; give the same "
                "--ligand_vae_path and --protein_vae_path, or start another --run_dir"
            )
        self.model.load_state_dict(saved["diffusion_state"])
        self.vaes.load_state_dict(saved["vae_state"])

    def _fingerprints(self, names: list[str]) -> dict[str, str]:
        return {name: fingerprint(self.vaes[name].state_dict()) for name in names}


def train_vae(model_type: str, request: Request) -> Progress:
    """Train the ligand or the protein VAE. Raises LigandsmithError."""
    if model_type not in VAE_KINDS:
        raise LigandsmithError(f"--model_type {model_type}: choose ligand or protein")
    fabric = make_fabric(request.hardware)
    with held_run_folder(request.train, VAE_KINDS[model_type], fabric):
        return _train_vae(model_type, request, fabric)


def _train_vae(model_type: str, request: Request, fabric: Fabric) -> Progress:
    torch.manual_seed(request.train.seed)
    vocabulary = _vocabulary(request.config)
    stage = VAEStage(model_type, build_vaes(request.config, vocabulary)[model_type], request.config, vocabulary)
    population: TrainingPopulation = "ligands" if model_type == "ligand" else "pockets"
    ranks = (fabric.global_rank, fabric.world_size)
    loaders = make_loaders(request.data, population, request.config, vocabulary, ranks)
    progress = _train(stage, loaders, request, fabric)
    if model_type == "ligand" and fabric.is_global_zero:
        _write_report_card(request.train.run_dir, loaders)
    return progress


def _write_report_card(run_dir: Path, loaders: Loaders) -> None:
    """Reconstruction of validation ligands by the best weights, from clean and from noisy latents."""
    loaded = load_vae(run_dir / "best_ligand_vae.pt", "ligand")
    vae = LigandVAE(loaded.config, loaded.vocabulary)
    vae.load_state_dict(loaded.state)
    batches = [batch.ligand for batch in islice(loaders.validation, REPORT_CARD_BATCHES)]
    cards = [ligand_report_card(vae, batches, *noises) for noises in ((0.0, 0.0), (0.1, 0.25))]
    write_json(run_dir / "ligand_vae_report_card.json", [asdict(card) for card in cards])


def train_denoiser(request: Request, ligand_vae: Path | None, protein_vae: Path | None) -> Progress:
    """Train the denoiser. A VAE that is given is frozen; one that is not is trained too. Raises LigandsmithError."""
    return _train_diffusion(request, {"ligand": ligand_vae, "protein": protein_vae}, "denoiser")


def train_all(request: Request) -> Progress:
    """Train both VAEs and the denoiser together. The learning rate is scaled by the root of the number of processes."""
    processes, nodes = process_counts(request.hardware)
    rate = scaled_learning_rate(request.train.learning_rate, processes * nodes)
    log.info("Learning rate %g x sqrt(%d) = %g", request.train.learning_rate, processes * nodes, rate)
    request = replace(request, train=replace(request.train, learning_rate=rate))
    return _train_diffusion(request, {"ligand": None, "protein": None}, "joint")


def _train_diffusion(request: Request, vae_paths: dict[str, Path | None], kind: str) -> Progress:
    loaded = {name: load_vae(path, name) for name, path in vae_paths.items() if path is not None}
    config = _with_sections_of(loaded, request.config)
    request = replace(request, config=config)
    fabric = make_fabric(request.hardware)
    with held_run_folder(request.train, kind, fabric):
        return _train_diffusion_with(loaded, request, kind, fabric)


def _train_diffusion_with(loaded: dict[str, LoadedVAE], request: Request, kind: str, fabric: Fabric) -> Progress:
    config = request.config
    torch.manual_seed(request.train.seed)
    vocabulary = _shared_vocabulary(loaded, config)
    vaes = build_vaes(config, vocabulary)
    for name, vae in loaded.items():
        with refused_if_unfit(vae.path):
            vaes[name].load_state_dict(vae.state)
    stage = DiffusionStage(kind, config, vocabulary, vaes, frozenset(loaded))
    stage.training.move_frozen(fabric.device)
    latents = None
    if request.cache_latents:
        if "protein" not in loaded:
            raise LigandsmithError("--cache_latents needs a frozen protein VAE: add --protein_vae_path")
        latents = cached_pocket_latents(vaes["protein"], request.data, vocabulary, request.train.run_dir, fabric)  # type: ignore[arg-type]
    ranks = (fabric.global_rank, fabric.world_size)
    loaders = make_loaders(request.data, "complexes", config, vocabulary, ranks, latents)
    _measure(stage.model, vaes, loaders, device=fabric.device)
    return _train(stage, loaders, request, fabric)


def _with_sections_of(loaded: dict[str, LoadedVAE], config: Config) -> Config:
    """The configuration with the sections of the VAEs that are given."""
    for name, vae in loaded.items():
        section = SECTIONS[name]
        for line in differences(getattr(config, section), vae.config):
            log.info("%s: taken from the %s VAE (preset != checkpoint): %s", section, name, line)
        config = replace(config, **{section: vae.config})
    return config


def _train(stage: Stage, loaders: Loaders, request: Request, fabric: Fabric) -> Progress:
    if request.hardware.gradient_checkpointing:
        enable_gradient_checkpointing(stage.module)
    parameters = sum(p.numel() for p in stage.module.parameters() if p.requires_grad)
    log.info(
        "Training %s (preset %s, %s trainable parameters) on %d process(es), %s: %d records, %d batches an epoch",
        stage.kind, stage.config.preset, f"{parameters:,}", fabric.world_size, fabric.device,
        loaders.train_sampler.always + loaders.train_sampler.extra, len(loaders.train_sampler),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer = GraphTrainer if request.data.static_shapes else Trainer
        progress = trainer(stage, loaders, request.train, fabric).run()
    if progress.skipped:
        log.warning("%d steps were skipped for non-finite gradients", progress.skipped)
    return progress


@torch.no_grad()
def _measure(model: DiffusionModel, vaes: nn.ModuleDict, loaders: Loaders, device: torch.device) -> None:
    """Size histogram and latent statistics of training records (initial ones, if the ligand VAE is trained)."""
    sums: Tensor | float = 0.0
    pocket_atoms: list[int] = []
    ligand_atoms: list[int] = []
    sampler = loaders.train_sampler
    dataset, collate = loaders.train.dataset, loaders.train.collate_fn
    sampler.epoch = 0
    for batch_indices in islice(sampler.batches(), math.ceil(STATISTICS_RECORDS / sampler.global_batch)):
        batch = collate([dataset[(0, int(i))] for i in batch_indices]).to(device)  # type: ignore[misc, index]
        if batch.pocket is not None:
            here = batch.pocket.mask.any(-1)
            pocket_atoms += batch.pocket.mask.sum(-1)[here].tolist()
            ligand_atoms += batch.ligand.mask.sum(-1)[here].tolist()
        mean_h = vaes["ligand"].to(device).encode(batch.ligand).mean_h  # type: ignore[operator]
        sums = sums + moments(batch.ligand.x, mean_h, batch.ligand.mask)
    model.size.fit_histogram(torch.tensor(pocket_atoms, dtype=torch.long), torch.tensor(ligand_atoms, dtype=torch.long))
    if isinstance(sums, Tensor):
        model.stats.to(device).update(sums, momentum=1.0)
        spread = [round(sd, 2) for sd in model.stats.std_h.tolist()]
        log.info("Latent statistics: s.d. of z_x %.3f Å, of z_h %s", float(model.stats.scale_x), spread)


def _vocabulary(config: Config) -> Vocabulary:
    return ORIGIN_VOCABULARY if config.preset == "origin" else VOCABULARY


def _shared_vocabulary(loaded: dict[str, LoadedVAE], config: Config) -> Vocabulary:
    """The vocabulary of the frozen VAEs, which must agree."""
    found = [vae.vocabulary for vae in loaded.values()]
    if not found:
        return _vocabulary(config)
    if any(v != found[0] for v in found):
        names = [f.name for f in fields(Vocabulary) if len({getattr(v, f.name) for v in found}) > 1]
        raise LigandsmithError(
            f"the two VAEs were trained with different vocabularies ({', '.join(names)}); retrain one"
        )
    return found[0]
