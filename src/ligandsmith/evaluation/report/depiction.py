"""Small pictures: a molecule in 2D and a histogram, as SVG text. Never imports torch."""

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

WIDTH, HEIGHT = 200, 140  # px of a depiction
PATH = re.compile(r"<path [^>]*?d='([^']*)' style='([^']*)'")
TEXT = re.compile(r"<text x='([\d.-]+)' y='([\d.-]+)'[^>]*?style='([^']*)' *>([^<]*)</text>")
PLOT_WIDTH, PLOT_HEIGHT, MARGIN, BASELINE = 300, 130, 8, 108
MOST_BINS = 24
TAIL = 1.0  # %; values beyond these percentiles share the outermost bins where they would stretch the axis
STRETCH = 2.5  # times the width of the rest


def depict(smiles: str) -> str:
    """The molecule as SVG, a tenth of the size of RDKit's: paths of one colour share one element. '' where impossible.

    Drawn from SMILES, so that no property of a stranger's file is drawn.
    """
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return ""
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.padding = 0.04
    options.bondLineWidth = 1.3
    options.maxFontSize = 13
    options.fixedBondLength = 24
    try:
        rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
    except (ValueError, RuntimeError):
        return ""
    drawer.FinishDrawing()
    return _compact(drawer.GetDrawingText())


def _compact(svg: str) -> str:
    groups: dict[str, list[str]] = {}
    for shape, style in PATH.findall(svg):
        look = _style(style)
        attributes = f"fill='{look.get('fill', 'none')}' stroke='{look.get('stroke', 'none')}'"
        if "stroke-dasharray" in look:
            attributes += f" stroke-dasharray='{look['stroke-dasharray']}'"
        if look.get("fill", "none") != "none":
            attributes += " stroke-width='.3'"
        groups.setdefault(attributes, []).append(re.sub(r"\s*([MLZCQ,])\s*", r"\1", shape))
    parts = [f"<path {attributes} d='{''.join(shapes)}'/>" for attributes, shapes in groups.items()]
    for x, y, style, letter in TEXT.findall(svg):
        look = _style(style)
        size = look.get("font-size", "10px").removesuffix("px")
        parts.append(f"<text x='{x}' y='{y}' fill='{look.get('fill', '#000')}' font-size='{size}'>{letter}</text>")
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' font-family='sans-serif'"
    return f"{head} stroke-width='1.3' stroke-linejoin='round'>{''.join(parts)}</svg>"


def _style(text: str) -> dict[str, str]:
    pairs = (item.partition(":") for item in text.split(";") if item)
    return {name.strip(): value.strip() for name, _, value in pairs}


def histogram(values: Sequence[float], reference: float | None, name: str) -> str:
    """Histogram with the median and the reference as lines; `name` is read out by screen readers."""
    edges, counts = _bins(np.asarray(values, dtype=np.float64), reference)
    low, high = float(edges[0]), float(edges[-1])

    def place(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(MARGIN + share * (PLOT_WIDTH - 2 * MARGIN), 1)

    top = int(counts.max())
    parts = []
    for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
        if count:
            height = round(count / top * (BASELINE - 12), 1)
            parts.append(
                f'<rect class="bar" x="{place(left) + 0.5:.1f}" y="{BASELINE - height:.1f}" '
                f'width="{max(place(right) - place(left) - 1, 1):.1f}" height="{height}"/>'
            )
    parts.append(f'<line class="axis" x1="{MARGIN}" x2="{PLOT_WIDTH - MARGIN}" y1="{BASELINE}" y2="{BASELINE}"/>')
    for tick in ticks(low, high):
        x = place(tick)
        anchor = "start" if x < 20 else "end" if x > PLOT_WIDTH - 20 else "middle"
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{BASELINE}" y2="{BASELINE + 4}"/>')
        parts.append(f'<text x="{x}" y="{BASELINE + 17}" text-anchor="{anchor}">{tick:g}</text>'.replace(">-", ">−"))
    marks = [("median", float(np.median(values)))] + ([] if reference is None else [("reference", reference)])
    for kind, value in marks:
        parts.append(f'<line class="{kind}" x1="{place(value)}" x2="{place(value)}" y1="4" y2="{BASELINE}"/>')
    label = f'role="img" aria-label="{escape(name)}"'
    return f'<svg class="plot" viewBox="0 0 {PLOT_WIDTH} {PLOT_HEIGHT}" {label}>{"".join(parts)}</svg>'


def outside(values: Sequence[float], reference: float | None) -> int:
    """How many values the histogram counts in its outermost bins although they lie beyond its axis."""
    edges, _ = _bins(np.asarray(values, dtype=np.float64), reference)
    return int(sum(v < edges[0] or v > edges[-1] for v in values))


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
        step = _nice((high - low) / min(MOST_BINS, max(8, math.ceil(len(values) ** 0.5 * 1.5))))
        edges = step * np.arange(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), bins=edges)
    return edges, counts


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)


def ticks(low: float, high: float) -> list[float]:
    """Round values between two bounds, about five."""
    step = _nice((high - low) / 5) if high > low else 1.0
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]
