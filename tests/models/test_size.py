"""The number of atoms given the pocket."""

from dataclasses import replace

import pytest
import torch

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.models.latent_diffusion import SizeModel, size_classes, smoothed_targets
from ligandsmith.models.pocket_vae import PocketLatents, null_pocket, pocket_latents
from ligandsmith.models.size import BINS, CLASSES, FittedSizeModel

WIDTH = 4
COUNTS = torch.tensor([20, 60, 120, 260, 330])


def pockets(counts: torch.Tensor = COUNTS, seed: int = 0) -> PocketLatents:
    generator = torch.Generator().manual_seed(seed)
    size = int(counts.max())
    mask = torch.arange(size) < counts.unsqueeze(1)
    x = 6 * torch.randn(len(counts), size, 3, generator=generator)
    return pocket_latents(x, torch.randn(len(counts), size, WIDTH, generator=generator), mask, 0)


def data(count: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    """Ligands whose size grows with the pocket's."""
    generator = torch.Generator().manual_seed(1)
    pocket = torch.randint(50, 400, (count,), generator=generator)
    return pocket, (pocket / 12 + 8 + 4 * torch.randn(count, generator=generator)).round().long()


@pytest.fixture
def model() -> SizeModel:
    torch.manual_seed(0)
    size = SizeModel(WIDTH)
    size.fit_histogram(*data())
    return size


def test_classes_cover_the_range_of_ligands() -> None:
    counts = torch.tensor([1, MIN_ATOMS, 23, MAX_ATOMS, 500])
    assert size_classes(counts).tolist() == [0, 0, 23 - MIN_ATOMS, CLASSES - 1, CLASSES - 1]


def test_targets_are_distributions_around_the_count() -> None:
    targets = smoothed_targets(torch.tensor([5, 23, 80]))
    assert torch.allclose(targets.sum(-1), torch.ones(3))
    assert targets.argmax(-1).tolist() == [0, 18, CLASSES - 1]
    assert targets[1].nonzero().flatten().tolist() == [16, 17, 18, 19, 20]


def test_the_histogram_is_normalised_and_nowhere_zero(model: SizeModel) -> None:
    assert model.histogram.shape == (BINS, CLASSES)
    assert torch.allclose(model.histogram.exp().sum(-1), torch.ones(BINS), atol=1e-5)
    assert torch.isfinite(model.histogram).all()


def test_an_untrained_network_is_the_histogram(model: SizeModel) -> None:
    with torch.no_grad():
        logits = model(pockets())
    assert torch.allclose(logits, model.histogram[COUNTS // 50])
    expected = (logits.softmax(-1) * torch.arange(MIN_ATOMS, MAX_ATOMS + 1)).sum(-1)
    assert torch.allclose(expected[2:], COUNTS[2:] / 12 + 8, atol=3)


def test_pockets_larger_than_any_seen_fall_into_the_last_bin(model: SizeModel) -> None:
    big = pockets(torch.tensor([1200]))
    assert torch.allclose(model(big), model.histogram[-1:])


def test_the_loss_is_at_least_the_entropy_and_can_reach_it(model: SizeModel) -> None:
    counts = torch.tensor([10, 20, 30, 40, 70])
    targets = smoothed_targets(counts)
    entropy = torch.special.entr(targets).sum(-1)
    assert (model.loss(pockets(), counts) >= entropy).all()
    with torch.no_grad():
        model.histogram.zero_()
        model.histogram[COUNTS // 50] = targets.clamp(min=1e-12).log()
    assert torch.allclose(model.loss(pockets(), counts), entropy, atol=1e-4)


def test_no_pocket_gives_no_loss(model: SizeModel) -> None:
    nothing = null_pocket(2, WIDTH, 0, torch.device("cpu"))
    assert model.loss(nothing, torch.tensor([20, 30])).tolist() == [0.0, 0.0]
    assert torch.isfinite(model(nothing)).all()


@pytest.fixture(params=["general", "fitted"])
def either(request: pytest.FixtureRequest, model: SizeModel) -> SizeModel | FittedSizeModel:
    torch.nn.init.normal_(model.net[2].weight)
    fitted = FittedSizeModel(WIDTH).eval()
    features = fitted.features(pockets(seed=5))
    fitted.mean.copy_(features.mean(0))
    fitted.scale.copy_(features.std(0) + 1e-3)
    return model if request.param == "general" else fitted


def test_padding_and_batch_mates_do_not_matter(either: SizeModel | FittedSizeModel) -> None:
    model, whole = either, pockets()
    together = model(whole)
    for i, count in enumerate(COUNTS.tolist()):
        one = PocketLatents(*(v[i : i + 1, :count] for v in (whole.x, whole.h, whole.mask)), whole.tokens, whole.tokens)
        assert torch.allclose(model(one)[0], together[i], atol=1e-5)


def test_training_learns_what_the_histogram_cannot_know(model: SizeModel) -> None:
    """Pockets of one size whose features tell the count: no gradient reaches the pocket."""
    pocket = pockets(torch.full((40,), 60), seed=3)
    counts = (20 + 8 * pocket.h.mean((1, 2)).sign()).long()
    pocket.h.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    first = model.loss(pocket, counts).mean().item()
    for _ in range(30):
        optimizer.zero_grad()
        model.loss(pocket, counts).mean().backward()
        optimizer.step()
    assert model.loss(pocket, counts).mean().item() < first - 0.5
    assert pocket.h.grad is None


def test_turning_a_pocket_changes_no_size(either: SizeModel | FittedSizeModel) -> None:
    pocket = pockets()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))[0]
    turned, stretched = (replace(pocket, x=pocket.x @ matrix) for matrix in (turn, 1.3 * turn))
    torch.testing.assert_close(either(turned), either(pocket), rtol=0, atol=1e-4)
    assert not torch.allclose(either(stretched), either(pocket), atol=1e-2)


def test_a_fitted_model_reads_the_numbers_of_atoms_within_distances() -> None:
    model, pocket = FittedSizeModel(WIDTH), pockets(torch.tensor([60]))
    features = model.features(pocket)[0]
    distance = pocket.x[0].norm(dim=-1)
    for place, limit in ((0, 3.0), (7, 10.0), (17, 20.0)):
        assert abs(features[place] - (distance < limit).sum()) < 2
    assert features[21] == 60
    torch.testing.assert_close(features[-WIDTH:], pocket.h[0].mean(0))
    shape = torch.cov(pocket.x[0].t(), correction=0)
    torch.testing.assert_close(features[18:21], torch.linalg.eigvalsh(shape).sqrt(), rtol=1e-4, atol=1e-4)
    nothing = null_pocket(2, WIDTH, 0, torch.device("cpu"))
    assert torch.isfinite(model(nothing)).all()
