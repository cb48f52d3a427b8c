"""Losses per molecule: divided by its own size, blind to padding, on one scale."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import PocketConfig
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.predictions import LigandPrediction, LossReport, PocketPrediction, Posterior
from ligandsmith.records import Complex
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import (
    bonded_pairs,
    denoising_loss,
    distance_error,
    noise_level_means,
    noise_level_sums,
    per_atom_mean,
    weighted_report,
)
from ligandsmith.training.vae_losses import gaussian_kl, ligand_terms, pocket_terms

VAE_WEIGHTS = {
    "x": 1.0, "element": 1.0, "charge": 1.0, "aromatic": 1.0, "num_h": 0.5, "bond": 1.0, "distance": 10.0, "kl": 0.01
}  # fmt: skip
POCKET_WEIGHTS = {"residue": 0.2, "atom_name": 0.2, "masked": 1.0, "offset": 1.0}


@pytest.fixture(scope="module")
def records() -> list[Complex]:
    """Ligands of 25 and 21 atoms in small pockets."""
    data = ComplexDataset(None, "train")
    return [to_frame(data[i], PocketConfig(radius=4.0, calpha_radius=5.0)) for i in (3, 9)]


def guess(batch: ComplexBatch, rubbish: float = 0.0) -> tuple[LigandPrediction, Posterior]:
    """A prediction that depends on an atom's own features only; `rubbish` on the padding."""
    ligand, v = batch.ligand, VOCABULARY
    pad = rubbish * ~ligand.mask.unsqueeze(-1)

    def logits(target: Tensor, classes: int) -> Tensor:
        return torch.sin(ligand.x.sum(-1, keepdim=True) + torch.arange(classes)) + pad

    mean = torch.cos(ligand.x) + pad
    wave = torch.sin(ligand.x.sum(-1))
    pair = (
        (wave.unsqueeze(1) + wave.unsqueeze(2)).unsqueeze(-1) * torch.arange(5) / 5
        + pad.unsqueeze(1)
        + pad.unsqueeze(2)
    )
    prediction = LigandPrediction(
        ligand.x + 0.1 * torch.sin(3 * ligand.x) + pad, logits(ligand.element, len(v.ligand_elements)),
        logits(ligand.charge, 3), wave + pad.squeeze(-1), logits(ligand.num_h, v.max_hydrogens + 1), pair, ligand.mask,
    )  # fmt: skip
    return prediction, Posterior(ligand.x, torch.tensor(0.1), mean, -mean.abs(), ligand.mask)


def ligand_report(batch: ComplexBatch, rubbish: float = 0.0) -> LossReport:
    prediction, posterior = guess(batch, rubbish)
    count = len(batch.ligand.mask)
    terms = ligand_terms(prediction, batch.ligand, posterior)
    return weighted_report(terms, VAE_WEIGHTS, torch.full((count,), 1 / count))


def pocket_report(batch: ComplexBatch, rubbish: float = 0.0) -> LossReport:
    pocket = batch.pocket
    assert pocket is not None
    pad = rubbish * ~pocket.mask.unsqueeze(-1)
    angle = pocket.x.sum(-1, keepdim=True)
    prediction = PocketPrediction(
        torch.sin(angle + torch.arange(21)) + pad, torch.cos(angle + torch.arange(38)) + pad, pocket.x.sin() + pad
    )
    at = pocket.mask & (pocket.atom_name == 1) & (pocket.residue_index % 2 == 0)
    weight = torch.full((len(pocket.mask),), 1 / len(pocket.mask))
    return weighted_report(pocket_terms(prediction, pocket, at, pocket.x.cos()), POCKET_WEIGHTS, weight)


REPORTS = [ligand_report, pocket_report]


@pytest.mark.parametrize("report", REPORTS)
def test_a_batch_scores_the_mean_of_its_molecules(records: list[Complex], report: Callable[..., LossReport]) -> None:
    together = report(collate(records, VOCABULARY), rubbish=50.0)
    singles = [report(collate([r], VOCABULARY)) for r in records]
    for name, value in together.terms.items():
        mean = sum(s.terms[name].item() for s in singles) / 2
        assert value.item() == pytest.approx(mean, rel=1e-5), name
    assert together.total.item() == pytest.approx(sum(s.total.item() for s in singles) / 2, rel=1e-5)
    assert together.per_molecule is not None
    assert together.per_molecule.tolist() == pytest.approx([s.total.item() for s in singles], rel=1e-5)


@pytest.mark.parametrize(("report", "weights"), zip(REPORTS, [VAE_WEIGHTS, POCKET_WEIGHTS], strict=True))
def test_the_total_is_the_weighted_sum_of_the_terms(
    records: list[Complex], report: Callable[..., LossReport], weights: dict[str, float]
) -> None:
    found = report(collate(records, VOCABULARY))
    expected = sum(weights[name] * value.item() for name, value in found.terms.items())
    assert found.total.item() == pytest.approx(expected, rel=1e-5)
    assert set(found.terms) == set(weights)


def test_a_perfect_prediction_costs_nothing_but_the_kl(records: list[Complex]) -> None:
    batch = collate(records, VOCABULARY)
    ligand, big = batch.ligand, 50.0

    def sure(target: Tensor, classes: int) -> Tensor:
        return big * torch.nn.functional.one_hot(target, classes).float()

    aromatic = big * (2 * ligand.aromatic.float() - 1)
    prediction = LigandPrediction(
        ligand.x, sure(ligand.element, 10), sure(ligand.charge, 3), aromatic, sure(ligand.num_h, 4),
        sure(ligand.bonds, 5), ligand.mask,
    )  # fmt: skip
    _, posterior = guess(batch)
    terms = ligand_terms(prediction, ligand, posterior)
    assert all(value.max().item() < 1e-6 for name, value in terms.items() if name != "kl")
    assert terms["kl"].min().item() > 0


