"""Low-rank adapters: nothing at first, exact when merged, and all that trains."""

import pytest
import torch
from benchmarks.own import synthetic_batch
from torch import Tensor, nn

from ligandsmith.checkpoints.adapter import Adapter
from ligandsmith.config import Config, DenoiserConfig
from ligandsmith.diffusion.rng import step_seeds
from ligandsmith.errors import LigandsmithError
from ligandsmith.finetuning.options import LORA_TARGETS
from ligandsmith.models.latent_diffusion import DiffusionModel, build_vaes
from ligandsmith.models.lora import SCALE, TARGETS, adapters, add_adapters, merged_state, target_layers
from ligandsmith.structure.vocabulary import VOCABULARY
from ligandsmith.training.losses import DiffusionTraining

SMALL = DenoiserConfig(
    width=32, edge_width=16, heads=2, channels=4, self_layers=2, cross_layers=1, anchors=4, triangles=8, bonds=True,
    fragments=True, properties=True,
)  # fmt: skip


def model() -> DiffusionModel:
    torch.manual_seed(0)
    made = DiffusionModel(Config(denoiser=SMALL))
    for parameter in made.parameters():  # what starts at zero would hide a difference
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return made


def loss(made: DiffusionModel) -> Tensor:
    torch.manual_seed(1)
    training = DiffusionTraining(made, build_vaes(made.config, VOCABULARY), {}).eval()
    batch = synthetic_batch(2, 12, 60)
    terms = training(batch, *step_seeds(0, 1, 2, (0, 1), torch.device("cpu")), torch.full((2,), 0.5)).terms
    return torch.stack([terms[name] for name in ("x", "h", "geometry", "bonds")])


def trained(made: DiffusionModel, rank: int = 4) -> DiffusionModel:
    """With adapters whose numbers are not what they start as."""
    add_adapters(made.denoiser, rank)
    for layer in adapters(made).values():
        nn.init.normal_(layer.b, std=0.05)
    return made


def pairs(adapted: DiffusionModel) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {name: (layer.a.detach(), layer.b.detach()) for name, layer in adapters(adapted).items()}


def test_a_new_adapter_changes_nothing() -> None:
    plain, adapted = model(), model()
    add_adapters(adapted.denoiser, 4)
    assert torch.equal(loss(plain), loss(adapted))


def test_merged_weights_are_the_network_with_the_adapter() -> None:
    adapted = trained(model())
    before = loss(adapted)
    assert (before - loss(model())).abs().min() > 1e-4  # of every term: atoms, features, distances, bonds
    merged = model()
    merged.load_state_dict(merged_state(merged.state_dict(), pairs(adapted), SCALE))
    assert not adapters(merged)
    assert (loss(merged) - before).abs().max() < 1e-6
    assert merged.state_dict().keys() == model().state_dict().keys()


def test_an_adapter_applied_to_a_state_dict_is_the_merged_one() -> None:
    adapted, plain = trained(model()), model()
    plain.load_state_dict(Adapter("", pairs(adapted), SCALE).applied(plain.state_dict()))
    assert (loss(plain) - loss(adapted)).abs().max() < 1e-6


def test_only_adapters_learn_and_all_of_them_do() -> None:
    adapted = model()
    count = add_adapters(adapted.denoiser, 2)
    loss(adapted).sum().backward()  # type: ignore[no-untyped-call]
    learning = {name for name, p in adapted.denoiser.named_parameters() if p.grad is not None and p.grad.any()}
    assert all(name.endswith("weight.0.b") for name in learning)  # those of A come with the first step
    assert len(learning) == len(adapters(adapted)) - 2  # no fragment and no property is given here
    assert count == sum(p.numel() for p in adapted.denoiser.parameters() if p.requires_grad)


def test_targets() -> None:
    denoiser = model().denoiser
    assert tuple(TARGETS) == LORA_TARGETS
    found = {name: set(target_layers(denoiser, name)) for name in TARGETS}
    assert found["attention"] < found["blocks"] | {"bond_pair"} < found["all"] | {"bond_pair"}
    assert "self_blocks.0.query" in found["attention"]
    assert "self_blocks.0.ffn_in" in found["blocks"] - found["attention"]
    assert "atom_embedding" in found["all"] - found["blocks"]
    with pytest.raises(LigandsmithError, match="choose one of all, blocks, attention"):
        target_layers(denoiser, "heads")


def test_a_rank_of_zero_is_refused() -> None:
    with pytest.raises(LigandsmithError, match="rank of 1 or more"):
        add_adapters(model().denoiser, 0)
