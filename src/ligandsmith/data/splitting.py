"""Splits of a data set in which no protein, or no scaffold, of one part comes again in another; and what still leaks.

A data set stores pockets, not chains, so the sequence of a record is that of its pocket residues in chain order, and
identity is that of pocket sequences: identical aligned residues of the best local alignment, divided by the length of
the shorter sequence. Only significant alignments count: short sequences align by chance at 30 %. Single linkage: two
records share a group if a chain of pairs at or above the threshold joins them.
"""

import csv
import hashlib
import json
import math
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import parasail
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from ligandsmith.data import vocabulary as vocab
from ligandsmith.data.dataset import (
    KINDS,
    Manifest,
    Split,
    open_dataset,
    read_splits,
    shard_paths,
    write_json,
    write_manifest,
)
from ligandsmith.data.ligands import mol_from_ligand
from ligandsmith.data.shards import ShardReader
from ligandsmith.errors import LigandsmithError
from ligandsmith.types import Complex, Pocket

SplitBy = Literal["sequence", "scaffold", "random", "file"]
METHODS: tuple[SplitBy, ...] = ("sequence", "scaffold", "random", "file")
REPORT = "leakage.json"
ONE_LETTER = "ARNDCQEGHILKMFPSTWYVX"  # in the order of vocabulary.RESIDUES
GAP_OPEN, GAP_EXTEND = 11, 1  # the usual penalties with BLOSUM62
KARLIN_K, KARLIN_LAMBDA = 0.041, 0.267  # of BLOSUM62 with these gap penalties
SIGNIFICANT = 1e-3  # alignments as good by chance
KMER = 3  # on 1,132 real pockets no significant pair at 30 % lacks a common run of 3; of 2 runs, 6 of 10,254 lack one
SKELETON = 14  # letters of the InChIKey that name the skeleton, without stereo and protonation

Pairs = list[tuple[int, int, float]]  # (i, j, identity), i < j


@dataclass(frozen=True)
class Item:
    """What the splits look at in one record."""

    id: str
    sequence: str  # one-letter codes of the pocket residues, "" without a pocket
    scaffold: str  # Murcko scaffold without stereo, "" for an acyclic ligand
    skeleton: str  # first block of the InChIKey
    has_pocket: bool
    cluster: int  # sequence cluster that the record brings along, -1: unknown


@dataclass(frozen=True)
class SplitReport:
    """The parts of a data set and what they have in common. Keys of the dicts are like "train/test"."""

    by: str
    identity: float  # threshold of `pairs_above`
    seed: int
    aligner: str  # "mmseqs2" or "parasail"
    counts: dict[str, int]  # records by split
    groups: int  # that were kept together
    unassigned: int  # records in no split
    max_identity: dict[str, float] = field(default_factory=dict)  # of significant pairs; 0.0 where there is none
    pairs_above: dict[str, int] = field(default_factory=dict)  # pairs of records with pockets at least that identical
    shared_scaffolds: dict[str, int] = field(default_factory=dict)
    shared_ligands: dict[str, int] = field(default_factory=dict)  # same skeleton, whatever its stereo and protonation

    def lines(self) -> list[str]:
        """The report as lines of text."""
        parts = ", ".join(f"{name} {n}" for name, n in self.counts.items())
        text = [f"split by {self.by}, seed {self.seed}: {parts}; {self.groups} groups; {self.unassigned} in no split"]
        for pair in self.shared_ligands:
            text.append(
                f"{pair}: highest pocket identity {self.max_identity[pair]:.2f} ({self.aligner}), "
                f"{self.pairs_above[pair]} pairs at {self.identity:.2f} or above, "
                f"{self.shared_scaffolds[pair]} shared scaffolds, {self.shared_ligands[pair]} shared ligands"
            )
        return text


