"""Network calls recorded as CUDA graphs."""

import pytest
import torch
from torch import Tensor

from ligandsmith.diffusion.process import Given, NoisyLigand, coefficients
from ligandsmith.diffusion.schedule import Linear
from ligandsmith.models.cudagraph import RecordedNetwork, mapped, tensors


def noisy(device: str = "cpu", value: float = 0.0) -> NoisyLigand:
    t = torch.full((2,), 0.5, device=device)
    c = coefficients(Linear(), t, "f")
    z = torch.full((2, 3, 7), value, device=device)
    mask = torch.ones(2, 3, dtype=torch.bool, device=device)
    return NoisyLigand(z, mask, t, t, c, c, torch.ones((), device=device), z + 1, Given(fixed=mask))


def test_all_tensors_are_found_and_rebuilt_in_order() -> None:
    whole = noisy()
    found = tensors(whole)
    assert len(found) == 2 + 2 + 2 * len(whole.c_x) + 3
    assert found[0] is whole.z
    assert found[-1] is whole.given.fixed
    copy = mapped(whole, torch.clone)
    assert isinstance(copy.given, Given)
    assert copy.given.properties is None
    assert all(torch.equal(a, b) and a is not b for a, b in zip(found, tensors(copy), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_recorded_network_answers_as_the_network() -> None:
    def network(noisy: NoisyLigand, null: Tensor, third_atoms: bool) -> Tensor:
        assert noisy.previous is not None
        return noisy.z * (2 if third_atoms else 3) + noisy.previous + null.view(-1, 1, 1)

    recorded, null = RecordedNetwork(network), torch.tensor([False, True], device="cuda")
    for value in (1.0, 2.0, 3.0, 4.0):
        for third_atoms in (True, False):
            inputs = noisy("cuda", value)
            expected = network(inputs, null, third_atoms)
            assert torch.equal(recorded(inputs, null=null, third_atoms=third_atoms), expected)
