"""Radial bases: gradients and tables."""

import pytest
import torch
from networks import Basis64

from ligandsmith.models.radial import RadialBasis


def test_gradient_of_the_radial_basis() -> None:
    """The basis has a backward pass of its own: it must agree with automatic differentiation, far atoms included."""
    torch.manual_seed(0)
    distance = torch.tensor([1e-3, 0.9, 1.54, 3.3, 6.0, 25.0])
    weight = torch.randn(6, RadialBasis.SIZE)
    gradients = []
    for basis in (RadialBasis(), Basis64()):
        d = distance.clone().requires_grad_()
        (basis(d) * weight).sum().backward()
        gradients.append(d.grad)
    torch.testing.assert_close(RadialBasis()(distance), Basis64()(distance))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(("low", "high"), [(0.0, 3.6), (3.5, 3.7), (3.6, 12.0), (11.9, 40.0)])
def test_products_of_a_table_are_those_of_the_basis(low: float, high: float) -> None:
    torch.manual_seed(0)
    distance, weight = torch.linspace(low, high, 5001).view(3, 1667), torch.randn(8, RadialBasis.SIZE)
    exact, found = RadialBasis()(distance) @ weight.t(), RadialBasis().tabulated(distance).product(weight)
    assert found.shape == (3, 1667, 8)
    assert (found - exact).abs().max() < 2e-3
    assert exact.std() > 0.1
