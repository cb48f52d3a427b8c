"""Ligand VAE, protein VAE, denoiser, joint: from flags to (modules, loaders, files)."""

import logging
import math
import warnings
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from ligandsmith.checkpoints.vae import VAE_KINDS, LoadedVAE, entries_under, load_vae
from ligandsmith.config import Config, differences
from ligandsmith.data.dataset import write_json
from ligandsmith.errors import LigandsmithError
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.models.latents import fingerprint, moments
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.structure.vocabulary import ORIGIN_VOCABULARY, VOCABULARY, Vocabulary
from ligandsmith.training.cudagraphs import GraphTrainer
from ligandsmith.training.gradient_checkpointing import enable_gradient_checkpointing
from ligandsmith.training.hardware import Hardware, make_fabric, process_counts
from ligandsmith.training.latent_cache import cached_pocket_latents
from ligandsmith.training.loaders import DataOptions, Loaders, Population, make_loaders
from ligandsmith.training.modules import DiffusionTraining, LigandVAETraining, PocketVAETraining
from ligandsmith.training.optim.optimizer import scaled_learning_rate
from ligandsmith.training.report_card import ligand_report_card
from ligandsmith.training.trainer import Progress, Stage, Trainer, TrainOptions

log = logging.getLogger("ligandsmith")
REPORT_CARD_BATCHES = 16
STATISTICS_RECORDS = 4096  # records that the latent statistics and the size histogram are measured on


@dataclass(frozen=True)
class Request:
    """One training run."""

    config: Config
    data: DataOptions
    train: TrainOptions
    hardware: Hardware = field(default_factory=Hardware)
    cache_latents: bool = False


def train_vae(model_type: str, request: Request) -> Progress:
    """The ligand or the protein VAE."""
    if model_type not in VAE_KINDS:
        raise LigandsmithError(f"--model_type {model_type}: choose ligand or protein")
    fabric = make_fabric(request.hardware)
    torch.manual_seed(request.train.seed)
    vocabulary = _vocabulary(request.config)
    vae = build_vaes(request.config, vocabulary)[model_type]
    module = LigandVAETraining(vae) if model_type == "ligand" else PocketVAETraining(vae)  # type: ignore[arg-type]
    name = f"{model_type}_vae"
    population: Population = "ligands" if model_type == "ligand" else "pockets"
    loaders = _loaders(request, population, vocabulary, fabric)

    def content(state: dict[str, Tensor]) -> dict[str, Any]:
        plain = entries_under(state, "vae.")
        return {"vae_state": plain, "vocabulary": vocabulary.to_dict(), "fingerprint": fingerprint(plain)}

    stage = Stage(
        VAE_KINDS[model_type], name, f"{name}_epoch", f"{name}_losses_epoch", module, request.config, content,
        lambda saved: vae.load_state_dict(saved["vae_state"]),
    )  # fmt: skip
    progress = _train(stage, loaders, request, fabric)
    if model_type == "ligand" and fabric.is_global_zero:
        _write_report_card(request.train.run_dir, loaders)
    return progress


def _write_report_card(run_dir: Path, loaders: Loaders) -> None:
    """Reconstruction of validation ligands by the best weights, clean and from noisy latents, for the training page."""
    loaded = load_vae(run_dir / "best_ligand_vae.pt", "ligand")
    vae = LigandVAE(loaded.config, loaded.vocabulary)
    vae.load_state_dict(loaded.state)
    batches = [batch.ligand for batch in islice(loaders.validation, REPORT_CARD_BATCHES)]
    cards = [ligand_report_card(vae, batches, *noises) for noises in ((0.0, 0.0), (0.1, 0.25))]
    write_json(run_dir / "ligand_vae_report_card.json", [asdict(card) for card in cards])


def train_denoiser(request: Request, ligand_vae: Path | None, protein_vae: Path | None) -> Progress:
    """The denoiser with each given VAE frozen and the others trained beside it."""
    return _train_diffusion(request, {"ligand": ligand_vae, "protein": protein_vae}, joint_names=False)


def train_all(request: Request) -> Progress:
    """Both VAEs and the denoiser together; the learning rate grows with the root of the number of processes."""
    processes, nodes = process_counts(request.hardware)
    rate = scaled_learning_rate(request.train.learning_rate, processes * nodes)
    log.info("Learning rate %g x sqrt(%d) = %g", request.train.learning_rate, processes * nodes, rate)
    request = replace(request, train=replace(request.train, learning_rate=rate))
    return _train_diffusion(request, {"ligand": None, "protein": None}, joint_names=True)


