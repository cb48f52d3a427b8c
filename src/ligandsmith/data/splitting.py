"""Splits of a data set in which no protein, or no scaffold, of one split comes again in another; and what still leaks.

The sequences of a complex are those of the chains that line its site (`sequences.json` of the data set), or, where they
are not known, the amino acids of its pocket in chain order. Two complexes are as identical as their most identical
sequences (see `homology`). Single linkage: records share a group if a chain of pairs at or above the threshold joins
them.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ligandsmith.data.dataset import SEQUENCES, Manifest, Split, open_dataset, write_manifest
from ligandsmith.data.homology import related_pairs
from ligandsmith.data.shards import DATASET_KINDS, ShardReader, shard_paths
from ligandsmith.errors import LigandsmithError
from ligandsmith.files import csv_content, json_content, write_json
from ligandsmith.records import Complex, Pocket
from ligandsmith.structure import vocabulary as vocab
from ligandsmith.structure.ligands import mol_from_ligand

log = logging.getLogger("ligandsmith")
SplitBy = Literal["sequence", "scaffold", "random", "file"]
METHODS: tuple[SplitBy, ...] = get_args(SplitBy)
REPORT = "leakage.json"
ONE_LETTER = "ARNDCQEGHILKMFPSTWYVX"  # in the order of vocabulary.RESIDUES
SKELETON = 14  # letters of the InChIKey that name the skeleton, without stereo and protonation

Identities = dict[tuple[str, str], float]  # of two related sequences, in both orders; of a sequence with itself 1


@dataclass(frozen=True)
class Item:
    """What the splits look at in one record."""

    id: str
    sequences: tuple[str, ...]  # one-letter codes of the site's chains, or of the pocket; none without a pocket
    scaffold: str  # Murcko scaffold without stereo, "" for an acyclic ligand
    skeleton: str  # first block of the InChIKey
    has_pocket: bool
    cluster: int  # sequence cluster that the record brings along, -1: unknown


@dataclass(frozen=True)
class SplitReport:
    """The splits of a data set and what they have in common. Keys of the dicts are like "train/test"."""

    by: str
    identity: float  # threshold of `pairs_above`
    seed: int
    aligner: str  # "mmseqs2" or "parasail"
    counts: dict[str, int]  # records by split
    groups: int  # that were kept together
    unassigned: int  # records in no split
    max_identity: dict[str, float]  # of related pairs; 0.0 where there is none
    pairs_above: dict[str, int]  # pairs of records at least that identical
    shared_scaffolds: dict[str, int]
    shared_ligands: dict[str, int]  # same skeleton, whatever its stereo and protonation

    def lines(self) -> list[str]:
        """The report as lines of text."""
        counts = ", ".join(f"{name} {n}" for name, n in self.counts.items())
        pairs = [
            f"{pair}: highest sequence identity {self.max_identity[pair]:.2f} ({self.aligner}), "
            f"{self.pairs_above[pair]} pairs at {self.identity:.2f} or above, "
            f"{self.shared_scaffolds[pair]} shared scaffolds, {self.shared_ligands[pair]} shared ligands"
            for pair in self.shared_ligands
        ]
        first = f"split by {self.by}, seed {self.seed}: {counts}; {self.groups} groups; {self.unassigned} in no split"
        return [first, *pairs]


def split_dataset(
    data: Path,
    by: SplitBy,
    identity: float = 0.3,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    file: Path | None = None,
) -> SplitReport:
    """Write `splits.json`, the manifest's counts and `leakage.json` of a data set folder again.

    `by`: "sequence" keeps together what is at or above `identity` in its sequence, or of one known sequence
    cluster (ligand-only records go by scaffold); "scaffold" keeps Murcko scaffolds together; "random" nothing; "file"
    takes the splits of `file`, a CSV with the columns id and split or a JSON like splits.json (records that it does not
    name are in no split).
    `fractions` of train, validation and test are met as nearly as whole groups allow. Uses mmseqs2 where `mmseqs` is
    on the PATH, else parasail. Raises LigandsmithError for wrong options or files.
    """
    folder = open_dataset(data)
    _check_options(by, identity, fractions, file)
    items = read_items(folder)
    if not items:
        raise LigandsmithError(f"{folder}: no records to split; make the data set with ligandsmith prepare")
    related, aligner = _identities(items)
    if file is not None and by == "file":
        splits, groups = _splits_of_file(file, {item.id for item in items}), len(items)
    else:
        group_of = _groups(items, by, related, identity)
        splits, groups = assign(items, group_of, fractions, seed), len(set(group_of))
    empty = [name for name, ids in splits.items() if not ids]
    if empty:
        text = "%s: nothing in %s, since there are %d groups by %s; for a single target try --by scaffold or random"
        log.warning(text, folder, " and ".join(empty), groups, by)
    leaks = _leaks(items, splits, related, identity)
    report = SplitReport(by=by, identity=identity, seed=seed, aligner=aligner, groups=groups, **leaks)
    write_json(folder / REPORT, asdict(report))
    write_manifest(folder, splits, Manifest.load(folder).rejections)
    return report


def _check_options(by: str, identity: float, fractions: Sequence[float], file: Path | None) -> None:
    if by not in METHODS:
        raise LigandsmithError(f"no split by {by!r}; there are {', '.join(METHODS)}")
    if not 0 < identity <= 1:
        raise LigandsmithError(f"identity {identity} is not a share between 0 and 1, like 0.3")
    if len(fractions) != len(Split) or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise LigandsmithError(f"fractions {tuple(fractions)} must be three numbers, 0 or more, with the sum 1")
    if (by == "file") != (file is not None):
        raise LigandsmithError("a split by file needs a file of ids and splits, and no other kind of split takes one")


# --- what is compared ---------------------------------------------------------------------------------------------


def read_items(folder: Path) -> list[Item]:
    """All records of a data set, of every kind and split."""
    chains: dict[str, list[str]] = {}
    if (folder / SEQUENCES).is_file():
        try:
            chains = json_content(folder / SEQUENCES)
        except (OSError, ValueError) as error:
            raise LigandsmithError(f"{folder / SEQUENCES}: not JSON ({error}); prepare the data again") from None
        if not isinstance(chains, dict) or not all(
            isinstance(found, list) and all(isinstance(s, str) for s in found) for found in chains.values()
        ):
            raise LigandsmithError(f"{folder / SEQUENCES}: not lists of sequences by id; prepare the data again")
    records = (record for kind in DATASET_KINDS for record in ShardReader(shard_paths(folder, kind), cached_groups=1))
    with rdBase.BlockLogs():
        return [_item(record, chains.get(record.id, ())) for record in records]


def _item(record: Complex, chains: Sequence[str]) -> Item:
    smiles = record.smiles or Chem.MolToSmiles(mol_from_ligand(record.ligand))
    mol = Chem.MolFromSmiles(smiles) or mol_from_ligand(record.ligand)
    sequences = (chains or [pocket_sequence(record.pocket)]) if record.pocket else ()
    return Item(
        id=record.id,
        sequences=tuple(sorted(set(sequences) - {""})),
        scaffold=_murcko(mol),
        skeleton=Chem.MolToInchiKey(mol)[:SKELETON],
        has_pocket=record.pocket is not None,
        cluster=record.cluster,
    )


def pocket_sequence(pocket: Pocket) -> str:
    """One-letter codes of the amino acids of a pocket, in the order of their residues; others are left out."""
    _, first = np.unique(pocket.residue_index, return_index=True)
    return "".join(ONE_LETTER[r] for r in pocket.residue[first] if r != vocab.OTHER_RESIDUE)


def scaffold_of(smiles: str) -> str:
    """Murcko scaffold without stereo as SMILES; an acyclic molecule is its own."""
    return _murcko(Chem.MolFromSmiles(smiles)) or smiles


def _murcko(mol: Chem.Mol) -> str:
    return Chem.MolToSmiles(MurckoScaffold.GetScaffoldForMol(mol), isomericSmiles=False)


# --- groups ---------------------------------------------------------------------------------------------------------


def _identities(items: Sequence[Item]) -> tuple[Identities, str]:
    """Identity of all pairs of related sequences of the records, and the name of the aligner."""
    unique = sorted({s for item in items for s in item.sequences})
    pairs, aligner = related_pairs(unique)
    related = {(unique[i], unique[j]): identity for i, j, identity in pairs}
    return {(s, s): 1.0 for s in unique} | related | {(b, a): identity for (a, b), identity in related.items()}, aligner


def _groups(items: Sequence[Item], by: SplitBy, related: Identities, identity: float) -> list[int]:
    """Number of the group of each record; a group stays together."""
    if by == "random":
        return list(range(len(items)))
    skeletons = [f"skeleton {item.skeleton}" for item in items]
    scaffolds = [f"scaffold {i.scaffold}" if i.scaffold else key for i, key in zip(items, skeletons, strict=True)]
    if by == "scaffold":
        return _connected(list(zip(scaffolds, skeletons, strict=True)), [])
    names = []
    for item, scaffold in zip(items, scaffolds, strict=True):
        sequences = [f"sequence {s}" for s in item.sequences] or [scaffold]
        # The cluster that a record brings along comes from its whole chain, so it sees homologs whose pockets differ.
        names.append([*sequences, f"cluster {item.cluster}"] if item.cluster >= 0 else sequences)
    homologous = [(f"sequence {a}", f"sequence {b}") for (a, b), found in related.items() if found >= identity]
    return _connected(names, homologous)


def _connected(names: Sequence[Sequence[str]], linked: Sequence[tuple[str, str]]) -> list[int]:
    """Component of each record. Records are connected by a name in common, and by names that are linked."""
    node: dict[str, int] = {}
    edges = [(of_record[0], name) for of_record in names for name in of_record]
    i, j = np.array([[node.setdefault(n, len(node)) for n in edge] for edge in [*edges, *linked]]).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(node), len(node)))
    component = connected_components(graph, directed=False)[1]
    return [int(component[node[of_record[0]]]) for of_record in names]


def assign(items: Sequence[Item], groups: Sequence[int], fractions: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Ids of each split. Whole groups, the largest first and equal ones in an order of the seed, each to the split
    that lacks most records; the fractions of complexes and of ligand-only records are met separately."""
    members: dict[int, list[Item]] = defaultdict(list)
    for item, number in zip(items, groups, strict=True):
        members[number].append(item)

    def precedence(group: list[Item]) -> tuple[int, int, bytes]:
        return -sum(item.has_pocket for item in group), -len(group), _rank(min(item.id for item in group), seed)

    wanted = {str(split): fraction for split, fraction in zip(Split, fractions, strict=True) if fraction}
    totals = Counter(item.has_pocket for item in items)
    lacking = {kind: {split: fraction * n for split, fraction in wanted.items()} for kind, n in totals.items()}
    split_of: dict[str, str] = {}
    for group in sorted(members.values(), key=precedence):
        missing = lacking[any(item.has_pocket for item in group)]
        split = max(missing, key=lambda name: missing[name])
        for item in group:
            lacking[item.has_pocket][split] -= 1
            split_of[item.id] = split
    return {str(split): [item.id for item in items if split_of[item.id] == split] for split in Split}


