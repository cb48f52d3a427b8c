"""Selecting the pocket of a protein, and saying what was selected and what was left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from ligandsmith.config import SITE_RADIUS, Config, PocketConfig
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Pocket
from ligandsmith.structure.completeness import incompleteness
from ligandsmith.structure.ligands import heavy_positions, read_ligand
from ligandsmith.structure.protein import Kind, Protein, listed, read_protein
from ligandsmith.structure.vocabulary import CALPHA

RADIUS = 10.0  # Å, around the reference
LINING = 6.0  # Å; a chain this close lines the site
OVERLAP = 1.0  # Å; an atom this close to a reference atom is the same atom
LONGEST_PEPTIDE = 15  # residues of a chain, at most, that --het takes for one molecule
LISTED = 12  # names shown in a message before it is cut short


@dataclass(frozen=True)
class PreflightReport:
    """What a pocket was made of, for the user to check before spending time on it."""

    protein: str
    selection: str  # e.g. "within 10.0 Å of the reference ligand"
    residues: tuple[str, ...]  # labels of the chain residues selected, e.g. "A:57A"
    num_atoms: int  # heavy atoms of the pocket
    metals: tuple[str, ...] = ()
    cofactors: tuple[str, ...] = ()
    removed_reference: tuple[str, ...] = ()  # residues of the file that are the reference itself
    other_ligands: tuple[str, ...] = ()  # het molecules near the site that are no part of the pocket
    dropped: dict[str, int] = field(default_factory=dict)  # atoms left out of the whole file on reading
    reading: str = ""  # the whole file in one line: what was kept, renamed, left out
    missing: str = ""  # atoms that residues of the site lack, and gaps in their chains

    def notes(self) -> dict[str, list[str]]:
        """What `samples.json` keeps of it: the text, and the molecules (CHAIN:NAME:NUMBER) that were removed."""
        notes = {"preflight": self.lines()}
        return notes | {"removed_from_site": list(self.removed_reference)} if self.removed_reference else notes

    def lines(self) -> list[str]:
        """The report as text, one statement a line."""
        text = [self.reading] if self.reading else []
        text += [
            f"{self.protein}: {len(self.residues)} residues, {self.num_atoms} heavy atoms {self.selection}",
            f"kept as context: {_listing(self.metals, 'no metals')}; {_listing(self.cofactors, 'no cofactors')}",
        ]
        if self.removed_reference:
            text.append(f"removed from the pocket, being the reference: {_listing(self.removed_reference)}")
        if self.other_ligands:
            text.append(f"left out, other molecules at the site: {_listing(self.other_ligands)}")
        if self.missing:
            text.append(f"missing at the site: {self.missing}; side chains are built by `ligandsmith prepare-protein`")
        return text


def read_pocket(  # noqa: PLR0913 - one argument for each way of naming a site
    protein: str | Path, ligand: str | Path | None = None, residues: Sequence[str] | None = None,
    center: Sequence[float] | None = None, het: str | None = None, *, radius: float = SITE_RADIUS, cut: float = 8.0,
    smiles: str = "", allow_dropped: bool = False,
) -> tuple[Pocket, PreflightReport]:  # fmt: skip
    """A pocket by reference ligand, residues, centre and radius (Å) or het molecule, and what was kept and dropped.

    Around a reference ligand or het molecule, heavy atoms within `cut` Å and C-alphas within 10 Å are kept, as in
    training; around a centre, heavy atoms within `radius` and C-alphas 2 Å further; named residues as a whole. The rest
    of their residues surrounds them, for the encoder only. `smiles` has the bond orders of a ligand in a PDB file.
    `allow_dropped` is that of `read_protein`.
    """
    structure = read_protein(Path(protein), allow_dropped)
    shape = replace(Config().pocket, radius=cut)
    way = "ligand" if shape == Config().pocket else ""
    if ligand is not None:
        around = heavy_positions(read_ligand(Path(ligand), smiles)).astype(np.float32)
        pocket, report = pocket_from_ligand(structure, around)
    elif residues:
        pocket, report = pocket_from_residues(structure, residues)
        return pocket, replace(report, reading=structure.description(Path(protein).name))
    elif center is not None:
        shape, way = sphere(Config().pocket, radius), "center" if radius == SITE_RADIUS else ""
        around = np.asarray(center, dtype=np.float32)[None]
        pocket, report = pocket_from_center(structure, around[0], shape.calpha_radius)
    elif het is not None:
        pocket, report = pocket_from_het(structure, het)
        around = structure.x[np.isin(structure.residue_of, het_residues(structure, het))]
    else:
        raise LigandsmithError("name the site: a reference ligand, residues, a centre or a het molecule")
    pocket = replace(mark_pocket(pocket, around, shape), cut=way)
    report = replace(report, num_atoms=int(pocket.kept.sum()))  # type: ignore[union-attr]
    return pocket, replace(report, reading=structure.description(Path(protein).name))


def sphere(config: PocketConfig, radius: float) -> PocketConfig:
    """The cut of a pocket around a centre: heavy atoms within `radius` Å, C-alphas a little further."""
    return replace(config, radius=radius, calpha_radius=radius + config.calpha_radius - config.radius)


def pocket_from_ligand(
    protein: Protein, ligand_xyz: ArrayLike, radius: float = RADIUS
) -> tuple[Pocket, PreflightReport]:
    """Whole residues with an atom within `radius` Å of a reference ligand, coordinates [N, 3] Å.

    Copies of the reference in the protein file are left out. Raises LigandsmithError if no residue is that close.
    """
    points = np.asarray(ligand_xyz, dtype=np.float32).reshape(-1, 3)
    near = _near(protein, points, radius)
    reference = np.array(copies_at(protein, points), dtype=np.int64)
    selection = f"within {radius:g} Å of the reference ligand"
    return _cut(protein, np.unique(protein.residue_of[near]), selection, reference)


def copies_at(protein: Protein, points: ArrayLike) -> list[int]:
    """Residues of which at least half of the atoms lie on heavy atoms of a ligand, [N, 3] Å: its copies in the file.

    However they are recorded: as HETATM or ATOM, in a chain of their own or not.
    """
    same = _near(protein, np.asarray(points, dtype=np.float32).reshape(-1, 3), OVERLAP)
    size = np.bincount(protein.residue_of, minlength=len(protein.residues))
    return np.flatnonzero(np.bincount(protein.residue_of[same], minlength=len(size)) * 2 >= size).tolist()


def pocket_from_residues(protein: Protein, labels: Sequence[str]) -> tuple[Pocket, PreflightReport]:
    """Exactly the residues named as CHAIN:NUMBER with the insertion code if any, e.g. `["A:123", "A:57A"]`.

    Raises LigandsmithError naming the labels that are not in the file.
    """
    index: dict[str, list[int]] = {}
    for i, residue in enumerate(protein.residues):
        for name in dict.fromkeys(residue.names):
            index.setdefault(name, []).append(i)
    missing = [label for label in labels if label not in index]
    if missing or not labels:
        raise LigandsmithError(
            f"{protein.name}: no residue {_listing(missing, 'was named')}; name them as CHAIN:NUMBER; "
            f"the file has {_listing(_chains(protein))}"
        )
    chosen = [_only(protein, label, index[label]) for label in labels]
    return _cut(protein, np.unique(chosen), "by name")


def _only(protein: Protein, label: str, found: Sequence[int]) -> int:
    """The residue of a label: of several, the one that is part of a chain. Raises LigandsmithError with the choices."""
    in_chain = [i for i in found if protein.residues[i].kind is Kind.POLYMER] or list(found)
    if len(in_chain) > 1:
        residues = [protein.residues[i] for i in in_chain]
        choices = list(dict.fromkeys(r.label for r in residues))
        choices = choices if len(choices) == len(residues) else [r.het_label for r in residues]
        raise LigandsmithError(
            f"{protein.name}: residue {label} is there more than once; choose one of {_listing(choices)}"
        )
    return in_chain[0]


def pocket_from_center(protein: Protein, center: ArrayLike, radius: float = RADIUS) -> tuple[Pocket, PreflightReport]:
    """Whole residues with an atom within `radius` Å of a point [3] Å, which becomes the centre of the pocket.

    Raises LigandsmithError if there is none, with the distance to the nearest atom.
    """
    point = np.asarray(center, dtype=np.float32).reshape(-1)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise LigandsmithError(f"the pocket centre must be three numbers in Å, not {center!r}")
    near = _near(protein, point[None], radius)
    place = ", ".join(f"{v:g}" for v in point)
    pocket, report = _cut(
        protein, np.unique(protein.residue_of[near]), f"within {radius:g} Å of ({place})", center=point
    )
    return pocket, report


def pocket_from_het(protein: Protein, het: str, radius: float = RADIUS) -> tuple[Pocket, PreflightReport]:
    """The site around a het molecule of the file, given as `LIG` or `A:LIG:401`, or around a peptide, given as its
    chain; it is the reference.

    Raises LigandsmithError listing the het molecules there are if `het` is absent or fits several.
    """
    found = het_residues(protein, het)
    points = protein.x[np.isin(protein.residue_of, found)]
    near = _near(protein, points, radius)
    name = protein.residues[found[0]].het_label if len(found) == 1 else f"the {len(found)} residues of chain {het}"
    selection = f"within {radius:g} Å of {name}"
    return _cut(protein, np.unique(protein.residue_of[near]), selection, np.array(found))


def het_residues(protein: Protein, het: str) -> list[int]:
    """Indices of the residues that `het` names: one by `LIG` or `A:LIG:401`, else all of a short chain by its name.

    Residues of a chain count only if there is no other. Raises LigandsmithError unless it is one molecule.
    """
    named = [i for i, r in enumerate(protein.residues) if het == r.name or het in r.names[1::2]]
    found = [i for i in named if i in protein.hets] or named
    if len(found) > 1:
        choices = [protein.residues[i].het_label for i in found]
        raise LigandsmithError(f"{protein.name}: {het} is there {len(found)} times; choose one of {_listing(choices)}")
    found = found or _short_chains(protein).get(het, [])
    if not found:
        there = sorted(protein.residues[i].het_label for i in protein.hets)
        chains = [f"chain {chain}" for chain in _short_chains(protein)]
        raise LigandsmithError(
            f"{protein.name}: no het molecule {het}; there {_listing([*there, *chains], 'are none')}"
        )
    return found


def _short_chains(protein: Protein) -> dict[str, list[int]]:
    """Chains that may be a ligand, a peptide for one: those of 2 to LONGEST_PEPTIDE residues, by name."""
    members: dict[str, list[int]] = {}
    for i, residue in enumerate(protein.residues):
        members.setdefault(residue.chain, []).append(i)
    short = {chain: found for chain, found in members.items() if 2 <= len(found) <= LONGEST_PEPTIDE}
    return {chain: found for chain, found in short.items() if len(members) > 1}


def site_sequences(protein: Protein, ligand_xyz: ArrayLike, radius: float = LINING) -> tuple[str, ...]:
    """Sequences of the chains with a residue within `radius` Å of a ligand [N, 3], for splits without homologs.

    Without the ligand's own, if it is a peptide.
    """
    protein = protein.without(copies_at(protein, ligand_xyz))
    near = _near(protein, np.asarray(ligand_xyz, dtype=np.float32).reshape(-1, 3), radius)
    touched = (protein.residues[i] for i in np.unique(protein.residue_of[near]).tolist())
    chains = sorted({residue.chain for residue in touched if residue.kind is Kind.POLYMER})
    return tuple(sequence for sequence in map(protein.sequence, chains) if sequence)


def _near(protein: Protein, points: NDArray[np.float32], radius: float) -> NDArray[np.int64]:
    """Indices of the protein atoms within `radius` Å of any point [N, 3]."""
    box = ((protein.x >= points.min(0) - radius) & (protein.x <= points.max(0) + radius)).all(axis=1)
    rows = np.flatnonzero(box)
    if not len(rows):
        return rows
    distance, _ = cKDTree(points).query(protein.x[rows], distance_upper_bound=radius)
    return rows[np.isfinite(distance)]


def _cut(
    protein: Protein,
    chosen: NDArray[np.int64],
    selection: str,
    reference: NDArray[np.int64] | None = None,
    center: NDArray[np.float32] | None = None,
) -> tuple[Pocket, PreflightReport]:
    """The pocket of whole residues `chosen` without the residues `reference` and molecules that are no context."""
    removed = set() if reference is None else set(reference.tolist())
    by_kind: dict[Kind, list[int]] = {kind: [] for kind in Kind}
    for i in chosen.tolist():
        if i not in removed:
            by_kind[protein.residues[i].kind].append(i)
    context = sorted(by_kind[Kind.POLYMER] + by_kind[Kind.METAL] + by_kind[Kind.COFACTOR])
    if not by_kind[Kind.POLYMER]:
        raise LigandsmithError(
            f"{protein.name}: empty pocket, no protein residue {selection}; check that both share a frame"
        )
    inside = np.zeros(len(protein.residues), dtype=bool)
    inside[context] = True
    rows = np.flatnonzero(inside[protein.residue_of])
    running = np.cumsum(inside) - 1
    pocket = Pocket(
        element=protein.element[rows],
        residue=protein.residue[rows],
        atom_name=protein.atom_name[rows],
        residue_index=running[protein.residue_of[rows]].astype(np.int16),
        x=protein.x[rows],
        center=center,
        name=protein.name,
        labels=tuple(protein.residues[i].het_label for i in context),
    )
    report = PreflightReport(
        protein=protein.name,
        selection=selection,
        residues=tuple(protein.residues[i].label for i in by_kind[Kind.POLYMER]),
        num_atoms=len(rows),
        metals=tuple(protein.residues[i].het_label for i in by_kind[Kind.METAL]),
        cofactors=tuple(protein.residues[i].het_label for i in by_kind[Kind.COFACTOR]),
        removed_reference=tuple(protein.residues[i].het_label for i in sorted(removed)),
        other_ligands=tuple(protein.residues[i].het_label for i in by_kind[Kind.LIGAND]),
        dropped=protein.dropped,
        reading=protein.description(),
        missing=incompleteness(protein, by_kind[Kind.POLYMER]),
    )
    return pocket, report


def _chains(protein: Protein) -> list[str]:
    """The chains of the file with the range of their residue numbers, e.g. `chain A (16 to 244)`."""
    numbers: dict[str, list[int]] = {}
    for residue in protein.residues:
        numbers.setdefault(residue.chain, []).append(residue.number)
    return [f"chain {chain or '(blank)'} ({min(n)} to {max(n)})" for chain, n in numbers.items()]


def _listing(names: Sequence[str], none: str = "none") -> str:
    return listed(list(dict.fromkeys(names)), LISTED) if names else none


def select_atoms(pocket: Pocket, keep: NDArray[np.bool_]) -> Pocket:
    """The pocket with the atoms marked in `keep` [M] only."""
    return replace(
        pocket,
        **{name: getattr(pocket, name)[keep] for name in ("element", "residue", "atom_name", "residue_index", "x")},
        latent=None if pocket.latent is None else pocket.latent[keep],
        kept=None,
    )


def kept_atoms(pocket: Pocket) -> Pocket:
    """The atoms that the denoiser sees."""
    return pocket if pocket.kept is None else select_atoms(pocket, pocket.kept)


def mark_pocket(pocket: Pocket, around: NDArray[np.float32], config: PocketConfig) -> Pocket:
    """Keep heavy atoms within the config's radius of any point of `around` [P, 3] Å, the C-alphas of the shell beyond,
    and of these the nearest `max_atoms`; the others stay as surroundings."""
    return replace(pocket, kept=crop_mask(pocket, around, config))


def crop_mask(pocket: Pocket, around: NDArray[np.float32], config: PocketConfig) -> NDArray[np.bool_]:
    """Mask [M] of the atoms that the config keeps of a pocket around points [P, 3] Å."""
    distance = nearest_distance(pocket.x, around)
    return within_radius(pocket, distance, np.ones(len(distance), np.bool_), config, config.radius)


def within_radius(
    pocket: Pocket, distance: NDArray[np.float32], allowed: NDArray[np.bool_], config: PocketConfig, radius: float
) -> NDArray[np.bool_]:
    """Mask [M] of the allowed atoms that a cut at `radius` keeps; `distance` [M] Å is to what it is cut around."""
    near = (distance <= radius) | ((pocket.atom_name == CALPHA) & (distance <= max(radius, config.calpha_radius)))
    keep: NDArray[np.bool_] = allowed & near
    if np.count_nonzero(keep) > config.max_atoms:
        keep &= distance <= np.partition(distance[keep], config.max_atoms - 1)[config.max_atoms - 1]
    return keep


def nearest_distance(x: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance (Å) of each x [M, 3] to the nearest of points [P, 3]."""
    # einsum: a sum over a last dimension of three costs five times as much.
    squared = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", points, points) - 2 * x @ points.T
    return np.sqrt(np.maximum(squared.min(1), 0)).astype(np.float32)


def frame_origin(pocket: Pocket) -> NDArray[np.float32]:
    """Origin [3] Å of the pocket's frame: the box centre, else the mean of the kept C-alphas or atoms."""
    if pocket.center is not None:
        return pocket.center
    pocket = kept_atoms(pocket)
    calphas = pocket.x[pocket.atom_name == CALPHA]
    return (calphas if len(calphas) else pocket.x).mean(0)