def split_dataset(
    data: Path,
    by: SplitBy,
    identity: float = 0.3,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    file: Path | None = None,
) -> SplitReport:
    """Write `splits.json`, the manifest's counts and `leakage.json` of a data set folder anew.

    `by`: "sequence" keeps together what is at or above `identity` in its pocket sequence, or of one known sequence
    cluster (ligand-only records go by scaffold); "scaffold" keeps Murcko scaffolds together; "random" nothing; "file"
    takes the parts of `file`, a CSV with the columns id and split or a JSON like splits.json (records that it does not
    name are in no split).
    `fractions` of train, validation and test are met as nearly as whole groups allow. Uses mmseqs2 where `mmseqs` is
    on the PATH, else parasail (about 10 µs for each pair of different pockets). Raises LigandsmithError for wrong
    options or files.
    """
    folder = open_dataset(data)
    _check_options(by, identity, fractions, file)
    items = read_items(folder)
    pairs, aligner = sequence_pairs([item.sequence for item in items])
    if file is not None and by == "file":
        splits, groups = _splits_of_file(file, {item.id for item in items}), len(items)
    else:
        group_of = _groups(items, by, pairs, identity)
        splits, groups = assign(items, group_of, fractions, seed), len(set(group_of))
    report = _report(items, splits, pairs, SplitReport(by, identity, seed, aligner, {}, groups, 0))
    write_json(folder / REPORT, asdict(report))
    write_manifest(folder, splits, Manifest.load(folder).rejections)
    return report


def leakage(data: Path, identity: float = 0.3) -> SplitReport:
    """The report on the splits that a data set has, without changing them."""
    folder = open_dataset(data)
    items = read_items(folder)
    pairs, aligner = sequence_pairs([item.sequence for item in items])
    return _report(items, read_splits(folder), pairs, SplitReport("as it is", identity, 0, aligner, {}, len(items), 0))


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
    with rdBase.BlockLogs():
        return [_item(record) for kind in KINDS for record in ShardReader(shard_paths(folder, kind), cached_groups=1)]


