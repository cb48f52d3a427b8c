"""Covalent ligands: the share with a bond of proper length and angle to a cysteine, serine or lysine near the site.

`python -m benchmarks covalent COMPLEXES --warhead acrylamide --pockets 10 --num 4`
COMPLEXES holds ID/protein.pdb (or .pdb.gz) and ID/ligand.sdf. Each residue that the warhead reacts with and has
room for is used, if the reacting atom lies within 7 Å of the ligand, whose size new ligands have. One JSON line.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import cpu_seconds, report
from benchmarks.required_interactions import answers, pass_posebusters
from ligandsmith.design.constraints import Constraints
from ligandsmith.design.covalent import CovalentSite
from ligandsmith.design.warheads import shipped_warheads
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.sources import load_reference
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.evaluation.tools.strain import StrainTool
from ligandsmith.generation.generator import load
from ligandsmith.records import Pocket
from ligandsmith.structure.pocket import read_pocket

NEAR = 7.0  # Å


def sites(folder: Path, warhead: str) -> Iterator[tuple[str, int, Pocket, CovalentSite]]:
    """Name, number of ligand atoms, pocket and reactive residue."""
    for ligand in sorted(folder.glob("*/ligand.sdf")):
        reference = load_reference(ligand).GetConformer().GetPositions()
        pocket, _ = read_pocket(next(iter(sorted(ligand.parent.glob("protein.pdb*")))), ligand)
        for label in pocket.labels:
            chain, name, number = label.split(":")
            if name in shipped_warheads()[warhead].residues:
                try:
                    site = CovalentSite(pocket, f"{chain}:{name}{number}", warhead)
                except LigandsmithError as error:
                    print(f"{ligand.parent.name}: {error}", flush=True)
                    continue
                if np.linalg.norm(reference - site.x[site.atom], axis=1).min() < NEAR:
                    yield ligand.parent.name, len(reference), pocket, site


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("complexes", type=Path)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--warhead", choices=list(shipped_warheads()), default="acrylamide")
    parser.add_argument("--pockets", type=int, default=10)
    parser.add_argument("--num", type=int, default=4, help="ligands per pocket")
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = load(args.checkpoint)
    bonded, passed, strains, lengths, angles, core_s = [], [], [], [], [], 0.0
    for number, (name, size, pocket, site) in enumerate(sites(args.complexes, args.warhead)):
        if number == args.pockets:
            break
        began = cpu_seconds()
        ligands = generator.generate(
            pocket, args.num, args.seed, num_atoms=str(max(size, site.warhead.num_atoms + 8)),
            candidates=args.candidates, constraints=Constraints(covalent=site.label, warhead=args.warhead),
        )  # fmt: skip
        core_s += cpu_seconds() - began
        mols = [ligand.mol for ligand in ligands if ligand.mol is not None]
        placed = [mol.GetConformer().GetPositions()[site.warhead.bonded] for mol in mols]
        found = [site.bonded(x) for x in placed]
        print(name, site.label, f"bonded {sum(found)} of {args.num}", flush=True)
        bonded += found + [False] * (args.num - len(mols))
        lengths += [site.length_and_angle(x)[0] for x in placed]
        angles += [site.length_and_angle(x)[1] for x in placed]
        checks = pass_posebusters(Site(), mols)
        passed += checks + [False] * (args.num - len(mols))
        strains += [a["strain_uff"] for a in answers(StrainTool(), Site(), mols) if a.get("strain_uff") is not None]
    report(
        benchmark="covalent", warhead=args.warhead, n=len(bonded), bonded=float(np.mean(bonded)),
        lengths=[min(lengths), max(lengths)], angles=[min(angles), max(angles)],
        posebusters_without_protein=float(np.mean(passed)), strain_uff=float(np.median(strains)),
        core_s=core_s / len(bonded),
    )  # fmt: skip


if __name__ == "__main__":
    main()
