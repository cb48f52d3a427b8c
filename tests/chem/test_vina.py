"""Our form of Vina's function gives Vina's numbers, its gradient is that of the energy, and steering follows it."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from rdkit import Chem

from ligandsmith.chem import vina
from ligandsmith.chem.protein import load_protein
from ligandsmith.design.constraints import Constraints
from ligandsmith.design.steering import SteeringConfig, VinaSteering
from ligandsmith.evaluation.tools.runner import Site
from ligandsmith.evaluation.tools.vina import VinaTool
from ligandsmith.generation import LigandGenerator, load, read_pocket
from ligandsmith.structure.ligands import read_ligand

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
CPU, ZERO = torch.device("cpu"), np.zeros(3, dtype=np.float32)
NAMES = sorted(path.name for path in COMPLEXES.iterdir() if (path / "ligand.sdf").is_file())


def moved(mol: Chem.Mol, seed: int) -> Chem.Mol:
    """A pose up to half an ångström away."""
    copy = Chem.Mol(mol)
    shift = np.random.default_rng(seed).normal(scale=0.3, size=3)
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + shift)
    return copy


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_autodock_vina(name: str) -> None:
    pytest.importorskip("vina")
    folder = COMPLEXES / name
    protein = next(folder.glob("protein.pdb*"))
    mol = read_ligand(folder / "ligand.sdf")
    pocket, _ = read_pocket(protein, folder / "ligand.sdf")
    receptor = vina.receptor_of(pocket, ZERO, CPU)
    tool = VinaTool(modes=("score",)).open(Site(protein=load_protein(protein, mol), reference=mol))
    poses = [mol, *(moved(mol, seed) for seed in range(3))]
    theirs = [tool(pose)["vina_score"] for pose in poses]
    assert [vina.vina_score(pose, receptor) for pose in poses] == pytest.approx(theirs, abs=0.15)


def test_torsions_are_counted_as_vina_does() -> None:
    counts = {"CCCC": 1.0, "CCO": 0.5, "CC(=O)NC": 0.0, "c1ccccc1-c1ccccc1": 1.0, "CC#N": 0.0}
    assert {smiles: vina.torsions(Chem.MolFromSmiles(smiles)) for smiles in counts} == counts


@pytest.fixture(scope="module")
def site() -> tuple[Any, vina.VinaReceptor, Chem.Mol]:
    folder = COMPLEXES / "7off"
    pocket, _ = read_pocket(folder / "protein.pdb.gz", folder / "ligand.sdf")
    return pocket, vina.receptor_of(pocket, ZERO, CPU), read_ligand(folder / "ligand.sdf")


def test_the_gradient_is_that_of_the_energy(site: tuple[Any, vina.VinaReceptor, Chem.Mol]) -> None:
    _, receptor, mol = site
    receptor = vina.VinaReceptor(receptor.x.double(), vina.VinaTypes(*(t.double() for t in receptor.types)))
    types = vina.VinaTypes(*(t.double() for t in vina.ligand_types(mol)))
    x = torch.as_tensor(mol.GetConformer().GetPositions()) + 0.01
    _, gradient = vina.interaction_energy(x, types, receptor)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    up, down = (vina.interaction_energy(x + sign * 1e-5 * direction, types, receptor)[0].sum() for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float(up - down) / 2e-5, rel=1e-3)


def test_a_step_of_steering_lowers_the_energy_and_keeps_neighbours_together(
    site: tuple[Any, vina.VinaReceptor, Chem.Mol],
) -> None:
    _, receptor, mol = site
    x = torch.as_tensor(moved(mol, 1).GetConformer().GetPositions(), dtype=torch.float32)[None]
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    types = vina.VinaTypes(*(t[None] for t in vina.ligand_types(mol)))
    steering = VinaSteering(receptor, replace(SteeringConfig(), step=0.1), cast("Any", None))
    steering.types, steering.count = types, 1  # as decoded
    after = steering.apply(x, mask, torch.tensor(1.0), 0.3)
    before_energy, after_energy = (vina.interaction_energy(y, types, receptor)[0].sum() for y in (x, after))
    assert after_energy < before_energy
    change = torch.cdist(after, after) - torch.cdist(x, x)
    bonded = torch.as_tensor(Chem.GetAdjacencyMatrix(mol)).bool()
    assert change[0][bonded].abs().max() < 0.05
    assert torch.equal(steering.apply(x, mask, torch.tensor(1.0), 0.99), x)


@pytest.fixture(scope="module")
def tiny() -> LigandGenerator:
    return load("tiny")


def test_steered_ligands_fit_better(tiny: LigandGenerator, site: tuple[Any, vina.VinaReceptor, Chem.Mol]) -> None:
    pocket, receptor, _ = site
    means = []
    for constraints in (None, Constraints(steering=SteeringConfig())):
        made = tiny.generate(pocket, num=6, seed=1, num_atoms="20", steps=25, candidates=1, constraints=constraints)
        scores = [vina.vina_score(ligand.mol, receptor) for ligand in made if ligand.mol is not None]
        assert len(scores) >= 3
        means.append(np.mean(scores))
    assert means[1] < means[0]
