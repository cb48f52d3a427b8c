"""From a checkpoint and a pocket to ligands.

A ligand depends on (seed, pocket, index) alone, not on the batch it was made in. Finished batches are on disk at any
time, so an interrupted run continues with the same command.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ligandsmith.checkpoints.export import TENSORS, load_exported
from ligandsmith.checkpoints.files import (
    averaged_diffusion_state,
    averaged_vae_state,
    fingerprint,
    load_checkpoint,
    load_vae,
)
from ligandsmith.chem.fragment import Fragment, read_fragment
from ligandsmith.chem.surroundings import PocketAtoms
from ligandsmith.config import Config, SamplingConfig, from_dict
from ligandsmith.data.collate import collate_pockets
from ligandsmith.data.properties import PROPERTIES
from ligandsmith.data.transforms import frame_origin
from ligandsmith.diffusion import rng
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.options import sampling_config, size_range
from ligandsmith.generation.sampler import LigandSampler, SamplingTask
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.models.pocket_vae import PocketLatents, cropped_latents
from ligandsmith.models.size import MAX_ATOMS, MIN_ATOMS
from ligandsmith.options import GenerationOptions
from ligandsmith.records import GeneratedLigand, Pocket
from ligandsmith.structure.vocabulary import Vocabulary

SHIPPED = "weights"


def load(checkpoint: str | Path = "small", device: str = "cpu") -> "LigandGenerator":
    """A generator from a denoiser or joint checkpoint, from a folder that `ligandsmith export` wrote, or from the name
    of shipped weights. Raises LigandsmithError."""
    path = Path(checkpoint)
    if path.is_dir():
        return LigandGenerator(load_exported(path, ("denoiser", "joint")), file_hash(path / TENSORS), device)
    if not path.suffix and not path.exists():
        path = shipped_weights(str(checkpoint))
    return LigandGenerator(load_checkpoint(path, ("denoiser", "joint")), file_hash(path), device)


def shipped_weights(name: str) -> Path:
    """Path of weights that come with the package. Raises LigandsmithError listing what there is."""
    folder = Path(str(resources.files("ligandsmith") / SHIPPED))
    there = sorted(p.stem.removeprefix("denoiser_") for p in folder.glob("denoiser_*.pt"))
    if name not in there:
        listing = ", ".join(there) or "none"
        raise LigandsmithError(
            f"no checkpoint file '{name}' and no shipped weights of that name (shipped: {listing}); train one with "
            "train_denoiser.py or name a .pt file"
        )
    return folder / f"denoiser_{name}.pt"


def file_hash(path: Path) -> str:
    """First sixteen hex digits of a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


class Asked(NamedTuple):
    """The request, complete."""

    sampling: SamplingConfig
    sizes: tuple[int, int] | None  # range of heavy atoms; None: the size model
    fragment: Fragment | None = None
    least: int = MIN_ATOMS  # heavy atoms


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
        try:
            self.model.load_state_dict(averaged_diffusion_state(content))
            for name, vae in self.vaes.items():
                vae.load_state_dict(averaged_vae_state(content, name))
        except RuntimeError as error:
            raise LigandsmithError(
                f"checkpoint does not fit its own config: {str(error).splitlines()[-1].strip()}"
            ) from error
        for module in (self.model, self.vaes):
            module.eval().requires_grad_(False).to(self.device)
        self.model.denoiser.basis.use_table = self.device.type == "cpu"
        self.sampler = LigandSampler(self.model, self.vaes["ligand"], self.vocabulary, self.device)  # type: ignore[arg-type]

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
    def batches(self, pocket: Pocket, options: GenerationOptions, start: int = 0) -> Iterator[list[GeneratedLigand]]:
        """Ligands number `start` and following, a batch at a time."""
        asked = self.asked(options, pocket)
        latents, origin = self.encode(pocket)
        task = SamplingTask(
            self.model.denoiser.project_pocket(latents), origin, PocketAtoms.of(pocket.x, pocket.element),
            asked.sampling, lambda: None, asked.fragment,
        )  # fmt: skip
        pocket_key = int.from_bytes(hashlib.sha256(pocket.x.tobytes()).digest()[:7], "little")
        for begin in range(start, options.num, options.batch_size):
            index = torch.arange(begin, min(begin + options.batch_size, options.num), device=self.device)
            molecule_seeds = rng.make_seeds(options.seed, pocket_key, index, device=self.device)
            sizes = self._sizes(latents, molecule_seeds, asked, pocket.cut)
            ligands = self.sampler.best_of_n(task, sizes, molecule_seeds)
            yield [replace(ligand, index=begin + row) for row, ligand in enumerate(ligands)]

    def asked(self, options: GenerationOptions, pocket: Pocket) -> Asked:
        """The request of `options`. Raises LigandsmithError if these weights cannot serve it."""
        sampling, sizes = sampling_config(options, self.config.sampling), size_range(options)
        wanted = [name for name in PROPERTIES if getattr(sampling, name) is not None]
        if wanted and not self.config.denoiser.properties:
            raise LigandsmithError(f"--{wanted[0]}: these weights were not trained to be asked for properties")
        if sampling.autoguidance != 1 and not self.config.denoiser.triangles:
            raise LigandsmithError(
                f"--autoguidance {sampling.autoguidance:g}: this network has no triangle updates to skip; give 1"
            )
        if options.fix is None:
            return Asked(sampling, sizes)
        if not self.config.denoiser.fragments:
            raise LigandsmithError("--fix: these weights were not trained to complete fragments")
        fragment = read_fragment(options.fix)
        fragment.require_place(pocket.x)
        unknown = ~np.isin(fragment.ligand.element, self.vocabulary.ligand_elements)
        if unknown.any():
            raise LigandsmithError(f"--fix: atom {unknown.argmax() + 1} has an element that these weights do not know")
        least = max(fragment.num_atoms + 1, MIN_ATOMS)
        if sizes is not None and sizes[0] < least:
            raise LigandsmithError(
                f"--num_atoms {options.num_atoms}: it counts the whole ligand, and the fragment alone has "
                f"{fragment.num_atoms} heavy atoms; give {least} or more"
            )
        return Asked(sampling, sizes, fragment, least)

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
        if self.device.type == "cuda":  # known here, so that nothing waits for the device
            latents = replace(latents, num_with_pocket=1)
        return latents, origin

    def _sizes(self, latents: PocketLatents, seeds: Tensor, asked: Asked, cut: str) -> Tensor:
        """Number of heavy atoms of each molecule: drawn from p(N | pocket), or uniformly from a given range."""
        u, bounds = rng.uniform(seeds, "size"), asked.sizes
        if bounds is not None:
            return bounds[0] + (u * (bounds[1] - bounds[0] + 1)).long()
        logits = self.model.size_model(cut)(latents)
        logits[:, : asked.least - MIN_ATOMS] = -torch.inf
        cumulative = logits.softmax(-1).cumsum(-1).expand(len(seeds), -1)
        return MIN_ATOMS + torch.searchsorted(cumulative.contiguous(), u.unsqueeze(-1)).squeeze(-1).clamp(
            max=MAX_ATOMS - MIN_ATOMS
        )


def generate(
    checkpoint: str | Path, pocket: Pocket, num: int = 100, seed: int = 0, **options: Any
) -> list[GeneratedLigand]:
    """Load a checkpoint and make `num` ligands for a pocket."""
    return load(checkpoint).generate(pocket, num, seed, **options)
