"""Histograms, curves and scatter plots as SVG. Never imports torch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ligandsmith.evaluation.report.rendering import render

WIDTH, HISTOGRAM_HEIGHT, MARGIN, BASELINE = 300, 130, 8, 108
MOST_BINS = 24
TAIL = 1.0  # %; values beyond these percentiles share the outermost bins where they would stretch the axis
STRETCH = 2.5  # times the width of the rest
CURVES_HEIGHT, LEFT, RIGHT, BOTTOM, TOP = 150, 54, 290, 126, 8
MOST_POINTS = 400  # of a curve; longer ones are thinned
HISTOGRAM_LAYOUT = {"width": WIDTH, "height": HISTOGRAM_HEIGHT, "margin": MARGIN, "baseline": BASELINE}
CURVES_LAYOUT = {"width": WIDTH, "height": CURVES_HEIGHT, "left": LEFT, "right": RIGHT, "bottom": BOTTOM, "top": TOP}
SCATTER_LAYOUT = {"width": 480, "height": 310, "left": 58, "right": 468, "bottom": 262, "top": 12}
SCATTER_TAIL = 2.0  # %; values beyond these percentiles lie at the edge, but for those that count
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Figure:
    """A plot under its title. `keys`: the CSS class of a line of the plot, or '', and what to say of it."""

    title: str
    aside: str = ""
    svg: str = ""
    keys: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Axis:
    """An axis of a scatter plot; values beyond `low` and `high` are drawn at its ends."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Dot:
    """A point of a scatter plot: `kind` is its CSS class, `text` what is said of it."""

    kind: str
    text: str
    values: Sequence[float]  # on each axis


def histogram(values: Sequence[float], reference: float | None, name: str) -> Markup:
    """Histogram with the median and the reference as lines; `name` is read out by screen readers."""
    edges, counts = _bins(np.asarray(values, dtype=np.float64), reference)
    low, high = float(edges[0]), float(edges[-1])

    place = _scale(low, high, MARGIN, WIDTH - MARGIN)
    bars = []
    for left, right, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True):
        height = round(count / counts.max() * (BASELINE - 12), 1)
        width = max(place(right) - place(left) - 1, 1.0)
        if count:
            bars.append((round(place(left) + 0.5, 1), round(BASELINE - height, 1), round(width, 1), height))
    positions = [(place(tick), _text(tick)) for tick in ticks(low, high)]
    marks = {"median": place(float(np.median(values)))} | ({} if reference is None else {"reference": place(reference)})
    return render("histogram.svg", name=name, layout=HISTOGRAM_LAYOUT, bars=bars, ticks=positions, marks=marks)


def outside(values: Sequence[float], reference: float | None) -> int:
    """How many values the histogram counts in its outermost bins although they lie beyond its axis."""
    array = np.asarray(values, dtype=np.float64)
    edges, _ = _bins(array, reference)
    return int(((array < edges[0]) | (array > edges[-1])).sum())


def _bins(values: np.ndarray, reference: float | None) -> tuple[np.ndarray, np.ndarray]:
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = (float(v) for v in np.percentile(values, [TAIL, 100 - TAIL]))
    if high - low > STRETCH * (inner_high - inner_low) > 0:
        low, high = inner_low, inner_high
    whole = bool((values == values.round()).all())
    if reference is not None and abs(reference - (low + high) / 2) < 2 * max(high - low, 1e-9):
        low, high = min(low, reference), max(high, reference)
    if whole:
        width = max(1, math.ceil((high - low + 1) / MOST_BINS))
        edges = np.arange(math.floor(low) - 0.5, math.ceil(high) + 0.5 + width, width)
    else:
        if high <= low:
            low, high = low - max(abs(low), 1) * 0.05, high + max(abs(high), 1) * 0.05
        step = _round_step((high - low) / min(MOST_BINS, max(8, math.ceil(len(values) ** 0.5 * 1.5))))
        edges = step * np.arange(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), bins=edges)
    return edges, counts


def curves(series: Mapping[str, Points], logarithmic: bool, name: str) -> Markup:
    """Lines, by their CSS class; on a logarithmic scale all values are positive."""
    scaled = {kind: [(x, math.log10(y) if logarithmic else y) for x, y in points] for kind, points in series.items()}
    points = np.array([point for line in scaled.values() for point in line])
    (x_low, y_low), (x_high, y_high) = points.min(0).tolist(), points.max(0).tolist()
    across, up = _scale(x_low, x_high, LEFT, RIGHT), _scale(y_low, y_high, BOTTOM, TOP)
    if logarithmic:
        y_ticks = [(up(tick), _text(10**tick, ".1g")) for tick in _decades(y_low, y_high)]
    else:
        y_ticks = [(up(tick), _text(tick)) for tick in ticks(y_low, y_high)]
    x_ticks = [(across(tick), f"{tick:g}") for tick in ticks(x_low, x_high) if tick.is_integer()]
    lines = {}
    for kind, line in scaled.items():
        step = math.ceil(len(line) / MOST_POINTS)
        lines[kind] = [(across(x), up(y)) for x, y in [*line[::step], line[-1]]]
    return render("curves.svg", name=name, layout=CURVES_LAYOUT, x_ticks=x_ticks, y_ticks=y_ticks, lines=lines)


def axis(title: str, values: Sequence[float], inside: Sequence[float]) -> Axis:
    """An axis for values, of which those of `inside` are certainly within its ends."""
    low, high = (float(v) for v in np.percentile(values, [SCATTER_TAIL, 100 - SCATTER_TAIL]))
    low, high = min(low, *inside, high), max(high, *inside, low)
    margin = 0.04 * (high - low) or 0.05 * max(abs(high), 1.0)
    low, high = low - margin, high + margin
    return Axis(title, low, high, [(tick, _text(tick)) for tick in ticks(low, high)])


def scatter(
    x: Axis, y: Axis, dots: Sequence[Dot], lines: Sequence[tuple[int, int]] = (), name: str = "scatter"
) -> Markup:
    """The dots by the first two of their values, and lines between pairs of them; `name` is the id of the plot."""
    layout = SCATTER_LAYOUT
    across = _scale(x.low, x.high, layout["left"], layout["right"])
    up = _scale(y.low, y.high, layout["bottom"], layout["top"])
    places = [(across(dot.values[0]), up(dot.values[1])) for dot in dots]
    return render(
        "scatter.svg",
        id=name,
        name=f"{y.title} against {x.title}: {len(dots)} ligands",
        layout=layout,
        x=x,
        y=y,
        x_ticks=[(across(tick), text) for tick, text in x.ticks],
        y_ticks=[(up(tick), text) for tick, text in y.ticks],
        lines=[(*places[first], *places[second]) for first, second in lines],
        dots=[(*place, dot) for place, dot in zip(places, dots, strict=True)],
    )


def _scale(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """From values between `low` and `high` to places between `first` and `last`; those beyond go to the ends."""
    span = (low, high if high > low else low + 1)
    return lambda value: round(float(np.interp(value, span, (first, last))), 1)


def _text(value: float, form: str = "g") -> str:
    return f"{value:{form}}".replace("-", "−")


def _decades(low: float, high: float) -> list[float]:
    """Logarithms of 1, 2 and 5 times powers of ten between two logarithms; of fewer powers where that is crowded."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors, step in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 5)):
        found = [k + math.log10(f) for k in powers if k % step == 0 for f in factors]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= 6:
            break
    return found


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)


def ticks(low: float, high: float) -> list[float]:
    """Round values between two bounds, about five."""
    step = _round_step((high - low) / 5) if high > low else 1.0
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]
