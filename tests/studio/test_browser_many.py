"""10,000 molecules: the list scrolls, sorts, filters and plots them, and makes only the rows that are seen."""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rdkit import Chem
from studio_browser import BROWSER, COMPLEXES, Visit, browsing, served

from ligandsmith.studio.jobs import DONE, SAMPLING, SCORING, Job, JobStore, Step
from ligandsmith.studio.projects import Projects

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
MANY = 10_000
GROUPS = ("F", "Cl", "Br", "C", "N", "O", "OC", "C#N", "C(F)(F)F", "S(N)(=O)=O")


def filled(root: Path) -> str:
    """A project with a finished job of many molecules; its id."""
    root.mkdir()
    project = Projects(root).create("Many molecules", "7off")
    steps = (Step(SAMPLING, ("generate",)), Step(SCORING, ("evaluate",)))
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
        visit.page.locator("#count", has_text="10000 molecules").wait_for()
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
    page.locator("#body tr[data-key]").first.wait_for()
    seen = page.evaluate(IN_VIEW)
    assert 4600 < seen < 4700


def test_scrolling_does_not_hold_the_page_up(visit: Visit) -> None:
    longest = visit.page.evaluate(LONGEST_FRAME)
    assert longest < 1000  # ms, on a busy machine without GPU


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
    page.locator("#count", has_text="of 10000 molecules").wait_for()
    with_sulfonamide = MANY - 9**4
    assert page.locator("#count").inner_text() == f"{with_sulfonamide} of {MANY} molecules"
    assert time.monotonic() - began < 60
    page.keyboard.press("Control+z")


def test_all_of_them_are_in_the_plot(visit: Visit) -> None:
    page = visit.page
    page.locator("#title").click()
    page.keyboard.press("Control+z")
    page.click("[data-layout=plot]")
    page.locator("#plot-note", has_text="10000 molecules").wait_for()


IN_VIEW = """() => {
  const frame = document.getElementById("frame").getBoundingClientRect();
  const row = document.elementFromPoint(frame.left + 200, frame.top + 200).closest("tr");
  return Number(row.getAttribute("aria-rowindex"));
}"""
LONGEST_FRAME = """() => new Promise((done) => {
  const frame = document.getElementById("frame");
  let last = performance.now(), longest = 0, steps = 0;
  const step = (now) => {
    longest = Math.max(longest, now - last);
    last = now;
    frame.scrollTop += 400;
    steps += 1;
    if (steps < 60) requestAnimationFrame(step); else done(longest);
  };
  requestAnimationFrame(step);
})"""
