"""The likelihood of real ligands: its terms, and the exact value for a model that is a Gaussian."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributions, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.nll import DECODER_SD, NoiseGrid, ligand_nll, posterior_entropy, reconstruction_nats

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import Config
from ligandsmith.diffusion import rng
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY

KEYS = rng.make_seeds(8, torch.arange(4))
GRID = NoiseGrid(points=4)


@pytest.fixture
def parts(config: Config) -> tuple[DiffusionModel, nn.ModuleDict]:
    torch.manual_seed(0)
    vaes, model = build_vaes(config, VOCABULARY).eval(), DiffusionModel(config).eval()
    nn.init.normal_(model.denoiser.head[1].weight, std=0.1)
    model.stats.mean_h.copy_(torch.linspace(-0.5, 0.5, len(model.stats.mean_h)))
    model.stats.std_h.copy_(torch.linspace(0.4, 1.4, len(model.stats.std_h)))
    return model, vaes


def test_the_terms_add_up_and_depend_on_the_molecule_alone(
    parts: tuple[DiffusionModel, nn.ModuleDict], records: list[Complex], batch: ComplexBatch
) -> None:
    terms = ligand_nll(*parts, batch, KEYS, GRID)
    assert torch.equal(terms["total"], terms["reconstruction"] - terms["entropy"] + terms["diffusion"])
    assert all(torch.isfinite(value).all() for value in terms.values())
    assert terms["size"][3].item() == 0
    assert (terms["size"][:3] > 0).all()
    for i, record in enumerate(records):
        alone = ligand_nll(*parts, collate([record], VOCABULARY), KEYS[i : i + 1], GRID)
        for name, value in alone.items():
            assert value.item() == pytest.approx(terms[name][i].item(), rel=1e-4, abs=1e-4)


def test_the_diffusion_term_is_in_units_of_the_latents_themselves(
    parts: tuple[DiffusionModel, nn.ModuleDict], batch: ComplexBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that predicts F = 0 is exact for normalised latents N(0, I), so the raw ones are N(mean, s.d.²)."""
    model, vaes = parts

    def nothing(noisy: Any, keys: Any, null: Tensor) -> Tensor:
        return torch.zeros_like(noisy.z)

    monkeypatch.setattr(model.denoiser, "forward", nothing)
    found = ligand_nll(model, vaes, batch, KEYS, GRID)["diffusion"]
    posterior, stats, mask = vaes["ligand"].encode(batch.ligand), model.stats, batch.ligand.mask
    x = posterior.mean_x + posterior.sigma_x * rng.normal(KEYS, "nll z_x", posterior.mean_x.shape[1:])
    h = posterior.mean_h + (posterior.logvar_h / 2).exp() * rng.normal(KEYS, "nll z_h", posterior.mean_h.shape[1:])
    log_x = distributions.Normal(0.0, stats.scale_x).log_prob(x).sum(-1)
    log_h = distributions.Normal(stats.mean_h, stats.std_h).log_prob(h).sum(-1)
    exact = -((log_x + log_h) * mask).sum(-1)
    assert torch.allclose(found.float(), exact, rtol=1e-3)


def test_reconstruction_and_entropy_are_log_densities(
    parts: tuple[DiffusionModel, nn.ModuleDict], batch: ComplexBatch
) -> None:
    vae, ligand = parts[1]["ligand"], batch.ligand
    with torch.no_grad():
        posterior = vae.encode(ligand)
        p = vae.decode(posterior.mean_x, posterior.mean_h, ligand.mask)
    entropy, found = posterior_entropy(posterior), reconstruction_nats(p, ligand)
    for b in range(len(ligand.mask)):
        n = int(ligand.mask[b].sum())
        q = distributions.Normal(posterior.mean_h[b, :n], (posterior.logvar_h[b, :n] / 2).exp())
        expected = q.entropy().sum() + 3 * n * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.1))
        assert entropy[b].item() == pytest.approx(expected.item(), rel=1e-5)
        nats = -distributions.Normal(p.x[b, :n], DECODER_SD).log_prob(ligand.x[b, :n]).sum()
        for name in ("element", "charge", "num_h"):
            logits = getattr(p, name)[b, :n]
            nats = nats - distributions.Categorical(logits=logits).log_prob(getattr(ligand, name)[b, :n]).sum()
        aromatic = distributions.Bernoulli(logits=p.aromatic[b, :n])
        nats = nats - aromatic.log_prob(ligand.aromatic[b, :n].float()).sum()
        i, j = torch.triu_indices(n, n, offset=1)
        nats = nats - distributions.Categorical(logits=p.bonds[b, i, j]).log_prob(ligand.bonds[b, i, j]).sum()
        assert found[b].item() == pytest.approx(nats.item(), rel=1e-4)
