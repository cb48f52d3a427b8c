"""Pictures of molecules that pass every PoseBusters check and of those that do not, at random, with the failed checks.

`python -m benchmarks pictures RUN/evaluation/per_molecule.csv --out docs/figures`
writes typical.svg and bad.svg from the table that `ligandsmith evaluate` wrote.
"""

import argparse
import csv
import random
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import Draw

PER_ROW = 4
SHARED = {"pb_valid", "pb_valid_of_requested", "pb_molecule", "pb_pocket"}


def failed_checks(row: dict[str, str]) -> list[str]:
    """Names of the checks that a molecule fails."""
    checks = [name for name in row if name.startswith("pb_") and name not in SHARED]
    return [name.removeprefix("pb_").replace("_", " ") for name in checks if row[name] in ("False", "0", "0.0")]


def draw(rows: list[dict[str, str]], path: Path) -> None:
    mols = [Chem.MolFromSmiles(row["smiles"]) for row in rows]
    legends = ["; ".join(failed_checks(row)) or row["reason"] for row in rows]
    picture = Draw.MolsToGridImage(mols, molsPerRow=PER_ROW, subImgSize=(260, 200), legends=legends, useSVG=True)
    path.write_text(picture if isinstance(picture, str) else picture.data, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--num", type=int, default=8, help="of each kind, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    with args.table.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["smiles"] and row["pb_valid"]]
    random.Random(args.seed).shuffle(rows)
    good = [row for row in rows if not failed_checks(row)]
    bad = [row for row in rows if failed_checks(row)]
    for name, chosen in (("typical", good), ("bad", bad)):
        if chosen:
            draw(chosen[: args.num], args.out / f"{name}.svg")
        print(f"{name}: {len(chosen)} of {len(rows)}")


if __name__ == "__main__":
    main()
