"""10,000 molecules: the list scrolls, sorts, filters and plots them, and makes only the rows that are seen."""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rdkit import Chem
from studio_browser import BROWSER, COMPLEXES, Visit, browsing, served

from ligandsmith.studio.jobs import DONE, SAMPLING, SCORING, Job, JobStep, JobStore
from ligandsmith.studio.projects import Projects

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
MANY = 10_000
GROUPS = ("F", "Cl", "Br", "C", "N", "O", "OC", "C#N", "C(F)(F)F", "S(N)(=O)=O")


def filled(root: Path) -> str:
    """A project with a finished job of many molecules; its id."""
    root.mkdir()
    project = Projects(root).create("Many molecules", "7off")
    steps = (JobStep(SAMPLING, ("generate",)), JobStep(SCORING, ("evaluate",)))
    store = JobStore(root)
    job = store.add(Job(1, project.id, "generate", {"num": MANY}, steps, step=2, state=DONE))
    store.close()
    folder = project.folder / "jobs" / job.name
    folder.mkdir(parents=True)
    _write_molecules(folder)
    return project.id


def _write_molecules(folder: Path) -> None:
    reference = Chem.MolFromMolFile(str(COMPLEXES / "7off" / "ligand.sdf"))
    block = Chem.MolToMolBlock(reference)
    smiles = [f"c1c({a})cc({b})c({c})c1{d}" for a in GROUPS for b in GROUPS for c in GROUPS for d in GROUPS]
    assert len(smiles) == MANY
    assert Chem.MolFromSmiles(smiles[-1]) is not None
    with (folder / "ligands.sdf").open("w") as stream:
        for index, text in enumerate(smiles):
            stream.write(f"{block}>  <index>\n{index}\n\n>  <smiles>\n{text}\n\n$$$$\n")
    with (folder / "per_molecule.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["pocket", "index", "title", "reason", "detail", "smiles", "pb_valid", "vina_min", "qed", "sa", "logp"]
        )
        for index, text in enumerate(smiles):
            values = [
                index % 3 != 0,
                -5 - (index * 37 % 1000) / 250,
                (index * 13 % 997) / 997,
                1 + index % 7,
                index % 5,
            ]
            writer.writerow(["7off", index, "", "", "", text, *map(float, values)])
    (folder / "samples.json").write_text(json.dumps({"failures": []}))


@pytest.fixture(scope="module")
def visit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    root = tmp_path_factory.mktemp("studio") / "projects"
    id = filled(root)
    with served(root) as server, browsing(server) as context:
        visit = Visit(context, server.origin)
        visit.open(f"/projects/{id}?show=table")
        visit.page.locator("#count", has_text="10,000 molecules").wait_for()
        yield visit
        assert visit.strangers == []
        assert visit.complaints == []


def test_only_rows_near_those_in_view_exist(visit: Visit) -> None:
    page = visit.page
    assert page.locator("#body tr").count() < 100
    height = page.evaluate("document.getElementById('frame').scrollHeight")
    assert height > MANY * 100


def test_the_last_molecule_is_there_when_it_is_scrolled_to(visit: Visit) -> None:
    page = visit.page
    page.evaluate("() => { const frame = document.getElementById('frame'); frame.scrollTop = frame.scrollHeight; }")
    page.locator(f"#body tr[aria-rowindex='{MANY + 1}'] .view").wait_for()
    assert page.locator("#body tr").count() < 100
    page.evaluate("() => { document.getElementById('frame').scrollTop = 500000; }")
    page.wait_for_function(f"() => {{ const row = ({IN_VIEW})(); return 4600 < row && row < 4700; }}")


def test_a_step_of_scrolling_costs_the_same_for_many_rows_as_for_few(visit: Visit) -> None:
    few, many = visit.page.evaluate(SCROLL_MS, [200, MANY])
    assert many < 4 * few + 5


def test_scrolling_keeps_the_rows_that_stay_in_view(visit: Visit) -> None:
    assert visit.page.evaluate(KEPT) > 20


def test_sorting_and_filtering_answer_soon(visit: Visit) -> None:
    page = visit.page
    began = time.monotonic()
    page.locator('th[data-column="vina_min"]').get_by_role("button").click()
    page.locator('th[data-column="vina_min"][aria-sort="ascending"]').wait_for()
    place = [text.strip() for text in page.locator("#head th").all_inner_texts()].index("Vina min (kcal/mol) ↓")
    values = [
        float(text.replace("−", "-")) for text in page.locator(f"#body tr > :nth-child({place + 1})").all_inner_texts()
    ]
    assert values == sorted(values)
    assert values[0] == pytest.approx(-9.0, abs=0.01)
    page.fill("#filter", "S(=O)(=O)N")
    page.keyboard.press("Enter")
    page.locator("#count", has_text="of 10,000 molecules").wait_for()
    with_sulfonamide = MANY - 9**4
    assert page.locator("#count").inner_text() == f"{with_sulfonamide:,} of {MANY:,} molecules"
    assert time.monotonic() - began < 60
    page.locator("#chips .chip button").click()
    page.locator("#count", has_text="10,000 molecules").wait_for()


def test_all_of_them_are_in_the_plot(visit: Visit) -> None:
    page = visit.page
    page.click("[data-layout=plot]")
    page.locator("#plot-note", has_text="10,000 molecules").wait_for()
    page.get_by_role("button", name="Parallel").click()
    page.locator("#plot-note", has_text="10,000 molecules, the better end").wait_for()


IN_VIEW = """() => {
  const frame = document.getElementById("frame").getBoundingClientRect();
  const row = document.elementFromPoint(frame.left + 200, frame.top + 200).closest("tr");
  return Number(row.getAttribute("aria-rowindex"));
}"""
SCROLL_MS = """async (sizes) => {
  const { MoleculeTable } = await import("/static/shared/table.js");
  return sizes.map((length) => {
    const frame = document.createElement("div");
    frame.style.cssText = "height:600px;overflow:auto;position:fixed";
    const [table, head, body] = ["table", "tr", "tbody"].map((tag) => document.createElement(tag));
    table.append(body);
    frame.append(table);
    document.body.append(frame);
    const cell = (row) => { const made = document.createElement("td"); made.textContent = row.key; return made; };
    const columns = () => Array.from({ length: 10 }, (_, k) => ({ id: String(k), label: "x", cell }));
    const shown = new MoleculeTable({ frame, head, body, rowHeight: 107, columns, onSort: () => null });
    const rows = Array.from({ length }, (_, key) => ({ key }));
    shown.show({ length, row: (k) => rows[k] });
    const times = Array.from({ length: 21 }, (_, k) => {
      frame.scrollTop = (k % 2) * 8000;
      const began = performance.now();
      shown.draw();
      return performance.now() - began;
    }).sort((a, b) => a - b);
    frame.remove();
    return times[10];
  });
}"""
KEPT = """async () => {
  const frame = document.getElementById("frame"), body = document.getElementById("body");
  const before = new Set(body.querySelectorAll("tr[data-key]"));
  frame.scrollTop += 107 * 18;
  await new Promise((done) => setTimeout(done, 500));
  return [...body.querySelectorAll("tr[data-key]")].filter((line) => before.has(line)).length;
}"""
