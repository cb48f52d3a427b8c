"""Best-of-N sampling of ligands of given sizes for one pocket.

The first candidate of a ligand starts from noise. As long as the best one is not plausible, further candidates start
from it, alternately by partial noising of the whole (SDEdit; Meng et al. 2022) and by inpainting of the part with
defects (RePaint; Lugmayr et al. 2022). If properties are requested, the search goes on from a plausible one that is not
close to them; of the plausible ones the closest is kept.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from ligandsmith.batches import LigandBatch, collate_ligands
from ligandsmith.chem.builder import build_molecule
from ligandsmith.chem.fragment import Fragment, kept_part
from ligandsmith.chem.graph import MolecularGraph, skeleton
from ligandsmith.chem.plausibility import (
    CLOSE,
    PLAUSIBLE,
    TOO_ODD,
    Defects,
    PocketAtoms,
    find_defects,
    odd_rings,
    property_distance,
)
from ligandsmith.config import SamplingConfig
from ligandsmith.diffusion import rng
from ligandsmith.diffusion.guidance import GrowthPotential, GuidedDenoiser, Potential, StericPotential
from ligandsmith.diffusion.process import Conditioning, NoisyLigand, add_noise, coefficients
from ligandsmith.diffusion.samplers import SAMPLERS, time_grid
from ligandsmith.generation.relaxation import PoseRelaxation
from ligandsmith.models.cudagraph import CapturedNetwork, Network
from ligandsmith.models.denoiser import PocketKV
from ligandsmith.models.latent_diffusion import DiffusionModel
from ligandsmith.models.ligand_vae import LigandVAE
from ligandsmith.parallel.threads import Check, side_by_side
from ligandsmith.predictions import LigandPrediction
from ligandsmith.records import PROPERTIES, BuildFailure, DecodedLigand, GeneratedLigand, Ligand, Pocket
from ligandsmith.structure.vocabulary import Vocabulary

SEEDS = 2**32 - 1
USUAL = "usual_"  # prefix of settings
VIOLATION = 5.0  # in units of a defect: of each constraint that a candidate breaks
GROUP = 8  # ligands of similar size per thread, at most: little padding, and their tensors stay in the cache
MIN_SPLIT = 4  # ligands, from which on a batch becomes an even number of groups: two threads finish together


class Start(NamedTuple):
    """Where the sampling of a molecule starts."""

    z: Tensor | None = None  # [n, D] latents to be noised; None: pure noise
    fragment: Fragment | None = None  # its first atoms, which are fixed
    kept: Fragment | None = None  # of these the first, which stay when it is changed later
    time: float = 1.0  # up to which latents are noised


class Violation(NamedTuple):
    """A constraint that a ligand breaks, and the atoms to blame; all if none."""

    reason: str
    atoms: tuple[int, ...] = ()
    restart: bool = False  # whether another start may avoid it


class Demands(Protocol):
    """What a ligand must fulfil besides plausibility, and what guides sampling towards it (`design.constraints`)."""

    def violations(self, mol: Chem.Mol) -> Sequence[Violation]:
        """Everything that a built ligand does not fulfil."""

    def at(self, pocket: Pocket) -> "Demands":
        """As they are judged in a pocket. Raises LigandsmithError for what cannot be there."""

    def start(self, size: int, seed: int, fixed: Fragment | None) -> Start:
        """What a ligand of this size is grown from; `fixed` is what all contain."""

    def notes(self, mol: Chem.Mol) -> dict[str, str]:
        """What the record of a ligand says of them."""

    def surroundings(self, pocket: Pocket) -> PocketAtoms:
        """The atoms of a pocket that ligands must not touch."""

    def fixed_atoms(self, fragment: Fragment | None) -> int:
        """Heavy atoms that all ligands contain, `fragment` being given. Raises LigandsmithError if it contradicts."""

    def guide(self, pocket: Pocket, origin: np.ndarray, device: torch.device) -> "Guide":
        """What guides sampling in a pocket; `origin` [3] Å of the networks' frame."""

    def preference(self, pocket: Pocket) -> "Preference | None":
        """How much a ligand in a pocket is wanted, more is better; None if all are wanted alike."""


