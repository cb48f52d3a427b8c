"""Parameter groups, the learning rate, the average of the weights."""

import itertools

import pytest
import torch
from torch import nn

from ligandsmith.config import OptimizerConfig
from ligandsmith.training.optim import (
    average_state,
    learning_rate_factor,
    load_average_state,
    make_optimizer,
    moving_average,
    scaled_learning_rate,
)

CONFIG = OptimizerConfig()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_only_trainable_matrices_decay() -> None:
    net = Net()
    decayed, others = make_optimizer(net, CONFIG, 1e-3).param_groups
    assert [id(p) for p in decayed["params"]] == [id(net.linear.weight)]
    assert {id(p) for p in others["params"]} == {id(net.linear.bias), id(net.norm.weight), id(net.norm.bias)}
    assert (decayed["weight_decay"], others["weight_decay"]) == (CONFIG.weight_decay, 0.0)
    assert decayed["betas"] == (0.9, 0.99)


def test_the_rate_warms_up_then_follows_a_cosine() -> None:
    rates = [learning_rate_factor(step, 2000, CONFIG) for step in range(2001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[99] == 1.0
    assert all(a < b for a, b in itertools.pairwise(rates[:100]))
    assert all(a >= b for a, b in itertools.pairwise(rates[100:]))
    assert rates[1050] == pytest.approx((1 + CONFIG.final_lr_fraction) / 2, abs=1e-3)
    assert rates[-1] == pytest.approx(CONFIG.final_lr_fraction)
    assert learning_rate_factor(5000, 2000, CONFIG) == pytest.approx(CONFIG.final_lr_fraction)


@pytest.mark.parametrize("total", [1, 5, 50])
def test_short_runs_warm_up_for_a_tenth_at_most(total: int) -> None:
    rates = [learning_rate_factor(step, total, CONFIG) for step in range(total)]
    assert max(rates) == 1.0
    assert rates.index(1.0) <= max(total // 10, 1)


def test_the_rate_grows_with_the_root_of_the_processes() -> None:
    assert scaled_learning_rate(1e-3, 1) == 1e-3
    assert scaled_learning_rate(1e-3, 4) == pytest.approx(2e-3)


def test_the_average_starts_fast_and_ends_slow() -> None:
    net = Net()
    average = moving_average(net, 0.9)
    value = net.linear.weight[0, 0].item()
    for n in range(1, 200):
        with torch.no_grad():
            net.linear.weight.add_(0.01)
            net.norm.running_mean.add_(1.0)
        average.update_parameters(net)
        decay = min(0.9, (1 + n) / (10 + n))
        value = decay * value + (1 - decay) * net.linear.weight[0, 0].item()
    assert average.module.linear.weight[0, 0].item() == pytest.approx(value, rel=1e-4)
    assert torch.equal(average.module.norm.running_mean, net.norm.running_mean)
    assert average.module.linear.weight[0, 0].item() == pytest.approx(net.linear.weight[0, 0].item() - 0.09, rel=1e-2)


def test_the_average_resumes_where_it_was() -> None:
    torch.manual_seed(0)
    net = Net()
    first, second = moving_average(net, 0.99), moving_average(Net(), 0.99)
    first.update_parameters(net)
    load_average_state(second, average_state(first))
    with torch.no_grad():
        net.linear.weight.mul_(1.5)
    for average in (first, second):
        average.update_parameters(net)
    states = [average_state(average) for average in (first, second)]
    assert [state["updates"] for state in states] == [2, 2]
    assert all(torch.equal(v, states[1]["values"][k]) for k, v in states[0]["values"].items())
