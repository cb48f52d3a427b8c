"""A molecule in 2D, as SVG text. Never imports torch."""

import re
from collections.abc import Collection
from html import unescape
from typing import Any

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from ligandsmith.evaluation.report.rendering import render

WIDTH, HEIGHT = 200, 140  # px
MARKED = (1.0, 0.78, 0.42)  # colour behind marked atoms
PATH = re.compile(r"<path [^>]*?d='([^']*)' style='([^']*)'")
ELLIPSE = re.compile(r"<ellipse cx='([\d.-]+)' cy='([\d.-]+)' rx='([\d.]+)' ry='([\d.]+)'[^>]*?style='([^']*)'")
TEXT = re.compile(r"<text x='([\d.-]+)' y='([\d.-]+)'[^>]*?style='([^']*)' *>([^<]*)</text>")


def depict(smiles: str) -> str:
    """The molecule as SVG, a tenth of the size of RDKit's: paths of one colour share one element. '' where impossible.

    Drawn from SMILES, so that no property of a stranger's file is drawn.
    """
    mol = Chem.MolFromSmiles(smiles)
    return "" if mol is None else draw(mol)


def draw(mol: Chem.Mol, marked: Collection[int] = ()) -> str:
    """The molecule as `depict` draws it, in its 2D coordinates if it has some, with a colour behind the marked atoms
    and the bonds between them."""
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT, -1, -1, True)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.padding = 0.04
    options.bondLineWidth = 1.3
    options.maxFontSize = 13
    options.fixedBondLength = 24
    options.setHighlightColour(MARKED)
    bonds = [b.GetIdx() for b in mol.GetBonds() if b.GetBeginAtomIdx() in marked and b.GetEndAtomIdx() in marked]
    try:
        rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol, highlightAtoms=list(marked), highlightBonds=bonds)
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
    marks = [(*place, _style(css).get("fill", "none")) for *place, css in ELLIPSE.findall(svg)]
    return render("depiction.svg", width=WIDTH, height=HEIGHT, marks=marks, paths=paths, texts=texts)


def _style(css: str) -> dict[str, str]:
    pairs = (item.partition(":") for item in css.split(";") if item)
    return {name.strip(): value.strip() for name, _, value in pairs}
