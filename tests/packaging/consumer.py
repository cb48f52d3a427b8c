"""A user's script, as `mypy --strict` sees it: the public names of ligandsmith are typed. Never run."""

from pathlib import Path

import ligandsmith
from ligandsmith import evaluate, generate, load, optimise, read_pocket, write_sdf
from ligandsmith.generation import LigandGenerator
from ligandsmith.records import GeneratedLigand, Pocket
from ligandsmith.structure.pocket import PreflightReport

site: tuple[Pocket, PreflightReport] = read_pocket("protein.pdb", ligand=Path("ligand.sdf"))
generator: LigandGenerator = load("small", device="cpu")
ligands: list[GeneratedLigand] = generator.generate(site[0], num=3, seed=0)
more: list[GeneratedLigand] = generate("small", site[0], num=3)
molecules = [ligand.mol for ligand in ligands if ligand.mol is not None]
written: int = write_sdf("ligands.sdf", ((mol, {"index": i}) for i, mol in enumerate(molecules)))
better = optimise(site[0], objectives="qed:0.5", budget=30)
row = evaluate("ligands.sdf", protein="protein.pdb").rows[0]
version: str = ligandsmith.__version__
