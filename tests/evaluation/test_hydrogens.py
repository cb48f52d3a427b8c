"""Hydrogens of a protein: at their bond lengths, near a place, none where the bonds are not known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ligandsmith.chem.protein import ProteinView, load_protein
from ligandsmith.chem.residues import HYDROGEN_BONDS, residue_hydrogens

SITE = Path(__file__).parents[2] / "examples/complexes/7sza"


@pytest.fixture(scope="module")
def protein() -> ProteinView:
    return load_protein(SITE / "protein.pdb.gz")


def test_every_hydrogen_is_bonded_to_its_own_residue(protein: ProteinView) -> None:
    counts = {}
    for residue, name in enumerate(r.name for r in protein.residues[:40]):
        x, on = residue_hydrogens(protein, residue)
        own = protein.residue_index == residue
        distance = np.linalg.norm(x[:, None] - protein.x[own][None], axis=-1)
        assert np.allclose(distance.min(1), [HYDROGEN_BONDS[z] for z in on], atol=1e-3)
        assert (protein.element[own][distance.argmin(1)] == on).all()
        counts[name] = len(x)
    assert counts["ALA"] == 5
    assert counts["GLY"] == 3


def test_residues_near_a_place(protein: ProteinView) -> None:
    own = protein.residue_index == 7
    assert protein.residues_near(protein.x[own][:1], 0.1) == [7]
    assert len(protein.residues_near(protein.x[own], 4.0)) > 1
    assert protein.residues_near(protein.x[own] + 500.0, 4.0) == []
    assert protein.residues_near(np.zeros((0, 3)), 4.0) == []


def test_a_group_of_unknown_bonds_has_none(protein: ProteinView) -> None:
    named = (*protein.residues[:7], replace(protein.residues[7], name="HEM"), *protein.residues[8:])
    x, on = residue_hydrogens(replace(protein, residues=named), 7)
    assert x.shape == (0, 3)
    assert on.shape == (0,)
