"""The metrics of poses and alerts, from a file of molecules to the table."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.evaluation.evaluate import EvaluationOptions, evaluate
from ligandsmith.evaluation.protocols import NO_TOOLS, Protocol

COMPLEX = Path(__file__).parents[2] / "examples/complexes/7off"
TOOLS = Protocol("poses", 1, "strain and interactions", {"strain": {}, "interactions": {}})


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    """The crystal pose, and the same moved out of the pocket."""
    mol = read_sdf(COMPLEX / "ligand.sdf")[0].mol
    assert mol is not None
    away = Chem.Mol(mol)
    away.GetConformer().SetPositions(mol.GetConformer().GetPositions() + np.array([30.0, 40.0, 0.0]))
    write_sdf(tmp_path / "poses.sdf", [(mol, {}), (away, {})])
    return tmp_path / "poses.sdf"


def test_the_crystal_pose_is_told_from_the_same_molecule_elsewhere(poses: Path) -> None:
    pytest.importorskip("prolif")
    options = EvaluationOptions(protocol=TOOLS)
    rows = evaluate(poses, COMPLEX / "protein.pdb.gz", COMPLEX / "ligand.sdf", options=options).rows
    crystal, away = rows
    assert (crystal["interaction_recovery"], away["interaction_recovery"]) == (1, 0)
    assert crystal["shape_similarity"] == pytest.approx(1)
    assert away["centroid_distance"] == pytest.approx(50, abs=0.01)
    assert (crystal["hb_acceptors"], away["hb_acceptors"]) == (4, 0)
    assert away["posecheck_clashes"] == 0
    assert crystal["strain_uff"] == pytest.approx(away["strain_uff"], abs=0.5)
    for row in rows:
        assert (row["stereo_defined"], row["pains"], row["no_alerts"], row["small_ring_share"]) == (1, 0, 1, 0)
        assert (row["fused_rings"], row["largest_ring"]) == (3, 6)


def test_without_a_tool_or_a_protein_they_are_not_run(poses: Path) -> None:
    summary = evaluate(poses, options=EvaluationOptions(protocol=NO_TOOLS)).summary["metrics"]
    for name, cause in (
        ("strain_uff", "not asked for"), ("interaction_recovery", "not asked for"),
        ("posecheck_clashes", "no protein given"), ("shape_similarity", "no reference ligand given"),
    ):  # fmt: skip
        assert cause in summary[name]["status"]
        assert summary[name]["mean"] is None
    assert summary["pains"]["n"] == 2


def test_the_summary_compares_the_geometry_with_crystal_ligands(poses: Path) -> None:
    found = evaluate(poses).summary["distributions"]
    assert found["status"] == "ok"
    assert found["bond_length"]["C:C"]["n"] == 36  # three benzene rings, twice
    assert 0 < found["bond_length"]["C:C"]["jsd"] < 0.84
    assert found["bond_length"]["C-F"] == {"jsd": None, "n": 0}
