"""Complexes cut from a protein alone, for pre-training: a piece of it is the ligand, what surrounds it the pocket.

After ProFSA (Gao et al., ICLR 2024, arXiv:2310.07229). A piece is one to four residues, capped where the chain was cut
by what its neighbours give (acetyl from CA, C and O of the one before, N-methyl amide from N and CA of the one after),
or a side chain from CA or CB outward with a hydrogen at the cut. The pocket lacks the residues that the ligand and its
caps come from, and the neighbours that are bonded to those and too near for another molecule.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial import cKDTree

from ligandsmith.config import MIN_ATOMS, Checked, setting
from ligandsmith.data.pseudo.templates import (
    AMINO_ACIDS,
    Piece,
    mol_from_pieces,
    piece_bonds,
    side_chain,
    template_atoms,
)
from ligandsmith.errors import LigandsmithError
from ligandsmith.records import Complex, Pocket, Rejection
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.ligands import ligand_from_mol
from ligandsmith.structure.pocket import RADIUS, pocket_from_ligand
from ligandsmith.structure.protein import Kind, Protein

LENGTHS = (0, 1, 2, 3, 4)  # residues of a piece; 0: a side chain
LARGEST_LIGAND = 40  # heavy atoms
ATTEMPTS = 10  # pieces tried for each one that is asked for
CONTACT_DISTANCE = 4.5  # Å
# 95 % of the crystal and docked ligands of the training set (800 looked at) have at least these, in 10 Å pockets.
CONTACTS_PER_ATOM = 4.0  # pocket atoms within CONTACT_DISTANCE, mean over the ligand's atoms
TOUCHING = 0.8  # fraction of the ligand's atoms with one
CLOSEST = 2.2  # Å; nearer than this a pocket atom is bonded to the ligand
SEPARATE = 3.0  # Å; nearer than this an atom of a bonded neighbour is near for being two or three bonds away
METAL = 3.0  # Å; a ligand atom this near to a metal has an uncertain charge
PEPTIDE = (1.1, 1.6)  # Å, carbon to nitrogen of neighbours
DISULFIDE = 2.5  # Å
BOND_LENGTHS = (1.1, 2.0)  # Å, between heavy atoms of amino acids


@dataclass(frozen=True)
class CutOptions(Checked):
    """How many pieces to cut, and which."""

    per_protein: int = setting(50, "maximum number of records per protein", 1, 10**9)
    seed: int = setting(0, "random seed", 0, 2**63 - 1)
    overwrite: bool = setting(False, "replace a data set")


@dataclass(frozen=True)
class _Cut:
    """A piece to try: residues `first` to `first + length - 1`, or of one residue the side chain from `anchor`."""

    first: int
    length: int
    anchor: str = ""

    @property
    def residues(self) -> range:
        return range(self.first, self.first + max(self.length, 1))


def pseudo_complexes(
    protein: Protein, parent: str, licence: str = "", options: CutOptions | None = None
) -> Iterator[Complex | Rejection]:
    """Records with the id `pseudo-<parent>-<attempt>`, and a rejection for every attempt that gave none.

    No two share a residue of their ligands. All lengths, side chains included, are tried equally often. The result
    depends on the protein, the parent's id and the options alone. It ends with `per_protein` records, after ten times
    as many attempts, or where no piece is left.
    """
    options = options or CutOptions()
    chain = _Chain(protein)
    rng = np.random.default_rng([options.seed, zlib.crc32(parent.encode())])
    taken: set[int] = set()
    made = 0
    for attempt, cut in enumerate(_in_turn(_cuts(protein), taken, rng)):
        if made == options.per_protein or attempt == ATTEMPTS * options.per_protein:
            return
        record = _record(chain, cut, f"pseudo-{parent}-{attempt}")
        if isinstance(record, Complex):
            made += 1
            taken.update(cut.residues)
            record = replace(record, licence=licence)
        yield record


def _cuts(protein: Protein) -> dict[int, list[_Cut]]:
    """All pieces of amino acids by length."""
    amino = [r.name in AMINO_ACIDS for r in protein.residues]
    cuts: dict[int, list[_Cut]] = {length: [] for length in LENGTHS}
    for first in np.flatnonzero(amino).tolist():
        for anchor in ("CA", "CB"):
            if len(side_chain(protein.residues[first].name, anchor)) >= MIN_ATOMS:
                cuts[0].append(_Cut(first, 0, anchor))
        for length in LENGTHS[1:]:
            if first + length <= len(amino) and all(amino[first : first + length]):
                cuts[length].append(_Cut(first, length))
    return cuts


def _in_turn(cuts: dict[int, list[_Cut]], taken: set[int], rng: np.random.Generator) -> Iterator[_Cut]:
    """The pieces in random order, of a random length each time, without those that share a residue with `taken`."""
    waiting = {length: [some[i] for i in rng.permutation(len(some))] for length, some in cuts.items()}
    while lengths := [length for length, some in waiting.items() if some]:
        cut = waiting[lengths[int(rng.integers(len(lengths)))]].pop()
        if taken.isdisjoint(cut.residues):
            yield cut


class _Chain:
    """A protein with what cutting needs to know: atoms by name, which residues are bonded, which are doubtful."""

    def __init__(self, protein: Protein) -> None:
        self.protein = protein
        # The atoms of a residue lie in a row.
        atoms = np.split(np.arange(protein.num_atoms), np.flatnonzero(np.diff(protein.residue_of)) + 1)
        self.rows = [{vocab.ATOM_NAMES[protein.atom_name[row]]: int(row) for row in rows} for rows in atoms]
        self.sizes = np.bincount(protein.residue_of)
        sulphur = np.array([rows["SG"] for rows in self.rows if "SG" in rows], dtype=np.int64)
        pairs = cKDTree(protein.x[sulphur]).query_pairs(DISULFIDE) if len(sulphur) else set()
        self.bridged = {int(protein.residue_of[sulphur[i]]) for pair in pairs for i in pair}

    def doubt(self, i: int) -> str:
        """Why residue `i` cannot be a ligand; empty if it can."""
        residue = self.protein.residues[i]
        if residue.name not in AMINO_ACIDS:
            return "non-standard residue"
        if i in self.protein.alternate:
            return "alternate locations"
        if i in self.bridged:
            return "disulfide bond"
        wanted = template_atoms(residue.name)
        if not set(wanted) <= set(self.rows[i]):
            return "missing atoms"
        return "" if self.sizes[i] == len(wanted) else "atoms beyond the template"

    def follows(self, i: int) -> bool:
        """Whether residue `i + 1` is there and bonded to residue `i`."""
        if not 0 <= i < len(self.rows) - 1 or "C" not in self.rows[i] or "N" not in self.rows[i + 1]:
            return False
        if self.protein.residues[i].chain != self.protein.residues[i + 1].chain:
            return False
        x = self.protein.x
        length = float(np.linalg.norm(x[self.rows[i]["C"]] - x[self.rows[i + 1]["N"]]))
        return PEPTIDE[0] <= length <= PEPTIDE[1]

    def cap(self, i: int, names: tuple[str, ...]) -> Piece | None:
        """The atoms that residue `i` gives to a cap, if it has them beyond doubt."""
        name = self.protein.residues[i].name
        sound = name in AMINO_ACIDS and i not in self.protein.alternate and set(names) <= set(self.rows[i])
        return Piece(name, names) if sound else None


class _Refused(ValueError):
    """An attempt gives no record; args are the reason and, if there is more to say, the detail."""


def _record(chain: _Chain, cut: _Cut, id: str) -> Complex | Rejection:
    """One attempt."""
    where = f"{chain.protein.residues[cut.first].het_label}, {cut.length or f'side chain from {cut.anchor}'}"
    try:
        pieces = _pieces(chain, cut)
        x = _points(chain, pieces)
        pocket = _pocket(chain, set(pieces), x)
        mol = mol_from_pieces(list(pieces.values()), x)
    except _Refused as refused:
        reason, *detail = refused.args
        return Rejection(id, reason, ": ".join([where, *detail]))
    except Chem.MolSanitizeException as error:
        return Rejection(id, "RDKit rejects the ligand", f"{where}: {error}")
    ligand = ligand_from_mol(mol, id)
    if isinstance(ligand, Rejection):
        return ligand
    return Complex(id, ligand, pocket, Chem.MolToSmiles(mol), "pseudo-complex")


def _pieces(chain: _Chain, cut: _Cut) -> dict[int, Piece]:
    """What each residue gives to the ligand, in order of the chain. Raises _Refused."""
    residues = chain.protein.residues
    for i in cut.residues:
        if reason := chain.doubt(i):
            raise _Refused(reason, residues[i].het_label)
    if not cut.length:
        name = residues[cut.first].name
        return {cut.first: Piece(name, side_chain(name, cut.anchor))}
    before, after = cut.first - 1, cut.first + cut.length
    if not all(chain.follows(i) for i in range(before, after)):
        raise _Refused("chain end or break", "a bonded neighbour is missing")
    acetyl, amide = chain.cap(before, ("CA", "C", "O")), chain.cap(after, ("N", "CA"))
    if acetyl is None or amide is None:
        raise _Refused("no cap", "a neighbour is non-standard, incomplete or in alternate locations")
    own = {i: Piece(residues[i].name, template_atoms(residues[i].name)) for i in cut.residues}
    return {before: acetyl, **own, after: amide}


def _points(chain: _Chain, pieces: dict[int, Piece]) -> NDArray[np.float32]:
    """Coordinates [N, 3] Å of the pieces' atoms. Raises _Refused for too many atoms or an impossible bond."""
    rows = [chain.rows[i][name] for i, piece in pieces.items() for name in piece.atoms]
    if len(rows) > LARGEST_LIGAND:
        raise _Refused("ligand size", f"{len(rows)} heavy atoms; at most {LARGEST_LIGAND} are accepted")
    x: NDArray[np.float32] = chain.protein.x[rows]
    for i, j, _ in piece_bonds(list(pieces.values())):
        length = float(np.linalg.norm(x[i] - x[j]))
        if not BOND_LENGTHS[0] <= length <= BOND_LENGTHS[1]:
            raise _Refused("impossible bond length", f"{length:.2f} Å")
    return x


