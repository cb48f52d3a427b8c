"""Who becomes a parent, which moves are made, and what is chosen."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from ligandsmith.design.history import START, Row
from ligandsmith.design.objectives import Objective
from ligandsmith.design.selection import (
    apart,
    best_of_each,
    crowding,
    draw_move,
    draw_parents,
    move_counts,
    parents_of,
    ranked,
)

AIMS = (Objective("a", True), Objective("b", False))


def row(index: int, smiles: str, a: float = 0.0, b: float = 0.0, **more: object) -> Row:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    made = Row(index, 1, "fresh", (), values={"a": a, "b": b}, score=a - b)
    made.placed(Chem.RemoveHs(mol))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_each_molecule_counts_by_its_best_pose() -> None:
    rows = [row(0, "CCO", 1), row(1, "CCO", 3), row(2, "CCN", 2), row(3, "CCC", 9, score=None)]
    assert [r.index for r in best_of_each(rows)] == [1, 2]


def test_ranking_by_the_sum_and_by_fronts() -> None:
    rows = [row(0, "CCO", 5, 4), row(1, "CCN", 3, 1), row(2, "CCC", 1, 0.5), row(3, "CC", 2, 3)]
    assert [r.index for r in ranked(rows, AIMS, pareto=False)] == [1, 0, 2, 3]
    assert [r.index for r in ranked(rows, AIMS, pareto=True)] == [0, 2, 1, 3]  # ends of the front, its middle, the rest
    assert ranked([], AIMS, pareto=True) == []


def test_crowding_is_infinite_at_the_ends() -> None:
    found = crowding(np.array([[0.0, 3.0], [1.0, 2.0], [3.0, 0.0]]))
    assert found[0] == found[2] == np.inf
    assert found[1] == pytest.approx(2.0)


def test_alike_ones_are_left_out() -> None:
    rows = [row(0, "CCCCCCO"), row(1, "CCCCCCCO"), row(2, "c1ccncc1")]
    assert [r.index for r in apart(rows, 5, 0.5)] == [0, 2]
    assert [r.index for r in apart(rows, 1, 1.0)] == [0]


def test_parents_pass_posebusters_or_were_not_asked() -> None:
    rows = [row(0, "CCO", 1, valid=False), row(1, "CCN", 0), row(2, "c1ccncc1", -1, valid=True)]
    assert [r.index for r in parents_of(rows, AIMS, pareto=False)] == [1, 2]
    start = row(0, "CCO", move=START, score=None)
    assert parents_of([start], AIMS, pareto=False) == [start]


def test_better_parents_are_drawn_more_often() -> None:
    pool = [row(i, "C" * (i + 2)) for i in range(5)]
    drawn = [draw_parents(pool, np.random.default_rng(i)) for i in range(300)]
    assert all(a.index != b.index for a, b in drawn)
    counts = np.bincount([a.index for a, _ in drawn], minlength=5)
    assert counts[0] > counts[2] > counts[4] > 0
    assert draw_parents([], np.random.default_rng(0)) == []


def test_what_worked_is_done_more_and_nothing_is_given_up() -> None:
    won = {"hop": 8, "grow": 4}  # of twelve
    rows = [row(i, "CCO", move=move, won=i < count) for move, count in won.items() for i in range(12)]
    counts = move_counts(rows, ("hop", "grow"))
    drawn = [draw_move(counts, np.random.default_rng(i)) for i in range(300)]
    assert 200 < drawn.count("hop") < 300


def test_earlier_rounds_count_less() -> None:
    old, new = row(0, "CCO", move="hop", won=True), row(1, "CCO", move="hop", won=True)
    new.round = 3
    won = move_counts([old, new], ("hop",))["hop"][0]
    assert won == pytest.approx(1 + 1 + 0.8**2)
