"""Strain of poses: low for relaxed ones, high for bent ones, absent where a force field knows no parameters."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.tools.runner import Site, run_tool
from ligandsmith.evaluation.tools.strain import StrainTool, strains

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"


def crystal(name: str) -> Chem.Mol:
    mol = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    assert mol is not None
    return mol


def noisy(mol: Chem.Mol, sigma: float) -> Chem.Mol:
    copy = Chem.Mol(mol)
    noise = np.random.default_rng(0).normal(0, sigma, (mol.GetNumAtoms(), 3))
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + noise)
    return copy


def test_strain_is_the_difference_of_two_energies() -> None:
    mol = crystal("7off")
    with_h = Chem.AddHs(mol, addCoords=True)
    pose = rdForceFieldHelpers.UFFGetMoleculeForceField(with_h).CalcEnergy()
    rdDistGeom.EmbedMolecule(with_h, randomSeed=0xF00D)
    rdForceFieldHelpers.UFFOptimizeMolecule(with_h)
    relaxed = rdForceFieldHelpers.UFFGetMoleculeForceField(with_h).CalcEnergy()
    assert strains(mol)["strain_uff"] == pytest.approx(pose - relaxed, abs=1e-6)


@pytest.mark.parametrize("name", ["7off", "3ln1", "7sza"])
def test_noise_strains_a_crystal_pose(name: str) -> None:
    mol = crystal(name)
    own, bent = strains(mol), strains(noisy(mol, 0.2))
    for key in ("strain_uff", "strain_mmff"):
        before, after = own[key], bent[key]
        assert before is not None
        assert after is not None
        assert 0 < before < 200
        assert after > before + 50


def test_a_minimum_has_hardly_any_strain() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    rdForceFieldHelpers.UFFOptimizeMolecule(mol, maxIters=2000)
    value = strains(Chem.RemoveHs(mol), relaxed_hydrogens=True)["strain_uff"]
    assert value == pytest.approx(0, abs=1.0)


def test_relaxed_hydrogens_lower_the_strain() -> None:
    mol = crystal("3ln1")
    fixed, relaxed = strains(mol)["strain_uff"], strains(mol, relaxed_hydrogens=True)["strain_uff"]
    assert fixed is not None
    assert relaxed is not None
    assert relaxed < fixed


def test_missing_parameters_are_no_value_and_leave_the_other() -> None:
    mol = Chem.MolFromSmiles("CB(O)O")  # MMFF94s has no boron
    with_h = Chem.AddHs(mol)
    rdDistGeom.EmbedMolecule(with_h, randomSeed=1)
    found = strains(Chem.RemoveHs(with_h))
    assert found["strain_mmff"] is None
    assert found["strain_uff"] is not None


def test_as_a_tool_it_gives_the_same_answer_each_time() -> None:
    mol = crystal("7off")
    tool = StrainTool()
    assert tool.missing(Site()) == ""
    first, absent = run_tool(tool, Site(), [mol, None])
    assert run_tool(tool, Site(), [mol]) == [first]
    assert absent is None
    assert first == pytest.approx(strains(mol), abs=1e-2)  # coordinates travel to the worker in single precision