def _pocket(chain: _Chain, gone: set[int], x: NDArray[np.float32]) -> Pocket:
    """The surroundings of a ligand [N, 3] Å without the residues that it comes from. Raises _Refused."""
    protein = chain.protein
    bonded = {i + 1 for i in gone if chain.follows(i)} | {i - 1 for i in gone if chain.follows(i - 1)}
    tree = cKDTree(x)
    near = {i for i in bonded - gone if tree.query(protein.x[list(chain.rows[i].values())])[0].min() < SEPARATE}
    rest = protein.without(gone | near)
    # Of the whole file, not the pocket: a sugar bonded to the chain is no part of a pocket.
    distance, _ = tree.query(rest.x, distance_upper_bound=max(CLOSEST, METAL))
    if (distance < CLOSEST).any():
        raise _Refused("bonded to its surroundings")
    if (distance[rest.kind == Kind.METAL] < METAL).any():
        raise _Refused("bound to a metal")
    try:
        pocket, _ = pocket_from_ligand(rest, x, RADIUS)
    except LigandsmithError:
        raise _Refused("empty pocket") from None
    contacts = cKDTree(pocket.x).query_ball_point(x, CONTACT_DISTANCE, return_length=True)
    if contacts.mean() < CONTACTS_PER_ATOM or (contacts > 0).mean() < TOUCHING:
        raise _Refused("few contacts")
    return pocket
