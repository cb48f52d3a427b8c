"""Shape and place against the reference ligand."""

from pathlib import Path

import pytest
from moved_poses import moved
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.shape import centroid_distance, shape_similarity

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"


@pytest.fixture(params=["7off", "3ln1", "7sza"])
def ligand(request: pytest.FixtureRequest) -> Chem.Mol:
    mol = read_sdf(COMPLEXES / request.param / "ligand.sdf")[0].mol
    assert mol is not None
    return mol


def test_a_molecule_is_like_itself_and_less_so_when_moved(ligand: Chem.Mol) -> None:
    assert shape_similarity(ligand, ligand) == pytest.approx(1)
    near, far = (shape_similarity(moved(ligand, (d, 0.0, 0.0)), ligand) for d in (1.0, 50.0))
    assert 0.3 < near < 0.95
    assert far == pytest.approx(0, abs=1e-6)


def test_the_distance_of_the_centres_is_the_shift(ligand: Chem.Mol) -> None:
    assert centroid_distance(ligand, ligand) == 0
    assert centroid_distance(moved(ligand, (3.0, 4.0, 0.0)), ligand) == pytest.approx(5)


def test_hydrogens_do_not_count(ligand: Chem.Mol) -> None:
    with_h = Chem.AddHs(ligand, addCoords=True)
    assert centroid_distance(with_h, ligand) == pytest.approx(0)
    assert shape_similarity(with_h, ligand) == pytest.approx(1, abs=0.02)
