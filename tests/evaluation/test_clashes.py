"""Clashes as PoseCheck counts them."""

from pathlib import Path

import numpy as np
import pytest
from moved_poses import moved
from rdkit import Chem

from ligandsmith.chem.protein import load_protein
from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.tools.clashes import count_posecheck_clashes

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
ZINC = "HETATM    1 ZN    ZN A   1       0.000   0.000   0.000  1.00  0.00          ZN\n"


def crystal(name: str) -> Chem.Mol:
    mol = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    assert mol is not None
    return mol


@pytest.mark.parametrize(("distance", "expected"), [(3.4, 1), (3.6, 0)])
def test_a_clash_is_a_pair_half_an_angstrom_too_close(distance: float, expected: int, tmp_path: Path) -> None:
    (tmp_path / "zinc.pdb").write_text(ZINC)
    bromide = Chem.MolFromSmiles("[Br-]")
    conformer = Chem.Conformer(1)
    conformer.SetPositions(np.array([[distance, 0.0, 0.0]]))
    bromide.AddConformer(conformer)
    table = Chem.GetPeriodicTable()
    limit = table.GetRvdw("Br") + table.GetRvdw("Zn") - 0.5
    assert (distance < limit) is bool(expected)
    assert count_posecheck_clashes(bromide, load_protein(tmp_path / "zinc.pdb")) == expected


@pytest.mark.parametrize("name", ["7off", "3ln1", "7sza"])
def test_a_crystal_pose_has_few_and_a_moved_one_many(name: str) -> None:
    mol = crystal(name)
    protein = load_protein(COMPLEXES / name / "protein.pdb.gz", mol)
    own = count_posecheck_clashes(mol, protein)
    assert own <= 15
    shifted = [moved(mol, shift) for shift in ((4.0, 0, 0), (0, 4.0, 0), (0, 0, 4.0))]
    assert max(count_posecheck_clashes(pose, protein) for pose in shifted) > own + 15
    assert count_posecheck_clashes(moved(mol, (300.0, 0.0, 0.0)), protein) == 0
