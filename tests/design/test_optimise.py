"""Optimisation: the same ligands whoever makes them and however often it is cut off; what it keeps to; what it says."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem, DataStructs

import ligandsmith
from ligandsmith.design import optimise as engine
from ligandsmith.design.history import morgan_fingerprint
from ligandsmith.design.plan import parse_budget
from ligandsmith.design.results import Result
from ligandsmith.errors import LigandsmithError
from ligandsmith.structure.ligands import read_ligand, without_hydrogens
from ligandsmith.structure.pocket import read_pocket

SITE = Path(__file__).parents[2] / "examples/complexes/7sza"
AIMS = "qed, -logp:0.5"
SAME = ("ligands.sdf", "history.csv")
ROUND, BUDGET = 6, 18


@pytest.fixture(scope="module", autouse=True)
def small_rounds() -> Any:
    """Rounds of six ligands, and one thread."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ligandsmith.design.plan.ROUND_SIZE", ROUND)
        yield


@pytest.fixture(scope="module")
def hit() -> Chem.Mol:
    return without_hydrogens(read_ligand(SITE / "ligand.sdf"))


def run(out: Path, start: Any, budget: int | str = BUDGET, **more: Any) -> Result:
    pocket, _ = read_pocket(SITE / "protein.pdb.gz", SITE / "ligand.sdf")
    settings = {"num_atoms": "8-12", "steps": 8, "candidates": 1, **more}
    return ligandsmith.optimise(pocket, start, AIMS, budget, out=out, **settings)


