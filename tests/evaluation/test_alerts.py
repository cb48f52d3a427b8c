"""Alerts, rings and stereo of molecules whose answers are known."""

from pathlib import Path

import pytest
from rdkit import Chem

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.alerts import (
    alerts,
    fused_rings,
    largest_ring,
    pains,
    ring_sizes,
    small_ring_share,
    stereo_defined,
)

COMPLEXES = Path(__file__).parents[2] / "examples/complexes"
ADAMANTANE = "C1C2CC3CC1CC(C2)C3"


def mol(smiles: str) -> Chem.Mol:
    return Chem.MolFromSmiles(smiles)


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("O=C1NC(=S)SC1=Cc1ccccc1", 1),  # a rhodanine, the best known of PAINS
        ("O=C1C=CC(=O)c2ccccc12", 1),  # a quinone
        ("CC(=O)Oc1ccccc1C(=O)O", 0),
    ],
)
def test_pains(smiles: str, expected: int) -> None:
    assert pains(mol(smiles)) == expected


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [("CC(=O)Cl", True), ("CCN=[N+]=[N-]", True), ("CS(=O)(=O)OC", True), ("CCO", False), ("Cc1ccccc1", False)],
)
def test_reactive_groups_are_alerts(smiles: str, expected: bool) -> None:
    assert (alerts(mol(smiles)) > 0) is expected


@pytest.mark.parametrize(
    ("smiles", "sizes", "small", "fused", "largest"),
    [
        ("CCO", [], None, 0, 0),
        ("C1CC1C1CCC1", [3, 4], 1.0, 1, 4),
        ("c1ccc2c(c1)Cc1ccccc1-2", [5, 6, 6], 0.0, 3, 6),
        ("C1CC1c1ccc2ccccc2c1", [3, 6, 6], 1 / 3, 2, 6),
        ("C1CCC2(CC1)CCCC2", [5, 6], 0.0, 1, 6),  # spiro: an atom shared, no bond
        (ADAMANTANE, [6, 6, 6, 6], 0.0, 4, 6),
    ],
)
def test_rings(smiles: str, sizes: list[int], small: float | None, fused: int, largest: int) -> None:
    molecule = mol(smiles)
    assert ring_sizes(molecule) == sizes
    assert small_ring_share(molecule) == small
    assert fused_rings(molecule) == fused
    assert largest_ring(molecule) == largest


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", True),
        ("CC(N)C(=O)O", False),
        ("C[C@H](N)C(=O)O", True),
        ("CC=CC", False),
        ("C/C=C/C", True),
        ("C1CC=CCC1", True),  # a double bond in a six-membered ring has one form
        ("CC1CCC(C)CC1", False),
        ("C[C@H]1CC[C@@H](C)CC1", True),
        (ADAMANTANE, True),
    ],
)
def test_stereo(smiles: str, expected: bool) -> None:
    assert stereo_defined(mol(smiles)) is expected


@pytest.mark.parametrize("name", ["7off", "3ln1", "7sza"])
def test_a_crystal_ligand_has_its_stereo_and_no_pains(name: str) -> None:
    molecule = read_sdf(COMPLEXES / name / "ligand.sdf")[0].mol
    assert molecule is not None
    assert stereo_defined(molecule)
    assert pains(molecule) == 0
