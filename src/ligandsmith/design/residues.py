"""Residues of a pocket by the names that users give."""

import re

import numpy as np

from ligandsmith.chem.residues import parent_name
from ligandsmith.chem.surroundings import protein_of
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Pocket

NEAR_LISTED = 8  # residues in a message


class NamedResidues:
    """The protein of a pocket, with the labels of its residues."""

    def __init__(self, pocket: Pocket) -> None:
        self.protein = protein_of(pocket)
        self.parts = [(chain, name, number) for chain, name, number in (label.split(":") for label in pocket.labels)]
        self.parents = [parent_name(name) for _, name, _ in self.parts]  # amino acids, or empty

    def find(self, wanted: str, flag: str) -> int:
        """Number of the residue `A:SER508` or `A:508`. Raises LigandsmithError that starts with `flag`."""
        for number, (chain, name, place) in enumerate(self.parts):
            if wanted in (f"{chain}:{name}{place}", f"{chain}:{place}"):
                return number
        if not self.parts:
            raise LigandsmithError(f"{flag}: the residues of this pocket have no names")
        raise LigandsmithError(
            f"{flag}: no residue {wanted} within reach of the site; there are {', '.join(self._close(wanted))}"
        )

    def label(self, number: int) -> str:
        """As in `A:SER508`."""
        return "{}:{}{}".format(*self.parts[number])

    def atoms(self, number: int) -> dict[str, int]:
        """Atoms of a residue by name."""
        return {self.protein.name[a]: a for a in np.flatnonzero(self.protein.residue_index == number).tolist()}

    def _close(self, wanted: str) -> list[str]:
        """Labels of the same chain and with close numbers first."""
        digits = re.search(r"-?\d+", wanted.rpartition(":")[2])

        def rank(number: int) -> tuple[bool, int]:
            chain, _, place = self.parts[number]
            gap = abs(int(re.sub(r"\D*$", "", place)) - int(digits[0])) if digits else 0
            return chain != wanted.partition(":")[0], gap

        return [self.label(number) for number in sorted(range(len(self.parts)), key=rank)[:NEAR_LISTED]]
