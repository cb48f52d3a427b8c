"""Latent statistics and the pocket as the denoiser reads it."""

import pytest
import torch
from torch import Tensor, nn

from ligandsmith.batches import ComplexBatch
from ligandsmith.checkpoints.files import fingerprint
from ligandsmith.models.latent_diffusion import STATS_MOMENTUM, LatentStats, moments
from ligandsmith.models.pocket_vae import farthest_point_sampling, null_pocket, pocket_latents

MEAN, SD = torch.tensor([1.0, -2.0, 0.1]), torch.tensor([0.2, 3.0, 1.0])


def draw(seed: int, molecules: int = 200) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates of s.d. 4 Å and features, with rubbish on the padding."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(molecules, 30, generator=generator) < 0.6
    x = 4 * torch.randn(molecules, 30, 3, generator=generator)
    h = MEAN + SD * torch.randn(molecules, 30, 3, generator=generator)
    wrong = ~mask.unsqueeze(-1)
    return x.masked_fill(wrong, 99.0), h.masked_fill(wrong, 99.0), mask


def fitted(*parts: tuple[Tensor, Tensor, Tensor]) -> LatentStats:
    stats = LatentStats(3)
    stats.update(torch.stack([moments(*part) for part in parts]).sum(0))
    return stats


def test_normalised_latents_have_unit_variance() -> None:
    parts = [draw(0), draw(1)]
    stats = fitted(*parts)
    z = torch.cat([stats.normalise(*part)[part[2]] for part in parts])
    assert float(z[:, :3].square().mean().sqrt()) == pytest.approx(1, abs=0.01)
    assert torch.allclose(z[:, 3:].std(0), torch.ones(3), atol=0.01)
    assert torch.allclose(z[:, 3:].mean(0), torch.zeros(3), atol=0.01)
    assert int(stats.seen) == sum(int(part[2].sum()) for part in parts)


def test_restoring_is_the_inverse() -> None:
    x, h, mask = draw(2)
    stats = fitted(draw(0))
    z = stats.normalise(x, h, mask)
    assert not z[~mask].any()
    x_again, h_again = stats.restore(z)
    assert torch.allclose(x_again[mask], x[mask], atol=1e-4)
    assert torch.allclose(h_again[mask], h[mask], atol=1e-4)


def test_running_statistics_start_with_the_first_batch_and_follow_slowly() -> None:
    stats, first, second = LatentStats(3), draw(0), draw(1, molecules=50)
    stats.update(moments(*first))
    assert torch.allclose(stats.std_h, fitted(first).std_h)
    stats.update(moments(*second))
    expected = torch.lerp(fitted(first).mean_h, fitted(second).mean_h, STATS_MOMENTUM)
    assert torch.allclose(stats.mean_h, expected, atol=1e-6)
    for seed in range(100):
        stats.update(moments(*draw(seed + 5, molecules=20)))
    assert torch.allclose(stats.std_h, SD, rtol=0.05)
    assert float(stats.scale_x) == pytest.approx(4, rel=0.05)


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    x, h, mask = draw(0)
    stats = fitted((x, torch.where(mask.unsqueeze(-1), 5.0, h), mask))
    assert torch.isfinite(stats.normalise(x, h, mask)).all()


def test_statistics_travel_in_the_state() -> None:
    stats = fitted(draw(0))
    other = LatentStats(3)
    other.load_state_dict(stats.state_dict())
    assert torch.equal(other.std_h, stats.std_h)
    assert float(other.scale_x) == float(stats.scale_x)


def test_global_tokens_are_spread_over_the_pocket(batch: ComplexBatch) -> None:
    assert batch.pocket is not None
    x, mask = batch.pocket.x, batch.pocket.mask
    index, enough = farthest_point_sampling(x[:3], mask[:3], 8)
    assert enough.all()
    for row in range(3):
        chosen = x[row][index[row]]
        assert mask[row][index[row]].all()
        assert len(index[row].unique()) == 8
        assert int(index[row, 0]) == int(x[row][mask[row]].norm(dim=-1).argmin())
        gap = torch.cdist(chosen, chosen).masked_fill(torch.eye(8, dtype=torch.bool), torch.inf).min()
        cover = torch.cdist(x[row][mask[row]], chosen).min(1).values.max()
        assert float(cover) <= float(gap) + 1e-4


def test_a_pocket_with_fewer_atoms_than_tokens_has_fewer() -> None:
    x = torch.tensor([[[0.0, 0, 1], [0, 0, 2], [0, 0, 5], [7, 7, 7]]])
    mask = torch.tensor([[True, True, True, False]])
    index, enough = farthest_point_sampling(x, mask, 6)
    assert enough.tolist() == [[True] * 3 + [False] * 3]
    assert sorted(index[0, :3].tolist()) == [0, 1, 2]


def test_without_tokens_or_pocket_nothing_is_there() -> None:
    pocket = pocket_latents(torch.zeros(2, 3, 3), torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), 0)
    assert pocket.tokens.shape == (2, 0)
    null = null_pocket(2, 4, 3, torch.device("cpu"))
    assert not null.mask.any()
    assert not null.token_mask.any()


def test_a_fingerprint_names_the_weights() -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    first = fingerprint(net.state_dict())
    assert first == fingerprint(dict(reversed(net.state_dict().items())))
    assert len(first) == 12
    with torch.no_grad():
        net.bias[0] += 1e-6
    assert fingerprint(net.state_dict()) != first