def _train_diffusion(request: Request, vae_paths: dict[str, Path | None], joint_names: bool) -> Progress:
    loaded = {name: load_vae(path, name) for name, path in vae_paths.items() if path is not None}
    config = request.config
    for name, vae in loaded.items():
        section = {"ligand": "ligand_vae", "protein": "pocket_vae"}[name]
        for line in differences(getattr(config, section), vae.config):
            log.info("%s: taken from the %s VAE (preset != checkpoint): %s", section, name, line)
        config = replace(config, **{section: vae.config})
    request = replace(request, config=config)
    fabric = make_fabric(request.hardware)
    torch.manual_seed(request.train.seed)
    vocabulary = _shared_vocabulary(loaded, config)
    vaes = build_vaes(config, vocabulary)
    for name, vae in loaded.items():
        vaes[name].load_state_dict(vae.state)
    model = DiffusionModel(config)
    module = DiffusionTraining(model, vaes, frozenset(loaded))
    module.frozen_to(fabric.device)
    latents = None
    if request.cache_latents:
        if "protein" not in loaded:
            raise LigandsmithError("--cache_latents needs a frozen protein VAE: add --protein_vae_path")
        latents = cached_pocket_latents(vaes["protein"], request.data, vocabulary, request.train.run_dir, fabric)  # type: ignore[arg-type]
    loaders = _loaders(request, "complexes", vocabulary, fabric, latents)
    _measure(model, vaes, loaders, device=fabric.device)

    def content(state: dict[str, Tensor]) -> dict[str, Any]:
        frozen = {f"{n}.{k}": v for n in loaded for k, v in vaes[n].state_dict().items()}
        all_vaes = {**entries_under(state, "trained."), **frozen}
        return {
            "diffusion_state": entries_under(state, "model."),
            "vae_state": all_vaes,
            "vocabulary": vocabulary.to_dict(),
            "vae_hashes": {n: fingerprint(entries_under(all_vaes, f"{n}.")) for n in vaes},
            "frozen_vaes": sorted(loaded),
        }

    def restore(saved: dict[str, Any]) -> None:
        _require_same_frozen(saved, {n: fingerprint(vaes[n].state_dict()) for n in sorted(loaded)})
        model.load_state_dict(saved["diffusion_state"])
        vaes.load_state_dict(saved["vae_state"])

    names = ("model", "checkpoint_epoch", "losses_epoch") if joint_names else (
        "denoiser", "denoiser_epoch", "denoiser_losses_epoch"
    )  # fmt: skip
    kind = "joint" if joint_names else "denoiser"
    return _train(Stage(kind, *names, module, config, content, restore), loaders, request, fabric)


def _require_same_frozen(saved: dict[str, Any], ours: dict[str, str]) -> None:
    theirs = {name: saved["vae_hashes"][name] for name in saved["frozen_vaes"]}
    if theirs != ours:
        raise LigandsmithError(
            f"the run to resume froze the VAEs {theirs or 'none'}, now they are {ours or 'none'}; give the same "
            "--ligand_vae_path and --protein_vae_path, or start another --run_dir"
        )


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
        kind = GraphTrainer if request.data.few_shapes else Trainer
        progress = kind(stage, loaders, request.train, fabric).run()
    if progress.skipped:
        log.warning("%d steps were skipped for non-finite gradients", progress.skipped)
    return progress


def _loaders(
    request: Request, population: Population, vocabulary: Vocabulary, fabric: Fabric, latents: Any = None
) -> Loaders:
    ranks = (fabric.global_rank, fabric.world_size)
    return make_loaders(request.data, population, request.config, vocabulary, ranks, latents)


@torch.no_grad()
def _measure(model: DiffusionModel, vaes: nn.ModuleDict, loaders: Loaders, device: torch.device) -> None:
    """Size histogram and latent statistics (the first, where the ligand VAE trains, too) from training records."""
    sums: Tensor | float = 0.0
    pocket_atoms: list[int] = []
    ligand_atoms: list[int] = []
    sampler = loaders.train_sampler
    dataset, collate = loaders.train.dataset, loaders.train.collate_fn
    sampler.epoch = 0
    for batch_indices in sampler.batches()[: math.ceil(STATISTICS_RECORDS / sampler.global_batch)]:
        batch = collate([dataset[(0, int(i))] for i in batch_indices]).to(device)  # type: ignore[misc, index]
        if batch.pocket is not None:
            here = batch.pocket.mask.any(-1)
            pocket_atoms += batch.pocket.mask.sum(-1)[here].tolist()
            ligand_atoms += batch.ligand.mask.sum(-1)[here].tolist()
        mean_h = vaes["ligand"].to(device).encode(batch.ligand).mean_h  # type: ignore[operator]
        sums = sums + moments(batch.ligand.x, mean_h, batch.ligand.mask)
    model.size.fit_histogram(torch.tensor(pocket_atoms, dtype=torch.long), torch.tensor(ligand_atoms, dtype=torch.long))
    if isinstance(sums, Tensor):
        model.stats.to(device).fit(sums)
        log.info(
            "Latent statistics: s.d. of z_x %.3f Å, of z_h %s", float(model.stats.scale_x), _rounded(model.stats.std_h)
        )


def _rounded(values: Tensor) -> list[float]:
    return [round(float(v), 2) for v in values]


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
