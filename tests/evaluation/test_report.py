"""The report: everything of the folder is in it, nothing of a stranger's text runs, and its size is bounded."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from results_folder import HOSTILE, Made, write_results

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.report import page as report
from ligandsmith.evaluation.report.depiction import depict
from ligandsmith.evaluation.report.page import write_report
from ligandsmith.evaluation.report.plots import histogram, outside
from ligandsmith.evaluation.report.rendering import ENVIRONMENT, markdown, number
from ligandsmith.evaluation.report.results import read_results
from ligandsmith.files import file_hash

PARTS = ("molecules.sdf", "references.sdf", "interactions.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_results(tmp_path)
    return tmp_path


class Reader(HTMLParser):
    """What a browser would make of the page: elements by name, text of the scripts, attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.lasttag == "script":
            self.scripts[-1] += data


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def page_data(page: Path) -> dict[str, object]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert match
    return dict(json.loads(match[1]))


def edit_summary(folder: Path, **changes: object) -> None:
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_page_holds_tables_molecules_and_reproduction(folder: Path) -> None:
    page = write_report(folder)
    text = page.read_text(encoding="utf-8")
    for expected in (
        "PoseBusters-valid, of requested", "aromatic ring flatness", "TargetDiff", "this run", "SA is given here as",
        "not run: no known molecules given", "sha256 9f2c…", "ligandsmith evaluate samples", "fails a check",
    ):  # fmt: skip
        assert expected in text, expected
    data = page_data(page)
    molecules = read_results(folder).molecules
    assert len(data["rows"]) == len(data["structures"]) == len(molecules)  # type: ignore[arg-type]
    first = next(iter(data["structures"].values()))  # type: ignore[attr-defined]
    assert first[0].startswith("<svg")
    assert "M  END" in first[1]
    assert page.stat().st_size < 1_500_000


