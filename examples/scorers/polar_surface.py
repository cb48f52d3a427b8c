"""A score of your own as a command: reads an SDF and writes a CSV with the columns index and score.

`ligandsmith optimise ... --scorer "tpsa=python polar_surface.py {sdf} {csv}" --objective "vina_min, -tpsa:0.3"`
"""

import csv
import sys

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors


def main(sdf: str, table: str) -> None:
    """Write the polar surface (Å² / 100) of each molecule of the SDF."""
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "score"])
        for mol in Chem.SDMolSupplier(sdf):
            writer.writerow([mol.GetProp("index"), rdMolDescriptors.CalcTPSA(mol) / 100])


if __name__ == "__main__":
    main(*sys.argv[1:])
