"""Regenerate the data set that comes with the package from a folder of raw archives.

    python scripts/build_dataset.py RAW [--out src/ligandsmith/datasets/crystal]

RAW holds complexes_train.tar.xz and complexes_val.tar.xz (per complex ID/ligand.sdf and ID/pocket10.pdb, plus one
index.json) and crystal_ligands.parquet (columns smiles and xyz, int16 thousandths of an ångström in SMILES order).
"""

import argparse
import csv
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rdkit import Chem, RDLogger
from rdkit.Chem.Scaffolds import MurckoScaffold

from ligandsmith.data.dataset import Manifest, write_manifest
from ligandsmith.data.shards import write_shards
from ligandsmith.records import Complex, Ligand, Rejection
from ligandsmith.structure.files import read_complex
from ligandsmith.structure.ligands import ligand_from_mol

PER_SERIES = 10  # complexes of one modelled congeneric series in one protein cluster
VALIDATION_PER_MILLE = 20  # of the scaffolds of the ligand-only records
BOND_LENGTHS = (0.95, 2.6)  # Å; S–I and P–I, the longest bonds of the vocabulary, stay below
PDB_COPIES = "mixed copies of Protein Data Bank entries"
LICENCE_OF_SET = {"schrodinger_fep": "MIT", "unifep": "Apache-2.0"}
PROVENANCE = """# Provenance of this data set

Complexes and ligands for training and examples, processed by `scripts/build_dataset.py`. `provenance.csv` counts the
records by source and licence; every record carries both as well.

- **Complexes** ({complexes} records, {train} train and {validation} validation): ligand and whole protein residues
  within 10 Å, heavy atoms, as deposited in the Protein Data Bank (CC0-1.0), or as modelled in benchmarks of openly
  licensed repositories (named with their commit). At most {per_series} complexes of one modelled series per protein
  cluster. `cluster` is the protein's cluster at 90 % sequence identity. No 30 % cluster and no PDB entry is in both
  splits.
- **Ligands** ({ligands} records): bound conformations of small molecules from the Protein Data Bank (CC0-1.0), without
  their proteins. About {percent:g} % of the scaffolds are the validation split: no Murcko scaffold is in both splits.

Left out, and listed one by one in `manifest.json`: cofactors and lipids as ligands, series beyond the cap, sources that
state no licence for coordinates of their own, and records that fail a check.

| reason | records |
|---|---|
{reasons}
"""


@dataclass(frozen=True)
class Archive:
    """The unpacked complexes of one archive and the rows of its index."""

    folder: Path
    rows: list[dict[str, Any]]

    @classmethod
    def unpack(cls, archive: Path, folder: Path) -> "Archive":
        with tarfile.open(archive, "r:xz") as tar:
            tar.extractall(folder, filter="data")
        return cls(folder, json.loads((folder / "index.json").read_text()))

    def complexes(self, chosen: Iterable[dict[str, Any]]) -> Iterator[Complex | Rejection]:
        """The records of the chosen index rows, by id."""
        for row in sorted(chosen, key=lambda r: str(r["id"])):
            place = self.folder / row["id"]
            record = read_complex(place / "pocket10.pdb", place / "ligand.sdf", row["id"])
            if isinstance(record, Rejection):
                yield without_paths(record, self.folder)
                continue
            refused = refuse_geometry(record.ligand, record.id)
            source = PDB_COPIES if row["source"].startswith("mixed") else row["source"]
            yield refused or replace(
                record, source=source, licence=licence(row), cluster=int(row["c90"].removeprefix("s"))
            )


def licence(row: dict[str, Any]) -> str:
    """Licence of the coordinates of an index row; empty if none is stated."""
    if row["pose"].startswith("crystal"):
        return "CC0-1.0"
    return LICENCE_OF_SET.get(row["id"].split("__")[0], "")


def without_paths(rejection: Rejection, folder: Path) -> Rejection:
    return replace(rejection, detail=rejection.detail.replace(f"{folder}/", ""))


def refuse_geometry(ligand: Ligand, id: str) -> Rejection | None:
    """Bonds that no molecule has come from a wrong assignment of atoms to coordinates."""
    i, j = ligand.bond_index.T
    length = np.linalg.norm(ligand.x[i] - ligand.x[j], axis=-1)
    wrong = (length < BOND_LENGTHS[0]) | (length > BOND_LENGTHS[1])
    if not wrong.any():
        return None
    k = int(wrong.argmax())
    return Rejection(id, "impossible bond length", f"atoms {i[k] + 1} and {j[k] + 1}: {length[k]:.2f} Å")


