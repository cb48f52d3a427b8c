"""From a checkpoint and a pocket to ligands.

A ligand depends on (seed, pocket, index) alone, and on the batch it was made in by rounding only. Finished batches are
on disk at any time, so an interrupted run continues with the same command.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ligandsmith.batches import collate_pockets
from ligandsmith.checkpoints.adapter import with_adapter
from ligandsmith.checkpoints.export import TENSORS, load_exported
from ligandsmith.checkpoints.files import (
    averaged_diffusion_state,
    averaged_vae_state,
    fingerprint,
    load_checkpoint,
    load_vae,
    refused_if_unfit,
    weights_folder,
)
from ligandsmith.chem.fragment import Fragment, read_fragment
from ligandsmith.chem.plausibility import PocketAtoms
from ligandsmith.config import MAX_ATOMS, MIN_ATOMS, Config, SamplingConfig, from_dict
from ligandsmith.diffusion import rng
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import file_hash
from ligandsmith.generation.relaxation import PoseRelaxation
from ligandsmith.generation.sampler import NOTHING_KEPT, Demands, Keeping, LigandSampler, SamplingTask, Start
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.models.pocket_vae import PocketLatents, cropped_latents
from ligandsmith.options import GenerationOptions
from ligandsmith.records import PROPERTIES, GeneratedLigand, Pocket
from ligandsmith.structure.pocket import frame_origin
from ligandsmith.structure.vocabulary import Vocabulary


def load(checkpoint: str | Path = "small", device: str = "cpu", adapter: str | Path | None = None) -> "LigandGenerator":
    """A generator from a denoiser or joint checkpoint, from a folder that `ligandsmith export` wrote, or from the name
    of shipped weights, perhaps with an `adapter` that `ligandsmith finetune --lora` made of it. Raises
    LigandsmithError."""
    content, name = read_denoiser(checkpoint)
    if adapter is None:
        return LigandGenerator(content, name, device)
    return LigandGenerator(with_adapter(content, Path(adapter)), f"{name}+{_short_hash(Path(adapter))}", device)


def read_denoiser(checkpoint: str | Path) -> tuple[dict[str, Any], str]:
    """The content of what `load` takes as a checkpoint, and the hash that names it. Raises LigandsmithError."""
    path = Path(checkpoint)
    if path.is_dir():
        return load_exported(path, ("denoiser", "joint")), _short_hash(path / TENSORS)
    if not path.suffix and not path.exists():
        path = shipped_weights(str(checkpoint))
    return load_checkpoint(path, ("denoiser", "joint")), _short_hash(path)


def _short_hash(path: Path) -> str:
    """What names a checkpoint in the identity of a run."""
    return file_hash(path)[:16]


def shipped_weights(name: str) -> Path:
    """Path of weights that come with the package. Raises LigandsmithError listing what there is."""
    folder = weights_folder()
    there = sorted(p.stem.removeprefix("denoiser_") for p in folder.glob("denoiser_*.pt"))
    if name not in there:
        listing = ", ".join(there) or "none"
        raise LigandsmithError(
            f"no checkpoint file '{name}' and no shipped weights of that name (shipped: {listing}); train one with "
            "train_denoiser.py or name a .pt file"
        )
    return folder / f"denoiser_{name}.pt"


def sampling_config(options: GenerationOptions, base: SamplingConfig) -> SamplingConfig:
    """`base` with the options that are set; NaN removes a requested property. Raises LigandsmithError."""
    names = {f.name for f in fields(options)} & {f.name for f in fields(base)}
    changes = {n: value for n in names if (value := getattr(options, n)) is not None}
    changes = {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in changes.items()}
    try:
        return replace(base, **changes)
    except LigandsmithError as error:
        raise LigandsmithError(f"--{error}") from None


def size_range(options: GenerationOptions) -> tuple[int, int] | None:
    """Smallest and largest number of heavy atoms, or None for the size model. Raises LigandsmithError."""
    if options.num_atoms is None:
        return None
    parts = str(options.num_atoms).split("-")
    try:
        low, high = int(parts[0]), int(parts[-1])
    except ValueError:
        low, high = 0, -1
    if len(parts) > 2 or not MIN_ATOMS <= low <= high <= MAX_ATOMS:
        raise LigandsmithError(
            f"--num_atoms {options.num_atoms}: give a number or a range like 18-26, within {MIN_ATOMS}-{MAX_ATOMS}"
        )
    return low, high


class SamplingRequest(NamedTuple):
    """What the ligands must be and how they are sampled, with all defaults filled in."""

    sampling: SamplingConfig
    sizes: tuple[int, int] | None  # range of heavy atoms; None: the size model
    fragment: Fragment | None = None
    min_atoms: int = MIN_ATOMS  # heavy atoms
    constraints: Demands | None = None


class SamplingSite(NamedTuple):
    """A pocket that ligands are sampled in."""

    task: SamplingTask
    latents: PocketLatents
    key: int  # of the pocket, for random seeds
    request: SamplingRequest


class LigandGenerator:
    """Trained networks, ready to sample. Use `load`."""

    def __init__(self, content: dict[str, Any], checkpoint_hash: str, device: str = "cpu") -> None:
        self.config = from_dict(Config, content["config"], "checkpoint config")
        self.vocabulary = Vocabulary.from_dict(content["vocabulary"])
        self.checkpoint_hash, self.device = checkpoint_hash, torch.device(device)
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        self.model = DiffusionModel(self.config)
        self.vaes = build_vaes(self.config, self.vocabulary)
        with refused_if_unfit("checkpoint"):
            self.model.load_state_dict(averaged_diffusion_state(content))
            for name, vae in self.vaes.items():
                vae.load_state_dict(averaged_vae_state(content, name))
        for module in (self.model, self.vaes):
            module.eval().requires_grad_(False).to(self.device)
        self.model.denoiser.basis.use_table = self.device.type == "cpu"
        self.sampler = LigandSampler(self.model, self.vaes["ligand"], self.vocabulary, self.device)  # type: ignore[arg-type]

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the ligands besides checkpoint, pocket and options: nothing."""
        return {}

    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the two VAEs inside the checkpoint."""
        return {name: fingerprint(vae.state_dict()) for name, vae in self.vaes.items()}

    def require_vae(self, name: str, path: Path) -> None:
        """Raise LigandsmithError unless the VAE in `path` is the one this denoiser was trained with."""
        given, ours = fingerprint(load_vae(path, name).state), self.fingerprints()[name]
        if given != ours:
            raise LigandsmithError(
                f"{path}: {name} VAE {given} does not match this denoiser, which was trained with {name} VAE {ours}; "
                "leave the flag out (the right one is inside the checkpoint) or retrain the denoiser"
            )

    def generate(self, pocket: Pocket, num: int = 100, seed: int = 0, **options: Any) -> list[GeneratedLigand]:
        """`num` requested ligands in the pocket's coordinates (Å), failures included; `options`: GenerationOptions."""
        request = GenerationOptions(num=num, seed=seed, **options)
        return [ligand for batch in self.batches(pocket, request) for ligand in batch]

    @torch.inference_mode()
    def batches(
        self, pocket: Pocket, options: GenerationOptions, start: int = 0, keeping: Keeping = NOTHING_KEPT
    ) -> Iterator[list[GeneratedLigand]]:
        """Ligands number `start` and following, a batch at a time. `keeping` gets to know them within a batch: its
        ligands are numbered from the start of their batch."""
        site = self.site(pocket, options, keeping)
        for begin in range(start, options.num, options.batch_size):
            index = range(begin, min(begin + options.batch_size, options.num))
            molecule_seeds = self.seeds(site, options.seed, index)
            sizes = self._sizes(site.latents, molecule_seeds, site.request, pocket.cut)
            ligands = self.sampler.best_of_n(site.task, sizes, molecule_seeds)
            yield [replace(ligand, index=begin + row) for row, ligand in enumerate(ligands)]

    @torch.inference_mode()
    def site(self, pocket: Pocket, options: GenerationOptions, keeping: Keeping = NOTHING_KEPT) -> SamplingSite:
        """A pocket, encoded, and how its ligands are sampled. Raises LigandsmithError."""
        request = self.sampling_request(options, pocket)
        constraints, (latents, origin) = request.constraints, self.encode(pocket)
        task = SamplingTask(
            self.model.denoiser.project_pocket(latents), origin,
            PocketAtoms.of(pocket.x, pocket.element) if constraints is None else constraints.surroundings(pocket),
            request.sampling, lambda: None, request.fragment, keeping, constraints,
            None if constraints is None else constraints.guide(pocket, origin, self.device),
            PoseRelaxation.in_pocket(pocket) if request.sampling.relax else None,
            None if constraints is None else constraints.preference(pocket),
        )  # fmt: skip
        key = int.from_bytes(hashlib.sha256(pocket.x.tobytes()).digest()[:7], "little")
        return SamplingSite(task, latents, key, request)

    def seeds(self, site: SamplingSite, seed: int, index: Sequence[int]) -> Tensor:
        """Seeds [B] of the ligands with these numbers."""
        return rng.make_seeds(seed, site.key, torch.tensor(index, device=self.device), device=self.device)

    def from_starts(
        self, site: SamplingSite, seed: int, index: Sequence[int], sizes: Sequence[int], starts: Sequence[Start]
    ) -> list[GeneratedLigand]:
        """The ligands with these numbers and numbers of heavy atoms, each sampled from a start of its own."""
        ligands = self.sampler.best_of_n(
            site.task, torch.tensor(sizes, device=self.device), self.seeds(site, seed, index), starts
        )
        return [replace(ligand, index=number) for ligand, number in zip(ligands, index, strict=True)]

    def sampling_config(self, options: GenerationOptions) -> SamplingConfig:
        """The checkpoint's settings with `options`. Raises LigandsmithError for what these weights cannot do."""
        sampling = sampling_config(options, self.config.sampling)
        wanted = [name for name in PROPERTIES if getattr(sampling, name) is not None]
        if wanted and not self.config.denoiser.properties:
            raise LigandsmithError(f"--{wanted[0]}: these weights were not trained to be asked for properties")
        if sampling.autoguidance != 1 and not self.config.denoiser.triangles:
            raise LigandsmithError(
                f"--autoguidance {sampling.autoguidance:g}: this network has no triangle updates to skip; give 1"
            )
        return sampling

    def sampling_request(self, options: GenerationOptions, pocket: Pocket) -> SamplingRequest:
        """What `options` ask for, once it is clear that these weights can give it. Raises LigandsmithError."""
        sampling, sizes = self.sampling_config(options), size_range(options)
        fragment = self._fragment(options, pocket)
        constraints = None if options.constraints is None else options.constraints.at(pocket)
        if constraints is None:
            fixed = 0 if fragment is None else fragment.num_atoms
        else:
            if not self.config.denoiser.fragments and constraints is not options.constraints:
                raise LigandsmithError("--require, --like, --covalent: these weights cannot complete fragments")
            fixed = constraints.fixed_atoms(fragment)
        least = max(fixed + 1 if fixed else 0, MIN_ATOMS)
        if sizes is not None and sizes[0] < least:
            raise LigandsmithError(
                f"--num_atoms {options.num_atoms}: it counts the whole ligand, and the fragment alone has "
                f"{fixed} heavy atoms; give {least} or more"
            )
        return SamplingRequest(sampling, sizes, fragment, least, constraints)

    def _fragment(self, options: GenerationOptions, pocket: Pocket) -> Fragment | None:
        """The fragment that is given. Raises LigandsmithError if these weights cannot complete it."""
        if options.fix is None:
            if options.grow_from is not None:
                raise LigandsmithError("--grow_from: it names atoms of the fragment; give --fix, too")
            return None
        if not self.config.denoiser.fragments:
            raise LigandsmithError("--fix: these weights were not trained to complete fragments")
        fragment = read_fragment(options.fix, options.grow_from)
        fragment.require_place(pocket.x)
        unknown = ~np.isin(fragment.ligand.element, self.vocabulary.ligand_elements)
        if unknown.any():
            raise LigandsmithError(f"--fix: atom {unknown.argmax() + 1} has an element that these weights do not know")
        return fragment

    def encode(self, pocket: Pocket) -> tuple[PocketLatents, np.ndarray]:
        """The pocket in its own frame, encoded once with its surroundings, cut to what the denoiser takes."""
        kept = np.ones(pocket.num_atoms, np.bool_) if pocket.kept is None else pocket.kept.copy()
        if not kept.any():
            raise LigandsmithError("empty pocket: no protein atom at the site")
        origin = frame_origin(pocket).astype(np.float32)
        limit = self.config.pocket.max_atoms
        if np.count_nonzero(kept) > limit:
            distance = np.linalg.norm(pocket.x - origin, axis=1)
            kept &= distance <= np.partition(distance[kept], limit - 1)[limit - 1]
        batch = collate_pockets([replace(pocket, x=pocket.x - origin, center=None, kept=kept)], self.vocabulary)
        assert batch is not None
        assert batch.kept is not None
        batch = batch.to(self.device)
        h = self.vaes["protein"].encode(batch).mean_h  # type: ignore[operator]
        latents = cropped_latents(batch.x, h, batch.mask & batch.kept, self.config.denoiser.anchors)
        if self.device.type == "cuda":  # known here; reading it back from the device would wait
            latents = replace(latents, num_with_pocket=1)
        return latents, origin

    def _sizes(self, latents: PocketLatents, seeds: Tensor, request: SamplingRequest, cut: str) -> Tensor:
        """Number of heavy atoms of each molecule: drawn from p(N | pocket), or uniformly from a given range."""
        u, bounds = rng.uniform(seeds, "size"), request.sizes
        if bounds is not None:
            return bounds[0] + (u * (bounds[1] - bounds[0] + 1)).long()
        logits = self.model.size_model(cut)(latents)
        logits[:, : request.min_atoms - MIN_ATOMS] = -torch.inf
        cumulative = logits.softmax(-1).cumsum(-1).expand(len(seeds), -1)
        return MIN_ATOMS + torch.searchsorted(cumulative.contiguous(), u.unsqueeze(-1)).squeeze(-1).clamp(
            max=MAX_ATOMS - MIN_ATOMS
        )


def generate(
    checkpoint: str | Path, pocket: Pocket, num: int = 100, seed: int = 0, **options: Any
) -> list[GeneratedLigand]:
    """Load a checkpoint and make `num` ligands for a pocket."""
    return load(checkpoint).generate(pocket, num, seed, **options)
