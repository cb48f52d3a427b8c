"""Network calls captured as CUDA graphs."""

import pytest
import torch
from torch import Tensor

from ligandsmith.diffusion.process import Conditioning, NoisyLigand, coefficients, linear
from ligandsmith.models.cudagraph import CapturedNetwork, mapped, tensors


def noisy(device: str = "cpu", value: float = 0.0) -> NoisyLigand:
    t = torch.full((2,), 0.5, device=device)
    c = coefficients(linear(), t, "f")
    z = torch.full((2, 3, 7), value, device=device)
    mask = torch.ones(2, 3, dtype=torch.bool, device=device)
    return NoisyLigand(z, mask, t, t, c, c, torch.ones((), device=device), z + 1, Conditioning(fixed=mask))


def test_all_tensors_are_found_and_rebuilt_in_order() -> None:
    whole = noisy()
    found = tensors(whole)
    assert len(found) == 2 + 2 + 2 * len(whole.c_x) + 3
    assert found[0] is whole.z
    assert found[-1] is whole.conditioning.fixed
    copy = mapped(whole, torch.clone)
    assert isinstance(copy.conditioning, Conditioning)
    assert copy.conditioning.properties is None
    assert all(torch.equal(a, b) and a is not b for a, b in zip(found, tensors(copy), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_captured_network_answers_as_the_network() -> None:
    def network(noisy: NoisyLigand, null: Tensor, triangles: bool) -> Tensor:
        assert noisy.previous is not None
        return noisy.z * (2 if triangles else 3) + noisy.previous + null.view(-1, 1, 1)

    captured, null = CapturedNetwork(network), torch.tensor([False, True], device="cuda")
    for value in (1.0, 2.0, 3.0, 4.0):
        for triangles in (True, False):
            inputs = noisy("cuda", value)
            expected = network(inputs, null, triangles)
            assert torch.equal(captured(inputs, null=null, triangles=triangles), expected)
