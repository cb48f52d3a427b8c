"""Write the table behind `--rings known`: ring systems of the shipped crystal ligands and of drugs, with counts.

`python scripts/build_ring_systems.py drugs.smi`
`drugs.smi` has one SMILES a line, as ChEMBL lists its approved drugs; structures that RDKit cannot read are counted.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from rdkit import Chem, RDLogger

import ligandsmith.design
from ligandsmith.data.dataset import ComplexDataset, Split
from ligandsmith.data.shards import DATASET_KINDS, DatasetKind
from ligandsmith.design.ring_systems import TABLE, ring_systems
from ligandsmith.files import atomic_write
from ligandsmith.records import Complex
from ligandsmith.structure.ligands import mol_from_ligand


def counts(mols: Iterable[Chem.Mol]) -> Counter[str]:
    """Number of molecules with each ring system."""
    return Counter(smiles for mol in mols for smiles in {smiles for smiles, _ in ring_systems(mol)})


def records(kind: DatasetKind) -> Iterator[Complex]:
    """Of the training split."""
    data = ComplexDataset(None, Split.TRAIN, kind)
    return (data[i] for i in range(len(data)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drugs", type=Path)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    drugs = [Chem.MolFromSmiles(line.split()[0]) for line in args.drugs.read_text().splitlines() if line.strip()]
    read = [mol for mol in drugs if mol is not None]
    print(f"{len(read)} drugs, {len(drugs) - len(read)} not readable")
    crystal = [mol_from_ligand(record.ligand)
               for kind in DATASET_KINDS for record in records(kind)]  # fmt: skip
    print(f"{len(crystal)} crystal ligands")
    columns = counts(crystal), counts(read)
    names = sorted(columns[0] | columns[1], key=lambda smiles: (-columns[0][smiles] - columns[1][smiles], smiles))
    place = Path(ligandsmith.design.__file__).parent / TABLE
    with atomic_write(place) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["smiles", "crystal_ligands", "drugs"])
        writer.writerows([name, *(column[name] for column in columns)] for name in names)
    print(f"{len(names)} ring systems")


if __name__ == "__main__":
    main()