Preference = Callable[[Chem.Mol], float]
Guide = Callable[["LigandSampler"], Sequence[Potential]]  # potentials of one trajectory


class Keeping(NamedTuple):
    """What is kept of ligands while they are made, for when the process ends before their batch does."""

    latents: Callable[[str, Callable[[], Tensor]], Tensor]  # of a group by its key: those kept, else as computed
    finished: Callable[[list[GeneratedLigand]], None]  # takes ligands that no further candidate will replace


NOTHING_KEPT = Keeping(lambda _, compute: compute(), lambda _: None)


class SamplingTask(NamedTuple):
    """A pocket as the sampler needs it, and how to sample."""

    pocket_kv: PocketKV
    origin: np.ndarray  # [3] Å, of the networks' frame
    pocket: PocketAtoms
    config: SamplingConfig
    check: Check  # raises if the ligands are no longer needed
    fragment: Fragment | None = None  # part of all ligands
    keeping: Keeping = NOTHING_KEPT
    constraints: Demands | None = None
    guide: Guide | None = None
    relaxation: PoseRelaxation | None = None  # of every candidate
    preference: Preference | None = None  # decides between plausible candidates


class Candidate(NamedTuple):
    """A sampled ligand with its latents [n, D], its defects, and its distance from the requested properties."""

    ligand: GeneratedLigand
    z: Tensor
    defects: Defects
    distance: float  # standard deviations; 0 if nothing is requested
    violations: tuple[str, ...] = ()  # of constraints
    wanted: float | None = None  # how much, more is better; None if all are wanted alike
    restart: bool = False  # whether another start may avoid them
    kept: Fragment | None = None  # its first atoms, which stay as they are

    @property
    def accepted(self) -> bool:
        """Whether no further candidate is needed."""
        return self.wanted is None and self.defects.score <= PLAUSIBLE and self.distance <= CLOSE


class Batch(NamedTuple):
    """Ligands that are sampled together."""

    sizes: Tensor  # [B]
    seeds: Tensor  # [B]
    starts: Sequence[Start]
    mask: Tensor  # [B, N]

    @classmethod
    def of(cls, sizes: Tensor, seeds: Tensor, starts: Sequence[Start]) -> "Batch":
        """Padded to the largest one."""
        return cls(sizes, seeds, starts, torch.arange(int(sizes.max()), device=sizes.device) < sizes.unsqueeze(-1))

    def rows(self, rows: Tensor) -> "Batch":
        """Some of them, as much padded."""
        starts = [self.starts[row] for row in rows.tolist()]
        return Batch(self.sizes[rows], self.seeds[rows], starts, self.mask[rows])


class Leg(NamedTuple):
    """A part of a falling grid of times, from its `first` to its `last` entry."""

    times: Sequence[float]
    first: int
    last: int
    name: str = "step"  # of its noise

    @property
    def own(self) -> Sequence[float]:
        """The times of the part."""
        return self.times[self.first : self.last + 1]

    @property
    def share(self) -> float:
        """Of the steps of the grid: samplers divide churn by the number of steps that they are given."""
        return (self.last - self.first) / max(len(self.times) - 1, 1)


Take = Callable[[list[int], list[Candidate]], None]


