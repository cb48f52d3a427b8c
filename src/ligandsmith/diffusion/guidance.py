"""Guidance of the denoiser while a ligand is sampled.

Classifier-free guidance (Ho and Salimans 2022) extrapolates from the unconditional prediction through the conditional
one. For coordinates it acts on the shape of a molecule, never on its centre of mass. It acts only within an interval of
noise levels (Kynkäänniemi et al. 2024), and the guided prediction is rescaled to the magnitude of the conditional one
(Lin et al. 2024). At scale 1 the conditional network is called once and its output is returned unchanged; at scale 0
the unconditional one.

Autoguidance (Karras et al. 2024, arXiv 2406.02507) extrapolates from a weaker version of the network through the
network itself, for coordinates, features and bonds: the errors of a weaker network have the same direction and are
larger. The weaker one knows neither the pocket nor the requested properties, so that this is guidance towards them as
well, at no cost. The difference of the two estimates of the clean ligand hardly changes from step to step, so the
weaker one is called in some steps only.

Steric guidance moves the atoms of the estimated clean ligand out of the atoms of the pocket, and sampling continues
from the corrected estimate, so that the rest of the molecule follows. Atoms without overlap stay where they are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ligandsmith.config import SamplingConfig
from ligandsmith.diffusion.process import (
    UNCONDITIONED,
    Conditioning,
    Layout,
    NoisyLigand,
    Schedule,
    coefficients,
    to_clean,
)

MAX_PUSH = 1.0  # Å per step, for an atom deep inside the pocket
GROWTH_TIMES = (0.05, 0.95)
BOND_LENGTH = 1.5  # Å
GROWTH_WIDTH = 3.0  # Å; atoms so much farther than the nearest one are drawn e times less
MAX_GROWTH = 0.5  # Å per step
LAST_TIME = 0.01  # below this time the estimate is final in all but noise, and a push would bend bonds

Predict = Callable[[NoisyLigand, Tensor], Tensor]


class Potential(Protocol):
    """Corrects the estimate of the clean ligand while it is sampled."""

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """z [B, N, D], the estimate at time `t`, with corrected coordinates."""


class StericPotential(NamedTuple):
    """Excluded volume of the atoms of one pocket."""

    x: Tensor  # [M, 3] Å
    min_distance: Tensor  # [M] Å, smallest distance of a ligand atom
    strength: float  # share of an overlap that one step removes
    first_time: float  # above this time the estimate is too blurred to be pushed

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """Move the coordinates of z [B, N, D], an estimate of the clean latents at time `t`, out of the pocket."""
        if not LAST_TIME <= t <= self.first_time:
            return z
        x, limit = scale_x * z[..., :3], self.min_distance
        squared = x.square().sum(-1, keepdim=True) + self.x.square().sum(-1) - 2 * x @ self.x.T
        row, atom, near = ((squared < limit.square()) & mask.unsqueeze(-1)).nonzero(as_tuple=True)  # few of all pairs
        away = x[row, atom] - self.x[near]
        distance = away.norm(dim=-1).clamp(min=1e-3)
        overlap = self.strength * (limit[near] - distance).clamp(min=0)
        push = torch.zeros_like(x).index_put_((row, atom), (overlap / distance).unsqueeze(-1) * away, accumulate=True)
        push = push * MAX_PUSH / (MAX_PUSH + push.norm(dim=-1, keepdim=True))
        return torch.cat([z[..., :3] + push / scale_x, z[..., 3:]], -1)


class GrowthPotential(NamedTuple):
    """Draws the new atoms nearest to the atoms that a fragment grows from to the length of a bond.

    Where a fragment may grow from few atoms only, the network, which is not told so, would leave it alone.
    """

    place: Tensor  # [B, N, 3] Å
    open: Tensor  # [B, N] bool, atoms that new atoms may be bonded to
    new: Tensor  # [B, N] bool, atoms of no fragment

    def apply(self, z: Tensor, mask: Tensor, scale_x: Tensor, t: float) -> Tensor:
        """z [B, N, D], the estimate at time `t`, with corrected coordinates."""
        if not GROWTH_TIMES[0] <= t <= GROWTH_TIMES[1]:
            return z
        away = self.place.unsqueeze(1) - (scale_x * z[..., :3]).unsqueeze(2)  # new, open
        pairs = (self.new & mask).unsqueeze(2) & self.open.unsqueeze(1)
        distance, nearest = away.norm(dim=-1).masked_fill(~pairs, torch.inf).min(-1)
        away = away.gather(2, nearest[..., None, None].expand(*nearest.shape, 1, 3)).squeeze(2)
        gap = distance.amin(-1, keepdim=True) - BOND_LENGTH
        share = (-(distance - distance.amin(-1, keepdim=True)) / GROWTH_WIDTH).exp() * gap.clamp(0, MAX_GROWTH)
        pull = away / distance.clamp(min=1e-3).unsqueeze(-1) * share.unsqueeze(-1)
        return torch.cat([z[..., :3] + pull.nan_to_num(0.0) / scale_x, z[..., 3:]], -1)


@dataclass
class GuidedDenoiser:
    """denoise(z [B, N, D], t) -> clean latents.

    It keeps its last estimate for self-conditioning: use one instance per trajectory.
    """

    predict: Predict  # (noisy, null [B]) -> target: a network with its pocket bound
    mask: Tensor  # [B, N]
    scale_x: Tensor  # Å per unit of z_x
    setting: SamplingConfig
    schedule: Schedule
    prediction: str  # the network's kind of target
    layout: Layout
    conditioning: Conditioning = UNCONDITIONED
    reference: Tensor | None = None  # [B, N, D], coordinates and bonds of the fixed atoms
    closed: Tensor | None = None  # [B, N] bool, fixed atoms that get no further bonds
    potentials: Sequence["Potential"] = ()  # correct the estimate, one after the other
    weaker: Predict | None = None  # for autoguidance
    previous: Tensor | None = field(default=None, init=False)
    _ahead: Tensor | None = field(default=None, init=False)  # of the weaker network's clean estimate, as last computed
    _steps: int = field(default=0, init=False)  # within the interval of guidance, since the trajectory began

    def begin(self, estimate: Tensor) -> None:
        """Go on with another trajectory, whose last estimate is `estimate` [B, N, D]."""
        self.previous, self._ahead, self._steps = estimate, None, 0

    def __call__(self, z: Tensor, t: float) -> Tensor:
        times = torch.full((len(z),), t, device=z.device, dtype=torch.float32)
        c = coefficients(self.schedule, times, self.prediction)
        if self.reference is not None:
            z = self.layout.clamp(z, self.reference / c.scale_in, self.conditioning.fixed, self.closed)
        noisy = NoisyLigand(z, self.mask, times, times, c, c, self.scale_x, self.previous, self.conditioning)
        conditional, unconditional = self._both(noisy, t)
        target = conditional if unconditional is None else self._guide(conditional, unconditional)
        clean = to_clean(z, target, c.joined(c, z.shape[-1])) + self._autoguidance(noisy, conditional, t)
        clean = clean * self.mask.unsqueeze(-1)
        for potential in self.potentials:
            clean = potential.apply(clean, self.mask, self.scale_x, t)
        if self.reference is not None:
            clean = self.layout.clamp(clean, self.reference, self.conditioning.fixed, self.closed)
        self.previous = clean
        return clean

    def _scales(self, t: float) -> tuple[float, float]:
        """(scale of h, scale of x) at a time: 1 outside the interval, except that 0 means unconditional throughout."""
        s = self.setting
        if s.cfg_scale == 0:
            return 0.0, 0.0
        return (s.cfg_scale, s.cfg_scale_x) if self._inside(t) else (1.0, 1.0)

    def _inside(self, t: float) -> bool:
        """Whether guidance acts at a time."""
        time = torch.tensor(t, dtype=torch.float64)
        ratio = float(self.schedule.sigma(time) / self.schedule.alpha(time).clamp(min=1e-9))
        return self.setting.guidance_low <= ratio <= self.setting.guidance_high

    def _autoguidance(self, noisy: NoisyLigand, conditional: Tensor, t: float) -> Tensor | float:
        """(w - 1)(z - z_weaker) for the estimates of the clean ligand; 0 outside the interval."""
        scale = self.setting.autoguidance
        if self.weaker is None or scale == 1 or not self._inside(t):
            return 0.0
        if self._ahead is None or self._steps % self.setting.autoguidance_interval == 0:
            alone = noisy._replace(conditioning=noisy.conditioning.without_properties())
            difference = conditional - self.weaker(alone, noisy.mask.new_ones(len(noisy.z)))
            self._ahead = noisy.c_x.joined(noisy.c_h, noisy.z.shape[-1]).out * difference
        self._steps += 1
        return (scale - 1) * self._ahead

    def _both(self, noisy: NoisyLigand, t: float) -> tuple[Tensor, Tensor | None]:
        scales = self._scales(t)
        b, device = len(noisy.z), noisy.z.device
        if scales in ((1.0, 1.0), (0.0, 0.0)):
            null = torch.full((b,), scales[0] == 0, device=device)
            return self.predict(noisy, null), None
        null = torch.tensor([False, True], device=device).repeat(b)
        both = self.predict(_doubled(noisy), null).unflatten(0, (b, 2))
        return both[:, 0], both[:, 1]

    def _guide(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """v_c + (w - 1)(v_c - v_u), rescaled to the magnitude of v_c. The mean of x over the atoms is not changed."""
        s = self.setting
        mask = self.mask.unsqueeze(-1)
        shape, shape_u = _centred(conditional[..., :3], mask), _centred(unconditional[..., :3], mask)
        guided_x = self._rescaled(shape + (s.cfg_scale_x - 1) * (shape - shape_u), shape)
        h, h_u = conditional[..., 3:], unconditional[..., 3:]
        guided_h = self._rescaled(h + (s.cfg_scale - 1) * (h - h_u), h)
        return torch.cat([conditional[..., :3] + (guided_x - shape), guided_h], -1)

    def _rescaled(self, guided: Tensor, reference: Tensor) -> Tensor:
        """Blend towards the reference's root mean square over atoms and dimensions (rotation-invariant)."""
        size = guided.square().sum((1, 2), keepdim=True).clamp(min=1e-12)
        factor = (reference.square().sum((1, 2), keepdim=True) / size).sqrt()
        phi = self.setting.rescale
        return guided * (phi * factor + (1 - phi))


def _centred(x: Tensor, mask: Tensor) -> Tensor:
    """x [B, N, 3] without its mean over a molecule's atoms, zero on padding."""
    return (x - (x * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)) * mask


def _doubled(noisy: NoisyLigand) -> NoisyLigand:
    """Every molecule twice in a row, so that both branches run as one batch over the same pocket. The second is to run
    without pocket and without properties."""

    def twice(value: Tensor) -> Tensor:
        return value.repeat_interleave(2, 0)

    return NoisyLigand(
        twice(noisy.z), twice(noisy.mask), twice(noisy.t_x), twice(noisy.t_h),
        type(noisy.c_x)(*map(twice, noisy.c_x)), type(noisy.c_h)(*map(twice, noisy.c_h)), noisy.scale_x,
        None if noisy.previous is None else twice(noisy.previous), noisy.conditioning.with_and_without_properties(),
    )  # fmt: skip
