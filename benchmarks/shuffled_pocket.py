"""Do molecules fit their own pocket better than another one? Vina's local minimum in both; a JSON line.

`python -m benchmarks shuffled_pocket COMPLEXES --checkpoint small --pockets 20 --num 5`
COMPLEXES holds ID/protein.pdb and ID/ligand.sdf. Each molecule is minimised in its own pocket and in the next one
of the list, placed there relative to the pocket's frame as it was in its own; the crystal ligand likewise, for scale.
Wilcoxon's signed-rank test is over molecules, and over pockets (the molecules of one are not independent).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from scipy.stats import wilcoxon

from benchmarks.measure import report
from ligandsmith.chem.protein import load_protein
from ligandsmith.evaluation.evaluate import load_reference
from ligandsmith.evaluation.tools.runner import Site, ToolFailure
from ligandsmith.evaluation.tools.vina import VinaTool
from ligandsmith.generation.generator import load
from ligandsmith.structure.pocket import frame_origin, read_pocket

UNDOCKABLE = np.nan


class Case:
    """A pocket, its crystal ligand, and Vina set up for it."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.ligand = load_reference(folder / "ligand.sdf")
        self.pocket, _ = read_pocket(folder / "protein.pdb", folder / "ligand.sdf")
        self.origin = np.asarray(frame_origin(self.pocket), dtype=np.float64)
        protein = load_protein(folder / "protein.pdb", self.ligand)
        self.answer = VinaTool(modes=("score", "minimise")).open(Site(self.name, protein, self.ligand))

    def minimised(self, mol: Chem.Mol, origin: np.ndarray) -> float:
        """kcal/mol of a molecule whose own pocket has this origin, moved into this pocket; NaN if Vina refuses it."""
        moved = Chem.Mol(mol)
        moved.GetConformer().SetPositions(mol.GetConformer().GetPositions() - origin + self.origin)
        try:
            return float(self.answer(moved)["vina_min"])
        except ToolFailure:
            return UNDOCKABLE


def chosen(complexes: Path, count: int, largest: int) -> list[Path]:
    """Evenly spread over the folder, each with a ligand of at most `largest` heavy atoms."""
    folders = [p.parent for p in sorted(complexes.glob("*/protein.pdb"))]
    fitting = [f for f in folders if load_reference(f / "ligand.sdf").GetNumHeavyAtoms() <= largest]
    return [fitting[i] for i in np.linspace(0, len(fitting) - 1, min(count, len(fitting))).astype(int)]


def compared(own: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """own, other [pockets, molecules] kcal/mol -> means, share better in the own pocket, p values (one-sided)."""
    valid = np.isfinite(own) & np.isfinite(other)
    a, b = own[valid], other[valid]
    kept = valid.any(1)
    difference = np.where(valid, own - other, np.nan)[kept]
    return {
        "n": int(valid.sum()), "failed": int((~valid).sum()), "own": a.mean(), "other": b.mean(),
        "own_median": float(np.median(a)), "other_median": float(np.median(b)), "better_in_own": (a < b).mean(),
        "p_molecules": float(wilcoxon(a, b, alternative="less").pvalue),
        "p_pockets": float(wilcoxon(np.nanmean(difference, 1), alternative="less").pvalue),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("complexes", type=Path)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--pockets", type=int, default=20)
    parser.add_argument("--num", type=int, default=5, help="molecules per pocket")
    parser.add_argument("--largest", type=int, default=40, help="heavy atoms of the crystal ligand, at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cases = [Case(folder) for folder in chosen(args.complexes, args.pockets, args.largest)]
    generator = load(args.checkpoint)
    own, other = np.full((2, len(cases), args.num), UNDOCKABLE)
    crystal = np.full((2, len(cases), 1), UNDOCKABLE)
    for row, case in enumerate(cases):
        next_case = cases[(row + 1) % len(cases)]
        crystal[:, row, 0] = [c.minimised(case.ligand, case.origin) for c in (case, next_case)]
        size = str(case.ligand.GetNumHeavyAtoms())
        for made in generator.generate(case.pocket, args.num, args.seed, num_atoms=size):
            if made.mol is not None and made.connected:
                own[row, made.index], other[row, made.index] = (
                    c.minimised(made.mol, case.origin) for c in (case, next_case)
                )
    report(
        benchmark="shuffled_pocket", checkpoint=args.checkpoint, pockets=len(cases), num=args.num, seed=args.seed,
        molecules=compared(own, other), crystal=compared(*crystal),
    )  # fmt: skip


if __name__ == "__main__":
    main()
