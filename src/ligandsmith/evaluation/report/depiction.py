"""A molecule in 2D, as SVG text. Never imports torch."""

import re
from html import unescape
from typing import Any

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from ligandsmith.evaluation.report.rendering import render

WIDTH, HEIGHT = 200, 140  # px
PATH = re.compile(r"<path [^>]*?d='([^']*)' style='([^']*)'")
TEXT = re.compile(r"<text x='([\d.-]+)' y='([\d.-]+)'[^>]*?style='([^']*)' *>([^<]*)</text>")


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
    paths: dict[tuple[str, str, str], list[str]] = {}
    for shape, css in PATH.findall(svg):
        style = _style(css)
        look = style.get("fill", "none"), style.get("stroke", "none"), style.get("stroke-dasharray", "")
        paths.setdefault(look, []).append(re.sub(r"\s*([MLZCQ,])\s*", r"\1", shape))
    texts = [(x, y, _style(css), unescape(letter)) for x, y, css, letter in TEXT.findall(svg)]
    return render("depiction.svg", width=WIDTH, height=HEIGHT, paths=paths, texts=texts)


def _style(css: str) -> dict[str, str]:
    pairs = (item.partition(":") for item in css.split(";") if item)
    return {name.strip(): value.strip() for name, _, value in pairs}
