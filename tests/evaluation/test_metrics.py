"""Metrics on molecules whose values are known, and what happens where there is no value."""

import math

import numpy as np
import pytest
from rdkit import Chem

from ligandsmith.evaluation.input import EvaluationInput, KnownMolecules, NotRun, Sample
from ligandsmith.evaluation.metrics import METRICS
from ligandsmith.evaluation.statistics import estimate
from ligandsmith.evaluation.tools.runner import Site


def samples(*smiles: str) -> EvaluationInput:
    """An empty string is a molecule that failed."""
    mols = [Chem.MolFromSmiles(s) if s else None for s in smiles]
    return EvaluationInput(tuple(Sample(i, mol) for i, mol in enumerate(mols)))


def values(name: str, data: EvaluationInput) -> list[float | None]:
    return METRICS[name].values(data)


@pytest.mark.parametrize(
    ("name", "smiles", "expected"),
    [
        # aspirin; QED 0.55 in Bickerton et al. 2012, SA and logP as published for RDKit's implementations
        ("qed", "CC(=O)Oc1ccccc1C(=O)O", 0.550),
        ("sa", "CC(=O)Oc1ccccc1C(=O)O", 1.580),
        ("sa_normalised", "CC(=O)Oc1ccccc1C(=O)O", (10 - 1.580) / 9),
        ("logp", "CC(=O)Oc1ccccc1C(=O)O", 1.310),
        ("lipinski", "CC(=O)Oc1ccccc1C(=O)O", 4.0),
        ("lipinski", "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC", 2.0),
        ("heavy_atoms", "CC(=O)Oc1ccccc1C(=O)O", 13.0),
        ("rings", "C1CC2CCC1C2", 2.0),
    ],
)
def test_known_values(name: str, smiles: str, expected: float) -> None:
    (value,) = values(name, samples(smiles))
    assert value == pytest.approx(expected, abs=2e-3)


def test_failures_count_among_the_requested_and_nowhere_else() -> None:
    data = samples("CCO", "", "CC.O", "CCN")
    assert values("valid", data) == [1, 0, 1, 1]
    assert values("connected", data) == [1, None, 0, 1]
    assert values("valid_connected", data) == [1, 0, 0, 1]
    assert [v is None for v in values("qed", data)] == [False, True, True, False]
    assert [v is None for v in values("heavy_atoms", data)] == [False, True, False, False]


def test_unique_counts_each_molecule_once_whatever_its_writing_or_stereo() -> None:
    data = samples("OCC", "CCO", "C[C@H](N)O", "C[C@@H](N)O", "", "CC.O", "CC.O")
    assert values("unique", data) == [1, 0, 1, 0, None, None, None]


def test_novel_compares_without_stereo_with_smiles_and_inchikeys() -> None:
    data = samples("C[C@H](N)C(=O)O", "OCC", "CCN", "")
    ethanol = Chem.MolToInchiKey(Chem.MolFromSmiles("CCO"))
    known = KnownMolecules(frozenset({Chem.CanonSmiles("CC(N)C(=O)O")}), frozenset({ethanol[:14]}))
    assert values("novel", EvaluationInput(data.samples, known=known)) == [0, 0, 1, None]
    with pytest.raises(NotRun, match="no known molecules"):
        values("novel", data)


def test_diversity_is_the_mean_pairwise_distance() -> None:
    assert values("diversity", samples("CCO", "OCC", "")) == [0, 0, None]
    three = [v for v in values("diversity", samples("CCO", "CCO", "c1ccccc1")) if v is not None]
    assert np.mean(three) == pytest.approx(2 / 3)
    assert values("diversity", samples("CCO")) == [None]


def test_what_rdkit_cannot_compute_is_missing_not_zero() -> None:
    unsanitised = EvaluationInput((Sample(0, Chem.MolFromSmiles("c1ccccc1C", sanitize=False)),))
    assert values("logp", unsanitised) == [None]


@pytest.mark.parametrize(("name", "cause"), [("clashes", "no protein"), ("pb_valid", "not asked for")])
def test_missing_input_is_not_run(name: str, cause: str) -> None:
    with pytest.raises(NotRun, match=cause):
        values(name, samples("CCO"))


