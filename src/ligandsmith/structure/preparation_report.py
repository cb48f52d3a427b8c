"""What the preparation of a protein changed, kept and could not do: for the user's screen, and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from ligandsmith.structure.completeness import chain_gaps, missing_atoms
from ligandsmith.structure.hydrogens import FilledAtom, TitratableGroup
from ligandsmith.structure.protein import Protein, listed
from ligandsmith.structure.vocabulary import Kind

ITEMS_SHOWN = 8  # items of a kind on the screen; all are in the JSON
UNCERTAIN = 1.0  # from the pH; a group whose pKa is that near has both states
TURNED, FLIPPED_RESIDUES = 0.05, ("ASN", "GLN", "HIS")  # Å
HYDROGEN_CLASH = 1.5  # Å, from a hydrogen to a heavy atom of another molecule
DISULFIDE_BOND = 2.5  # Å
STATE_OF_HYDROGENS = {  # names of a residue with and without its titratable hydrogens
    "ASP": (("HD1", "HD2"), "ASH", ""),
    "GLU": (("HE1", "HE2"), "GLH", ""),
    "CYS": (("HG",), "", "CYM"),
    "TYR": (("HH",), "", "TYM"),
}


class PreparedResidues(NamedTuple):
    """Residues by index: those written, copies of the ligand, atoms after protonation, and groups with a pKa."""

    kept: Sequence[int]
    reference: Sequence[int]
    filled: Mapping[int, Sequence[FilledAtom]]
    groups: Sequence[TitratableGroup]


@dataclass(frozen=True)
class PreparationReport:
    """Every kind of change with the residues concerned; a kind that is empty did not occur."""

    protein: str
    ph: float
    heavy_atoms: int
    hydrogens: int  # that were added
    changes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pka: tuple[dict[str, Any], ...] = ()  # residue, group, pka

    def lines(self) -> list[str]:
        """The report as text, one kind a line."""
        text = [f"{self.protein}: {self.heavy_atoms:,} heavy atoms, {self.hydrogens:,} hydrogens at pH {self.ph:g}"]
        for kind, items in self.changes.items():
            text.append(f"{kind}: {len(items)} ({listed(items, ITEMS_SHOWN)})")
        return text

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the number of each kind."""
        return {**asdict(self), "counts": {kind: len(items) for kind, items in self.changes.items()}}


def report_of(protein: Protein, answer: PreparedResidues, ph: float, source: str) -> PreparationReport:
    """The report on a protein that was read from `source`, and on what became of it."""
    kinds: dict[str, list[str]] = {
        **_choices(protein, answer),
        **_reading(protein, answer),
        **_completion(protein, answer),
        **_protonation(protein, answer, ph),
    }
    atoms = [atom for index in answer.kept for atom in answer.filled[index]]
    pka = ({"residue": protein.residues[g.residue].full_label, "group": g.group, "pka": g.pka} for g in answer.groups)
    return PreparationReport(
        protein=source,
        ph=ph,
        heavy_atoms=sum(atom.element > 1 and atom.name != "OXT" for atom in atoms)
        + int((protein.atom_label[np.isin(protein.residue_of, answer.kept)] == "OXT").sum()),
        hydrogens=sum(atom.element == 1 for atom in atoms),
        changes={kind: tuple(items) for kind, items in kinds.items() if items},
        pka=tuple(pka),
    )


def _choices(protein: Protein, answer: PreparedResidues) -> dict[str, list[str]]:
    kept = set(answer.kept)
    chains: dict[str, bool] = {}
    for index, residue in enumerate(protein.residues):
        if residue.kind is Kind.POLYMER:
            chains[residue.chain or "(blank)"] = chains.get(residue.chain or "(blank)", False) or index in kept
    found: dict[str, list[str]] = {
        "chains left out": [name for name, stays in chains.items() if not stays],
        "molecules kept": [],
        "ligand of the site, left out": [protein.residues[i].het_label for i in answer.reference if i not in kept],
        "molecules left out": [],
        "waters kept": [],
        "waters left out": [],
    }
    for index in protein.hets:
        what = "waters" if protein.residues[index].kind is Kind.WATER else "molecules"
        if index in kept or index not in answer.reference:
            found[f"{what} {'kept' if index in kept else 'left out'}"].append(protein.residues[index].het_label)
    return found


def _reading(protein: Protein, answer: PreparedResidues) -> dict[str, list[str]]:
    return {
        "names replaced": [f"{names} {count}" for names, count in protein.renamed.items()],
        "not used of the file": [f"{count} {what}" for what, count in protein.dropped.items()],
        "alternate locations, one kept": [
            protein.residues[i].full_label for i in answer.kept if i in protein.alternate
        ],
    }


