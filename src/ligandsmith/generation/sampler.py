"""Sampling ligands of given sizes for one pocket: groups of like sizes, candidates of each, the best one kept."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ligandsmith.batches import LigandPrediction
from ligandsmith.chem.builder import build_molecule
from ligandsmith.chem.fragment import Fragment
from ligandsmith.chem.inpainting import sound_part
from ligandsmith.chem.plausibility import PLAUSIBLE, Faults, find_faults
from ligandsmith.chem.surroundings import PocketAtoms
from ligandsmith.config import SamplingConfig
from ligandsmith.data.collate import collate_ligands
from ligandsmith.data.properties import PROPERTIES
from ligandsmith.diffusion import rng as noise
from ligandsmith.diffusion.guidance import GuidedDenoiser
from ligandsmith.diffusion.process import Given, NoisyLigand, add_noise, coefficients
from ligandsmith.diffusion.samplers import SAMPLERS, time_grid
from ligandsmith.diffusion.steric import Walls
from ligandsmith.models.cudagraph import Network, RecordedNetwork
from ligandsmith.models.denoiser import DenoiserKeys
from ligandsmith.models.latent_diffusion import DiffusionModel
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.parallel.threads import Check, side_by_side
from ligandsmith.records import BuildFailure, DecodedLigand, GeneratedLigand
from ligandsmith.structure.vocabulary import Vocabulary

SEEDS = 2**32 - 1
GROUP = 8  # ligands of like sizes that a thread makes at a time: little padding, and what they need stays in the cache


class Task(NamedTuple):
    """A pocket as sampling needs it, and how to sample."""

    keys: DenoiserKeys
    origin: np.ndarray  # [3] Å, of the networks' frame
    pocket: PocketAtoms
    setting: SamplingConfig
    check: Check  # raises where the ligands are not wanted any more
    fragment: Fragment | None = None  # that all ligands contain


class Candidate(NamedTuple):
    """A sampled ligand with its latents [n, D] and what speaks against it."""

    ligand: GeneratedLigand
    z: Tensor
    faults: Faults

    @property
    def score(self) -> float:
        """The lower, the better."""
        return self.faults.score


class Start(NamedTuple):
    """Where the sampling of a molecule begins."""

    z: Tensor | None = None  # [n, D] latents to be noised; None: noise alone
    fragment: Fragment | None = None  # its first atoms, which stay as they are


def better(a: Candidate, b: Candidate) -> Candidate:
    """The better of two, which then stands for all candidates of both."""
    best = min(a, b, key=lambda candidate: candidate.score)
    counts = {name: getattr(a.ligand, name) + getattr(b.ligand, name) for name in ("candidates", "candidates_valid")}
    return best._replace(ligand=replace(best.ligand, **counts))


class LigandSampler:
    """Trained networks on a device, ready to sample."""

    def __init__(self, model: DiffusionModel, ligand_vae: LigandVAE, vocabulary: Vocabulary, device: torch.device):
        self.model, self.ligand_vae, self.vocabulary, self.device = model, ligand_vae, vocabulary, device

    def best(self, task: Task, sizes: Tensor, keys: Tensor) -> list[GeneratedLigand]:
        """The most plausible candidate of each ligand; a ligand with a plausible one gets no more of them.

        Those after the first go out from the best so far: noised and denoised as a whole, and, the next time, noised
        further with its sound part held. All candidates of a ligand have its size, lest the choice favour small ones.
        """
        setting = task.setting
        kept = self._candidates(task, sizes, keys, [Start(fragment=task.fragment)] * len(sizes))
        for number in range(1, setting.candidates):
            rows = [row for row, candidate in enumerate(kept) if candidate.score > PLAUSIBLE]
            if not rows:
                break
            own = noise.combine(keys[rows], number)
            time = setting.refine_time if number % 2 else setting.regrow_time
            if time == 0:
                starts = [Start(fragment=task.fragment)] * len(rows)
            elif number % 2:
                starts = [Start(kept[row].z, task.fragment) for row in rows]
            else:
                starts = [self._regrown(task, kept[row], key) for row, key in zip(rows, own.tolist(), strict=True)]
            for row, candidate in zip(rows, self._candidates(task, sizes[rows], own, starts, time or 1.0), strict=True):
                kept[row] = better(kept[row], candidate)
        return [candidate.ligand for candidate in kept]

    def _candidates(
        self, task: Task, sizes: Tensor, keys: Tensor, starts: Sequence[Start], time: float = 1.0
    ) -> list[Candidate]:
        """What `sample` makes, in order; on a CPU in groups of like sizes, side by side, the largest first."""
        order = torch.argsort(sizes, descending=True, stable=True)
        groups = order.split(GROUP) if self.device.type == "cpu" else (order,)

        def made(rows: Tensor, check: Check) -> list[Candidate]:
            chosen = [starts[row] for row in rows.tolist()]
            return self.sample(task._replace(check=check), sizes[rows], keys[rows], chosen, time)

        candidates = [candidate for group in side_by_side(made, groups) for candidate in group]
        return [candidates[place] for place in torch.argsort(order).tolist()]

    def _regrown(self, task: Task, candidate: Candidate, seed: int) -> Start:
        """What is sound about a candidate, to be completed anew; where nothing is, the whole to be noised.

        So, too, with weights that were not trained to complete fragments.
        """
        whole = Start(candidate.z, task.fragment)
        if candidate.ligand.mol is None or not self.model.denoiser.config.fragments:
            return whole
        given = 0 if task.fragment is None else task.fragment.num_atoms
        kept = sound_part(candidate.ligand.mol, candidate.faults.atoms, given, seed & SEEDS)
        if kept is None:
            return whole
        order = torch.as_tensor(kept.order, device=self.device)
        return Start(self.model.denoiser.layout.reordered(candidate.z, order), kept.part)

    @torch.inference_mode()  # of this thread
    def sample(
        self, task: Task, sizes: Tensor, keys: Tensor, starts: Sequence[Start], time: float = 1.0
    ) -> list[Candidate]:
        """Ligands from their starts, noised up to a time; all of the starts have latents, or none has."""
        n = int(sizes.max())
        mask = torch.arange(n, device=self.device) < sizes.unsqueeze(-1)
        model, layout, setting = self.model, self.model.denoiser.layout, task.setting
        scale = torch.full((layout.width(n),), setting.noise_scale_h, device=self.device)
        scale[:3] = setting.noise_scale

        def fresh(step: int) -> Tensor:
            return scale * layout.noise(keys, f"step {step}", mask)

        denoise = self._denoiser(task, mask, [start.fragment for start in starts])
        z = scale * layout.noise(keys, "start", mask)
        times = time_grid(setting.steps, setting.min_time, setting.power)
        earlier = [start.z for start in starts if start.z is not None]
        if earlier:
            times = [t for t in times if t <= time] or times[-1:]
            t = torch.full((len(keys),), times[0], device=self.device)
            z = add_noise(layout.stacked(earlier, n), z, coefficients(model.schedule, t, model.denoiser.prediction))
        z = SAMPLERS[setting.sampler](denoise, z, times, model.schedule, fresh, setting.churn)
        prediction = self.ligand_vae.decode(*model.stats.restore(z), mask)
        ligands = [self._built(prediction, row, size, task.origin, start.fragment)
                   for row, (size, start) in enumerate(zip(sizes.tolist(), starts, strict=True))]  # fmt: skip
        return [Candidate(a, layout.single(z[a.index], a.num_atoms), find_faults(a, task.pocket)) for a in ligands]

    def _denoiser(self, task: Task, mask: Tensor, fragments: Sequence[Fragment | None]) -> GuidedDenoiser:
        """The network with a pocket and all that the ligands are asked for, of each the fragment that it contains."""
        model, setting = self.model, task.setting
        network: Network = partial(model.denoiser, keys=task.keys)
        if self.device.type == "cuda":
            network = RecordedNetwork(network)

        def predict(noisy: NoisyLigand, null: Tensor, third_atoms: bool = True) -> Tensor:
            task.check()
            return network(noisy, null=null, third_atoms=third_atoms)

        denoise = GuidedDenoiser(
            predict, mask, model.stats.scale_x, setting,
            model.schedule, model.denoiser.prediction, model.denoiser.layout,
            weaker=partial(predict, third_atoms=False),
        )  # fmt: skip
        wanted = [getattr(setting, name) for name in PROPERTIES]
        if any(value is not None for value in wanted):
            values = torch.tensor([torch.nan if value is None else value for value in wanted], device=self.device)
            denoise.given = Given(properties=values.expand(len(mask), -1))
        if any(fragments):
            self._fix(denoise, fragments, task.origin)
        if setting.repulsion > 0:
            x, nearest = (torch.as_tensor(a, dtype=torch.float32, device=self.device)
                         for a in (task.pocket.tree.data - task.origin, task.pocket.nearest))  # fmt: skip
            denoise.walls = Walls(x, nearest, setting.repulsion, setting.repulsion_time)
        return denoise

    def _fix(self, denoise: GuidedDenoiser, fragments: Sequence[Fragment | None], origin: np.ndarray) -> None:
        """Give the molecules their fragments, as their first atoms."""
        standing_in = next(fragment for fragment in fragments if fragment)  # where there is none; masked
        given = torch.tensor([fragment is not None for fragment in fragments], device=self.device)
        placed = [(fragment or standing_in).placed(origin) for fragment in fragments]
        batch = collate_ligands(placed, self.vocabulary, denoise.mask.shape[1]).to(self.device)
        fixed = batch.mask & given.unsqueeze(-1)
        z = self.model.stats.normalise(batch.x, self.ligand_vae.encode(batch).mean_h, batch.mask)
        denoise.given = denoise.given._replace(fixed=fixed, fragment=z[..., 3:] * fixed.unsqueeze(-1))
        denoise.known = denoise.layout.with_bonds(z, batch.bonds, batch.mask)

    def _built(
        self, prediction: LigandPrediction, row: int, size: int, origin: np.ndarray, fragment: Fragment | None
    ) -> GeneratedLigand:
        decoded = decoded_ligand(prediction, row, size, self.vocabulary, origin)
        built = build_molecule(decoded if fragment is None else fragment.imposed(decoded))
        if not isinstance(built, BuildFailure) and fragment is not None:
            built = fragment.lost(built.mol) or built
        if isinstance(built, BuildFailure):
            return GeneratedLigand(row, size, None, False, False, False, built.reason, built.detail)
        valid = int(built.raw_valid and built.connected)
        return GeneratedLigand(
            row, size, built.mol, built.raw_valid, built.repaired, built.connected,
            candidates_valid=valid, changed=built.changed,
        )  # fmt: skip


def decoded_ligand(
    prediction: LigandPrediction, row: int, size: int, vocabulary: Vocabulary, origin: np.ndarray
) -> DecodedLigand:
    """One molecule of a batch as arrays, its coordinates moved by `origin` [3] Å."""
    elements = np.array(vocabulary.ligand_elements, dtype=np.uint8)
    charges = np.array(vocabulary.charges, dtype=np.int8)
    return DecodedLigand(
        element=elements[prediction.element[row, :size].argmax(-1).cpu().numpy()],
        charge=charges[prediction.charge[row, :size].argmax(-1).cpu().numpy()],
        aromatic=(prediction.aromatic[row, :size] > 0).cpu().numpy(),
        num_h=prediction.num_h[row, :size].argmax(-1).cpu().numpy().astype(np.uint8),
        bond_probs=prediction.bonds[row, :size, :size].softmax(-1).cpu().numpy(),
        x=(prediction.x[row, :size].cpu().numpy() + origin).astype(np.float32),
    )
