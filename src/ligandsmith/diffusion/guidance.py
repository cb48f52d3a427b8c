"""Guidance: a denoiser made of two, of which the second is unconditional (classifier-free guidance) or weaker.

The coordinates' guidance acts on shapes only, never on a molecule's centre of mass, and only for noise levels within an
interval; the guided estimate is rescaled to the conditional one's magnitude. At scale 1 the conditional model is called
once and its output returned unchanged; at scale 0 the unconditional one.

Autoguidance (Karras et al. 2024, arXiv 2406.02507) goes on from a weaker network's answer through the network's own,
for coordinates, features and bonds alike: what a network gets wrong for want of training, a weaker one gets wrong in
the same direction, and further.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ligandsmith.config import SamplingConfig
from ligandsmith.diffusion.layout import Layout
from ligandsmith.diffusion.process import NOTHING, Given, NoisyLigand, coefficients, joined, to_clean
from ligandsmith.diffusion.schedule import Schedule
from ligandsmith.diffusion.steric import Walls

Predict = Callable[[NoisyLigand, Tensor], Tensor]


@dataclass
class GuidedDenoiser:
    """denoise(z [B, N, 3 + Z], t) -> clean latents.

    Keeps its last estimate for self-conditioning: one instance per trajectory.
    """

    predict: Predict  # (noisy, null [B]) -> target: a network with its pocket bound
    mask: Tensor  # [B, N]
    scale_x: Tensor  # Å per unit of z_x
    setting: SamplingConfig
    schedule: Schedule
    prediction: str  # the network's kind of target
    layout: Layout
    given: Given = NOTHING
    known: Tensor | None = None  # [B, N, 3 + Z], where the coordinates and bonds of given atoms stand
    walls: Walls | None = None  # the pocket's atoms, which push a ligand's away; None: nothing does
    weaker: Predict | None = None  # for autoguidance
    previous: Tensor | None = field(default=None, init=False)

    def __call__(self, z: Tensor, t: float) -> Tensor:
        times = torch.full((len(z),), t, device=z.device, dtype=torch.float32)
        c = coefficients(self.schedule, times, self.prediction)
        if self.known is not None:
            z = self.layout.held(z, self.known / c.scale_in, self.given.fixed)
        noisy = NoisyLigand(z, self.mask, times, times, c, c, self.scale_x, self.previous, self.given)
        conditional, unconditional = self._both(noisy, t)
        target = conditional if unconditional is None else self._guide(conditional, unconditional)
        target = target + self._beyond_weaker(noisy, conditional, t)
        clean = to_clean(z, target, joined(c, c, z.shape[-1])) * self.mask.unsqueeze(-1)
        if self.walls is not None:
            clean = self.walls.pushed(clean, self.mask, self.scale_x, t)
        if self.known is not None:
            clean = self.layout.held(clean, self.known, self.given.fixed)
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

    def _beyond_weaker(self, noisy: NoisyLigand, conditional: Tensor, t: float) -> Tensor | float:
        """(w - 1)(v - v_weaker), both of them conditional; 0 where autoguidance does not act."""
        scale = self.setting.autoguidance
        if self.weaker is None or scale == 1 or not self._inside(t):
            return 0.0
        null = torch.full((len(noisy.z),), self.setting.cfg_scale == 0, device=noisy.z.device)
        return (scale - 1) * (conditional - self.weaker(noisy, null))

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
        """v_c + (w - 1)(v_c - v_u), rescaled to the magnitude of v_c: for x all of it without the mean over atoms, for
        features and bonds together."""
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
    """Every molecule twice in a row, so that both branches run as one batch over the same pocket. The unconditional one
    is told neither the pocket nor properties."""

    def twice(value: Tensor) -> Tensor:
        return value.repeat_interleave(2, 0)

    return NoisyLigand(
        twice(noisy.z), twice(noisy.mask), twice(noisy.t_x), twice(noisy.t_h),
        type(noisy.c_x)(*map(twice, noisy.c_x)), type(noisy.c_h)(*map(twice, noisy.c_h)), noisy.scale_x,
        None if noisy.previous is None else twice(noisy.previous), noisy.given.with_and_without(),
    )  # fmt: skip