def test_poses_pass_only_if_every_check_does() -> None:
    data = samples("CCO", "CCO", "CCO", "CCO", "")
    poses = [{"a": True, "b": True}, {"a": True, "b": False}, {"a": True, "b": None}, "PoseBusters failed: x", None]
    judged = EvaluationInput(data.samples, answers={"posebusters": poses})
    assert values("pb_valid", judged) == [1, 0, 0, None, None]
    assert values("pb_valid_of_requested", judged) == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_describes_itself(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.meaning
    assert metric.better in {"higher", "lower", "none"}
    assert metric.population in {"requested", "valid", "connected", "size-matched"}


def test_interval_covers_the_mean_at_its_rate() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        result = estimate(rng.normal(3.0, 1.0, size=40).tolist(), seed=trial)
        assert result.low is not None
        assert result.high is not None
        covered += result.low <= 3.0 <= result.high
    assert 180 <= covered <= 198


def test_estimate_ignores_missing_values_and_says_how_many_there_were() -> None:
    result = estimate([1.0, None, 3.0])
    assert (result.mean, result.n) == (2.0, 2)
    assert estimate([None]) == estimate([])
    assert estimate([]).mean is None
    single = estimate([0.5])
    assert (single.mean, single.low, single.high, single.n) == (0.5, None, None, 1)
    assert estimate([1.0, 3.0, 8.0]) == estimate([1.0, 3.0, 8.0])
    assert math.isclose(result.low or 0, 1.0)


def test_interval_of_many_values_is_computed_in_blocks() -> None:
    result = estimate((np.arange(3000) % 2).astype(float).tolist())
    assert result.low is not None
    assert result.high is not None
    # 1.96 standard errors of a proportion of one half
    assert result.high - result.low == pytest.approx(2 * 1.96 * 0.5 / 3000**0.5, rel=0.1)


def test_molecules_of_one_pocket_are_not_independent() -> None:
    """Ten pockets of forty molecules that all agree within their pocket: the interval is that of ten values."""
    rng = np.random.default_rng(1)
    by_pocket = rng.normal(0.0, 1.0, size=10)
    values = np.repeat(by_pocket, 40).tolist()
    pockets = np.repeat(np.arange(10), 40).tolist()
    grouped, flat, ten = estimate(values, pockets), estimate(values), estimate(by_pocket.tolist())
    width = [(e.high or 0) - (e.low or 0) for e in (grouped, flat, ten)]
    assert grouped.mean == pytest.approx(flat.mean)
    assert width[0] == pytest.approx(width[2], rel=0.2)
    assert width[1] < width[0] / 3


def test_the_median_is_of_all_values() -> None:
    assert estimate([1.0, 2.0, 9.0], ["a", "b", "b"]).median == 2.0


def docked(scores: list[float | None], reference: float | None = -7.0) -> EvaluationInput:
    """Molecules with docking scores, in the site of a reference ligand of three heavy atoms."""
    data = samples("CCO", "CCCCCCCC", "", "CC.O")
    answers = [None if v is None else {"vina_dock": v} for v in scores]
    own = {"vina": None if reference is None else {"vina_dock": reference}}
    site = Site("p", None, Chem.MolFromSmiles("CCC"))
    return EvaluationInput(data.samples, site, answers={"vina": answers}, reference_answers=own)


def test_docking_is_compared_with_the_reference_per_atom_and_at_its_size() -> None:
    data = docked([-6.0, -8.0, None, -9.0])
    assert values("high_affinity", data) == [0, 1, None, None]
    assert values("vina_dock_per_atom", data) == [-2, -1, None, None]
    assert values("vina_dock_size_matched", data) == [-6, None, None, None]
    assert values("heavy_atoms_over_reference", data) == [0, 5, None, 0]
    with pytest.raises(NotRun, match="reference"):
        values("high_affinity", docked([-6.0, -8.0, None, -9.0], None))
    with pytest.raises(NotRun, match="not asked for"):
        values("vina_score", data)


def test_a_failure_does_not_succeed() -> None:
    assert values("success", docked([-9.0, -9.0, None, -9.0])) == [1, 1, 0, 0]
    assert values("success", docked([-8.0, None, None, None])) == [0, 0, 0, 0]


def test_checks_of_the_molecule_and_of_the_pocket_are_apart() -> None:
    data = samples("CCO", "CCO")
    answers = [{"bond_lengths": True, "minimum_distance_to_protein": False}, {"bond_lengths": False}]
    judged = EvaluationInput(data.samples, answers={"posebusters": answers})
    assert values("pb_molecule", judged) == [1, 0]
    assert values("pb_pocket", judged) == [0, None]
