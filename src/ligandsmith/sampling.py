"""Sampling ligands of given sizes for one pocket: groups of like sizes, candidates of each, the best one kept."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ligandsmith.chem.builder import build_molecule
from ligandsmith.chem.fragment import Fragment
from ligandsmith.chem.plausibility import PLAUSIBLE, implausibility
from ligandsmith.chem.surroundings import PocketAtoms
from ligandsmith.concurrency import Check, side_by_side
from ligandsmith.config import SamplingConfig
from ligandsmith.data.collate import collate_ligands
from ligandsmith.data.properties import PROPERTIES
from ligandsmith.data.vocabulary import Vocabulary
from ligandsmith.diffusion import noise
from ligandsmith.diffusion.guidance import GuidedDenoiser
from ligandsmith.diffusion.process import Given, NoisyLigand, add_noise, coefficients
from ligandsmith.diffusion.repulsion import Walls
from ligandsmith.diffusion.samplers import SAMPLERS, time_grid
from ligandsmith.models.denoiser import DenoiserKeys
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.training.modules import DiffusionModel
from ligandsmith.types import BuildFailure, DecodedLigand, GeneratedLigand, LigandPrediction

GROUP = 13  # ligands of like sizes that a thread makes at a time: little padding, and what they need stays in the cache


class Task(NamedTuple):
    """A pocket as sampling needs it, and how to sample."""

    keys: DenoiserKeys
    origin: np.ndarray  # [3] Å, of the networks' frame
    pocket: PocketAtoms
    setting: SamplingConfig
    check: Check  # raises where the ligands are not wanted any more
    fragment: Fragment | None = None  # that all ligands contain


class Candidate(NamedTuple):
    """A sampled ligand with its latents [n, D] and its score, the lower the better."""

    ligand: GeneratedLigand
    z: Tensor
    score: float


def better(a: Candidate, b: Candidate) -> Candidate:
    """The better of two, which then stands for all candidates of both."""
    best = min(a, b, key=lambda candidate: candidate.score)
    counts = {name: getattr(a.ligand, name) + getattr(b.ligand, name) for name in ("candidates", "candidates_valid")}
    return best._replace(ligand=replace(best.ligand, **counts))


class LigandSampler:
    """Trained networks on a device, ready to sample."""

    def __init__(self, model: DiffusionModel, ligand_vae: LigandVAE, vocabulary: Vocabulary, device: torch.device):
        self.model, self.ligand_vae, self.vocabulary, self.device = model, ligand_vae, vocabulary, device

    def grouped(self, task: Task, sizes: Tensor, keys: Tensor) -> list[GeneratedLigand]:
        """Ligands of the given sizes, in order; on a CPU in groups of like sizes, side by side, the largest first."""
        order = torch.argsort(sizes, descending=True, stable=True)
        groups = order.split(GROUP) if self.device.type == "cpu" else (order,)
        made = side_by_side(lambda rows, check: self.best(task._replace(check=check), sizes[rows], keys[rows]), groups)
        ligands = [ligand for group in made for ligand in group]
        return [ligands[i] for i in torch.argsort(order).tolist()]

    @torch.inference_mode()  # of this thread
    def best(self, task: Task, sizes: Tensor, keys: Tensor) -> list[GeneratedLigand]:
        """The most plausible candidate of each ligand; a ligand with a plausible one gets no more of them.

        Every other candidate is the best one so far, noised a little and denoised again. All candidates of a ligand
        have its size, lest the choice favour small ones.
        """
        kept = self.sample(task, sizes, keys)
        for number in range(1, task.setting.candidates):
            rows = [row for row, candidate in enumerate(kept) if candidate.score > PLAUSIBLE]
            if not rows:
                break
            earlier = [kept[row].z for row in rows] if number % 2 and task.setting.refine_time > 0 else None
            own = noise.combine(keys[rows], number)
            for row, candidate in zip(rows, self.sample(task, sizes[rows], own, earlier), strict=True):
                kept[row] = better(kept[row], candidate)
        return [candidate.ligand for candidate in kept]

    def sample(self, task: Task, sizes: Tensor, keys: Tensor, earlier: list[Tensor] | None = None) -> list[Candidate]:
        """Ligands from noise, or from `earlier` latents noised up to `refine_time`."""
        n = int(sizes.max())
        mask = torch.arange(n, device=self.device) < sizes.unsqueeze(-1)
        model, layout, setting = self.model, self.model.denoiser.layout, task.setting
        scale = torch.full((layout.width(n),), setting.noise_scale_h, device=self.device)
        scale[:3] = setting.noise_scale

        def fresh(step: int) -> Tensor:
            return scale * layout.noise(keys, f"step {step}", mask)

        denoise = self._denoiser(task, mask)
        start = scale * layout.noise(keys, "start", mask)
        times = time_grid(setting.steps, setting.min_time, setting.power)
        if earlier is not None:
            times = [t for t in times if t <= setting.refine_time] or times[-1:]
            t = torch.full((len(keys),), times[0], device=self.device)
            c = coefficients(model.schedule, t, model.denoiser.prediction)
            start = add_noise(layout.stacked(earlier, n), start, c)
        z = SAMPLERS[setting.sampler](denoise, start, times, model.schedule, fresh, setting.churn)
        x, h = model.stats.restore(z)
        prediction = self.ligand_vae.decode(x, h, mask)
        ligands = [self._built(prediction, row, size, task) for row, size in enumerate(sizes.tolist())]
        return [Candidate(a, layout.single(z[a.index], a.num_atoms), implausibility(a, task.pocket)) for a in ligands]

    def _denoiser(self, task: Task, mask: Tensor) -> GuidedDenoiser:
        """The network with a pocket and all that the ligands are asked for."""
        model, setting = self.model, task.setting

        def predict(noisy: NoisyLigand, null: Tensor, third_atoms: bool = True) -> Tensor:
            task.check()
            target: Tensor = model.denoiser(noisy, task.keys, null, third_atoms)
            return target

        denoise = GuidedDenoiser(
            predict, mask, model.stats.scale_x, setting,
            model.schedule, model.denoiser.prediction, model.denoiser.layout,
            weaker=partial(predict, third_atoms=False),
        )  # fmt: skip
        wanted = [getattr(setting, name) for name in PROPERTIES]
        if any(value is not None for value in wanted):
            values = torch.tensor([torch.nan if value is None else value for value in wanted], device=self.device)
            denoise.given = Given(properties=values.expand(len(mask), -1))
        if task.fragment is not None:
            self._fix(denoise, task.fragment, task.origin)
        if setting.repulsion > 0:
            x, nearest = (torch.as_tensor(a, dtype=torch.float32, device=self.device)
                         for a in (task.pocket.tree.data - task.origin, task.pocket.nearest))  # fmt: skip
            denoise.walls = Walls(x, nearest, setting.repulsion, setting.repulsion_time)
        return denoise

    def _fix(self, denoise: GuidedDenoiser, fragment: Fragment, origin: np.ndarray) -> None:
        """Give the fragment to all molecules, as their first atoms."""
        rows, n = denoise.mask.shape
        batch = collate_ligands([fragment.placed(origin)], self.vocabulary, n).to(self.device)
        fixed = batch.mask.expand(rows, -1)
        z = self.model.stats.normalise(batch.x, self.ligand_vae.encode(batch).mean_h, batch.mask)
        denoise.given = denoise.given._replace(fixed=fixed, fragment=z[..., 3:].expand(rows, -1, -1))
        denoise.known = denoise.layout.with_bonds(z, batch.bonds, batch.mask).expand(rows, -1, -1)

    def _built(self, prediction: LigandPrediction, row: int, size: int, task: Task) -> GeneratedLigand:
        decoded = decoded_ligand(prediction, row, size, self.vocabulary, task.origin)
        fragment = task.fragment
        built = build_molecule(decoded if fragment is None else fragment.imposed(decoded))
        if not isinstance(built, BuildFailure) and fragment is not None:
            built = fragment.lost(built.mol) or built
        if isinstance(built, BuildFailure):
            return GeneratedLigand(row, size, None, False, False, False, built.reason, built.detail)
        valid = int(built.raw_valid and built.connected)
        return GeneratedLigand(
            row, size, built.mol, built.raw_valid, built.repaired, built.connected, candidates_valid=valid
        )


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
