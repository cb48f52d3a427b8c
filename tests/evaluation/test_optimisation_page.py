"""The report of an optimisation says what its files say, whole or cut off, and never runs what stands in them."""

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from optimisation_folder import BUDGET, ROUND, optimised
from rdkit import Chem
from results_folder import HOSTILE, write_results

from ligandsmith.cli.main import main
from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report import descent
from ligandsmith.evaluation.report.descent import Album, ancestors
from ligandsmith.evaluation.report.optimisation import Optimisation, read_optimisation
from ligandsmith.evaluation.report.page import write_report


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small optimisation."""
    return optimised(tmp_path_factory.mktemp("optimised") / "out")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(made, tmp_path / "out"))


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def run_of(folder: Path) -> Optimisation:
    run = read_optimisation(folder)
    assert run is not None
    return run


def text_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def edit_history(folder: Path, change: Callable[[list[dict[str, str]]], None]) -> None:
    path = folder / "history.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def edit_record(folder: Path, **changes: object) -> None:
    path = folder / "optimisation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def use_crossover(rows: list[dict[str, str]]) -> None:
    """The last row becomes a chosen child of two ligands."""
    parents = [row["index"] for row in rows[1:-1] if row["smiles"]][:2]
    rows[-1] |= {"move": "crossover", "parents": ";".join(parents), "smiles": "Oc1ccccc1CCN", "reason": "",
                 "heavy_atoms": "10", "score": "9", "qed": "0.9", "logp": "1", "sa": "1.5"}  # fmt: skip


def test_the_page_says_what_the_files_say(folder: Path) -> None:
    text = text_of(folder)
    record = json.loads((folder / "optimisation.json").read_text())
    with (folder / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    scored = sum(bool(row["score"]) for row in rows[1:])
    assert f"{BUDGET} ligands made in 3 rounds · {scored} scored · {len(record['chosen'])} chosen" in text
    assert record["chosen"]
    for rank, index in enumerate(record["chosen"], 1):
        assert f"{rank}. ligand {index}, score" in text
    assert all(text.count(f'class="curve {kind}"') == 4 for kind in ("best", "mean", "start"))
    for reason, count in record["failures"].items():
        assert re.search(rf'<th scope="row">{re.escape(reason)}</th>\s*<td class=num>{count}</td>', text)
    plot = text[text.index('id="scatter"') : text.index('id="tree"')]
    assert plot.count('<g class="dot ') == scored + 1
    assert plot.count('<g class="dot front') == len(set(record["pareto_front"]))
    assert (folder / "report.md").read_text().count("## Failures") == 1
    assert "history.csv" in json.loads((folder / "report.json").read_text())["report"]["files"]


def test_moves_are_counted(folder: Path) -> None:
    text = text_of(folder)
    table = text[text.index("<h3>What worked</h3>") : text.index("<h3>What failed")]
    cells = re.findall(r'<th scope="row">([^<]*)</th>\s*<td class=num>(\d+)</td>\s*<td class=num>(\d+)</td>', table)
    rows = run_of(folder).made
    assert sorted(cells) == sorted(
        (move, str(sum(x.move == move for x in rows)), str(sum(x.move == move and x.score is not None for x in rows)))
        for move in {x.move for x in rows}
    )


def test_the_way_leads_from_the_start_to_the_chosen(folder: Path) -> None:
    run = run_of(folder)
    for path in Album(run).paths():
        steps = [step.ligand for step in path.steps]
        assert steps == ancestors(run, run.chosen[path.rank - 1])
        assert not steps[0].parents
        assert all(child.parents[0] == parent.index for parent, child in pairwise(steps))
        for parent, step in zip(steps, path.steps[1:], strict=False):
            assert step.picture.startswith("<svg")
            assert step.new is not None
            assert step.gone is not None
            sizes = [Chem.MolFromSmiles(x.smiles).GetNumAtoms() for x in (parent, step.ligand)]
            assert step.new - step.gone == sizes[1] - sizes[0]
            assert step.picture.count("<ellipse") == step.new


def test_only_what_is_new_is_marked(folder: Path) -> None:
    """Benzoic acid becomes its amide: one atom."""

    def change(rows: list[dict[str, str]]) -> None:
        rows[0]["smiles"] = "OC(=O)c1ccccc1"
        rows[1] |= {"smiles": "NC(=O)c1ccccc1", "parents": "0", "score": "1", "qed": "0.5", "logp": "2", "sa": "1"}

    edit_history(folder, change)
    edit_record(folder, chosen=[1], pareto_front=[])
    (path,) = Album(run_of(folder)).paths()
    step = path.steps[-1]
    assert (step.new, step.gone, step.picture.count("<ellipse")) == (1, 1, 1)
    score = step.changes[0]
    assert (score.name, score.value) == ("score", "1.00")
    assert [change.better for change in step.changes[1:]] == [
        float(now) > before if higher else float(now) < before
        for now, before, higher in zip(
            (0.5, 2, 1), run_of(folder).ligands[0].values.values(), (True, False, False), strict=True
        )
    ]


def test_a_crossover_shows_both_parents(folder: Path) -> None:
    edit_history(folder, use_crossover)
    edit_record(folder, chosen=[BUDGET])
    text = text_of(folder)
    (path,) = Album(run_of(folder)).paths()
    assert path.steps[-1].other == run_of(folder).ligands[BUDGET].parents[1]
    assert f"with parts of ligand {path.steps[-1].other}" in text
    assert text.count('class="picture small"') == 1


def test_a_long_way_is_cut(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        for k, row in enumerate(rows[1:], 1):
            row |= {"parents": str(k - 1), "smiles": "C" * k, "reason": "", "score": "1"}

    edit_history(folder, change)
    edit_record(folder, chosen=[BUDGET], pareto_front=[])
    monkeypatch.setattr(descent, "MOST_STEPS", 5)
    (path,) = Album(run_of(folder)).paths()
    assert [step.ligand.index for step in path.steps] == [0, *range(BUDGET - 3, BUDGET + 1)]
    assert path.left_out == BUDGET - 4
    assert f"{BUDGET - 4} steps before it are left out" in text_of(folder)


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_run_that_was_cut_off(folder: Path, rounds: int) -> None:
    """As its files were after an earlier round."""
    record = json.loads((folder / "optimisation.json").read_text())
    left = 1 + ROUND * (rounds - 1)
    edit_history(folder, lambda rows: rows.__delitem__(slice(left, None)))
    edit_record(folder, rounds=record["rounds"][:rounds], chosen=[], pareto_front=[0])
    text = text_of(folder)
    assert f"{left - 1} ligands made in {rounds - 1} round" in text
    assert "No ligand is chosen yet" in text
    assert not re.search(r"\b(nan|None)\b", text.split("</style>")[1].split("<script")[0])


def test_a_run_without_a_whole_round_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "history.csv").unlink()
    (folder / "optimisation.json").write_text('{"identity": {}}')
    assert main(["report", str(folder)]) == 1
    assert "no round has ended; run the same `ligandsmith optimise` to go on" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_what_is_unknown_of_a_round_is_left_out(folder: Path) -> None:
    edit_record(folder, rounds=[None, {}, {"best": None, "moves": {"noise 0.2": None}}], seconds=None, selection=None)
    text = text_of(folder)
    assert f"{BUDGET} ligands made in 2 rounds" in text
    assert 'class="curve best"' not in text


def test_one_objective_has_no_front(folder: Path) -> None:
    record = json.loads((folder / "optimisation.json").read_text())
    edit_record(folder, objectives=record["objectives"][:1])
    text = text_of(folder)
    assert "There is one objective, so there is no front." in text
    assert 'id="scatter"' not in text


def test_what_stands_in_the_files_is_never_markup(folder: Path) -> None:
    def change(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row |= {"detail": HOSTILE, "reason": HOSTILE if row["reason"] else ""}
            row["move"] = HOSTILE if row["move"] != "start" else "start"
        rows[-1]["smiles"] = HOSTILE

    edit_history(folder, change)
    record = json.loads((folder / "optimisation.json").read_text())
    record["objectives"][0]["unit"] = HOSTILE
    moves = {"moves": {HOSTILE: {"tried": 3, "won": 1}}}
    edit_record(folder, command=HOSTILE, selection=HOSTILE, identity={HOSTILE: HOSTILE},
                objectives=record["objectives"], rounds=[entry | moves for entry in record["rounds"]])  # fmt: skip
    text = text_of(folder)
    reader = Reader(text)
    assert reader.tags.count("script") == 2
    assert "img" not in reader.tags
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    assert "<img" not in (folder / "report.md").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].count("'sha256-") == 1
    assert "default-src 'none'" in policy[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot read"),
        ("[1]", "it has another type"),
        ('{"rounds": 3}', "rounds has another type"),
        ('{"rounds": [{"best": {"qed": "x"}}]}', r"rounds\.0\.best\.qed has another type"),
        ('{"rounds": [{}], "objectives": [{"name": "qed"}]}', "an objective without name or direction"),
        ('{"rounds": [{}], "objectives": [{"name": "tpsa", "better": "lower"}]}', "no column tpsa"),
        ('{"rounds": [{}], "chosen": [999]}', "has no score of ligand 999"),
    ],
)
def test_a_damaged_record_is_named(folder: Path, content: str, said: str) -> None:
    (folder / "optimisation.json").write_text(content)
    with pytest.raises(LigandsmithError, match=said) as caught:
        write_report(folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("index", "1", "comes twice"),
        ("index", "two", "'two' where a whole number should be"),
        ("round", "-1", "whole number"),
        ("parents", "77", "its parent 77 does not stand before"),
        ("parents", "2", "its parent 2 does not stand before"),
        ("qed", "good", "'good' is no number, in column qed"),
        ("score", "a\nb", "is no number, in column score"),
    ],
)
def test_a_damaged_table_is_named(folder: Path, column: str, value: str, said: str) -> None:
    edit_history(folder, lambda rows: rows[2].__setitem__(column, value))
    with pytest.raises(LigandsmithError, match=said) as caught:
        write_report(folder)
    assert "history.csv, line" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x00\xff\xfe", b"index,round\n0,0,0\n"])
def test_a_foreign_table_is_named(folder: Path, content: bytes) -> None:
    (folder / "history.csv").write_bytes(content)
    with pytest.raises(LigandsmithError, match=r"history\.csv"):
        write_report(folder)


def test_an_evaluated_optimisation_has_both(folder: Path) -> None:
    write_results(folder, per_pocket=3, pockets=("7sza",))
    text = text_of(folder)
    assert "Ligand evaluation report" in text
    assert '<a href="#optimisation">' in text
    assert text.count('<section id="optimisation"') == 1
    assert Reader(text).tags.count("script") == 5
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].count("'sha256-") == 3
    machine = json.loads((folder / "report.json").read_text())
    assert machine["requested"] == 3
    assert "## Moves" in (folder / "report.md").read_text()


def test_an_evaluation_alone_has_no_trace_of_it(tmp_path: Path) -> None:
    write_results(tmp_path, per_pocket=3, pockets=("7off",))
    assert "ptimisation" not in text_of(tmp_path)


def test_a_page_of_others_is_not_overwritten(folder: Path) -> None:
    (folder / "report.html").write_text("mine")
    with pytest.raises(LigandsmithError, match="--overwrite"):
        write_report(folder)
    assert (folder / "report.html").read_text() == "mine"
    assert write_report(folder, overwrite=True).stat().st_size > 10_000
    write_report(folder)


def test_it_leaves_torch_alone(folder: Path) -> None:
    code = f"import sys; from ligandsmith.cli.main import main; main(['report', {str(folder)!r}])"
    code += "; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("False\n")
