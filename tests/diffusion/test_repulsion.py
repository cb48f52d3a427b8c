"""Atoms within the pocket are pushed out of it, others stay; the push turns with the pocket."""

import pytest
import torch
from torch import Tensor

from ligandsmith.diffusion import rng
from ligandsmith.diffusion.guidance import LAST_TIME, MAX_PUSH, StericPotential

SCALE = torch.tensor(3.0)
SEEDS = rng.make_seeds(9, torch.arange(2))
POCKET = 4.0 * rng.normal(SEEDS[:1], "pocket", (40, 3))[0]
NEAREST = torch.full((40,), 2.9)
POTENTIAL = StericPotential(POCKET, NEAREST, strength=0.5, first_time=0.6)
MASK = torch.tensor([[True] * 12, [True] * 7 + [False] * 5])
Z = rng.normal(SEEDS, "z", (12, 5)) * MASK.unsqueeze(-1)
TIME = 0.3


def overlaps(z: Tensor) -> Tensor:
    """By how much each atom is too near to each pocket atom, Å, [B, N, M]."""
    distance = torch.cdist(SCALE * z[..., :3], POCKET.expand(len(z), -1, -1))
    return (NEAREST - distance).clamp(min=0)


def test_atoms_leave_the_pocket_and_others_stay() -> None:
    pushed = POTENTIAL.apply(Z, MASK, SCALE, TIME)
    before, after = overlaps(Z), overlaps(pushed)
    inside = (before > 0).any(-1) & MASK
    assert 3 < int(inside.sum()) < int(MASK.sum())
    assert after[MASK].square().sum() < 0.7 * before[MASK].square().sum()
    assert torch.equal(pushed[~inside], Z[~inside])
    assert torch.equal(pushed[..., 3:], Z[..., 3:])
    move = SCALE * (pushed - Z)[..., :3].norm(dim=-1)
    assert 0.1 < float(move.max()) < MAX_PUSH


def test_one_atom_is_pushed_straight_away_by_its_share() -> None:
    steric = StericPotential(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([2.9]), strength=0.1, first_time=1.0)
    pushed = steric.apply(torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.bool), SCALE, TIME)
    push = 0.1 * (2.9 - 2.0)
    assert SCALE * pushed[0, 0] == pytest.approx([-push * MAX_PUSH / (MAX_PUSH + push), 0, 0])


def test_the_push_turns_with_ligand_and_pocket() -> None:
    q = torch.linalg.qr(rng.normal(SEEDS[:1], "turn", (3, 3))[0])[0]
    turned = torch.cat([Z[..., :3] @ q, Z[..., 3:]], -1)
    found = POTENTIAL._replace(x=POCKET @ q).apply(turned, MASK, SCALE, TIME)
    plain = POTENTIAL.apply(Z, MASK, SCALE, TIME)
    assert torch.allclose(found[..., :3], plain[..., :3] @ q, atol=1e-5)
    assert not torch.allclose(POTENTIAL.apply(turned, MASK, SCALE, TIME)[..., :3], plain[..., :3] @ q, atol=1e-2)


@pytest.mark.parametrize("t", [0.61, 1.0, LAST_TIME / 2])
def test_nothing_is_pushed_outside_its_times(t: float) -> None:
    assert torch.equal(POTENTIAL.apply(Z, MASK, SCALE, t), Z)