def test_three_files_say_the_same(folder: Path) -> None:
    write_report(folder)
    machine = json.loads((folder / "report.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    assert {key: machine[key] for key in summary} == summary
    assert machine["report"]["structures_in_page"] == machine["report"]["molecules"]
    assert "molecules.sdf" in machine["report"]["files"]
    text = (folder / "report.md").read_text()
    assert f"| QED | {summary['metrics']['qed']['mean']:.3f} |" in text
    assert "| **this run** |" in text
    assert "| TargetDiff | −5.47 | 0.480 | – | – | FuncBind, Table 1 |" in text


def test_markup_in_titles_stays_text(folder: Path) -> None:
    table = folder / "per_molecule.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    for row in rows:
        row["detail"] = row["pocket"] = HOSTILE
        row["reason"] = HOSTILE if row["reason"] else ""
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    edit_summary(folder, command=HOSTILE, failures={HOSTILE: 3}, pockets={HOSTILE: {"qed": 0.1}, "b": {}})
    page = write_report(folder)
    reader = read(page)
    assert reader.tags.count("script") == 3
    assert "img" not in reader.tags
    assert not any(name.startswith("on") for name, _ in reader.attributes)
    assert "<img" not in (folder / "report.md").read_text()


def test_the_policy_names_exactly_the_scripts_of_the_page(folder: Path) -> None:
    text = write_report(folder).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].count("'sha256-") == 2
    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert "script-src 'unsafe-inline'" not in policy[1]
    assert not re.search(r"""(src|href)=["']?https?:""", text.split('<script type="application/json"')[0])


def test_json_in_a_script_cannot_end_it() -> None:
    text = ENVIRONMENT.from_string("{{ data|tojson }}").render(data={"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


def test_markdown_escapes_markup() -> None:
    assert markdown("a|b\n<b> *c* `d` [e](f)") == r"a\|b &lt;b&gt; \*c\* \`d\` \[e\](f)"


@pytest.mark.parametrize("absent", [PARTS, *((part,) for part in PARTS)])
def test_absent_parts_are_named(folder: Path, absent: tuple[str, ...]) -> None:
    for part in absent:
        (folder / part).unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    for part in PARTS:
        assert (f"no {part}" in text) == (part in absent)


def test_a_folder_without_any_valid_molecule_has_a_report(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "per_molecule.csv").open(encoding="utf-8")))
    with (folder / "per_molecule.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["pocket", "index", "title", "reason", "detail", "smiles"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows([row | {"reason": "valence", "smiles": ""} for row in rows])
    for path in [folder / part for part in PARTS] + list((folder / "pockets").iterdir()):
        path.unlink()
    (folder / "summary.json").write_text(json.dumps({"format": 2, "requested": len(rows), "failures": {"valence": 36}}))
    text = write_report(folder).read_text(encoding="utf-8")
    assert "no valid molecule among those requested" in text
    assert "36 valence" in text
    assert "No metric has a value." in text


def test_stages_and_suites_that_did_not_run_say_why(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    funnel = [*summary["funnel"][:-1], {"stage": "posebusters", "n": None, "status": "not run: not installed"}]
    edit_summary(folder, funnel=funnel, posebusters={"status": "not run: not installed"}, published=[])
    text = write_report(folder).read_text(encoding="utf-8")
    assert text.count("not run: not installed") == 2
    assert "No published rows given." in text


def test_best_molecules_come_first_and_pockets_take_turns(folder: Path) -> None:
    molecules = read_results(folder).molecules
    assert len({row.pocket for row in molecules[:3]}) == 3
    own = [row.values["pb_valid"] for row in molecules if row.pocket == "7off"]
    assert own == sorted(own, reverse=True)
    assert [name for name, _ in read_results(folder).ranking][:3] == ["pb_valid", "connected", "vina_score"]


def test_a_page_cut_short_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "STRUCTURE_BYTES", 18_000)
    monkeypatch.setattr(report, "ROW_BYTES", 3_000)
    monkeypatch.setattr(report, "POCKET_BYTES", 30_000)
    page = write_report(folder)
    said = json.loads((folder / "report.json").read_text())["report"]
    assert 0 < said["structures_in_page"] < said["rows_in_page"] < said["molecules"]
    text = page.read_text(encoding="utf-8")
    assert f"the best {said['rows_in_page']} of {said['molecules']} molecules" in text
    assert f"of {said['structures_in_page']} of {said['molecules']} molecules, best ranked first" in text
    numbers = [int(k) for k in page_data(page)["structures"]]  # type: ignore[attr-defined]
    assert numbers == list(range(len(numbers)))  # the best ranked, without a gap


def test_a_pocket_name_cannot_reach_outside_the_folder(folder: Path) -> None:
    (folder.parent / "secret.pdb").write_text("ATOM      1  CA  GLY A   1       0.000   0.000   0.000")
    table = folder / "per_molecule.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("7off,", "../../secret,"), encoding="utf-8")
    sites = page_data(write_report(folder))["sites"]
    assert [site["pdb"] for site in sites if "secret" in site["name"]] == [""]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["summary.json", "per_molecule.csv"])
def test_a_folder_that_evaluate_did_not_write_is_an_error(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(LigandsmithError, match=f"no {name} in .*; run"):
        write_report(folder)


@pytest.mark.parametrize("content", ['{"format": 1}', "[]", "{"])
def test_a_summary_of_another_format_is_an_error(folder: Path, content: str) -> None:
    (folder / "summary.json").write_text(content)
    with pytest.raises(LigandsmithError, match="evaluate` again"):
        write_report(folder)


def test_not_a_number_is_a_missing_value(folder: Path) -> None:
    table = folder / "per_molecule.csv"
    table.write_text(re.sub(r"(,-?\d+\.\d+){2}", ",nan,inf", table.read_text(encoding="utf-8"), count=5))
    summary = json.loads((folder / "summary.json").read_text())
    summary["reference"]["qed"] = float("nan")
    (folder / "summary.json").write_text(json.dumps(summary))
    write_report(folder)
    assert json.loads((folder / "report.json").read_text())["reference"]["qed"] is None


def test_depictions_are_small_and_of_the_molecule() -> None:
    svg = depict("NS(=O)(=O)c1ccc(cc1)-n1nc(cc1-c1ccc(C)cc1)C(F)(F)F")
    assert len(svg) < 4000
    assert svg.count(">F</text>") == 3
    assert "><" in svg
    assert depict("not a molecule") == ""


@pytest.mark.parametrize("values", [[1.0], [0.5, 0.5], [0.0, 1000.0], [-9.1, -8.0, 3.2], [float(v) for v in range(80)]])
def test_a_histogram_counts_every_value(values: list[float]) -> None:
    svg = histogram(values, values[0], "a < b")
    assert "nan" not in svg
    assert "a &lt; b" in svg
    assert outside(values, None) == 0


def test_a_far_outlier_does_not_flatten_the_histogram() -> None:
    values = [-8 + 0.01 * k for k in range(200)] + [4000.0]
    assert outside(values, -7.0) >= 1
    assert histogram(values, -7.0, "Vina").count("<rect") > 8


def test_numbers_read_well() -> None:
    assert [number(v) for v in (None, 0.0, 2e-7, 0.1234, -7.912, 3, 1234.5)] == [
        "–",
        "0",
        "2e−07",
        "0.123",
        "−7.91",
        "3",
        "1234",
    ]
    assert number(0.5, "fraction") == "50.0 %"


def test_the_report_leaves_torch_alone() -> None:
    code = "import sys, ligandsmith.evaluation.report.page; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_fixture_has_what_the_report_must_survive(tmp_path: Path) -> None:
    made: list[Made] = write_results(tmp_path)
    titles = [m.title for m in made if m.mol is not None]
    assert HOSTILE in titles
    assert titles.count("ligand") > 1
    assert any(not title.isascii() for title in titles)
    assert any(m.mol is None for m in made)


def test_molecules_that_changed_after_they_were_scored_are_said(folder: Path) -> None:
    ligands = folder / "ligands.sdf"
    ligands.write_text("as scored")
    summary = json.loads((folder / "summary.json").read_text())
    summary["inputs"][0] |= {"ligands": str(ligands), "ligands_sha256": file_hash(ligands)}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert not any("newer molecules" in text for text in read_results(folder).missing)
    ligands.write_text("as a longer run left it")
    assert any("newer molecules: ligands.sdf" in text for text in read_results(folder).missing)
    write_report(folder)
    assert "ligands.sdf changed after it was scored" in (folder / "report.html").read_text(encoding="utf-8")
