"""Means with bootstrap intervals over pockets, then molecules."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Value = float | None
BOOTSTRAP_SAMPLES = 1000
BOOTSTRAP_BLOCK = 1_000_000  # draws held in memory at once
CONFIDENCE = 95.0  # %


@dataclass(frozen=True)
class Estimate:
    """Mean and median over n values, and the bootstrap interval of the mean; all None without values."""

    mean: Value
    median: Value
    low: Value
    high: Value
    n: int


def estimate(values: Sequence[Value], groups: Sequence[object] | None = None, seed: int = 0) -> Estimate:
    """Mean, median and 95 % percentile-bootstrap interval of the mean over the entries that have a value.

    `groups` names the pocket of each value: pockets are drawn with replacement, then molecules within each, so that
    molecules of one pocket do not count as independent. One value has no interval.
    """
    pocket = [0] * len(values) if groups is None else groups
    by_group: dict[object, list[float]] = {}
    for value, group in zip(values, pocket, strict=True):
        if value is not None:
            by_group.setdefault(group, []).append(value)
    known = [v for members in by_group.values() for v in members]
    if not known:
        return Estimate(None, None, None, None, 0)
    mean, median = statistics.fmean(known), statistics.median(known)
    if len(known) == 1:
        return Estimate(mean, median, None, None, 1)
    rng = np.random.default_rng(seed)
    means = _bootstrap([np.array(members) for members in by_group.values()], rng)
    low, high = np.percentile(means, [50 - CONFIDENCE / 2, 50 + CONFIDENCE / 2])
    return Estimate(mean, median, float(low), float(high), len(known))


def _bootstrap(groups: list[NDArray[np.float64]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bootstrap means [BOOTSTRAP_SAMPLES]."""
    sums = np.stack([_resampled_sums(members, rng) for members in groups])
    sizes = np.array([len(members) for members in groups])
    chosen = rng.integers(len(groups), size=(BOOTSTRAP_SAMPLES, len(groups)))
    if len(groups) == 1:
        return sums[0] / sizes[0]
    which = rng.integers(BOOTSTRAP_SAMPLES, size=chosen.shape)  # another resample where a pocket is drawn twice
    return np.asarray(sums[chosen, which].sum(1) / sizes[chosen].sum(1))


def _resampled_sums(members: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Sums of BOOTSTRAP_SAMPLES resamples with replacement."""
    rows = max(1, BOOTSTRAP_BLOCK // len(members))
    blocks = [min(rows, BOOTSTRAP_SAMPLES - start) for start in range(0, BOOTSTRAP_SAMPLES, rows)]
    drawn = [members[rng.integers(len(members), size=(block, len(members)))].sum(1) for block in blocks]
    return np.concatenate(drawn)
