"""Names from strangers' files never become formulas in a CSV file, numbers stay numbers, and both are read back."""

import csv
from pathlib import Path

import pytest

from ligandsmith.cli.main import OK, main
from ligandsmith.evaluation.molecule_table import read_molecule_table
from ligandsmith.files import FORMULA_STARTS, csv_content, write_csv
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "=", "--1", "+nan(1)"]
PLAIN = ["", "a", "C[C@H](N)O", "[O-]c1ccccc1", "'", "'a", "x=1", "ligand-1", " =1", "1e-3"]
NUMBERS = ["-1.2", "+3", "-1e-5", "-inf", "-0"]


@pytest.mark.parametrize("text", [*FORMULAS, *[f"'{text}" for text in FORMULAS], *PLAIN, *NUMBERS, "'-1.2", "''=1"])
def test_a_text_is_read_back_as_it_was_and_never_starts_a_formula(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", [{"name": text, "value": -1.2, text or "none": 3}])
    with (tmp_path / "x.csv").open(newline="") as stream:
        heading, cells = csv.reader(stream)
    for cell in (heading[-1], cells[0]):
        assert not cell.startswith(FORMULA_STARTS) or cell in NUMBERS
    assert cells[1] == "-1.2"
    columns, [(_, row)] = csv_content(tmp_path / "x.csv")
    assert row["name"] == text
    assert columns[-1] == (text or "none")


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_written_as_they_are(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", [{"a": text}])
    assert (tmp_path / "x.csv").read_text().splitlines()[1] == text


def test_a_title_that_is_a_formula_is_defused_from_evaluation_to_ranking(tmp_path: Path) -> None:
    name = '=HYPERLINK("http://x","-1")'
    block = (SITE / "ligand.sdf").read_text().split("\n", 1)[1]
    (tmp_path / "x.sdf").write_text(f"{name}\n{block}")
    out = tmp_path / "out"
    assert main(["evaluate", str(tmp_path / "x.sdf"), "--protocol", "none", "--out", str(out)]) == OK
    assert main(["rank", str(out), "--by", "qed,-logp"]) == OK
    for file in ("per_molecule.csv", "ranking.csv"):
        with (out / file).open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert row["title"] == f"'{name}"
        assert float(row["logp"]) == float(csv_content(out / file)[1][0][1]["logp"])
        assert csv_content(out / file)[1][0][1]["title"] == name
    assert read_molecule_table(out).rows[0].title == name


def test_a_row_with_more_cells_than_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2,\n1,2,3\n")
    with pytest.raises(ValueError, match="line 3: more cells than columns"):
        csv_content(tmp_path / "x.csv")
