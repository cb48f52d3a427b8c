"""Relaxation mends bonds, adds hydrogens and eases contacts, and leaves the pose, the charges and the stereo."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.protein import ProteinView, count_clashes, load_protein
from ligandsmith.chem.relax import PocketTerm, RelaxFailure, RelaxOptions, Surroundings, relax
from ligandsmith.chem.surroundings import ProteinSurroundings
from ligandsmith.evaluation.evaluate import load_reference

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
SITES = ("3ln1", "7off", "7sza")


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest) -> tuple[Chem.Mol, ProteinView, Surroundings]:
    reference = load_reference(COMPLEXES / request.param / "ligand.sdf")
    protein = load_protein(COMPLEXES / request.param / "protein.pdb.gz", reference)
    return reference, protein, ProteinSurroundings(protein).of(reference)


def placed(mol: Chem.Mol, x: NDArray[np.float64]) -> Chem.Mol:
    copy = Chem.Mol(mol)
    copy.GetConformer().SetPositions(x)
    return copy


def positions(mol: Chem.Mol) -> NDArray[np.float64]:
    return np.array(mol.GetConformer().GetPositions())


def bond_error(mol: Chem.Mol, truth: Chem.Mol) -> float:
    """Mean error of the bond lengths, Å."""
    x, y = positions(mol), positions(truth)
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in truth.GetBonds()])
    lengths = [np.linalg.norm(z[bonds[:, 0]] - z[bonds[:, 1]], axis=1) for z in (x, y)]
    return float(np.abs(lengths[0] - lengths[1]).mean())


def embedded(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    mol = Chem.RemoveHs(mol)
    Chem.AssignStereochemistryFrom3D(mol)
    return mol


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_noise_goes_and_the_pose_stays(noise: float, site: tuple[Chem.Mol, ProteinView, Surroundings]) -> None:
    crystal, protein, around = site
    rough = placed(
        crystal, positions(crystal) + np.random.default_rng(0).normal(0, noise / 3**0.5, (crystal.GetNumAtoms(), 3))
    )
    result = relax(rough, around)
    assert result.force_field == "MMFF94s"
    assert result.converged
    assert result.energy_after < result.energy_before - 20
    assert bond_error(result.mol, crystal) < min(0.04, bond_error(rough, crystal))
    assert result.moved_rmsd < 0.5
    assert count_clashes(result.mol, protein) <= count_clashes(rough, protein)


def test_a_crystal_pose_hardly_moves(site: tuple[Chem.Mol, ProteinView, Surroundings]) -> None:
    crystal, _, around = site
    before = positions(crystal)
    result = relax(crystal, around)
    assert result.moved_rmsd < 0.35
    np.testing.assert_array_equal(positions(crystal), before)  # the molecule given is not changed


def test_pushed_into_the_wall_it_comes_back_and_only_the_pocket_does_that(
    site: tuple[Chem.Mol, ProteinView, Surroundings],
) -> None:
    crystal, protein, around = site
    directions = np.random.default_rng(1).normal(size=(20, 3))
    shifts = directions / np.linalg.norm(directions, axis=1)[:, None]
    pushed = max((placed(crystal, positions(crystal) + s) for s in shifts), key=lambda mol: count_clashes(mol, protein))
    clashes = count_clashes(pushed, protein)
    assert clashes
    eased = count_clashes(relax(pushed, around).mol, protein)
    assert eased < clashes
    assert eased < count_clashes(relax(pushed, None).mol, protein)


def test_the_restraint_is_what_holds_the_pose(site: tuple[Chem.Mol, ProteinView, Surroundings]) -> None:
    crystal, _, around = site
    assert relax(crystal, around, RelaxOptions(force=0.0)).moved_rmsd > relax(crystal, around).moved_rmsd


@pytest.mark.parametrize(
    ("smiles", "hydrogens"), [("C[C@H](F)C(=O)[O-]", 4), ("C[NH+](C)C[C@@H](C)O", 14), (r"C/C=C/C[N+](C)(C)C", 16)]
)
def test_hydrogens_charges_and_stereo(smiles: str, hydrogens: int) -> None:
    mol = embedded(smiles)
    result = relax(mol, None)
    assert sum(a.GetAtomicNum() == 1 for a in result.mol.GetAtoms()) == hydrogens
    written = Chem.MolFromMolBlock(Chem.MolToMolBlock(result.mol))
    assert Chem.MolToSmiles(written) == Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)
    assert not result.new_stereo


def test_hydrogens_of_the_file_are_placed_anew() -> None:
    mol = Chem.AddHs(embedded("CCO"), addCoords=True)
    x = positions(mol)
    x[3:] += 5.0
    assert relax(placed(mol, x), None).energy_after < 10


def test_a_centre_too_flat_to_have_had_a_side_gets_one_and_that_is_said() -> None:
    mol = embedded("C[C@H](F)Cl")
    x = positions(mol)
    x[:, 2] = 0.0
    x[1] = x[[0, 2, 3]].mean(0)
    x[1, 2] = 1e-4
    flat = placed(mol, x)
    flat.GetConformer().Set3D(True)
    Chem.AssignStereochemistryFrom3D(flat)
    assert "@" not in Chem.MolToSmiles(flat)
    assert relax(flat, None).new_stereo


def test_a_flip_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def mirrored(_: object, start: NDArray[np.float64], moving: NDArray[np.bool_], __: int) -> object:
        return (start * [1.0, 1.0, -1.0] if moving.all() else start), True

    monkeypatch.setattr("ligandsmith.chem.relax._descend", mirrored)
    with pytest.raises(RelaxFailure, match="stereo would change: centre"):
        relax(embedded("C[C@H](F)Cl"), None)


def test_what_mmff_does_not_know_is_left_to_uff() -> None:
    assert relax(embedded("OB(O)c1ccccc1"), None).force_field == "UFF"


def test_no_protein_nearby_and_no_coordinates(site: tuple[Chem.Mol, ProteinView, Surroundings]) -> None:
    crystal, _, around = site
    with pytest.raises(RelaxFailure, match="no protein atom within 6"):
        relax(placed(crystal, positions(crystal) + 200.0), around)
    with pytest.raises(RelaxFailure, match="no finite coordinates"):
        relax(placed(crystal, positions(crystal) * np.nan), around)
    with pytest.raises(RelaxFailure, match="no finite coordinates"):
        relax(Chem.MolFromSmiles("CCO"), around)


def test_the_gradient_of_the_pocket_is_that_of_its_energy() -> None:
    mol = Chem.AddHs(embedded("NCC(=O)O"), addCoords=True)
    rng = np.random.default_rng(0)
    near = Surroundings(rng.normal(0, 3, (12, 3)), np.array([6, 7, 8, 16, 30, 6] * 2), np.arange(12) % 6 == 2)
    term, x = PocketTerm(mol, near), positions(mol)
    _, gradient = term(x)
    for i, k in ((0, 0), (3, 1), (mol.GetNumAtoms() - 1, 2)):
        step = np.zeros_like(x)
        step[i, k] = 1e-5
        assert gradient[i, k] == pytest.approx((term(x + step)[0] - term(x - step)[0]) / 2e-5, rel=1e-3, abs=1e-4)