def _item(record: Complex) -> Item:
    smiles = record.smiles or Chem.MolToSmiles(mol_from_ligand(record.ligand))
    mol = Chem.MolFromSmiles(smiles) or mol_from_ligand(record.ligand)
    return Item(
        id=record.id,
        sequence=pocket_sequence(record.pocket) if record.pocket else "",
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


def sequence_pairs(sequences: Sequence[str]) -> tuple[Pairs, str]:
    """All pairs of different sequences with a significant alignment, and the name of the aligner.

    Indices are those of the first record with each sequence; empty sequences are in no pair.
    """
    first = {s: i for i, s in reversed(list(enumerate(sequences))) if s}
    unique = sorted(first, key=lambda s: first[s])
    mmseqs = shutil.which("mmseqs")
    found = _mmseqs(unique, mmseqs) if mmseqs else align(unique)
    pairs = [(first[unique[i]], first[unique[j]], share) for i, j, share in found]
    return pairs, "mmseqs2" if mmseqs else "parasail"


def align(sequences: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """(i, j, identity) of all pairs i < j whose local alignment (BLOSUM62) is significant.

    Only pairs that share a run of `KMER` residues are aligned. Significance is the expected number of alignments as
    good by chance, with Karlin-Altschul's statistics and the summed length of all sequences as the data base.
    """
    lengths = [len(s) for s in sequences]
    total = sum(lengths)
    for i, candidates in enumerate(_sharing_kmer(sequences)):
        if not len(candidates):
            continue
        profile = parasail.profile_create_stats_sat(sequences[i], parasail.blosum62)
        for j in candidates:
            result = parasail.sw_stats_striped_profile_sat(profile, sequences[j], GAP_OPEN, GAP_EXTEND)
            expected = KARLIN_K * min(lengths[i], lengths[j]) * total * math.exp(-KARLIN_LAMBDA * result.score)
            if expected <= SIGNIFICANT:
                yield i, int(j), result.matches / min(lengths[i], lengths[j])


def _sharing_kmer(sequences: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    """For each sequence the later ones with a run of residues in common."""
    columns: dict[str, int] = {}
    runs = [sorted({s[k : k + KMER] for k in range(len(s) - KMER + 1)} or {s}) for s in sequences]
    column = [columns.setdefault(run, len(columns)) for found in runs for run in found]
    row = np.repeat(np.arange(len(sequences)), [len(found) for found in runs])
    has = csr_matrix((np.ones(len(row), dtype=np.int32), (row, column)), shape=(len(sequences), len(columns)))
    for i in range(len(sequences)):
        shared = (has @ has[i].T).nonzero()[0]
        yield shared[shared > i]


def _mmseqs(sequences: Sequence[str], program: str) -> Iterator[tuple[int, int, float]]:
    """The same pairs, as far as mmseqs2 finds them at its highest sensitivity."""
    with tempfile.TemporaryDirectory(prefix="ligandsmith-mmseqs-") as name:
        fasta, table = Path(name) / "pockets.fasta", Path(name) / "hits.tsv"
        fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
        command = [program, "easy-search", str(fasta), str(fasta), str(table), str(Path(name) / "scratch")]
        command += ["--format-output", "query,target,nident,qlen,tlen", "-e", str(SIGNIFICANT)]
        command += ["-s", "7.5", "--max-seqs", str(max(300, len(sequences))), "-v", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not table.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
            raise LigandsmithError(f"mmseqs2 failed ({said[-1][:200]}); mend it or take it off the PATH")
        best: dict[tuple[int, int], float] = {}
        for line in table.read_text().splitlines():
            i, j, matches, query, target = map(int, line.split("\t"))
            pair = (min(i, j), max(i, j))
            best[pair] = max(best.get(pair, 0.0), matches / min(query, target))
    yield from ((i, j, share) for (i, j), share in sorted(best.items()) if i != j)


def _groups(items: Sequence[Item], by: SplitBy, pairs: Pairs, identity: float) -> list[int]:
    """Number of the group of each record; a group stays together."""
    if by == "random":
        return list(range(len(items)))
    skeletons = [f"skeleton {item.skeleton}" for item in items]
    scaffolds = [f"scaffold {i.scaffold}" if i.scaffold else key for i, key in zip(items, skeletons, strict=True)]
    if by == "scaffold":
        return _connected(scaffolds, skeletons, [])
    # The cluster that a record brings along comes from its whole chain, so it sees homologs whose pockets differ.
    own = [f"sequence {item.sequence}" if item.sequence else key for item, key in zip(items, scaffolds, strict=True)]
    chain = [f"cluster {item.cluster}" if item.cluster >= 0 else key for item, key in zip(items, own, strict=True)]
    return _connected(own, chain, [(i, j) for i, j, share in pairs if share >= identity])


def _connected(keys: Sequence[str], other: Sequence[str], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Connected components of records joined by an equal key, an equal other key, or an edge."""
    first: dict[str, int] = {}
    joined = [*edges, *((first.setdefault(key, i), i) for column in (keys, other) for i, key in enumerate(column))]
    i, j = np.array(joined, dtype=np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(keys), len(keys)))
    return connected_components(graph, directed=False)[1].tolist()


def assign(items: Sequence[Item], groups: Sequence[int], fractions: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Ids of each split. Whole groups, the largest first and equal ones in an order of the seed, each to the split
    that lacks most of its share; the shares of complexes and of ligand-only records are met separately."""
    members: dict[int, list[Item]] = defaultdict(list)
    for item, group in zip(items, groups, strict=True):
        members[group].append(item)

    def precedence(group: list[Item]) -> tuple[int, int, bytes]:
        return -sum(item.has_pocket for item in group), -len(group), _rank(min(item.id for item in group), seed)

    shares = {str(split): share for split, share in zip(Split, fractions, strict=True) if share}
    totals = Counter(item.has_pocket for item in items)
    lacking = {kind: {split: share * n for split, share in shares.items()} for kind, n in totals.items()}
    split_of: dict[str, str] = {}
    for together in sorted(members.values(), key=precedence):
        wanted = lacking[any(item.has_pocket for item in together)]
        split = max(wanted, key=lambda name: wanted[name])
        for item in together:
            lacking[item.has_pocket][split] -= 1
            split_of[item.id] = split
    return {str(split): [item.id for item in items if split_of[item.id] == split] for split in Split}


def hold_out_groups(groups: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which records to hold out: whole groups, about `share` of the records, given the name of each record's group.

    Groups are taken in the order of the hash of (seed, name) while they fit; at least one (the smallest, where all are
    too large), and none where there is only one. So the choice depends on the names and the seed alone.
    """
    sizes = Counter(groups)
    if len(sizes) < 2:
        return [False] * len(groups)
    order = sorted(sizes, key=lambda name: _rank(name, seed))
    chosen: set[str] = set()
    room = share * len(groups)
    for name in order:
        if sizes[name] <= room:
            chosen.add(name)
            room -= sizes[name]
    chosen = chosen or {min(order, key=lambda name: sizes[name])}
    return [name in chosen for name in groups]


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _splits_of_file(path: Path, known: set[str]) -> dict[str, list[str]]:
    """The parts named in a CSV (id, split) or a JSON file (split -> ids)."""
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
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LigandsmithError(f"{path}: cannot be read ({error}); give a CSV of id,split or a JSON file") from None
    if Path(path).suffix.lower() == ".json":
        try:
            return [(str(id), split) for split, ids in json.loads(text).items() for id in ids]
        except (ValueError, AttributeError, TypeError):
            raise LigandsmithError(f"{path}: not a JSON object of split -> list of ids") from None
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or not {"id", "split"} <= set(rows[0]):
        raise LigandsmithError(f"{path}: no rows under the columns id and split")
    return [((row["id"] or "").strip(), (row["split"] or "").strip()) for row in rows]


# --- what leaks -------------------------------------------------------------------------------------------------------


def _report(items: Sequence[Item], splits: dict[str, list[str]], pairs: Pairs, base: SplitReport) -> SplitReport:
    """`base` with everything that depends on who is in which split."""
    split_of = {id: split for split, ids in splits.items() for id in ids}
    parts: dict[str, list[Item]] = {str(split): [] for split in Split}
    for item in items:
        if item.id in split_of:
            parts[split_of[item.id]].append(item)
    names = {f"{a}/{b}": (a, b) for a, b in combinations([s for s in parts if parts[s]], 2)}
    sequence_counts = {s: Counter(item.sequence for item in parts[s] if item.sequence) for s in parts}
    highest, above = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
    same = [(item, item, 1.0) for item in {i.sequence: i for i in items if i.sequence}.values()]
    for one, two, share in [*same, *((items[i], items[j], share) for i, j, share in pairs)]:
        for name, (a, b) in names.items():
            both = sequence_counts[a][one.sequence] * sequence_counts[b][two.sequence]
            if one is not two:
                both += sequence_counts[a][two.sequence] * sequence_counts[b][one.sequence]
            if both:
                highest[name] = max(highest[name], share)
                above[name] += both * (share >= base.identity)
    return replace(
        base,
        counts={s: len(parts[s]) for s in parts},
        unassigned=len(items) - len(split_of),
        max_identity=highest,
        pairs_above=above,
        shared_scaffolds={n: _shared(parts[a], parts[b], "scaffold") for n, (a, b) in names.items()},
        shared_ligands={n: _shared(parts[a], parts[b], "skeleton") for n, (a, b) in names.items()},
    )


def _shared(one: Sequence[Item], two: Sequence[Item], what: str) -> int:
    return len(({getattr(i, what) for i in one} & {getattr(i, what) for i in two}) - {""})