def hold_out_groups(groups: Sequence[str], fraction: float, seed: int) -> list[bool]:
    """Which records to hold out: whole groups, about `fraction` of the records, given the name of each record's group.

    Groups are taken in the order of the hash of (seed, name) while they fit; at least one (the smallest, where all are
    too large), and none where there is only one. So the choice depends on the names and the seed alone.
    """
    sizes = Counter(groups)
    if len(sizes) < 2:
        return [False] * len(groups)
    order = sorted(sizes, key=lambda name: _rank(name, seed))
    chosen: set[str] = set()
    room = fraction * len(groups)
    for name in order:
        if sizes[name] <= room:
            chosen.add(name)
            room -= sizes[name]
    chosen = chosen or {min(order, key=lambda name: sizes[name])}
    return [name in chosen for name in groups]


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _splits_of_file(path: Path, known: set[str]) -> dict[str, list[str]]:
    """The splits named in a CSV (id, split) or a JSON file (split -> ids)."""
    splits: dict[str, list[str]] = {str(split): [] for split in Split}
    seen: set[str] = set()
    for id, split in _read_split_file(path):
        if split not in splits:
            raise LigandsmithError(f"{path}: no split {split!r}; there are {', '.join(Split)}")
        if id not in known or id in seen:
            what = "named twice; an id belongs to one split, once" if id in seen else "not in the data set"
            raise LigandsmithError(f"{path}: {id} is {what}")
        seen.add(id)
        splits[split].append(id)
    return splits


