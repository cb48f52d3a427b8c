"""Bond lengths, angles and torsions: hand-made molecules, and the order crystal < conformers < noise."""

from collections.abc import Sequence

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.data.dataset import ComplexDataset
from ligandsmith.evaluation.geometry import GEOMETRY_KINDS, LEAST, bin_counts, divergences, edges, measure, reference
from ligandsmith.structure.ligands import mol_from_ligand

HELD_OUT = 150  # ligands of the validation split


def placed(smiles: str, x: Sequence[Sequence[float]]) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    places = Chem.Conformer(len(x))
    places.SetPositions(np.array(x, dtype=float))
    mol.AddConformer(places)
    return mol


@pytest.fixture(scope="module")
def crystal() -> list[Chem.Mol]:
    data = ComplexDataset(None, "validation", "ligands")
    return [mol_from_ligand(data[i].ligand) for i in range(min(HELD_OUT, len(data)))]


@pytest.mark.parametrize(("turn", "expected"), [(0, 0), (60, 60), (180, 180), (300, 60)])
def test_values_are_those_drawn(turn: float, expected: float) -> None:
    end = [2.0, np.cos(np.radians(turn)), np.sin(np.radians(turn))]
    mol = placed("NCC=O", [[0, 1, 0], [0, 0, 0], [2, 0, 0], end])
    found = measure([mol])
    assert dict(found["bond_length"]) == {"C-N": [1.0], "C-C": [2.0], "C=O": [pytest.approx(1.0)]}
    assert {name: values for name, values in found["angle"].items()} == {
        "C-C-N": [pytest.approx(90)],
        "C-C=O": [pytest.approx(90)],
    }
    assert found["torsion"] == {"N-C-C=O": [pytest.approx(expected, abs=1e-6)]}


def test_each_is_counted_once() -> None:
    benzene = placed("c1ccccc1", [[np.cos(a), np.sin(a), 0] for a in np.arange(6) * np.pi / 3])
    found = measure([benzene])
    assert {kind: {name: len(v) for name, v in found[kind].items()} for kind in GEOMETRY_KINDS} == {
        "bond_length": {"C:C": 6},
        "angle": {"C:C:C": 6},
        "torsion": {"C:C:C:C": 6},
    }
    assert found["angle"]["C:C:C"] == pytest.approx([120] * 6)
    assert found["torsion"]["C:C:C:C"] == pytest.approx([0] * 6, abs=1e-5)


@pytest.mark.parametrize("kind", GEOMETRY_KINDS)
def test_a_histogram_keeps_what_is_out_of_range(kind: str) -> None:
    counts = bin_counts(kind, [-1.0, 1000.0, 1000.0])
    assert (counts[0], counts[-1], counts.sum()) == (1, 2, 3)
    assert len(counts) == len(edges(kind)) + 1


def test_the_reference_is_that_of_known_chemistry() -> None:
    middle = np.append(edges("bond_length") - 0.0025, edges("bond_length")[-1])
    for name, length in (("C-C", 1.52), ("C:C", 1.39), ("C=O", 1.23), ("C-N", 1.40)):
        counts = reference("bond_length")[name]
        assert abs((counts * middle).sum() / counts.sum() - length) < 0.04


def test_few_values_are_not_compared() -> None:
    rows = divergences([placed("CC", [[0, 0, 0], [1.53, 0, 0]])] * (LEAST - 1))["bond_length"]
    assert rows["C-C"] == {"jsd": None, "n": LEAST - 1}
    assert rows["mean"] is None
    assert divergences([placed("CC", [[0, 0, 0], [1.53, 0, 0]])] * LEAST)["bond_length"]["mean"] > 0.5
    assert divergences([])["torsion"]["mean"] is None


@pytest.mark.parametrize("kind", GEOMETRY_KINDS)
def test_crystal_ligands_are_nearer_than_conformers_and_those_than_noise(kind: str, crystal: list[Chem.Mol]) -> None:
    pairs = [(mol, embedded) for mol in crystal if (embedded := conformer(mol)) is not None]
    own, embedded = [mol for mol, _ in pairs], [mol for _, mol in pairs]
    noisy = [shaken(mol, 0.1, i) for i, mol in enumerate(own)]
    first, second, third = (divergences(mols)[kind]["mean"] for mols in (own, embedded, noisy))
    assert first < second < third


def shaken(mol: Chem.Mol, sigma: float, seed: int) -> Chem.Mol:
    copy = Chem.Mol(mol)
    noise = np.random.default_rng(seed).normal(0, sigma, (mol.GetNumAtoms(), 3))
    copy.GetConformer().SetPositions(mol.GetConformer().GetPositions() + noise)
    return copy


def conformer(mol: Chem.Mol) -> Chem.Mol | None:
    with_h = Chem.AddHs(mol)
    return Chem.RemoveHs(with_h) if rdDistGeom.EmbedMolecule(with_h, randomSeed=1, maxAttempts=5) == 0 else None
