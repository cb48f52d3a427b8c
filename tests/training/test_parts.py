"""Micro-batches add up to the batch: nothing lost, no more padding than needed, the same losses and gradients."""

import pytest
import torch
from torch import Tensor

from ligandsmith.batches import ComplexBatch, collate
from ligandsmith.config import preset
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.data.transforms import to_frame
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import DiffusionTraining
from ligandsmith.training.microbatch import LossInputs, added, micro_batches


@pytest.fixture(scope="module")
def batch() -> ComplexBatch:
    data = ComplexDataset(None, "validation")
    config = preset("tiny").pocket
    records = [to_frame(data[i], config, None) for i in (3, 9, 17, 30, 41)]
    return collate(records, VOCABULARY)


@pytest.mark.parametrize(("share_of_whole", "sizes"), [(0.0, [5]), (1.0, [5]), (0.5, [2, 2, 1]), (0.01, [1] * 5)])
def test_parts_hold_every_molecule_once_and_stay_within_the_budget(
    share_of_whole: float, sizes: list[int], batch: ComplexBatch
) -> None:
    inputs = LossInputs(batch, *step_seeds(0, 0, 5, (0, 1), torch.device("cpu")), torch.full((5,), 0.2))
    budget = round(share_of_whole * batch.ligand.mask.numel() * batch.ligand.mask.shape[1])
    pieces = micro_batches(inputs, budget)
    assert [len(p.batch.ids) for p in pieces] == sizes
    assert sum((p.batch.ids for p in pieces), ()) == batch.ids
    assert torch.equal(torch.cat([p.seeds for p in pieces]), inputs.seeds)
    for piece, _, _, weight in pieces:
        assert len(weight) == len(piece.ids)
        if len(pieces) > 1:
            assert piece.ligand.mask.shape[1] == piece.ligand.mask.sum(-1).max()
            assert piece.pocket is not None
            assert piece.pocket.mask.shape[1] == piece.pocket.mask.sum(-1).max()
            assert piece.ligand.bonds.shape == (len(weight), *piece.ligand.mask.shape[1:] * 2)


def test_losses_and_gradients_of_the_parts_add_up(batch: ComplexBatch) -> None:
    torch.manual_seed(0)
    config = preset("tiny")
    module = DiffusionTraining(DiffusionModel(config), build_vaes(config, VOCABULARY), {})
    inputs = LossInputs(batch, *step_seeds(0, 7, 5, (0, 1), torch.device("cpu")), torch.full((5,), 0.2))

    def gradients(budget: int) -> tuple[float, dict[str, Tensor], dict[str, float]]:
        module.zero_grad(set_to_none=True)
        reports = []
        for piece in micro_batches(inputs, budget):
            report = module(*piece)
            report.objective.backward()
            reports.append(report)
        total = added(reports)
        found = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
        return float(total.total.detach()), found, {n: float(v.detach()) for n, v in total.terms.items()}

    whole, split = gradients(0), gradients(2000)
    assert split[0] == pytest.approx(whole[0], rel=1e-5)
    assert split[2] == pytest.approx(whole[2], rel=1e-4, abs=1e-6)
    assert split[1].keys() == whole[1].keys()
    for name, gradient in whole[1].items():
        torch.testing.assert_close(split[1][name], gradient, rtol=1e-3, atol=1e-6)
