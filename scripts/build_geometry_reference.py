"""Count bond lengths, angles and torsions of the shipped crystal ligands (training split) into the package's data."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from rdkit import Chem, rdBase

from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.evaluation.geometry import GEOMETRY_KINDS, REFERENCE_FILE, REFERENCE_LEAST, bin_counts, edges, measure
from ligandsmith.structure.ligands import mol_from_ligand

PACKAGE = Path(__file__).resolve().parents[1] / "src/ligandsmith"


def main() -> None:
    """Write the reference; types seen fewer than REFERENCE_LEAST times are left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PACKAGE / REFERENCE_FILE)
    arguments = parser.parse_args()
    data = ComplexDataset(None, "train", "ligands")
    mols: list[Chem.Mol] = []
    licences: Counter[str] = Counter()
    with rdBase.BlockLogs():
        for record in (data[i] for i in range(len(data))):
            licences[record.licence] += 1
            mols.append(mol_from_ligand(record.ligand))
    found = measure(mols)
    content: dict[str, Any] = {
        "source": f"ligands of the Protein Data Bank: training split of the shipped data, {len(mols)} molecules",
        "licence": ", ".join(sorted(licences)),
        "molecules": len(mols),
    }
    for kind in GEOMETRY_KINDS:
        content[kind] = {
            "edges": [float(edges(kind)[0]), float(edges(kind)[-1]), len(edges(kind)) - 1],
            "counts": {
                name: _sparse(bin_counts(kind, values).astype(int).tolist())
                for name, values in sorted(found[kind].items())
                if len(values) >= REFERENCE_LEAST
            },
        }
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(mols)} molecules")


def _sparse(counts: list[int]) -> list[int]:
    """First bin with a count, then the counts up to the last."""
    filled = [i for i, n in enumerate(counts) if n]
    return [filled[0], *counts[filled[0] : filled[-1] + 1]] if filled else [0]


if __name__ == "__main__":
    main()
