"""Candidates are relaxed in their pocket before they are judged; a fragment stays exactly where it is."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rdkit import Chem

from ligandsmith.chem.plausibility import PLAUSIBLE, PocketAtoms, find_defects
from ligandsmith.chem.vina import receptor_of, vina_score
from ligandsmith.generation import load
from ligandsmith.generation.relaxation import PoseRelaxation
from ligandsmith.records import Pocket
from ligandsmith.structure.ligands import read_ligand
from ligandsmith.structure.pocket import read_pocket
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7off"
KEPT = 5  # atoms of a fragment


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")[0]


def places(mol: Chem.Mol) -> NDArray[np.float64]:
    return np.array(mol.GetConformer().GetPositions())


def test_a_rough_pose_gets_better_and_a_fragment_stays(pocket: Pocket) -> None:
    crystal = Chem.RemoveHs(read_ligand(SITE / "ligand.sdf"))
    rough = Chem.Mol(crystal)
    noise = np.random.default_rng(0).normal(0, 0.15, (crystal.GetNumAtoms(), 3))
    noise[:KEPT] = 0
    rough.GetConformer().SetPositions(places(crystal) + noise)
    eased = PoseRelaxation.in_pocket(pocket).relaxed(rough, KEPT)
    assert eased is not None
    assert np.array_equal(places(eased)[:KEPT], places(crystal)[:KEPT])
    assert 0.05 < np.abs(places(eased)[KEPT:] - places(rough)[KEPT:]).max() < 2.0
    receptor = receptor_of(pocket, np.zeros(3, np.float32), torch.device("cpu"))
    assert vina_score(eased, receptor) < vina_score(rough, receptor) - 0.2
    lengths = [[np.linalg.norm(x[b.GetBeginAtomIdx()] - x[b.GetEndAtomIdx()]) for b in crystal.GetBonds()]
               for x in map(places, (crystal, rough, eased))]  # fmt: skip
    truth, before, after = map(np.array, lengths)
    assert np.abs(after - truth).mean() < 0.4 * np.abs(before - truth).mean()


def test_ligands_are_relaxed_unless_told_otherwise(pocket: Pocket) -> None:
    """The same molecules come out of the network; they lie elsewhere, and have fewer defects."""
    generator = load("tiny")
    made = [generator.generate(pocket, 4, 1, steps=20, candidates=1, relax=relax) for relax in (True, False)]
    around = PocketAtoms.of(pocket.x, pocket.element)
    pairs = [pair for pair in zip(*made, strict=True) if all(one.mol is not None for one in pair)]
    assert pairs
    for pair in pairs:
        a, b = (Chem.MolToSmiles(one.mol, isomericSmiles=False) for one in pair)
        assert a == b
    scores = np.array([[find_defects(one, around).score for one in pair] for pair in pairs])
    assert (scores[:, 0] <= np.maximum(scores[:, 1], PLAUSIBLE)).all()
    assert scores[:, 0].mean() < scores[:, 1].mean()
