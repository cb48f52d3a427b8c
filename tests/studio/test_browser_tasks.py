"""Tasks that are set by clicks: grow from an atom, replace atoms, require an interaction, avoid a place; cancel."""

from collections.abc import Iterator

import pytest
from rdkit import Chem
from studio_browser import BROWSER, COMPLEXES, JOB_MS, PLACE, Server, Visit, browsing

from ligandsmith.chem.sdf import read_sdf

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")


@pytest.fixture(scope="module")
def visit(server: Server) -> Iterator[Visit]:
    with browsing(server) as context:
        visit = Visit(context, server.origin)
        visit.example("7sza")
        yield visit
        assert visit.strangers == []
        assert visit.complaints == []


def reference() -> Chem.Mol:
    mol = Chem.MolFromMolFile(str(COMPLEXES / "7sza" / "ligand.sdf"), removeHs=False)
    assert mol is not None
    return mol


def atom_with_hydrogens(mol: Chem.Mol) -> int:
    return next(atom.GetIdx() for atom in mol.GetAtoms() if atom.GetSymbol() == "C" and atom.GetTotalNumHs())


def test_grow_from_a_clicked_atom(visit: Visit, server: Server) -> None:
    page, mol = visit.page, reference()
    atom = atom_with_hydrogens(mol)
    visit.click_atom("reference", atom)
    page.locator("#popover", has_text="reference ligand, atom C").wait_for()
    page.get_by_role("button", name="Grow from here").click()
    state = visit.state()
    assert (state["task"], state["from"], state["atoms"]) == ("grow", ["reference"], [atom + 1])
    visit.drawn()
    orange = visit.pixels()
    assert ((orange[:, 0] > 180) & (orange[:, 1] > 110) & (orange[:, 1] < 190) & (orange[:, 2] < 60)).sum() > 100
    visit.small(2)
    heavy = mol.GetNumHeavyAtoms()
    page.fill("#field-num_atoms", f"{heavy + 2}-{heavy + 3}")
    visit.command("--fix ligand.sdf", f"--grow_from {atom + 1}", "--num 2")
    visit.make()
    made = [record.mol for record in read_sdf(next(server.projects.glob("*/jobs/*-grow/ligands.sdf")))]
    assert made, "no molecule"
    for each in made:
        assert each is not None
        assert each.GetNumHeavyAtoms() > heavy
        core = Chem.RemoveHs(mol)
        assert each.HasSubstructMatch(core)


def test_picked_atoms_are_replaced(visit: Visit) -> None:
    page = visit.page
    page.select_option("#field-task", "replace")
    while visit.state()["atoms"]:
        page.get_by_role("button", name="Remove atom").first.click()
    visit.drawn()
    for atom in (0, 1):
        visit.click_atom("reference", atom)
        visit.drawn()
    assert visit.state()["atoms"] == [1, 2]
    visit.command("--replace ligand.sdf", "--atoms 1,2")
    visit.click_atom("reference", 1)
    assert visit.state()["atoms"] == [1]
    page.keyboard.press("Escape")
    assert visit.state()["mode"] == ""


def test_a_lasso_picks_the_atoms_inside(visit: Visit) -> None:
    page = visit.page
    page.select_option("#field-task", "replace")
    visit.page.evaluate(PLACE, ["reference", 0])
    page.get_by_role("button", name="Lasso").click()
    box = page.locator("#lasso").bounding_box()
    assert box
    left, top, right, bottom = box["x"] + 4, box["y"] + 4, box["x"] + box["width"] - 4, box["y"] + box["height"] - 4
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=2)
    page.mouse.up()
    picked = visit.state()["atoms"]
    assert len(picked) > reference().GetNumAtoms() // 2
    visit.command("--atoms " + ",".join(map(str, picked[:3])))
    page.keyboard.press("Escape")


def test_a_clicked_residue_requires_an_interaction_and_a_shift_click_avoids(visit: Visit) -> None:
    page = visit.page
    page.select_option("#field-task", "generate")
    found = page.evaluate(NEAREST)
    visit.click_atom("protein", found["index"])
    page.locator("#popover", has_text="Require").wait_for()
    page.locator("#popover button.primary").click()
    (required,) = visit.state()["require"]
    assert required.split(" ")[1].startswith(found["residue"])
    text = visit.command("--require", required)
    assert "--exclude" not in text
    page.keyboard.press("Escape")
    visit.click_atom("protein", found["index"], shift=True)
    (region,) = visit.state()["exclude"]
    assert region[:3] == pytest.approx(found["at"], abs=0.01)
    visit.command("--exclude")
    page.get_by_role("button", name="Remove 2 Å around").click()
    page.locator("select[aria-label^='Kind of interaction']").select_option("contact")
    visit.command(f"--require 'contact {found['residue']}")


def test_the_required_interaction_is_made(visit: Visit, server: Server) -> None:
    visit.small(2)
    visit.command("--num 2", "--require")
    visit.make()
    folder = sorted(server.projects.glob("*/jobs/*-generate"))[-1]
    assert (folder / "samples.json").is_file()
    visit.page.get_by_role("button", name="Remove contact").click()
    assert visit.state()["require"] == []


def test_a_site_of_clicked_residues(visit: Visit) -> None:
    page = visit.page
    page.get_by_text("Residues", exact=True).click()
    assert visit.state()["mode"] == "residues"
    visit.drawn()
    found = page.evaluate(NEAREST)
    visit.click_atom("protein", found["index"])
    assert page.get_by_label("Residues of the site").input_value() == found["residue"]
    page.get_by_role("button", name="Use these residues").click()
    visit.command("--residues")
    page.get_by_text("Around the reference ligand").click()
    visit.command("--ligand ligand.sdf")


def test_a_cancelled_job_keeps_what_it_made_and_goes_on(visit: Visit) -> None:
    page = visit.page
    visit.small(60)
    visit.command("--num 60")
    page.click("#make")
    page.click("#jobs-button")
    job = page.locator(".job").first
    job.locator(".state.sampling").wait_for(timeout=JOB_MS)
    job.locator(".made:not(:text-matches('^0 '))").wait_for(timeout=JOB_MS)
    job.get_by_role("button", name="Cancel").click()
    job.locator(".state.cancelled").wait_for(timeout=JOB_MS)
    made = int(job.locator(".made").inner_text().split()[0])
    assert 0 < made <= 60
    job.get_by_role("button", name="Continue").click()
    job.locator(".state.cancelled").wait_for(state="detached")
    job.get_by_role("button", name="Cancel").click()
    job.locator(".state.cancelled").wait_for(timeout=JOB_MS)
    page.keyboard.press("Escape")
    page.locator("#count", has_text="molecules").wait_for()


NEAREST = """async () => {
  const { viewer } = await import("/static/scene.js");
  const ligand = viewer.models.get("reference").model.selectedAtoms({});
  const between = (a, b) => Math.hypot(a.x - b.x, a.y - b.y, a.z - b.z);
  const far = (atom) => Math.min(...ligand.map((other) => between(atom, other)));
  const atoms = viewer.models.get("protein").model.selectedAtoms({});
  const polar = atoms.filter((atom) => ["N", "O"].includes(atom.elem) && far(atom) < 4.5);
  const atom = polar.sort((a, b) => far(a) - far(b))[0];
  const residue = `${atom.chain}:${atom.resn}${atom.resi}`;
  return { index: atoms.indexOf(atom), residue, at: [atom.x, atom.y, atom.z] };
}"""
