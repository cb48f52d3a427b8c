"""Required interactions: the share of ligands that have one, with and without asking for it, and what it costs.

`python -m benchmarks required_interactions COMPLEXES --kind hbond --pockets 10 --num 4`
COMPLEXES holds ID/protein.pdb (or .pdb.gz) and ID/ligand.sdf. One residue with which the ligand of a complex interacts
is required, or with `--kind like` all its interactions; ProLIF judges with the whole protein. Sizes are those of the
ligands. One JSON line with, one without.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rdkit import Chem

from benchmarks.measure import cpu_seconds, report
from ligandsmith.chem.protein import load_protein
from ligandsmith.design.constraints import Constraints
from ligandsmith.design.interactions import KINDS, InteractionSite
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.sources import load_reference
from ligandsmith.evaluation.tools.interactions import InteractionsTool
from ligandsmith.evaluation.tools.posebusters import PoseBustersTool
from ligandsmith.evaluation.tools.runner import Answer, Site, Tool, run_tool
from ligandsmith.evaluation.tools.strain import StrainTool
from ligandsmith.generation.generator import LigandGenerator, load
from ligandsmith.records import GeneratedLigand, Pocket
from ligandsmith.structure.pocket import read_pocket

LIKE = "like"
Pairs = frozenset[tuple[str, str]]  # of a residue and a type of interaction


class Task(NamedTuple):
    """A complex and what is required of ligands in it."""

    protein: Path
    reference: Chem.Mol
    pocket: Pocket
    constraints: Constraints
    wanted: tuple[Pairs, ...]  # one pair of each is needed


def tasks(folder: Path, kind: str) -> Iterator[Task]:
    """Of each complex that has an interaction of the kind."""
    for ligand in sorted(folder.glob("*/ligand.sdf")):
        protein = next(iter(sorted(ligand.parent.glob("protein.pdb*"))))
        pocket, _ = read_pocket(protein, ligand)
        reference = load_reference(ligand)
        try:
            found = InteractionSite(pocket, []).like(reference)
        except LigandsmithError:
            continue
        if kind == LIKE:
            wanted = tuple(frozenset({(each.residue, name)}) for each in found for name in each.types)
            yield Task(protein, reference, pocket, Constraints(like=Chem.MolToMolBlock(reference)), wanted)
            continue
        found = [each for each in found if each.kind == kind]
        if found:
            residue = found[len(found) // 2].residue
            wanted = (frozenset((residue, name) for name in KINDS[kind]),)
            yield Task(protein, reference, pocket, Constraints(require=(f"{kind} {residue}",)), wanted)


def answers(tool: Tool, site: Site, mols: list[Chem.Mol]) -> list[dict[str, Any]]:
    """Of the molecules for which there is one."""
    found: list[Answer | None] | str = run_tool(tool, site, mols)
    if isinstance(found, str):
        raise SystemExit(found)
    return [a if isinstance(a, dict) else {} for a in found]


def pass_posebusters(site: Site, mols: list[Chem.Mol]) -> list[bool]:
    """Whether each molecule passes every check; checks that do not apply do not count."""
    return [bool(a) and all(v is not False for v in a.values()) for a in answers(PoseBustersTool(), site, mols)]


def judged(ligands: list[GeneratedLigand], site: Site, wanted: tuple[Pairs, ...]) -> dict[str, list[Any]]:
    """Whether each ligand has the interactions and passes PoseBusters (of all requested), and strains of those made."""
    mols = [ligand.mol for ligand in ligands if ligand.mol is not None]
    rows: dict[str, list[Any]] = {"satisfied": [], "posebusters": [], "strain": []}
    for found in answers(InteractionsTool(), site, mols):
        pairs = {(each["residue"], each["type"]) for each in found.get("interactions", [])}
        rows["satisfied"].append(all(pairs & one for one in wanted))
    rows["posebusters"] = pass_posebusters(site, mols)
    rows["strain"] = [a["strain_uff"] for a in answers(StrainTool(), site, mols) if a.get("strain_uff") is not None]
    for name in ("satisfied", "posebusters"):
        rows[name] += [False] * (len(ligands) - len(mols))
    return rows


def run(generator: LigandGenerator, args: argparse.Namespace, asked: bool) -> dict[str, Any]:
    """The pockets in turn."""
    rows: dict[str, list[Any]] = {"satisfied": [], "posebusters": [], "strain": []}
    made, used, core_s = 0, 0, 0.0
    for number, task in enumerate(tasks(args.complexes, args.kind)):
        if number < args.skip:
            continue
        if number == args.pockets + args.skip:
            break
        began = cpu_seconds()
        try:
            ligands = generator.generate(
                task.pocket, args.num, args.seed, num_atoms=str(task.reference.GetNumAtoms()),
                candidates=args.candidates, constraints=task.constraints if asked else None,
            )  # fmt: skip
        except LigandsmithError as error:
            print(f"{task.protein.parent.name}: {error}", flush=True)
            ligands = [GeneratedLigand(i, 0, None, False, False, False, "refused") for i in range(args.num)]
        core_s += cpu_seconds() - began
        site = Site(protein=load_protein(task.protein, task.reference), reference=task.reference)
        found = judged(ligands, site, task.wanted)
        counts = (f"{name} {sum(found[name])}" for name in ("satisfied", "posebusters"))
        print(task.protein.parent.name, *task.constraints.require, *counts, flush=True)
        for name, values in found.items():
            rows[name] += values
        made += sum(ligand.mol is not None for ligand in ligands)
        used += sum(ligand.candidates for ligand in ligands)
    count = len(rows["satisfied"])
    return {
        "n": count, "satisfied": float(np.mean(rows["satisfied"])), "made": made / count,
        "posebusters": float(np.mean(rows["posebusters"])),
        "posebusters_of_made": sum(rows["posebusters"]) / max(made, 1),
        "strain_uff": float(np.median(rows["strain"])), "candidates": used / count, "core_s": core_s / count,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("complexes", type=Path)
    parser.add_argument("--checkpoint", default="small")
    parser.add_argument("--kind", choices=[*KINDS, LIKE], default="hbond")
    parser.add_argument("--pockets", type=int, default=10)
    parser.add_argument("--skip", type=int, default=0, help="complexes that are left out at the start")
    parser.add_argument("--num", type=int, default=4, help="ligands per pocket")
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", action=argparse.BooleanOptionalAction, default=True, help="also without asking")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = load(args.checkpoint)
    for asked in (True, False) if args.without else (True,):
        report(benchmark="required_interactions", kind=args.kind, asked=asked, **run(generator, args, asked))


if __name__ == "__main__":
    main()