@pytest.fixture(scope="module")
def whole(hit: Chem.Mol, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an optimisation that was never cut off."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(out, hit)
    return out


def table(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_ligand_is_accounted_for(whole: Path) -> None:
    rows = table(whole)
    assert [int(row["index"]) for row in rows] == list(range(BUDGET + 1))
    assert {row["move"] for row in rows if row["round"] == "0"} == {"start"}
    for row in rows[1:]:
        assert bool(row["score"]) != bool(row["reason"])
        assert all(int(parent) < int(row["index"]) for parent in filter(None, row["parents"].split(";")))
    record = json.loads((whole / "optimisation.json").read_text())
    assert [r["ligands"] for r in record["rounds"]] == [1, ROUND, ROUND, ROUND]
    assert record["done"] == BUDGET
    scores = [r["best_score"] for r in record["rounds"]]
    assert scores == sorted(scores)
    front = [rows[i] for i in record["pareto_front"]]
    for a in front:
        assert not any(
            float(b["qed"]) > float(a["qed"]) and float(b["logp"]) < float(a["logp"]) for b in rows if b["score"]
        )


def test_the_result_is_valid_and_best_first(whole: Path) -> None:
    rows = table(whole)
    mols = [mol for mol in Chem.SDMolSupplier(str(whole / "ligands.sdf"))]
    assert mols
    scores = [float(mol.GetProp("score")) for mol in mols]
    assert scores == sorted(scores, reverse=True)
    chosen = [rows[int(mol.GetProp("index"))] for mol in mols]
    assert all(row["pb_valid"] == "1" and row["chosen"] == "1" and row["move"] != "start" for row in chosen)
    assert [row["smiles"] for row in chosen] == [mol.GetProp("smiles") for mol in mols]
    prints = [morgan_fingerprint(mol) for mol in mols]
    for i, one in enumerate(prints):
        assert all(DataStructs.TanimotoSimilarity(one, other) <= engine.ALIKE_RESULTS for other in prints[:i])


@pytest.mark.parametrize("left", [1, 2])
def test_a_run_that_was_cut_off_goes_on_to_the_same(whole: Path, hit: Chem.Mol, tmp_path: Path, left: int) -> None:
    """As if it was killed in round `left` + 1: later rounds are gone, and files are as they were in another round."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    for path in sorted((out / "rounds").glob("*.json"))[left + 1 :]:
        path.unlink()
    (out / "ligands.sdf").write_text("")
    run(out, hit)
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in SAME)


def test_a_round_that_was_cut_off_is_finished(
    whole: Path, hit: Chem.Mol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ligandsmith.design.scoring.Scoring.score", stopped)  # after the sampling of the first round
        with pytest.raises(KeyboardInterrupt):
            run(out, hit)
        kept = sorted((out / "rounds/unfinished").rglob("*.json"))
        assert kept
        before = kept[0].stat().st_mtime_ns
        with pytest.raises(KeyboardInterrupt):
            run(out, hit)
    assert kept[0].stat().st_mtime_ns == before
    run(out, hit)
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in SAME)
    assert not (out / "rounds/unfinished").exists()


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_workers_make_the_same(whole: Path, hit: Chem.Mol, tmp_path: Path, engine: str) -> None:
    if engine == "ray":
        pytest.importorskip("ray", reason="ray, an extra, is not installed")
    run(tmp_path / "out", hit, ROUND, workers=2, engine=engine)
    made, other = (json.loads((out / "rounds/0001.json").read_text())["rows"] for out in (tmp_path / "out", whole))
    assert made == other


def test_a_larger_budget_goes_on(whole: Path, hit: Chem.Mol, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(out, hit, ROUND)
    assert len(table(out)) == ROUND + 1
    run(out, hit, BUDGET)
    assert (out / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()


def test_another_seed_is_another_request(whole: Path, hit: Chem.Mol) -> None:
    with pytest.raises(LigandsmithError, match="different seed"):
        run(whole, hit, seed=5)


def test_without_a_start_it_begins_with_fresh_ligands(tmp_path: Path) -> None:
    result = run(tmp_path / "out", None, ROUND)
    assert {row.move for row in result.rows} == {"fresh"}
    assert len(result.rows) == ROUND


def test_what_is_kept_is_in_every_ligand(hit: Chem.Mol, tmp_path: Path) -> None:
    ring = list(hit.GetRingInfo().AtomRings()[0])
    core = Chem.RWMol(hit)
    for i in range(hit.GetNumAtoms() - 1, -1, -1):
        if i not in ring:
            core.RemoveAtom(i)
    Chem.SanitizeMol(core)
    n = hit.GetNumAtoms()
    result = run(tmp_path / "out", hit, ROUND, keep=core.GetMol(), num_atoms=f"{n - 3}-{n + 3}")
    places = core.GetConformer().GetPositions()
    made = [row.pose for row in result.rows if row.mol is not None]
    assert len(made) > 1
    for mol in made:
        assert np.abs(mol.GetConformer().GetPositions()[: len(ring)] - places).max() < 1e-3


def test_a_range_of_similarity_holds(hit: Chem.Mol, tmp_path: Path) -> None:
    result = run(tmp_path / "out", hit, ROUND, similarity=(0.1, 0.3))
    for row in result.rows[1:]:
        if row.mol is not None:
            value = DataStructs.TanimotoSimilarity(morgan_fingerprint(hit), row.fingerprint)
            assert (row.reason == "similarity") == (not 0.1 <= round(value, 5) <= 0.3)
        assert row.reason != "similarity" or "is not within 0.1 to 0.3" in row.detail


def test_a_damaged_round_is_named(whole: Path, hit: Chem.Mol, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    (out / "rounds/0001.json").write_text("[1")
    with pytest.raises(LigandsmithError, match=r"0001\.json: not the ligands of a round"):
        run(out, hit)


@pytest.mark.parametrize("text", ["0", "-3", "10 sec", "many", "0min", "1.5"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LigandsmithError, match="give a number of ligands from 1, or minutes as in 10min"):
        parse_budget(text)


def test_budgets() -> None:
    assert parse_budget("500").ligands == 500
    assert parse_budget("10min").minutes == 10
    assert parse_budget(" 2h ").minutes == 120
    assert parse_budget("10min").spent(0, 601)
    assert not parse_budget("10min").spent(10**6, 599)
    assert parse_budget(40).next_round(36) == 4