class LigandSampler:
    """Trained networks on a device, ready to sample."""

    def __init__(self, model: DiffusionModel, ligand_vae: LigandVAE, vocabulary: Vocabulary, device: torch.device):
        self.model, self.ligand_vae, self.vocabulary, self.device = model, ligand_vae, vocabulary, device

    def best_of_n(
        self, task: SamplingTask, sizes: Tensor, seeds: Tensor, starts: Sequence[Start] | None = None
    ) -> list[GeneratedLigand]:
        """The best of up to `candidates` candidates for each ligand: the most plausible, and of plausible ones that
        which is closest to the requested properties, or, of close ones, the one that is wanted most. Sampling stops at
        one that is plausible and close, unless some are wanted more than others.

        `sizes` and `seeds` [B] are those of the ligands. All candidates of a ligand have its size, so that the choice
        does not favour small ones. The first candidates come from `starts`, by default from noise.
        """
        config = task.config
        every = list(range(len(sizes)))
        best: dict[int, Candidate] = {}

        def update(rows: list[int], candidates: list[Candidate], number: int) -> None:
            for row, candidate in zip(rows, candidates, strict=True):
                best[row] = _better(best[row], candidate) if row in best else candidate
            final = number + 1 == config.candidates
            rows = [row for row in rows if final or best[row].accepted]
            task.keeping.finished([replace(_checked(best[row]), index=row) for row in rows])

        first = starts or self._anew(task, (sizes, seeds))
        self._sample_groups(task, (sizes, seeds), first, lambda r, found: update(r, found, 0))
        moves = [(self._partial_noising, config.refine_time), (self._inpainting, config.regrow_time)]
        for number in range(1, config.candidates):
            rows = [row for row in every if not best[row].accepted]
            if not rows:
                break
            start_from, time = moves[(number - 1) % len(moves)]
            own = rng.fold_in(seeds[rows], number)
            again = self._anew(task, (sizes[rows], own), None if starts is None else [starts[row] for row in rows])
            for place, (row, seed) in enumerate(zip(rows, own.tolist(), strict=True)):
                if time > 0 and not best[row].restart:
                    again[place] = start_from(best[row], seed)._replace(time=time)
            take = partial(_of_rows, rows, partial(update, number=number))
            self._sample_groups(task, (sizes[rows], own), again, take)
        return [_checked(best[row]) for row in every]

    @staticmethod
    def _anew(task: SamplingTask, ligands: tuple[Tensor, Tensor], like: Sequence[Start] | None = None) -> list[Start]:
        """Pure noise for ligands of these sizes and seeds, with the fragments of other starts or their own."""
        if like is not None:
            return [Start(None, start.fragment, start.kept) for start in like]
        if task.constraints is None:
            return [Start(None, task.fragment, task.fragment)] * len(ligands[0])
        return [task.constraints.start(size, seed & SEEDS, task.fragment)
                for size, seed in zip(ligands[0].tolist(), ligands[1].tolist(), strict=True)]  # fmt: skip

    def _partial_noising(self, candidate: Candidate, _: int) -> Start:
        """The whole candidate."""
        return Start(candidate.z, candidate.kept, candidate.kept)

    def _inpainting(self, candidate: Candidate, seed: int) -> Start:
        """The part of a candidate without defects, to be completed.

        The whole candidate if there is no such part, or if the weights were not trained to complete fragments.
        """
        first = candidate.kept
        if candidate.ligand.mol is None or not self.model.denoiser.config.fragments:
            return Start(candidate.z, first, first)
        fixed = 0 if first is None else first.num_atoms
        kept = kept_part(candidate.ligand.mol, candidate.defects.atoms, fixed, seed & SEEDS)
        if kept is None:
            return Start(candidate.z, first, first)
        order = torch.as_tensor(kept.order, device=self.device)
        part = kept.part if first is None else kept.part.growing_like(first)
        return Start(self.model.denoiser.layout.reordered(candidate.z, order), part, first)

    def _sample_groups(
        self, task: SamplingTask, ligands: tuple[Tensor, Tensor], starts: Sequence[Start], take: Take
    ) -> None:
        """`sample` for any number of ligands, of these sizes and seeds. On a CPU in groups of similar size, one thread
        each. `take` gets the places of a group and its candidates as soon as they are made."""
        sizes, seeds = ligands
        order = torch.argsort(sizes, descending=True, stable=True)
        alike = _alike(order, starts)
        groups = [part for rows in alike for part in _groups(rows)] if self.device.type == "cpu" else alike

        one_at_a_time = threading.Lock()

        def sampled(rows: Tensor, check: Check) -> None:
            def both() -> None:
                task.check()
                check()

            chosen = [starts[row] for row in rows.tolist()]
            candidates = self.sample(task._replace(check=both), sizes[rows], seeds[rows], chosen)
            with one_at_a_time:
                take(rows.tolist(), candidates)

        side_by_side(sampled, groups)

    @torch.inference_mode()  # of this thread
    def sample(self, task: SamplingTask, sizes: Tensor, seeds: Tensor, starts: Sequence[Start]) -> list[Candidate]:
        """One candidate from each start. Either all starts have latents, which are noised up to one time, or none."""
        batch, layout = Batch.of(sizes, seeds, starts), self.model.denoiser.layout
        sampler = partial(self._latents, task, batch)
        z = task.keeping.latents(_key(sizes, seeds), sampler).to(self.device)
        prediction = self.ligand_vae.decode(*self.model.stats.restore(z), batch.mask)
        ligands = [self._built(prediction, row, size, task.origin, start.fragment)
                   for row, (size, start) in enumerate(zip(sizes.tolist(), starts, strict=True))]  # fmt: skip
        return [self._best_pose(a, layout.single(z[a.index], a.num_atoms), task, starts[a.index].kept)
                for a in ligands]  # fmt: skip

    def _latents(self, task: SamplingTask, batch: Batch) -> Tensor:
        """Clean latents [B, N, D] of a candidate from each start.

        The estimate is looked at once, and where it is in pieces or too many rings are odd it is noised again.
        """
        config, layout = task.config, self.model.denoiser.layout
        times = time_grid(config.steps, config.min_time, config.power)
        z = self._noise(task, batch, "start")
        earlier = [start.z for start in batch.starts if start.z is not None]
        if earlier:
            times = [t for t in times if t <= batch.starts[0].time] or times[-1:]
            z = self._noised(layout.stacked(earlier, batch.mask.shape[1]), z, times[0])
        denoise = self._denoiser(task, batch.mask, [start.fragment for start in batch.starts])
        stop, end = _first(times, config.inspection_time), len(times) - 1
        if config.restarts == 0 or not 0 < stop < end:
            return self._denoised(task, batch, denoise, z, Leg(times, 0, end))
        z = self._denoised(task, batch, denoise, z, Leg(times, 0, stop))
        for number in range(config.restarts):
            unsound = self._unsound(task, batch, z)
            if not unsound.any():
                break
            leg = Leg(times, _first(times, config.restart_time), stop, f"restart {number}")
            z = self._restarted(task, batch, denoise, z, unsound, leg)
        return self._again(task, batch, denoise, z, Leg(times, stop, end))

    def _restarted(
        self, task: SamplingTask, batch: Batch, denoise: GuidedDenoiser, z: Tensor, unsound: Tensor, leg: Leg
    ) -> Tensor:
        """Estimates of which the `unsound` ones [B] went through a leg again.

        On a GPU all go, since a network is captured for one number of ligands.
        """
        if self.device.type == "cuda":
            return torch.where(unsound.view(-1, 1, 1), self._again(task, batch, denoise, z, leg), z)
        rows = unsound.nonzero().squeeze(-1)
        part = batch.rows(rows)
        own = self._denoiser(task, part.mask, [start.fragment for start in part.starts])
        z[rows] = self._again(task, part, own, z[rows], leg)
        return z

    def _again(self, task: SamplingTask, batch: Batch, denoise: GuidedDenoiser, z: Tensor, leg: Leg) -> Tensor:
        """Estimates z [B, N, D], noised to the first time of a leg and denoised to its last one."""
        denoise.begin(z)
        noisy = self._noised(z, self._noise(task, batch, f"{leg.name} again"), leg.times[leg.first])
        return self._denoised(task, batch, denoise, noisy, leg)

    def _denoised(self, task: SamplingTask, batch: Batch, denoise: GuidedDenoiser, z: Tensor, leg: Leg) -> Tensor:
        """The estimate at the last time of a leg, from latents at its first one."""

        def fresh(step: int) -> Tensor:
            return self._noise(task, batch, f"{leg.name} {leg.first + step}")

        sampler = SAMPLERS[task.config.sampler]
        return sampler(denoise, z, leg.own, self.model.schedule, fresh, task.config.churn * leg.share)

    def _noise(self, task: SamplingTask, batch: Batch, name: str) -> Tensor:
        layout = self.model.denoiser.layout
        scale = torch.full((layout.width(batch.mask.shape[1]),), task.config.noise_scale_h, device=self.device)
        scale[:3] = task.config.noise_scale
        return scale * layout.noise(batch.seeds, name, batch.mask)

    def _noised(self, z: Tensor, noise: Tensor, time: float) -> Tensor:
        t = torch.full((len(z),), time, device=self.device)
        return add_noise(z, noise, coefficients(self.model.schedule, t, self.model.denoiser.prediction))

    def _unsound(self, task: SamplingTask, batch: Batch, estimate: Tensor) -> Tensor:
        """Which estimates [B, N, D] are in pieces or have too many odd rings besides those of their fragments, [B]."""
        prediction = self.ligand_vae.decode(*self.model.stats.restore(estimate), batch.mask)
        unsound = []
        for row, (size, start) in enumerate(zip(batch.sizes.tolist(), batch.starts, strict=True)):
            decoded = decoded_ligand(prediction, row, size, self.vocabulary, task.origin)
            given = 0
            if start.fragment is not None:
                decoded, part = start.fragment.imposed(decoded), start.fragment.ligand
                given, _ = odd_rings(skeleton(part.element, part.bond_index))
            graph = MolecularGraph.from_decoded(decoded)
            whole = skeleton(graph.element, graph.bonds())
            found, _ = odd_rings(whole)
            unsound.append(found - given >= TOO_ODD or len(Chem.GetMolFrags(whole)) > 1)
        return torch.tensor(unsound, device=self.device)

    def _best_pose(self, ligand: GeneratedLigand, z: Tensor, task: SamplingTask, kept: Fragment | None) -> Candidate:
        """The candidate relaxed in its pocket, what is kept left where it is; as sampled if that has fewer defects."""
        eased = self._relaxed(ligand, z, task, kept)
        if eased is not None and eased.defects.score <= PLAUSIBLE:
            return eased
        sampled = _judged(ligand, z, task, kept)
        return sampled if eased is None or sampled.defects.score < eased.defects.score else eased

    def _relaxed(
        self, ligand: GeneratedLigand, z: Tensor, task: SamplingTask, kept: Fragment | None
    ) -> Candidate | None:
        if task.relaxation is None or ligand.mol is None or not ligand.connected:
            return None
        mol = task.relaxation.relaxed(ligand.mol, 0 if kept is None else kept.num_atoms)
        if mol is None:
            return None
        z = z.clone()
        x = mol.GetConformer().GetPositions() - task.origin
        z[:, :3] = torch.as_tensor(x, dtype=z.dtype, device=self.device) / self.model.stats.scale_x
        return _judged(replace(ligand, mol=mol), z, task, kept)

    def _denoiser(self, task: SamplingTask, mask: Tensor, fragments: Sequence[Fragment | None]) -> GuidedDenoiser:
        """The guided network with its pocket, the requested properties, and the fragment of each ligand."""
        model = self.model
        network: Network = partial(model.denoiser, pocket_kv=task.pocket_kv)
        if self.device.type == "cuda":
            network = CapturedNetwork(network)

        def predict(noisy: NoisyLigand, null: Tensor, triangles: bool = True) -> Tensor:
            task.check()
            return network(noisy, null=null, triangles=triangles)

        fixed, closed, latents, reference = (
            self._fixed_atoms(fragments, task.origin, mask) if any(fragments) else (None,) * 4
        )
        potentials = self._potentials(task)
        if reference is not None and fixed is not None and closed is not None:
            places = model.stats.scale_x * reference[..., :3]
            potentials.append(GrowthPotential(places, fixed & ~closed & closed.any(-1, keepdim=True), mask & ~fixed))
        return GuidedDenoiser(
            predict, mask, model.stats.scale_x, task.config,
            model.schedule, model.denoiser.prediction, model.denoiser.layout,
            conditioning=Conditioning(fixed, latents, self._properties(task.config, len(mask))),
            reference=reference, closed=closed, potentials=potentials,
            weaker=partial(predict, triangles=False),
        )  # fmt: skip

    def _properties(self, config: SamplingConfig, count: int) -> Tensor | None:
        """Properties [count, P] that the network is told, NaN for those that are not specified; None if none is."""
        told = _requested(config) or _requested(config, USUAL)
        if not told or not self.model.denoiser.config.properties:
            return None
        values = torch.tensor([told.get(name, torch.nan) for name in PROPERTIES], device=self.device)
        return values.expand(count, -1)

    def _potentials(self, task: SamplingTask) -> list[Potential]:
        guides = [] if task.guide is None else list(task.guide(self))
        if task.config.repulsion <= 0:
            return guides
        x, nearest = (torch.as_tensor(a, dtype=torch.float32, device=self.device)
                      for a in (task.pocket.tree.data - task.origin, task.pocket.nearest))  # fmt: skip
        return [StericPotential(x, nearest, task.config.repulsion, task.config.repulsion_time), *guides]

    def _fixed_atoms(
        self, fragments: Sequence[Fragment | None], origin: np.ndarray, mask: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Mask [B, N] of the atoms of the fragments, which are a molecule's first, of those that get no further bonds,
        their latents [B, N, Z] and their coordinates and bonds as latents [B, N, D]."""
        layout = self.model.denoiser.layout
        any_fragment = next(fragment for fragment in fragments if fragment)  # fills rows without one; masked
        present = torch.tensor([fragment is not None for fragment in fragments], device=self.device)
        placed = [(fragment or any_fragment).placed(origin) for fragment in fragments]
        batch, z = self._encoded(placed, mask.shape[1])
        fixed = batch.mask & present.unsqueeze(-1)
        shut = [np.zeros(0, np.bool_) if fragment is None else fragment.closed for fragment in fragments]
        closed = None
        if any(row.any() for row in shut):
            padded = np.stack([np.pad(row, (0, mask.shape[1] - len(row))) for row in shut])
            closed = torch.as_tensor(padded, device=self.device)
        # Of all pairs of atoms: where an atom gets no further bond, the class of its pairs with new atoms is `none`.
        reference = layout.with_bonds(z, batch.bonds, mask if closed is not None else batch.mask)
        return fixed, closed, z[..., 3:] * fixed.unsqueeze(-1), reference

    @torch.inference_mode()
    def latents_of(self, ligands: Sequence[Ligand], origin: np.ndarray) -> list[Tensor]:
        """Normalised latents [n, D] of whole ligands in the coordinates of their protein, to start from."""
        placed = [replace(ligand, x=(ligand.x - origin).astype(np.float32)) for ligand in ligands]
        layout, width = self.model.denoiser.layout, max(ligand.num_atoms for ligand in ligands)
        batch, z = self._encoded(placed, width)
        z = layout.with_bonds(z, batch.bonds, batch.mask)
        return [layout.single(z[row], ligand.num_atoms) for row, ligand in enumerate(ligands)]

    def _encoded(self, placed: Sequence[Ligand], width: int) -> tuple[LigandBatch, Tensor]:
        """Ligands in the networks' frame as a batch, and their normalised coordinates and mean features."""
        batch = collate_ligands(placed, self.vocabulary, width).to(self.device)
        return batch, self.model.stats.normalise(batch.x, self.ligand_vae.encode(batch).mean_h, batch.mask)

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


def _judged(ligand: GeneratedLigand, z: Tensor, task: SamplingTask, kept: Fragment | None) -> Candidate:
    """A sampled ligand with its defects, to which the constraints count that it breaks."""
    defects, distance = find_defects(ligand, task.pocket), property_distance(ligand.mol, _requested(task.config))
    wanted = None
    if task.preference is not None:
        wanted = -np.inf if ligand.mol is None else task.preference(ligand.mol)
    if task.constraints is None or ligand.mol is None:
        return Candidate(ligand, z, defects, distance, wanted=wanted, kept=kept)
    broken = task.constraints.violations(ligand.mol)
    atoms = defects.atoms.copy()
    for violation in broken:
        atoms[list(violation.atoms)] = True
    return Candidate(
        replace(ligand, notes=tuple(task.constraints.notes(ligand.mol).items())), z,
        Defects(defects.score + VIOLATION * len(broken), atoms), distance, tuple(v.reason for v in broken),
        wanted, any(v.restart for v in broken), kept,
    )  # fmt: skip


def _checked(candidate: Candidate) -> GeneratedLigand:
    """The ligand, or a failure if it breaks a constraint."""
    if not candidate.violations:
        return candidate.ligand
    return replace(
        candidate.ligand, mol=None, raw_valid=False, repaired=False, connected=False, changed=(),
        reason="constraint", detail="; ".join(candidate.violations),
    )  # fmt: skip


def _alike(order: Tensor, starts: Sequence[Start]) -> list[Tensor]:
    """The rows, in this order, apart where one `sample` cannot take them together."""
    kinds: dict[tuple[bool, float], list[int]] = {}
    for row in order.tolist():
        start = starts[row]
        kinds.setdefault((start.z is None, 1.0 if start.z is None else start.time), []).append(row)
    return [torch.tensor(rows, device=order.device) for rows in kinds.values()]


def _groups(rows: Tensor) -> Sequence[Tensor]:
    """Groups of nearly equal size. They do not depend on the number of threads, so that the ligands do not, either."""
    pairs = -(-len(rows) // (2 * GROUP))
    return [rows] if len(rows) < MIN_SPLIT else rows.tensor_split(2 * pairs)


def _of_rows(rows: list[int], take: Take, places: list[int], candidates: list[Candidate]) -> None:
    take([rows[place] for place in places], candidates)


def _first(times: Sequence[float], limit: float) -> int:
    """The place of the first time of a falling grid that is not above a limit; 0 if there is none."""
    return next((i for i, t in enumerate(times) if t <= limit), 0)


def _key(sizes: Tensor, seeds: Tensor) -> str:
    """Names a group of candidates: their seeds differ by pocket, ligand and number of the candidate."""
    return hashlib.sha256(torch.stack([sizes.to(seeds), seeds]).cpu().numpy().tobytes()).hexdigest()[:24]


def _better(a: Candidate, b: Candidate) -> Candidate:
    """The more plausible of two, or of two plausible ones the closer to the request and then the more wanted, with the
    counts of both."""
    best = min(a, b, key=lambda c: (max(c.defects.score, PLAUSIBLE), max(c.distance, CLOSE), -(c.wanted or 0.0)))
    counts = {name: getattr(a.ligand, name) + getattr(b.ligand, name) for name in ("candidates", "candidates_valid")}
    return best._replace(ligand=replace(best.ligand, **counts))


def _requested(config: SamplingConfig, prefix: str = "") -> dict[str, float]:
    """Requested values of properties by name; with the prefix `USUAL`, those that the network is told otherwise."""
    values = {name: getattr(config, f"{prefix}{name}", None) for name in PROPERTIES}
    return {name: value for name, value in values.items() if value is not None}


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
