"""An optimisation that outlives its server, its family tree, a second complex, and strangers, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import gemmi
import pytest
from rdkit import Chem
from studio_browser import BROWSER, COMPLEXES, JOB_MS, Server, Visit, browsing, served, wait_until

from ligandsmith.chem.sdf import read_sdf

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
LARGE = 200_000_000  # bytes
STRANGER = """<form id="form" method="post" action="{studio}/api/projects" enctype="text/plain" target="frame">
<input name='{{"example": "7off", "x": "' value='"}}'></form><iframe name="frame"></iframe>
<script>
window.answers = [];
const asked = (path, options) => fetch("{studio}" + path, {{ credentials: "include", ...options }})
  .then((answer) => answers.push(answer.type), () => answers.push("refused"));
form.submit();
Promise.all([
  asked("/api/projects"),
  asked("/api/projects", {{ method: "POST", mode: "no-cors", body: '{{"example": "7off"}}' }}),
  asked("/api/projects", {{ method: "POST", headers: {{ "X-Ligandsmith": "1" }}, body: '{{"example": "7off"}}' }}),
]).then(() => {{ window.finished = true; }});
</script>"""


@pytest.fixture
def visit(context: object, server: Server) -> Iterator[Visit]:
    visit = Visit(context, server.origin)  # type: ignore[arg-type]
    yield visit
    visit.page.close()
    assert visit.complaints == []


def aromatic_ring(mol: Chem.Mol) -> list[int]:
    return next(
        list(ring) for ring in mol.GetRingInfo().AtomRings()
        if all(mol.GetAtomWithIdx(atom).GetIsAromatic() for atom in ring)
    )  # fmt: skip


def test_an_optimisation_outlives_its_server(tmp_path: Path) -> None:
    mol = Chem.MolFromMolFile(str(COMPLEXES / "7sza" / "ligand.sdf"))
    ring = aromatic_ring(mol)
    with served(tmp_path / "projects") as first, browsing(first) as context:
        visit = Visit(context, first.origin)
        visit.example("7sza")
        visit.page.select_option("#field-task", "optimise")
        visit.page.get_by_label("Numbers of atoms").fill(", ".join(str(atom + 1) for atom in ring))
        visit.page.keyboard.press("Tab")
        visit.page.fill("#field-budget", "8")
        visit.small(3)
        visit.command("ligandsmith optimise", "--keep parts/reference.keep-", "--budget 8")
        visit.page.click("#make:not([disabled])")
        wait_until(lambda: list((tmp_path / "projects").glob("*/jobs/*-optimise")), visit.page)
        visit.expected = ("ERR_CONNECTION_REFUSED", "Failed to load resource", "ERR_INCOMPLETE_CHUNKED_ENCODING")
        first.process.kill()
        visit.page.locator("#banner", has_text="does not answer").wait_for()
        assert visit.complaints == []
    with served(tmp_path / "projects") as second, browsing(second) as context:
        visit = Visit(context, second.origin)
        visit.page.goto(second.origin)
        visit.page.locator("#projects a").first.click()
        visit.ready()
        visit.finished()
        made = [record.mol for record in read_sdf(next((tmp_path / "projects").glob("*/jobs/*-optimise/ligands.sdf")))]
        assert made
        x = mol.GetConformer().GetPositions()[ring]
        for each in made:
            assert each is not None
            gaps = ((each.GetConformer().GetPositions()[:, None] - x) ** 2).sum(-1).min(0)
            assert gaps.max() < 1e-4  # Å²; what is kept lies where it lay
        see_the_family(visit, len(made))
        assert visit.complaints == []


def see_the_family(visit: Visit, count: int) -> None:
    page = visit.page
    page.click("[data-layout=family]")
    page.locator("#family .leaf.shown").first.wait_for()
    assert page.locator("#family .leaf.shown").count() >= count
    page.locator("#family .leaf.shown").last.click()
    page.locator("#family .leaf.shown.current").wait_for()
    current = visit.state()["current"]
    page.locator("#current b", has_text=current).wait_for()
    page.get_by_label(f"Use molecule {current} as the start of").select_option("analogues")
    visit.command("ligandsmith analogues", f"parts/{current}.sdf")


def test_a_second_complex_from_mmcif_to_export(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    structure = gemmi.read_structure(str(COMPLEXES / "3ln1" / "protein.pdb.gz"))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "3ln1.cif"))
    page.goto(visit.origin)
    visit.drop(tmp_path / "3ln1.cif", COMPLEXES / "3ln1" / "ligand.sdf")
    page.wait_for_url("**/projects/**")
    visit.ready()
    page.get_by_text("Around the reference ligand").click()
    visit.small(2)
    page.fill("#field-num_atoms", "12")
    visit.command("--protein protein.cif", "--num 2", "--num_atoms 12")
    visit.make()
    page.locator("#count", has_text="2 molecules").wait_for(timeout=JOB_MS)
    page.locator("#body .molecule-card", has_text="Vina").first.wait_for()
    page.click("#export summary")
    with page.expect_download() as started:
        page.locator("#export-menu button", has_text="Listed molecules (2) as SDF").click()
    made = list(Chem.SDMolSupplier(str(started.value.path())))
    assert [mol.GetNumHeavyAtoms() for mol in made] == [12, 12]
    assert visit.strangers == []


def test_a_page_of_another_site_can_do_nothing(visit: Visit, server: Server) -> None:
    before = sorted(server.projects.glob("*/project.json"))
    visit.expected = ("CORS", "Failed to load resource", "blocked", "403")
    page = visit.page
    page.goto(visit.origin)
    page.locator("#projects").wait_for()  # signed in
    page.route(
        "http://stranger.example/**",
        lambda route: route.fulfill(body=STRANGER.format(studio=visit.origin), content_type="text/html"),
    )
    page.goto("http://stranger.example/")
    page.wait_for_function("window.finished")
    assert set(page.evaluate("answers")) <= {"refused", "opaque"}
    page.wait_for_load_state("networkidle")
    assert sorted(server.projects.glob("*/project.json")) == before


def test_a_file_of_200_megabytes_is_refused_on_the_page(visit: Visit, server: Server) -> None:
    page = visit.page
    visit.expected = ("413", "ERR_CONNECTION", "Failed to load resource")
    page.goto(visit.origin)
    page.evaluate(f"""() => {{
      const dropped = new DataTransfer();
      dropped.items.add(new File([new Uint8Array({LARGE}).fill(32)], "large.pdb"));
      document.body.dispatchEvent(new DragEvent("drop", {{ dataTransfer: dropped, bubbles: true, cancelable: true }}));
    }}""")
    page.locator("#problem:visible", has_text="100 MB").wait_for()
    wait_until(lambda: not list(server.projects.glob("large*")), page)