def select(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Rejection]]:
    """Index rows for the generator's training set, and the others with the reason."""
    chosen, rejections = [], []
    series: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: str(r["id"])):
        if row.get("cofactor"):
            rejections.append(Rejection(row["id"], "cofactor", "the ligand is a cofactor of many proteins"))
        elif row.get("lipid"):
            rejections.append(Rejection(row["id"], "lipid", "the ligand is a lipid"))
        elif not licence(row):
            rejections.append(Rejection(row["id"], "no stated licence", f"{row['pose']} of {row['source']}"))
        elif row["modelled_series"]:
            series.setdefault((row["c90"], row["id"].rsplit("__", 1)[0]), []).append(row)
        else:
            chosen.append(row)
    for members in series.values():
        # Evenly through the series, whose members are ordered by name.
        kept = set(np.linspace(0, len(members) - 1, min(PER_SERIES, len(members))).round().astype(int).tolist())
        for i, row in enumerate(members):
            if i in kept:
                chosen.append(row)
            else:
                rejections.append(Rejection(row["id"], "series cap", f"one of {len(members)} in its modelled series"))
    return chosen, rejections


def ligands(table: Path, prefix: str, source: str, licence_name: str) -> Iterator[Complex | Rejection]:
    """Ligand-only records of a Parquet table of smiles and xyz."""
    for number, row in enumerate(pq.read_table(table).to_pylist()):
        id = f"{prefix}-{number:05d}"
        mol = Chem.MolFromSmiles(row["smiles"])
        if mol is None:
            yield Rejection(id, "RDKit rejects the ligand", row["smiles"])
            continue
        ligand = ligand_from_mol(mol, id, np.array(row["xyz"]).reshape(-1, 3) / 1000)
        if isinstance(ligand, Rejection):
            yield ligand
            continue
        refused = refuse_geometry(ligand, id)
        yield refused or Complex(id, ligand, smiles=row["smiles"], source=source, licence=licence_name)


def in_validation(smiles: str) -> bool:
    """Whether the Murcko scaffold falls into the held-out share. Molecules without a ring are for training."""
    scaffold = MurckoScaffold.MurckoScaffoldSmiles(smiles)
    digest = hashlib.sha256(scaffold.encode()).digest()
    return bool(scaffold) and int.from_bytes(digest[:8], "big") % 1000 < VALIDATION_PER_MILLE


class Tally:
    """Passes records through, noting split, source and licence of those that are kept."""

    def __init__(self) -> None:
        self.splits: dict[str, list[str]] = {"train": [], "validation": []}
        self.origin: dict[str, tuple[str, str, str, str]] = {}

    def note(self, records: Iterable[Complex | Rejection], kind: str, split: str = "") -> Iterator[Complex | Rejection]:
        for record in records:
            if isinstance(record, Complex):
                where = split or ("validation" if in_validation(record.smiles) else "train")
                self.origin[record.id] = (kind, where, record.source, record.licence)
            yield record

    def keep(self, ids: Iterable[str]) -> None:
        for id in ids:
            self.splits[self.origin[id][1]].append(id)

    def rows(self) -> list[tuple[str, str, str, str, int]]:
        kept = [self.origin[id] for ids in self.splits.values() for id in ids]
        return [(*key, n) for key, n in sorted(Counter(kept).items())]


def build(raw: Path, out: Path) -> Manifest:
    """Write the whole data set folder `out`, replacing what is there."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        train = Archive.unpack(raw / "complexes_train.tar.xz", Path(scratch) / "train")
        validation = Archive.unpack(raw / "complexes_val.tar.xz", Path(scratch) / "validation")
        chosen, rejections = select(train.rows)
        held_out, refused = select(validation.rows)
        if out.exists():
            shutil.rmtree(out)
        out.mkdir(parents=True)

        def complexes() -> Iterator[Complex | Rejection]:
            yield from tally.note(train.complexes(chosen), "complexes", "train")
            yield from tally.note(validation.complexes(held_out), "complexes", "validation")

        ids, bad = write_shards(out, "complexes", complexes())
    alone = ligands(raw / "crystal_ligands.parquet", "pdb-ligand", "Protein Data Bank", "CC0-1.0")
    ligand_ids, bad_ligands = write_shards(out, "ligands", tally.note(alone, "ligands"))
    tally.keep([*ids, *ligand_ids])
    manifest = write_manifest(out, tally.splits, [*rejections, *refused, *bad, *bad_ligands])
    describe(out, manifest, tally)
    return manifest


def describe(out: Path, manifest: Manifest, tally: Tally) -> None:
    """Write provenance.csv and PROVENANCE.md."""
    with open(out / "provenance.csv", "w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["kind", "split", "source", "licence", "count"])
        writer.writerows(tally.rows())
    text = PROVENANCE.format(
        complexes=manifest.counts["complexes"],
        train=manifest.counts["complexes/train"],
        validation=manifest.counts["complexes/validation"],
        ligands=manifest.counts["ligands"],
        per_series=PER_SERIES,
        percent=VALIDATION_PER_MILLE / 10,
        reasons="\n".join(f"| {reason} | {n} |" for reason, n in manifest.rejection_counts().items()),
    )
    (out / "PROVENANCE.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/ligandsmith/datasets/crystal"))
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    manifest = build(options.raw, options.out)
    print(json.dumps({"counts": manifest.counts, "rejections": manifest.rejection_counts()}))


if __name__ == "__main__":
    main()