def _read_split_file(path: Path) -> list[tuple[str, str]]:
    path, is_json = Path(path), Path(path).suffix.lower() == ".json"
    try:
        if is_json:
            return [(str(id), str(split)) for split, ids in json_content(path).items() for id in ids]
        columns, rows = csv_content(path)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        if is_json and not isinstance(error, OSError):
            raise LigandsmithError(f"{path}: not a JSON object of split -> list of ids") from None
        raise LigandsmithError(f"{path}: cannot be read ({error}); give a CSV of id,split or a JSON file") from None
    if not rows or not {"id", "split"} <= set(columns):
        raise LigandsmithError(f"{path}: no rows under the columns id and split")
    return [(row["id"].strip(), row["split"].strip()) for _, row in rows]


# --- what leaks -------------------------------------------------------------------------------------------------------


def _leaks(items: Sequence[Item], splits: dict[str, list[str]], related: Identities, identity: float) -> dict[str, Any]:
    """What a `SplitReport` says of who is in which split."""
    split_of = {id: split for split, ids in splits.items() for id in ids}
    members = {str(s): [item for item in items if split_of.get(item.id) == s] for s in Split}
    pairs = {f"{a}/{b}": (members[a], members[b]) for a, b in combinations([s for s in members if members[s]], 2)}
    highest = {name: _highest_identities(one, two, related) for name, (one, two) in pairs.items()}
    return {
        "counts": {split: len(found) for split, found in members.items()},
        "unassigned": len(items) - len(split_of),
        "max_identity": {name: max(found, default=0.0) for name, found in highest.items()},
        "pairs_above": {name: sum(x >= identity for x in found) for name, found in highest.items()},
        "shared_scaffolds": {name: _shared(one, two, "scaffold") for name, (one, two) in pairs.items()},
        "shared_ligands": {name: _shared(one, two, "skeleton") for name, (one, two) in pairs.items()},
    }


def _shared(one: Sequence[Item], two: Sequence[Item], what: str) -> int:
    return len(({getattr(i, what) for i in one} & {getattr(i, what) for i in two}) - {""})


def _highest_identities(one: Sequence[Item], two: Sequence[Item], related: Identities) -> list[float]:
    """Highest identity of each pair of records of two splits that have related sequences."""
    first, second = _ids_by_sequence(one), _ids_by_sequence(two)
    highest: dict[tuple[str, str], float] = {}
    for (a, b), identity in related.items():
        for pair in product(first[a], second[b]) if a in first and b in second else ():
            highest[pair] = max(highest.get(pair, 0.0), identity)
    return list(highest.values())


def _ids_by_sequence(items: Sequence[Item]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for item in items:
        for sequence in item.sequences:
            ids[sequence].append(item.id)
    return ids
