"""Constraints in the columns of a manifest: the same as the flags, row by row."""

import csv
import json
import re
from pathlib import Path

import pytest

from ligandsmith.cli.columns import option_columns
from ligandsmith.cli.constraints import requested
from ligandsmith.cli.main import FAILED, OK, USAGE, build_parser, main
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.batch.manifest import read_manifest
from ligandsmith.options import GenerationOptions

SITE = Path(__file__).parents[2] / "examples/complexes/7off"
PROTEIN, LIGAND = str(SITE / "protein.pdb.gz"), str(SITE / "ligand.sdf")
QUICK = ["--num", "2", "--steps", "3", "--candidates", "2", "--device", "cpu", "--threads", "1"]


def flags(*words: str) -> GenerationOptions:
    return requested(build_parser("generate").parse_args(["--manifest", "pockets.csv", "--out", "out", *words]))


def cells(folder: Path, given: dict[str, str], *words: str) -> GenerationOptions:
    """The options of a row beside flags."""
    args = build_parser("generate").parse_args(["--manifest", "pockets.csv", "--out", "out", *words])
    return option_columns(args).options(given, folder)


def manifest(path: Path, *rows: dict[str, str]) -> Path:
    columns = ["pocket", "protein", "ligand", *{name: None for row in rows for name in row if name != "pocket"}]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows({"protein": PROTEIN, "ligand": LIGAND, **row} for row in rows)
    return path


def generate(table: Path, out: Path, *words: str) -> int:
    return main(["generate", "--manifest", str(table), *QUICK, *words, "--out", str(out)])


def test_every_flag_for_parts_and_constraints_is_a_column() -> None:
    names = option_columns(build_parser("generate").parse_args(["--manifest", "m", "--out", "o"])).names
    text = build_parser("generate").format_help()
    shown = text[text.index("\nfragments:") : text.index("\nsampling:")]
    of_help = set(re.findall(r"^  (--[\w-]+)", shown, re.MULTILINE))
    assert {"--no-alerts" if name == "alerts" else f"--{name}" for name in names} == of_help | {"--num_atoms"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"forbid": "[Br]; [N;H2]C(=O)", "require_smarts": "[nH]"},
         ["--forbid", "[Br]", "--forbid", "[N;H2]C(=O)", "--require_smarts", "[nH]"]),
        ({"exclude": "1,2,3,4;-1,2,3,4", "toward": "-1,2,3"},
         ["--exclude", "1,2,3,4", "--exclude=-1,2,3,4", "--toward=-1,2,3"]),
        ({"charge": "-1,0", "chiral_centers_max": "2", "rings": "known", "steer": "vina", "alerts": "no"},
         ["--charge=-1,0", "--chiral_centers_max", "2", "--rings", "known", "--steer", "vina", "--no-alerts"]),
        ({"alerts": "yes", "num_atoms": "12-14", "qed": "0.8"}, ["--num_atoms", "12-14", "--qed", "0.8"]),
    ],
)  # fmt: skip
def test_a_cell_is_the_flag(given: dict[str, str], words: list[str], tmp_path: Path) -> None:
    assert cells(tmp_path, given) == flags(*words) != flags()


