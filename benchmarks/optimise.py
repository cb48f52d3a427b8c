"""Optimization from crystal ligands of validation pockets, against the same number of randomly sampled ligands.

`python -m benchmarks optimise --pockets 12 --num 300 --workers 2 --out /tmp/optimise`
Pockets are spread evenly over those of the validation split whose ligand has 18 to 34 heavy atoms; ligands have the
size of that one, three atoms more or fewer. Two other ways have the same number of ligands, scores and choice:
`random` is sampling of fresh ligands, not steered, each of as many candidates as in an optimisation; `best_of_8` is
sampling of fresh ligands that are steered as in an optimisation, each the most plausible of eight candidates.
`--data FOLDER` takes complexes of a folder instead, with `ligand.sdf` and `protein.pdb` each. Of each way, the ten best
by the objective that pass PoseBusters and differ: their mean Vina score, minimised, against that of the crystal ligand;
so they are chosen by the score shown. `--dock N` also docks the N best again. Results are kept in OUT, where an
interrupted run goes on.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem
from scipy.stats import wilcoxon

from benchmarks.measure import report, validation_complexes
from benchmarks.performance_page import table
from benchmarks.required_interactions import answers, pass_posebusters
from ligandsmith.chem.protein import load_protein
from ligandsmith.chem.surroundings import protein_of
from ligandsmith.config import Config
from ligandsmith.design.history import morgan_fingerprint
from ligandsmith.design.moves import FRESH
from ligandsmith.design.setup import optimise
from ligandsmith.evaluation.columns import sa_score
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.evaluation.tools.vina import VinaTool
from ligandsmith.parallel.devices import use_threads
from ligandsmith.records import Pocket
from ligandsmith.structure.ligands import mol_from_ligand, read_ligand, without_hydrogens
from ligandsmith.structure.pocket import mark_pocket, read_pocket

OBJECTIVE = "vina_min, qed:0.5, sa:0.5, -strain_uff"
SIZES = (18, 34)  # heavy atoms of the crystal ligands
SLACK = 3
TOP = 10
WAYS: dict[str, dict[str, Any]] = {
    "optimised": {},
    "random": {"moves": (FRESH,), "steer": "none"},
    "best_of_8": {"moves": (FRESH,), "candidates": 8},
}  # options of each


class Case(NamedTuple):
    """A crystal ligand in its pocket."""

    name: str
    pocket: Pocket
    mol: Chem.Mol
    protein: Path | None = None


def of_validation(count: int) -> Iterator[Case]:
    """Complexes of the shipped data set."""
    for record in validation_complexes(count, SIZES):
        assert record.pocket is not None
        yield Case(
            record.id, mark_pocket(record.pocket, record.ligand.x, Config().pocket), mol_from_ligand(record.ligand)
        )


def of_folder(folder: Path, count: int) -> Iterator[Case]:
    """Complexes of a folder."""
    found = []
    for place in sorted(path.parent for path in folder.glob("*/ligand.sdf")):
        mol = without_hydrogens(read_ligand(place / "ligand.sdf"))
        if SIZES[0] <= mol.GetNumAtoms() <= SIZES[1] and (place / "protein.pdb").is_file():
            found.append((place, mol))
    for i in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int):
        place, mol = found[i]
        pocket, _ = read_pocket(place / "protein.pdb", place / "ligand.sdf", allow_dropped=True)
        yield Case(place.name, pocket, mol, place / "protein.pdb")


def run(case: Case, way: str, args: argparse.Namespace) -> dict[str, Any]:
    """What one way gives in one pocket."""
    n, out = case.mol.GetNumAtoms(), args.out / f"{case.name}_{way}"
    result = optimise(
        case.pocket, case.mol, args.objective, args.num, out=out, protein=case.protein, seed=args.seed, num=TOP,
        num_atoms=f"{n - SLACK}-{n + SLACK}", checkpoint=args.checkpoint, workers=args.workers, **WAYS[way],
    )  # fmt: skip
    best = result.chosen
    scored = [row for row in result.rows if row.score is not None and row.round > 0]
    start = result.rows[0].values
    protein = protein_of(case.pocket) if case.protein is None else load_protein(case.protein, case.mol)
    site, poses = Site(protein=protein, reference=case.mol), [r.pose for r in best]
    checks = pass_posebusters(site, poses)
    again = answers(VinaTool(modes=("dock",)), site, poses[: args.dock]) if args.dock else []
    docked = [a["vina_dock"] for a in again if "vina_dock" in a]
    return {
        "pocket": case.name, "way": way, "atoms_start": n, "start": start["vina_min"], "n": len(best),
        "scored": len(scored), "seconds": sum(result.seconds), "vina_min": mean([r.values["vina_min"] for r in best]),
        "qed": mean([r.values["qed"] for r in best]), "atoms": mean([r.pose.GetNumAtoms() for r in best]),
        "sa": mean([(10 - sa_score(r.pose)) / 9 for r in best]),
        "strain": float(np.median([r.values["strain_uff"] for r in best])),
        "pb": mean(checks), "diversity": diversity(poses), "docked": mean(docked) if docked else None,
    }  # fmt: skip


def compared(ours: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """How far below the others, in how many pockets, and how likely that is by chance (Wilcoxon, one-sided)."""
    differ = np.subtract(ours, others)
    p = float(wilcoxon(differ, alternative="less").pvalue) if differ.any() else None
    return {"below": mean(differ), "better_in": int((differ < 0).sum()), "p": p}


def mean(values: Sequence[Any]) -> float:
    return float(np.mean(values))


def diversity(mols: Sequence[Chem.Mol]) -> float:
    """One minus the mean Tanimoto similarity of pairs."""
    prints = [morgan_fingerprint(mol) for mol in mols]
    pairs = [Chem.DataStructs.TanimotoSimilarity(a, b) for i, a in enumerate(prints) for b in prints[:i]]
    return 1 - mean(pairs) if pairs else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--data", type=Path, help="folder of complexes (default: the validation split)")
    parser.add_argument("--pockets", type=int, default=12)
    parser.add_argument("--num", type=int, default=300, help="ligands of each run")
    parser.add_argument("--objective", default=OBJECTIVE, help="must have vina_min, qed and strain_uff")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=["optimised", "random"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="with one worker")
    parser.add_argument("--dock", type=int, default=0, help="of the best ligands, docked again with Vina")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    use_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    cases = of_folder(args.data, args.pockets) if args.data else of_validation(args.pockets)
    rows = []
    for case in cases:
        for way in args.ways:
            rows.append(run(case, way, args))
            print(json.dumps(rows[-1]), flush=True)
    columns = ("start", "vina_min", "qed", "sa", "strain", "pb", "diversity", "atoms_start", "atoms", "scored",
               "seconds")  # fmt: skip
    means = {way: {c: mean([r[c] for r in rows if r["way"] == way]) for c in columns} for way in args.ways}
    for way in args.ways if args.dock else ():
        means[way]["docked"] = mean([r["docked"] for r in rows if r["way"] == way and r["docked"] is not None])
    cells = [[way, *(f"{value:.2f}" for value in means[way].values())] for way in args.ways]
    print(table(["", *means[args.ways[0]]], cells))
    gains = {way: [r["vina_min"] - r["start"] for r in rows if r["way"] == way] for way in args.ways}
    others = [way for way in args.ways if way != "optimised"] if "optimised" in args.ways else []
    report(
        benchmark="optimise", checkpoint=args.checkpoint, objective=args.objective, num=args.num, means=means,
        pockets=len(rows) // len(args.ways), below_start={way: mean(gain) for way, gain in gains.items()},
        against={way: compared(gains["optimised"], gains[way]) for way in others},
    )  # fmt: skip


if __name__ == "__main__":
    main()
