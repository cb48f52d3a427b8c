"""What relaxation does to crystal poses and to poses with noise, in the pocket and without it; a JSON line for each.

`python -m benchmarks relaxation COMPLEXES` ; COMPLEXES holds ID/protein.pdb and ID/ligand.sdf. Clashes are pairs of
heavy atoms nearer than 0.75 of their van der Waals radii; `contacts` are those of PoseCheck, hydrogens included.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from rdkit import Chem

from benchmarks.measure import report
from ligandsmith.chem.protein import ProteinView, count_clashes, load_protein
from ligandsmith.chem.relax import RelaxFailure, relax
from ligandsmith.chem.surroundings import ProteinSurroundings
from ligandsmith.evaluation.evaluate import load_reference
from ligandsmith.evaluation.tools.clashes import count_posecheck_clashes

NOISE = 0.1  # Å, of each coordinate


def noisy(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    copy = Chem.Mol(mol)
    x = mol.GetConformer().GetPositions()
    copy.GetConformer().SetPositions(x + rng.normal(0, NOISE, x.shape))
    return copy


def measured(poses: list[tuple[Chem.Mol, ProteinView]], in_pocket: bool) -> dict[str, float]:
    rows, failures, seconds = [], 0, []
    for mol, protein in poses:
        around = ProteinSurroundings(protein)
        began = time.process_time()
        try:
            result = relax(mol, around.of(mol) if in_pocket else None)
        except RelaxFailure:
            failures += 1
            continue
        seconds.append(time.process_time() - began)
        after = Chem.RemoveHs(result.mol)
        clashes = [count(pose, protein) for count in (count_clashes, count_posecheck_clashes) for pose in (mol, after)]
        rows.append((*clashes, result.moved_rmsd, result.energy_before, result.energy_after))
    table = np.array(rows)
    names = ("clashes_before", "clashes_after", "contacts_before", "contacts_after")
    return {
        "n": len(rows), "failures": failures, **dict(zip(names, table[:, :4].mean(0).tolist(), strict=True)),
        "clash_free_before": float((table[:, 0] == 0).mean()), "clash_free_after": float((table[:, 1] == 0).mean()),
        "worse": int((table[:, 1] > table[:, 0]).sum()), "moved": float(np.median(table[:, 4])),
        "energy_before": float(np.median(table[:, 5])), "energy_after": float(np.median(table[:, 6])),
        "cpu_s": float(np.mean(seconds)), "cpu_s_most": max(seconds),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("complexes", type=Path)
    args = parser.parse_args()
    crystal = []
    for folder in sorted(p.parent for p in args.complexes.glob("*/protein.pdb")):
        mol = load_reference(folder / "ligand.sdf")
        crystal.append((mol, load_protein(folder / "protein.pdb", mol)))
    rng = np.random.default_rng(0)
    for start, poses in (("crystal", crystal), ("noise", [(noisy(mol, rng), protein) for mol, protein in crystal])):
        for in_pocket in (True, False):
            report(benchmark="relaxation", start=start, in_pocket=in_pocket, **measured(poses, in_pocket))


if __name__ == "__main__":
    main()
