"""Molecules are ranked by what the user names; none is lost, and each that is left out has its reason."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from ligandsmith.chem.sdf import read_sdf, write_sdf
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.criteria import Term
from ligandsmith.evaluation.evaluate import evaluate
from ligandsmith.evaluation.output import write_evaluation
from ligandsmith.evaluation.ranking import fronts, rank, scores

SMILES = ("CCO", "CCCO", "CCCCO", "c1ccccc1", "c1ccccc1O", "C1CCNCC1")
BETTER = {"vina_min": "lower", "strain_uff": "lower", "qed": "higher", "logp": "none", "connected": "higher"}
ROWS: tuple[dict[str, Any], ...] = (
    {"vina_min": -9.0, "strain_uff": 50.0, "qed": 0.9, "logp": 1.0},
    {"vina_min": -8.0, "strain_uff": 10.0, "qed": 0.5, "logp": 2.0},
    {"vina_min": -7.0, "strain_uff": 60.0, "qed": 0.4, "logp": 3.0},  # worse than 0 and 1 in everything
    {"vina_min": "", "strain_uff": 5.0, "qed": 0.95, "logp": 0.0},
    {"vina_min": "nan", "strain_uff": 5.0, "qed": 0.95, "logp": 0.0},
    {"vina_min": -6.0, "strain_uff": 70.0, "qed": 0.3, "logp": 4.0, "alerts": 2, "pb_valid": 0.0, "clashes": 3},
)


def folder_of(path: Path, rows: tuple[dict[str, Any], ...] = ROWS, pockets: tuple[str, ...] = ("",)) -> Path:
    """An evaluation folder; the last row's molecule could not be built."""
    path.mkdir(exist_ok=True)
    lines, mols = [], []
    for pocket in pockets:
        for k, row in enumerate(rows):
            defaults = {"alerts": 0, "pb_valid": 1.0, "pb_overlap": True, "clashes": 0.0, "connected": 1.0}
            names = {"pocket": pocket, "index": k, "title": f"m{k}", "reason": "", "detail": "", "smiles": SMILES[k]}
            lines.append({**names, **defaults, **row})
            mol = Chem.AddHs(Chem.MolFromSmiles(SMILES[k]))
            rdDistGeom.EmbedMolecule(mol, randomSeed=0)
            mols.append((Chem.RemoveHs(mol), {"pocket": pocket, "index": k}))
        blank = {name: "" for name in lines[0]}
        lines.append({**blank, "pocket": pocket, "index": len(rows), "reason": "valence"})
    with (path / "per_molecule.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    write_sdf(path / "molecules.sdf", mols)
    summary = {"metrics": {name: {"better": better} for name, better in BETTER.items()}}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "ranking.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_fronts_by_hand() -> None:
    costs = np.array([[1.0, 4.0], [2.0, 2.0], [4.0, 1.0], [3.0, 3.0], [4.0, 4.0], [2.0, 2.0]])
    assert fronts(costs).tolist() == [1, 1, 1, 2, 3, 1]  # equals do not dominate each other


def test_scores_are_of_ranks_so_an_outlier_is_just_last() -> None:
    terms = [Term("a", True, 3.0), Term("b", True, 1.0)]
    near, far = (scores(np.array([[0.0, 2.0], [1.0, 1.0], [last, 0.0]]), terms) for last in (2.0, 1e6))
    assert near.tolist() == far.tolist() == [0.75, 0.5, 0.25]
    assert scores(np.array([[5.0, 5.0]]), terms).tolist() == [1.0]


def test_every_molecule_is_in_the_table_with_its_place_or_its_reason(tmp_path: Path) -> None:
    lines = rank(folder_of(tmp_path), "vina_min, -strain_uff, qed").lines
    rows = table(tmp_path)
    assert [(r["index"], r["rank"], r["front"]) for r in rows] == [
        ("0", "1", "1"), ("1", "2", "1"), ("2", "3", "2"), ("5", "4", "3"), ("3", "5", ""), ("4", "6", ""),
        ("6", "", ""),
    ]  # fmt: skip
    assert [r["reason"] for r in rows[4:]] == ["no value of vina_min", "vina_min is nan", "no molecule: valence"]
    top = [r.mol for r in read_sdf(tmp_path / "top.sdf")]
    assert [mol.GetProp("index") for mol in top if mol] == ["0", "1", "2", "5"]
    assert all(mol is not None and mol.HasProp(name) for mol in top for name in ("rank", "front", "score", "vina_min"))
    assert lines[0].startswith("4 of 7 molecules ranked by vina_min (smaller is better), strain_uff (smaller")
    assert "  1 filtered out: no molecule: valence" in lines
    assert "  1 ranked last: no value of vina_min" in lines


def test_a_sign_forces_a_direction_and_a_short_name_is_enough(tmp_path: Path) -> None:
    folder_of(tmp_path)
    assert rank(tmp_path, "-strain").molecules[0].row.index == "3"
    assert rank(tmp_path, "+strain", overwrite=True).molecules[0].row.index == "5"
    assert rank(tmp_path, "+logp", overwrite=True).molecules[0].row.index == "5"


def test_weights_instead_of_fronts(tmp_path: Path) -> None:
    folder_of(tmp_path)
    assert rank(tmp_path, "strain_uff:9, vina_min").molecules[0].row.index == "1"
    assert rank(tmp_path, "strain_uff, vina_min:9", overwrite=True).molecules[0].row.index == "0"


@pytest.mark.parametrize(
    ("word", "out"),
    [
        ("posebusters", {"5": "pb_valid is not 1"}), ("no-alerts", {"5": "alerts is not 0"}),
        ("no-clashes", {"5": "clashes is not 0"}), ("connected", {}), ("qed>0.4", {"2": "qed is 0.4, not > 0.4",
        "5": "qed is 0.3, not > 0.4"}), ("qed >= 0.4", {"5": "qed is 0.3, not >= 0.4"}),
        ("vina_min<0", {"3": "no value of vina_min", "4": "no value of vina_min"}),
    ],
)  # fmt: skip
def test_filters(word: str, out: dict[str, str], tmp_path: Path) -> None:
    rank(folder_of(tmp_path), "qed", [word])
    left = {r["index"]: r["reason"] for r in table(tmp_path) if not r["rank"]}
    assert left == {**out, "6": "no molecule: valence"}


def test_posebusters_by_its_checks_where_the_metric_is_missing(tmp_path: Path) -> None:
    rows = ({**ROWS[0], "pb_valid": "", "pb_overlap": False}, {**ROWS[1], "pb_valid": ""})
    rank(folder_of(tmp_path, rows), "qed", ["posebusters"])
    assert [r["index"] for r in table(tmp_path) if r["rank"]] == ["1"]


def test_the_diverse_choice(tmp_path: Path) -> None:
    rows = tuple({**ROWS[0], "qed": 0.9 - 0.1 * k} for k in range(6))
    rank(folder_of(tmp_path, rows), "qed", diverse=3)
    chosen = [m.GetProp("index") for m in (r.mol for r in read_sdf(tmp_path / "top.sdf")) if m]
    assert chosen[0] == "0"
    assert len(chosen) == 3
    assert not {"1", "2"} & set(chosen)  # alcohols as the best one
    rank(tmp_path, "qed", num=3, overwrite=True)
    assert [m.GetProp("index") for m in (r.mol for r in read_sdf(tmp_path / "top.sdf")) if m] == ["0", "1", "2"]


def test_pockets_are_ranked_apart(tmp_path: Path) -> None:
    rank(folder_of(tmp_path, ROWS[:2], ("a", "b")), "qed", num=1)
    assert [(r["pocket"], r["rank"]) for r in table(tmp_path)] == [
        ("a", "1"), ("a", "2"), ("a", ""), ("b", "1"), ("b", "2"), ("b", ""),
    ]  # fmt: skip
    assert len(read_sdf(tmp_path / "top.sdf")) == 2


def test_what_evaluate_writes_can_be_ranked(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "molecules.sdf").rename(tmp_path / "relaxed.sdf")
    write_sdf(tmp_path / "ligands.sdf", [])  # another file in the folder
    write_evaluation(evaluate(tmp_path / "relaxed.sdf"), tmp_path)
    assert rank(tmp_path, "qed, sa", ["connected"]).molecules[0].front == 1
    assert len(read_sdf(tmp_path / "top.sdf")) == len(SMILES)


@pytest.mark.parametrize(
    ("by", "filters", "said"),
    [
        ("fame", [], "no metric 'fame'.*vina_min"),
        ("qed; sa", [], "cannot read 'qed; sa'"),
        ("", [], "nothing to rank by"),
        ("logp", [], "write -logp .* or .logp"),
        ("novel", [], "novel was not run"),
        ("empty", [], "empty was not run"),
        ("qed, -qed", [], "twice"),
        ("qed:0", [], "above 0"),
        ("dock", [], "dock_a or dock_b"),
        ("qed", ["cheap"], "no filter 'cheap'; there are: posebusters, connected"),
        ("qed", ["qed>high"], "no filter"),
        ("qed", ["fame>1"], "no metric 'fame'"),
        ("qed", ["posebusters"], "PoseBusters was not run"),
        ("qed", ["no-alerts"], "neither alerts nor pains was run"),
        ("qed", ["no-clashes"], "clashes was not run"),
    ],
)
def test_what_cannot_be_meant_is_said(by: str, filters: list[str], said: str, tmp_path: Path) -> None:
    more = {"pb_valid": "", "pb_overlap": "", "alerts": "", "clashes": "", "empty": "", "dock_a": 1, "dock_b": 1}
    folder_of(tmp_path, tuple({**row, **more} for row in ROWS))
    with pytest.raises(LigandsmithError, match=said):
        rank(tmp_path, by, filters)
    assert not (tmp_path / "ranking.csv").exists()


def test_folders_without_an_evaluation(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match="run ligandsmith evaluate first"):
        rank(tmp_path, "qed")
    (tmp_path / "per_molecule.csv").write_text("index,qed\n")
    with pytest.raises(LigandsmithError, match="no molecules"):
        rank(tmp_path, "qed")
    (tmp_path / "per_molecule.csv").write_text("index,qed\n0,0.5\n")
    with pytest.raises(LigandsmithError, match=r"neither molecules.sdf nor ligands.sdf"):
        rank(tmp_path, "qed")
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(LigandsmithError, match=r"cannot use .*summary.json"):
        rank(tmp_path, "qed")