def test_each_term_has_the_unit_that_it_says(records: list[Complex]) -> None:
    """Å² per axis; nats per atom, of bonds too: each pair once, divided by atoms."""
    batch = collate(records[:1], VOCABULARY)
    prediction, posterior = guess(batch)
    shifted = replace(prediction, x=batch.ligand.x + 0.3)
    flat = replace(shifted, bonds=torch.zeros_like(prediction.bonds), element=torch.zeros_like(prediction.element))
    terms = ligand_terms(flat, batch.ligand, posterior)
    n = records[0].ligand.num_atoms
    assert terms["x"].item() == pytest.approx(0.09, rel=1e-4)
    assert terms["distance"].item() == pytest.approx(0, abs=1e-6)
    assert terms["element"].item() == pytest.approx(torch.tensor(10.0).log().item(), rel=1e-5)
    assert terms["bond"].item() == pytest.approx((n - 1) / 2 * torch.tensor(5.0).log().item(), rel=1e-5)


def test_the_kl_is_that_of_gaussians(records: list[Complex]) -> None:
    _, posterior = guess(collate(records, VOCABULARY))
    q = torch.distributions.Normal(posterior.mean_h, (posterior.logvar_h / 2).exp())
    expected = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(gaussian_kl(posterior), expected, atol=1e-5)


def test_bonded_and_next_but_one_pairs() -> None:
    """Of the chain 0-1-2-3."""
    bonds = torch.zeros(1, 5, 5, dtype=torch.long)
    for i in range(3):
        bonds[0, i, i + 1] = bonds[0, i + 1, i] = 1 + i
    bonded, angle = bonded_pairs(bonds)
    assert bonded[0].triu().nonzero().tolist() == [[0, 1], [1, 2], [2, 3]]
    assert angle[0].triu().nonzero().tolist() == [[0, 2], [1, 3]]
    x = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0], [50, 0, 0]]])
    assert distance_error(1.5 * x, x, bonded).item() == pytest.approx(0.25)
    assert distance_error(1.5 * x, x, angle).item() == pytest.approx(1.0)


def test_a_molecule_without_marked_atoms_scores_zero() -> None:
    assert per_atom_mean(torch.ones(2, 3), torch.tensor([[True, True, False], [False] * 3])).tolist() == [1, 0]


def test_the_denoising_loss_counts_every_dimension_once() -> None:
    errors = {"x": torch.tensor([1.0, 0.5]), "h": torch.tensor([1.0, 0.1])}
    weight = torch.tensor([0.25, 0.75])
    report = denoising_loss(errors, {"x": 3, "h": 8}, weight, {"size": torch.tensor([2.0, 4.0])})
    per_molecule = [1.0, (3 * 0.5 + 8 * 0.1) / 11]
    assert report.per_molecule is not None
    assert report.per_molecule.tolist() == pytest.approx(per_molecule)
    assert report.total.item() == pytest.approx(0.25 * per_molecule[0] + 0.75 * per_molecule[1])
    assert report.terms["size"].item() == pytest.approx(3.5)
    assert report.objective.item() == pytest.approx(report.total.item() + 3.5)
    plain = denoising_loss(errors, {"x": 3, "h": 8}, weight)
    assert torch.equal(plain.objective, plain.total)


def test_a_weight_of_zero_silences_a_molecule(records: list[Complex]) -> None:
    batch = collate(records, VOCABULARY)
    prediction, posterior = guess(batch)
    terms = ligand_terms(prediction, batch.ligand, posterior)
    first = weighted_report(terms, VAE_WEIGHTS, torch.tensor([1.0, 0.0]))
    assert first.per_molecule is not None
    assert first.total.item() == pytest.approx(first.per_molecule[0].item(), rel=1e-6)


def test_reports_hold_tensors_that_can_be_followed_back(records: list[Complex]) -> None:
    batch = collate(records, VOCABULARY)
    prediction, posterior = guess(batch)
    leaves: dict[str, Any] = {}
    for f in fields(prediction):
        value = getattr(prediction, f.name)
        leaves[f.name] = value.clone().requires_grad_(True) if value.is_floating_point() else value
    terms = ligand_terms(LigandPrediction(**leaves), batch.ligand, posterior)
    weighted_report(terms, VAE_WEIGHTS, torch.full((2,), 0.5)).total.backward()
    padding = ~batch.ligand.mask
    assert padding.any()
    for name in ("x", "element", "charge", "aromatic", "num_h", "bonds"):
        gradient = leaves[name].grad
        assert gradient.any(), name
        assert not gradient[padding].any(), name


def test_the_error_by_noise_level_is_the_mean_within_the_level_over_batches() -> None:
    t = torch.tensor([0.1, 0.2, 0.6, 1.0])
    errors = {"x": torch.tensor([1.0, 3.0, 5.0, 7.0])}
    whole = noise_level_sums(errors, t, torch.full((4,), 0.25))
    halves = [noise_level_sums({"x": errors["x"][i]}, t[i], torch.full((2,), 0.25)) for i in (slice(2), slice(2, 4))]
    added = {name: float(halves[0][name] + halves[1][name]) for name in whole}
    means = noise_level_means({"x": 4.0, **added})
    assert means == {"x": 4.0, "level 0-0.25/x": 2.0, "level 0.5-0.75/x": 5.0, "level 0.75-1/x": 7.0}
    assert means == noise_level_means({"x": 4.0, **{name: float(v) for name, v in whole.items()}})
