"""Pictures of the molecules of a report that need neither script nor 3D view. Never imports torch."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from ligandsmith.evaluation.molecule_table import MoleculeRow
from ligandsmith.evaluation.report.depiction import depict
from ligandsmith.evaluation.report.rendering import label, number
from ligandsmith.evaluation.report.results import Results

MOST_PRINTED = 40  # molecules with a picture on paper
PRINTED_BYTES = 2_000_000  # of molecules whose coordinates are not in the page
VALUES = ("vina_dock", "vina_min", "vina_score", "qed", "sa")
MOST_PRINTED_VALUES = 3
PASSED = {True: "✓ PoseBusters", False: "✗ PoseBusters"}


class PrintedMolecule(NamedTuple):
    """A molecule on paper."""

    title: str
    picture: str
    text: str


def gallery(results: Results) -> list[PrintedMolecule]:
    """The best molecules, best first."""
    known = [name for name in VALUES if any(row.values.get(name) is not None for row in results.molecules)]
    return [_printed(row, known[:MOST_PRINTED_VALUES]) for row in results.molecules[:MOST_PRINTED]]


def _printed(row: MoleculeRow, names: Sequence[str]) -> PrintedMolecule:
    values = [f"{label(name)} {number(row.values[name])}" for name in names if row.values.get(name) is not None]
    passed = row.values.get("pb_valid")
    checked = [] if passed is None else [PASSED[passed == 1]]
    text = " · ".join([row.pocket, *checked, *values])
    return PrintedMolecule(row.title or f"molecule {row.index}", Markup(depict(row.smiles)), text)


def other_pictures(rows: Sequence[MoleculeRow], drawn: Sequence[int]) -> dict[int, str]:
    """Depictions of the rows beside those that are drawn, by place, within the budget of a page."""
    pictures: dict[int, str] = {}
    total = 0
    for k in sorted(set(range(len(rows))) - set(drawn)):
        picture = depict(rows[k].smiles)
        total += len(picture)
        if total > PRINTED_BYTES:
            break
        pictures[k] = picture
    return pictures
