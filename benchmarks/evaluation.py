"""Time of evaluating many molecules of one pocket, everything but docking; the last line printed is JSON.

`python -m benchmarks evaluation --num 1000 --workers 2`

The molecules are ligands of the data set (crystal poses), moved to the place of the pocket's own ligand: real molecules
of real sizes, most of which clash there.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from benchmarks.measure import report
from ligandsmith.chem.builder import BuiltLigand, build_molecule
from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.output import write_evaluation
from ligandsmith.evaluation.protocols import adapted
from ligandsmith.records import DecodedLigand, Ligand

SITE = Path(__file__).parents[1] / "examples/complexes/7off"


def placed(num: int) -> list[Chem.Mol]:
    """Ligands of 15 to 35 heavy atoms with their centre at that of the reference."""
    center = read_sdf(SITE / "ligand.sdf")[0].mol.GetConformer().GetPositions().mean(0)
    data = ComplexDataset(None, "train", "ligands")
    sizes = data.sizes()[0]
    rows = np.random.default_rng(0).permutation(np.flatnonzero((sizes >= 15) & (sizes <= 35)))[:num]
    mols = []
    for row in rows.tolist():
        ligand = data[row].ligand
        built = build_molecule(as_decoded(ligand, ligand.x - ligand.x.mean(0) + center))
        assert isinstance(built, BuiltLigand), built
        mols.append(built.mol)
    return mols


def as_decoded(ligand: Ligand, x: NDArray[Any]) -> DecodedLigand:
    """A ligand of the data set as a decoder that is sure of everything would give it."""
    n = ligand.num_atoms
    bonds = np.zeros((n, n, 5), dtype=np.float32)
    bonds[..., 0] = 1
    for (i, j), kind in zip(ligand.bond_index, ligand.bond_type, strict=True):
        bonds[[i, j], [j, i]] = np.eye(5)[kind]
    return DecodedLigand(ligand.element, ligand.charge, ligand.aromatic, ligand.num_h, bonds, x.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tools", nargs="+", default=["posebusters", "strain", "interactions", "vina"])
    args = parser.parse_args()
    protocol = adapted("quick", tools=args.tools)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sdf(folder / "ligands.sdf", [(mol, {}) for mol in placed(args.num)])
        began = time.perf_counter()
        options = EvaluationOptions(protocol, folder=folder / "out", workers=args.workers)
        evaluation = evaluate(
            folder / "ligands.sdf", SITE / "protein.pdb.gz", SITE / "ligand.sdf", args.num, options=options
        )
        write_evaluation(evaluation, folder / "out")
        wall = time.perf_counter() - began
        failures = {
            tool: sum(isinstance(json.loads(line)[1], str) for line in path.read_text().splitlines())
            for tool in args.tools
            if (path := folder / "out" / f"{tool}.jsonl").exists()
        }
    report(benchmark="evaluation", num=args.num, workers=args.workers, wall_s=wall, s_per_molecule=wall / args.num,
           tools=args.tools, failures=failures)  # fmt: skip


if __name__ == "__main__":
    main()
