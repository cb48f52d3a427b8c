"""Kept parts: the share of ligands in which they lie exactly where they were, of one piece, with another scaffold.

`python -m benchmarks kept_parts COMPLEXES --kind hop --pockets 16 --num 4`
COMPLEXES holds ID/protein.pdb (or .pdb.gz) and ID/ligand.sdf. The ligand of each complex loses its scaffold (hop) or
all but that (decorate); new ones have its size, three atoms more or fewer. What is kept may touch the protein already,
so the share of the references that pass PoseBusters is reported, too. One JSON line.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rdkit import Chem

from benchmarks.measure import cpu_seconds, report
from benchmarks.required_interactions import answers, pass_posebusters
from ligandsmith.chem.fragment import Fragment
from ligandsmith.chem.protein import load_protein
from ligandsmith.design.constraints import Constraints
from ligandsmith.design.parts import murcko, scaffold, substituents
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.sources import load_reference
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.evaluation.tools.strain import StrainTool
from ligandsmith.generation.generator import load
from ligandsmith.records import GeneratedLigand, Pocket
from ligandsmith.structure.ligands import mol_from_ligand
from ligandsmith.structure.pocket import read_pocket

KINDS = {"hop": substituents, "decorate": scaffold}
SIZES = (15, 35)  # heavy atoms of the crystal ligand
SLACK = 3
EXACT = 1e-3  # Å


class Task(NamedTuple):
    """A complex and what is kept of its ligand."""

    protein: Path
    reference: Chem.Mol
    pocket: Pocket
    kept: Fragment

    @property
    def pieces(self) -> int:
        """Of the kept part."""
        return len(Chem.GetMolFrags(mol_from_ligand(self.kept.ligand)))

    def size(self) -> str:
        """Heavy atoms of new ligands."""
        n = self.reference.GetNumAtoms()
        return f"{max(n - SLACK, self.kept.num_atoms + 1)}-{n + SLACK}"


def tasks(folder: Path, kind: str) -> Iterator[Task]:
    """Of each complex whose ligand has such a part."""
    for ligand in sorted(folder.glob("*/ligand.sdf")):
        reference = load_reference(ligand)
        if not SIZES[0] <= reference.GetNumAtoms() <= SIZES[1]:
            continue
        try:
            kept = KINDS[kind](reference)
        except LigandsmithError as error:
            print(f"{ligand.parent.name}: {error}", flush=True)
            continue
        protein = next(iter(sorted(ligand.parent.glob("protein.pdb*"))))
        yield Task(protein, reference, read_pocket(protein, ligand)[0], kept)


def counted(task: Task, ligands: list[GeneratedLigand]) -> Counter[str]:
    """How many ligands have each property that is wanted."""
    found: Counter[str] = Counter(n=len(ligands), n_of_several_pieces=len(ligands) * (task.pieces > 1))
    for ligand in ligands:
        if ligand.mol is None:
            continue
        kept = ligand.mol.GetConformer().GetPositions()[: task.kept.num_atoms]
        found["made"] += 1
        found["connected"] += ligand.connected
        found["several_pieces_connected"] += ligand.connected and task.pieces > 1
        found["exact"] += bool(np.abs(kept - task.kept.ligand.x).max() < EXACT)
        found["other_scaffold"] += murcko(ligand.mol) != murcko(task.reference)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("complexes", type=Path)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--kind", choices=list(KINDS), default="hop")
    parser.add_argument("--pockets", type=int, default=16)
    parser.add_argument("--num", type=int, default=4, help="ligands per pocket")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = load(args.checkpoint)
    total: Counter[str] = Counter()
    strains: list[float] = []
    reference_strains: list[float] = []
    core_s = 0.0
    for number, task in enumerate(tasks(args.complexes, args.kind)):
        if number == args.pockets:
            break
        demands = Constraints(other_scaffold=murcko(task.reference) if args.kind == "hop" else "")
        began = cpu_seconds()
        ligands = generator.generate(
            task.pocket, args.num, args.seed, num_atoms=task.size(), fix=task.kept, constraints=demands
        )
        core_s += cpu_seconds() - began
        found = counted(task, ligands)
        mols = [task.reference, *(ligand.mol for ligand in ligands if ligand.mol is not None)]
        site = Site(protein=load_protein(task.protein, task.reference), reference=task.reference)
        passed = pass_posebusters(site, mols)
        found.update(references=1, references_posebusters=passed[0], posebusters=sum(passed[1:]))
        strain = [a.get("strain_uff") for a in answers(StrainTool(), site, mols)]
        strains += [value for value in strain[1:] if value is not None]
        reference_strains += [value for value in strain[:1] if value is not None]
        print(task.protein.parent.name, task.pieces, dict(found), flush=True)
        total += found
    report(
        benchmark="kept_parts", kind=args.kind, **total, strain_uff=float(np.median(strains)),
        references_strain_uff=float(np.median(reference_strains)), core_s=core_s / total["n"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