def test_a_row_adds_to_flags_or_replaces_them(tmp_path: Path) -> None:
    (tmp_path / "bad.smarts").write_text("[Br] bromine\n[I]\n")
    base = ["--forbid", "[Cl]", "--charge", "0", "--no-alerts", "--num_atoms", "20"]
    found = cells(tmp_path, {"forbid": "bad.smarts", "charge": "1", "alerts": "yes", "num_atoms": "9"}, *base)
    assert found == flags(
        "--forbid", "[Cl]", "--forbid", "[Br]", "--forbid", "[I]", "--charge", "1", "--num_atoms", "9"
    )
    assert cells(tmp_path, {"charge": "1"}, *base) == flags(*base, "--charge", "1")
    assert flags(*base).constraints.forbid == ("[Cl]",)  # not that of an earlier row, too


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"charge": "1;2"}, "column charge: '1;2' is not a whole number"),
        ({"rings": "all"}, "column rings: invalid choice: 'all'"),
        ({"alerts": "never"}, "column alerts: 'never' is not true or false"),
        ({"forbid": "C(("}, "--forbid C((: RDKit cannot read this pattern"),
        ({"exclude": "1,2"}, "--exclude 1,2: give X,Y,Z,R"),
        ({"fix": "gone.sdf;gone.sdf"}, "gone.sdf"),
        ({"fix": LIGAND, "hop": LIGAND}, "--hop: not allowed with argument --fix"),
        ({"smarts": "C"}, "--smarts names the part of --replace"),
        ({"num_atoms": "many"}, "--num_atoms many: give a number or a range"),
        ({"hop": LIGAND}, "these weights were not trained to complete fragments"),
    ],
)
def test_a_cell_that_cannot_be_costs_its_row_alone(
    given: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"pocket": "good", "num_atoms": "6"}, {"pocket": "bad", **given}
    table = manifest(tmp_path / "pockets.csv", *rows)
    assert generate(table, tmp_path / "run", "--checkpoint", "tiny", "--num", "1", "--steps", "2") == OK
    with (tmp_path / "run" / "failures.csv").open() as stream:
        (failure,) = csv.DictReader(stream)
    assert (failure["pocket"], failure["line"]) == ("bad", "3")
    assert said in failure["reason"]
    assert json.loads((tmp_path / "run/good/samples.json").read_text())["row"] == {"num_atoms": "6"}


def test_a_row_makes_what_the_command_with_its_flags_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ref.sdf").write_text((SITE / "ligand.sdf").read_text())
    rows = (
        {"pocket": "replaced", "replace": "ref.sdf", "smarts": "c1ccccc1", "forbid": "[Cl];[Br]"},
        {"pocket": "linked", "fix": "ref.sdf;ref.sdf", "num_atoms": "29-30"},
        {"pocket": "small", "num_atoms": "8", "toward": "37,-26,9", "require_smarts": "[Xe]"},
    )
    alone = {
        "replaced": ["--replace", LIGAND, "--smarts", "c1ccccc1", "--forbid", "[Cl]", "--forbid", "[Br]"],
        "linked": ["--fix", LIGAND, LIGAND, "--num_atoms", "29-30"],
        "small": ["--num_atoms", "8", "--toward", "37,-26,9", "--require_smarts", "[Xe]"],
    }
    run = tmp_path / "run"
    assert generate(manifest(tmp_path / "pockets.csv", *rows), run) == OK
    for name, words in alone.items():
        site = ["--protein", PROTEIN, "--ligand", LIGAND]
        assert main(["generate", *site, *QUICK, *words, "--out", str(tmp_path / name)]) == OK
        found, expected = (json.loads((f / name / "samples.json").read_text()) for f in (run, tmp_path))
        for key in ("identity", "molecules", "failures"):
            assert found[key] == expected[key]
        if found["molecules"]:
            assert (run / name / "ligands.sdf").read_bytes() == (tmp_path / name / "ligands.sdf").read_bytes()
    small = json.loads((run / "small" / "samples.json").read_text())
    assert {failure["detail"] for failure in small["failures"] if failure["reason"] == "constraint"} == {"no [Xe]"}
    other = manifest(tmp_path / "pockets.csv", rows[0] | {"forbid": "[Cl]"}, *rows[1:])
    assert generate(other, run) == FAILED
    assert "replaced: holds samples of another request (different constraints)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--hop", LIGAND], ["--smarts", "C"], ["--grow_from", "3"]])
def test_parts_are_named_in_the_file(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(tmp_path / "pockets.csv", tmp_path / "run", *words) == USAGE
    name = words[0].removeprefix("--")
    assert f"with --manifest, give it in the column {name}" in capsys.readouterr().err


def test_other_columns_are_unknown(tmp_path: Path) -> None:
    table = manifest(tmp_path / "pockets.csv", {"pocket": "a", "forbids": "C"})
    with pytest.raises(LigandsmithError, match=r"unknown column 'forbids'; the columns are .* radius, smiles, fix"):
        read_manifest(table, ("fix", "forbid"))
