"""The forecast of a training run agrees with what a step of the size asked for keeps."""

from dataclasses import replace

import pytest
import torch

from ligandsmith.config import load_config, preset
from ligandsmith.options import DataOptions
from ligandsmith.training.forecast import Forecast, forecasts
from tiny_runs import Tiny

STAGES = ["ligand VAE", "protein VAE", "denoiser", "joint"]


@pytest.fixture(scope="module")
def forecast(tiny: Tiny) -> dict[tuple[int, bool], dict[str, Forecast]]:
    config = load_config(preset("tiny"), tiny.config)
    config = replace(config, denoiser=replace(config.denoiser, self_layers=3))
    found = {}
    for size, checkpointing in ((6, False), (18, False), (18, True)):
        data = DataOptions(batch_size=size, num_workers=0, limit=60)
        rows = forecasts(config, data, torch.device("cpu"), checkpointing)
        found[size, checkpointing] = {row.stage: row for row in rows}
    return found


def test_every_stage_has_its_row(forecast: dict[tuple[int, bool], dict[str, Forecast]]) -> None:
    rows = forecast[6, False]
    assert list(rows) == STAGES
    assert rows["joint"].parameters == sum(rows[name].parameters for name in STAGES[:3])
    for row in rows.values():
        assert row.state_bytes == 20 * row.parameters
        assert row.seconds_per_step > 0
        assert "GiB" in row.line()


@pytest.mark.parametrize("stage", STAGES)
def test_memory_grows_with_the_batch_and_not_the_state(
    stage: str, forecast: dict[tuple[int, bool], dict[str, Forecast]]
) -> None:
    small, large = forecast[6, False][stage], forecast[18, False][stage]
    assert large.state_bytes == small.state_bytes
    assert 1.5 < large.activation_bytes / small.activation_bytes < 3.2  # three times as many, and what is shared


def test_checkpointing_keeps_less(forecast: dict[tuple[int, bool], dict[str, Forecast]]) -> None:
    with_it, without = forecast[18, True], forecast[18, False]
    assert with_it["denoiser"].activation_bytes < 0.7 * without["denoiser"].activation_bytes
    assert with_it["joint"].activation_bytes == without["joint"].activation_bytes
