"""Published data sets by name: how the files lie after unpacking, one function for each layout.

A layout is a function from a source to its complexes, as `Pair`s, and to those that lack a file, as rejections. It
reads indices and names, not structures; these are read afterwards, record by record. It raises LigandsmithError for a
source that is something else.
"""

from collections.abc import Callable
from pathlib import Path

from ligandsmith.data.layouts.bindingmoad import bindingmoad_pairs
from ligandsmith.data.layouts.crossdocked_types import crossdocked_pairs
from ligandsmith.data.layouts.pdbbind import pdbbind_pairs
from ligandsmith.data.layouts.plinder import plinder_pairs
from ligandsmith.data.sources import Pair, find_pairs, first_of_each_id
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import is_uri
from ligandsmith.records import Rejection

LayoutReader = Callable[[Path], tuple[list[Pair], list[Rejection]]]
FOLDERS = "folders"
LAYOUTS: dict[str, LayoutReader] = {
    FOLDERS: find_pairs,
    "pdbbind": pdbbind_pairs,
    "plinder": plinder_pairs,
    "bindingmoad": bindingmoad_pairs,
    "crossdocked": crossdocked_pairs,
}


def pairs_of(source: Path | str, layout: str) -> tuple[list[Pair], list[Rejection]]:
    """The complexes of a source, each id once, and those that lack a file or repeat an id. Raises LigandsmithError."""
    if layout not in LAYOUTS:
        raise LigandsmithError(f"no layout '{layout}'; choose one of {', '.join(LAYOUTS)}")
    if is_uri(source):
        if layout != FOLDERS:
            raise LigandsmithError(
                f"{source}: --layout {layout} reads a folder of this machine; copy the data set to one"
            )
        return find_pairs(source)
    if not Path(source).exists():
        raise LigandsmithError(f"{source}: no such folder or CSV file")
    return first_of_each_id(*LAYOUTS[layout](Path(source)))
