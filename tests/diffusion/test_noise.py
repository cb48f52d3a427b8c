"""Random numbers depend on (key, stream, position) alone and look like independent draws."""

import pytest
import torch

from ligandsmith.diffusion import rng

SEEDS = rng.make_seeds(3, torch.arange(1000))


def test_a_normal_is_standard() -> None:
    z = rng.normal(SEEDS, "stream", (20, 5)).double()
    n = z.numel()
    assert abs(float(z.mean())) < 4 * n**-0.5
    assert abs(float(z.var()) - 1) < 4 * (2 / n) ** 0.5
    assert abs(float((z**4).mean()) - 3) < 4 * (96 / n) ** 0.5
    quantiles = torch.tensor([0.025, 0.5, 0.975], dtype=torch.float64)
    found = torch.quantile(z.flatten()[:100_000], quantiles)
    assert torch.allclose(found, torch.special.ndtri(quantiles), atol=0.03)


def test_a_uniform_is_flat_between_zero_and_one() -> None:
    u = rng.uniform(SEEDS, "stream", (50,))
    counts = torch.histc(u, 10, 0, 1) / u.numel()
    assert torch.allclose(counts, torch.full((10,), 0.1), atol=4 * (0.09 / u.numel()) ** 0.5)
    assert float(u.min()) > 0
    assert float(u.max()) < 1


@pytest.mark.parametrize(("bits", "value"), [(-1, 1 - 2.0**-24), (0, 2.0**-25)])
def test_a_uniform_never_reaches_its_ends(bits: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "_bits", lambda seeds, stream, shape: torch.full((1,), bits))
    assert float(rng.uniform(SEEDS[:1], "any")) == value
    assert torch.isfinite(rng.normal(SEEDS[:1], "any", ())).all()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1])


def test_streams_keys_positions_and_seeds_are_independent() -> None:
    z = rng.normal(SEEDS, "a", (20, 3))
    others = {
        "stream": rng.normal(SEEDS, "b", (20, 3)),
        "key": z.roll(1, 0),
        "atom": z.roll(1, 1),
        "axis": z.roll(1, 2),
        "seed": rng.normal(rng.make_seeds(4, torch.arange(1000)), "a", (20, 3)),
        "further part": rng.normal(rng.fold_in(SEEDS, 0), "a", (20, 3)),
    }
    limit = 4 * z.numel() ** -0.5
    for name, other in others.items():
        assert abs(correlation(z, other)) < limit, name
        assert abs(correlation(z**2, other**2)) < limit, name


def test_atoms_and_axes_do_not_mirror_each_other() -> None:
    square = rng.normal(SEEDS, "a", (12, 12))
    i, j = torch.triu_indices(12, 12, offset=1)
    assert abs(correlation(square[:, i, j], square[:, j, i])) < 4 * square[:, i, j].numel() ** -0.5


def test_a_number_does_not_depend_on_batch_mates_or_padding() -> None:
    wide = rng.normal(SEEDS[:6], "z", (30, 4))
    assert torch.equal(rng.normal(SEEDS[2:4], "z", (12, 4)), wide[2:4, :12])
    assert torch.equal(rng.uniform(SEEDS[2:4], "u", (3,)), rng.uniform(SEEDS, "u", (9,))[2:4, :3])


def test_keys_are_distinct() -> None:
    grid = rng.make_seeds(1, torch.arange(300).unsqueeze(1), torch.arange(300))
    assert len(grid.unique()) == grid.numel()
    texts = [rng.text_seed(t) for t in ("1abc", "1abd", "1abc ", "")]
    assert len(set(texts)) == len(texts)
