"""What ligands are optimised for, from words."""

import pytest
from rdkit import Chem

from ligandsmith.design.objectives import (
    BEYOND,
    GOOD_ENOUGH,
    NOT_OF_ONE_LIGAND,
    OBJECTIVE_SCALES,
    SIMILARITY,
    metric_values,
    parse_objectives,
    tools_for,
    weighted_sum,
)
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.input import EvaluationInput, Sample
from ligandsmith.evaluation.metrics import METRICS


def test_words_have_directions_and_weights() -> None:
    found = parse_objectives("vina_min, qed:0.5, +logp:2, -heavy_atoms, similarity, mine", ["mine"])
    assert [(o.name, o.higher, o.weight) for o in found] == [
        ("vina_min", False, 1.0), ("qed", True, 0.5), ("logp", True, 2.0), ("heavy_atoms", False, 1.0),
        ("similarity", True, 1.0), ("mine", True, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in METRICS if name not in NOT_OF_ONE_LIGAND])
def test_every_metric_of_a_ligand_can_be_an_objective(name: str) -> None:
    sign = "-" if METRICS[name].better == "none" else ""
    (objective,) = parse_objectives(sign + name)
    assert objective.metric == name
    assert objective.scale > 0
    assert tools_for([objective]).keys() <= {"vina", "posebusters", "strain", "interactions"}


def test_scales_are_of_what_there_is() -> None:
    assert set(OBJECTIVE_SCALES) - {SIMILARITY} <= set(METRICS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name at least one"),
        ("vina_mon", "no metric or scorer 'vina_mon'; near it: vina_min"),
        ("logp", "logp has no better direction: write -logp (lower is better) or +logp (higher)"),
        ("qed, qed:2", "'qed' is named twice"),
        ("qed:0", "a weight must be above 0"),
        ("qed:x", "cannot read 'qed:x'"),
        ("diversity", "diversity is no property of a single ligand"),
        ("qed_per_atom", "only metrics in kcal/mol"),
    ],
)
def test_what_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(LigandsmithError) as error:
        parse_objectives(text)
    assert said in str(error.value)


def test_the_tools_are_those_that_the_metrics_ask_for() -> None:
    assert tools_for(parse_objectives("qed, -logp, similarity")) == {}
    assert tools_for(parse_objectives("vina_min_per_atom, -strain_uff")) == {
        "vina": {"modes": ["score", "minimise"]}, "strain": {},
    }  # fmt: skip
    assert tools_for(parse_objectives("vina_dock"))["vina"]["modes"] == ["score", "minimise", "dock"]
    assert set(tools_for(parse_objectives("interaction_recovery, pb_valid"))) == {"interactions", "posebusters"}


def test_the_score_is_a_weighted_sum_of_scaled_values() -> None:
    objectives = parse_objectives("vina_min:2, sa")
    values = {"vina_min": -8.4, "sa": 3.9}
    expected = 2 * 8.4 / OBJECTIVE_SCALES["vina_min"] - 3.9 / OBJECTIVE_SCALES["sa"]
    assert weighted_sum(objectives, values) == pytest.approx(expected)
    assert weighted_sum(objectives, {"vina_min": -8.4}) is None


def test_what_goes_beyond_a_good_value_counts_less() -> None:
    (qed,), (less,) = parse_objectives("qed"), parse_objectives("-qed")
    good = GOOD_ENOUGH["qed"]
    below, above = (qed.utility(good + step) - qed.utility(good) for step in (-0.2, 0.2))
    assert above == pytest.approx(-BEYOND * below)
    assert less.utility(good) - less.utility(good + 0.2) == pytest.approx(-below)  # asked for otherwise: all counts
    assert set(GOOD_ENOUGH) <= set(OBJECTIVE_SCALES)


def test_values_per_atom() -> None:
    ethanol, benzene = (Chem.MolFromSmiles(s) for s in ("CCO", "c1ccccc1"))
    answers = {"vina": [{"vina_min": -3.0}, {"vina_min": -5.1}]}
    data = EvaluationInput((Sample(0, ethanol), Sample(1, benzene)), answers=answers)
    found = metric_values(parse_objectives("vina_min_per_atom, -heavy_atoms, strain_uff"), data)
    assert found == {"vina_min_per_atom": [pytest.approx(-1.0), pytest.approx(-0.85)], "heavy_atoms": [3.0, 6.0]}
