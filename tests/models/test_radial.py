"""Radial bases: gradients and tables."""

import pytest
import torch
from networks import Basis64

from ligandsmith.models.layers import RADIAL_SIZE, RadialBasis


def test_gradient_of_the_radial_basis() -> None:
    """The basis has a backward pass of its own: it must agree with automatic differentiation, far atoms included."""
    torch.manual_seed(0)
    distance = torch.tensor([1e-3, 0.9, 1.54, 3.3, 6.0, 25.0])
    weight = torch.randn(6, RADIAL_SIZE)
    gradients = []
    for basis in (RadialBasis(), Basis64()):
        d = distance.clone().requires_grad_()
        (basis.exact(d) * weight).sum().backward()
        gradients.append(d.grad)
    torch.testing.assert_close(RadialBasis().exact(distance), Basis64().exact(distance))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.6), (3.5, 3.7), (3.6, 12.0), (11.9, 40.0)])
def test_products_of_a_table_are_those_of_the_basis(low: float, high: float) -> None:
    torch.manual_seed(0)
    distance, weight = torch.linspace(low, high, 5001).view(3, 1667), torch.randn(8, RADIAL_SIZE)
    basis = RadialBasis()
    exact = basis(distance).linear(weight)
    basis.use_table = True
    found = basis(distance).linear(weight)
    assert found.shape == (3, 1667, 8)
    assert (found - exact).abs().max() < 2e-3
    assert exact.std() > 0.1