def _completion(protein: Protein, answer: PreparedResidues) -> dict[str, list[str]]:
    completed, incomplete = [], []
    for index, lacks in missing_atoms(protein).items():
        if index in set(answer.kept):
            there = {atom.name for atom in answer.filled[index]}
            built, still = ([n for n in lacks if (n in there) is wanted] for wanted in (True, False))
            completed += [f"{protein.residues[index].full_label} ({' '.join(built)})"] if built else []
            incomplete += [f"{protein.residues[index].full_label} ({' '.join(still)})"] if still else []
    gaps = [pair for pair in chain_gaps(protein) if set(pair) <= set(answer.kept)]
    bare = [
        i for i in answer.kept
        if protein.residues[i].kind is Kind.POLYMER and not any(a.element == 1 for a in answer.filled[i])
    ]  # fmt: skip
    return {
        "side chains completed": completed,
        "incomplete, left as they are": incomplete,
        "gaps, left open": [f"{protein.residues[a].label} to {protein.residues[b].place}" for a, b in gaps],
        "residues without hydrogens": [protein.residues[i].full_label for i in bare],
    }


def _protonation(protein: Protein, answer: PreparedResidues, ph: float) -> dict[str, list[str]]:
    flipped: list[str] = []
    moved: list[str] = []
    states: list[str] = []
    histidines: list[str] = []
    own: dict[int, dict[str, Any]] = {}
    for row, index in enumerate(protein.residue_of.tolist()):
        own.setdefault(index, {})[str(protein.atom_label[row])] = protein.x[row]
    for index in answer.kept:
        name, label = protein.residues[index].name, protein.residues[index].full_label
        if protein.residues[index].kind is not Kind.POLYMER:
            continue
        shifts = [
            np.linalg.norm(np.subtract(a.x, own[index][a.name])) for a in answer.filled[index] if a.name in own[index]
        ]
        if max(shifts, default=0.0) > TURNED:
            (flipped if name in FLIPPED_RESIDUES else moved).append(label)
        state = _state(name, {atom.name for atom in answer.filled[index] if atom.element == 1})
        if state:
            (histidines if name == "HIS" else states).append(f"{label} {state}")
    near = [
        f"{protein.residues[g.residue].full_label} {g.group} {g.pka:.1f}"
        for g in answer.groups
        if abs(g.pka - ph) < UNCERTAIN and g.residue in set(answer.kept)
    ]
    bonds, free = _disulfides(protein, answer)
    return {
        "side chains flipped": flipped,
        "other heavy atoms moved": moved,
        "histidines": histidines,
        "disulfide bonds": bonds,
        "other than the usual state": [text for text in states if text.split()[0] not in free],
        f"pKa within {UNCERTAIN:g} of the pH": near,
        "hydrogens close to other molecules": list(_close_hydrogens(protein, answer)),
    }


def _state(name: str, hydrogens: set[str]) -> str:
    """The force field's name of an unusual state, and of every histidine's; empty for the usual one."""
    if not hydrogens:
        return ""
    if name == "HIS":
        return "HIP" if {"HD1", "HE2"} <= hydrogens else "HID" if "HD1" in hydrogens else "HIE"
    if name == "LYS":
        return "" if {"HZ1", "HZ2", "HZ3"} <= hydrogens else "LYN"
    if name not in STATE_OF_HYDROGENS:
        return ""
    names, present, absent = STATE_OF_HYDROGENS[name]
    return present if hydrogens & set(names) else absent


def _disulfides(protein: Protein, answer: PreparedResidues) -> tuple[list[str], set[str]]:
    """Disulfide bonds, and the residues in them."""
    kept = set(answer.kept)
    rows = [r for r in np.flatnonzero(protein.atom_label == "SG").tolist() if int(protein.residue_of[r]) in kept]
    if len(rows) < 2:
        return [], set()
    names = [protein.residues[int(protein.residue_of[row])].full_label for row in rows]
    pairs = sorted(cKDTree(protein.x[rows]).query_pairs(DISULFIDE_BOND))
    return [f"{names[i]}–{names[j]}" for i, j in pairs], {names[k] for pair in pairs for k in pair}


def _close_hydrogens(protein: Protein, answer: PreparedResidues) -> Iterator[str]:
    """Hydrogens of the protein that are too near to a molecule that is kept, or to the ligand."""
    others = {*answer.kept, *answer.reference} - {i for i in answer.kept if protein.residues[i].kind is Kind.POLYMER}
    rows = [
        r for r, i in enumerate(protein.residue_of.tolist()) if i in others and protein.residues[i].kind != Kind.WATER
    ]
    if not rows:
        return
    tree = cKDTree(protein.x[rows])
    for index in answer.kept:
        if protein.residues[index].kind is Kind.POLYMER:
            for atom in answer.filled[index]:
                distance, nearest = tree.query(atom.x)
                if atom.element == 1 and distance < HYDROGEN_CLASH:
                    other = protein.residues[protein.residue_of[rows[nearest]]].het_label
                    yield f"{protein.residues[index].full_label} {atom.name} {distance:.1f} Å from {other}"
