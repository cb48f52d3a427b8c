"""The studio under odd use: two tabs, hostile names, broken files, another method's molecules, a phone, no WebGL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from rdkit import Chem
from studio_browser import BROWSER, COMPLEXES, Server, Visit, served

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
HOSTILE = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>\"'../..{{7*7}}"
WITHOUT_WEBGL = """for (const kind of [HTMLCanvasElement, OffscreenCanvas]) {
  const real = kind.prototype.getContext;
  kind.prototype.getContext = function (name, ...rest) {
    return name.includes("webgl") ? null : real.call(this, name, ...rest);
  };
}"""


@pytest.fixture
def visit(context: object, server: Server) -> Iterator[Visit]:
    visit = Visit(context, server.origin)  # type: ignore[arg-type]
    yield visit
    visit.page.close()
    assert visit.strangers == []
    assert visit.complaints == []


def test_a_broken_file_is_one_line_and_nothing_is_left(visit: Visit, server: Server, tmp_path: Path) -> None:
    visit.expected = ("422",)
    visit.page.goto(visit.origin)
    path = tmp_path / "broken.pdb"
    path.write_text("this is no structure\n")
    visit.drop(path)
    problem = visit.page.locator("#problem:visible")
    problem.wait_for()
    assert problem.inner_text()
    assert "\n" not in problem.inner_text()
    visit.page.wait_for_timeout(300)
    assert not [path for path in server.projects.glob("*/project.json") if not path.parent.name.startswith(".")]


def test_hostile_names_are_text(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    path = tmp_path / (HOSTILE.replace("/", "") + ".pdb.gz")
    path.write_bytes((COMPLEXES / "7off" / "protein.pdb.gz").read_bytes())
    page.goto(visit.origin)
    visit.drop(path)
    page.wait_for_url("**/projects/**")
    visit.ready()
    assert "<img src=x" in page.locator("#title").inner_text()
    assert "49" not in page.locator("#title").inner_text()
    assert "<img src=x" in page.locator("#protein").inner_text()
    assert page.locator("main script, main img[src=x]").count() == 0
    page.goto(visit.origin)
    entry = page.locator("#projects li", has_text="<img src=x")
    entry.wait_for()
    assert "owned" not in page.title()
    entry.get_by_role("button").click()
    entry.wait_for(state="detached")


def test_molecules_of_another_method_are_scored_and_shown(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    visit.example("7sza")
    mol = Chem.MolFromMolFile(str(COMPLEXES / "7sza" / "ligand.sdf"))
    with Chem.SDWriter(str(tmp_path / "others.sdf")) as writer:
        for _ in range(2):
            mol.SetProp("_Name", HOSTILE)
            mol.SetProp(HOSTILE.replace("\n", ""), HOSTILE)
            writer.write(mol)
    visit.drop(tmp_path / "others.sdf")
    page.locator(".toast", has_text="its molecules are scored").wait_for()
    visit.finished()
    page.locator("#count", has_text="2 molecules").wait_for()
    page.locator("#body .view").first.click()
    page.locator("#current", has_text="Vina").wait_for()
    assert "owned" not in page.title()


def test_two_tabs_tell_the_same(visit: Visit, context: object, server: Server) -> None:
    visit.page.goto(visit.origin)
    visit.page.locator("#projects a").first.click()
    visit.ready()
    other = Visit(context, server.origin)  # type: ignore[arg-type]
    other.page.goto(visit.page.url)
    other.ready()
    assert other.page.locator("#body .view").count() == 2
    visit.page.bring_to_front()
    visit.small(2)
    visit.command("--num 2", "tiny")
    visit.make()
    other.page.bring_to_front()
    other.page.locator("#count", has_text="4 molecules").wait_for()
    other.page.locator("#body .star").first.click()
    other.page.locator("#body .star.on").wait_for()
    visit.page.bring_to_front()
    visit.page.reload()
    visit.ready()
    assert visit.page.locator("#body .star.on").count() == 1
    assert other.complaints == []
    other.page.close()


def test_a_stopped_server_is_said(context: object, tmp_path: Path) -> None:
    with served(tmp_path / "projects") as server:
        visit = Visit(context.browser.new_context(), server.origin)  # type: ignore[attr-defined]
        visit.page.goto(server.address)
        visit.example("7off")
        visit.expected = ("ERR_CONNECTION_REFUSED", "Failed to load resource")
        server.stop()
        visit.page.locator("#banner", has_text="does not answer").wait_for()
        assert visit.page.locator("#protein").inner_text()
        assert visit.complaints == []
        visit.context.close()


def test_without_the_cookie_nothing_is_shown(server: Server, visit: Visit) -> None:
    stranger = visit.context.browser.new_context()
    page = stranger.new_page()
    answer = page.goto(server.origin)
    assert answer is not None
    assert answer.status == 403
    assert "ligandsmith studio" in page.content()
    again = page.goto(server.address)  # the token was used
    assert again is not None
    assert again.status == 403
    stranger.close()


def test_without_webgl_lists_and_tasks_work(visit: Visit) -> None:
    visit.page.add_init_script(WITHOUT_WEBGL)
    visit.page.goto(visit.origin)
    visit.page.locator("#projects a").first.click()
    visit.page.wait_for_selector("body[data-ready]")
    assert "draws no WebGL" in visit.page.locator("#stage-note").inner_text()
    visit.page.locator("#body .view").first.click()
    visit.page.locator("#current", has_text="QED").wait_for()
    visit.command("ligandsmith generate")


def test_a_phone_has_tabs_and_scrolls_in_one_direction(server: Server, visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(visit.origin)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#projects a").first.click()
    visit.ready()
    for tab, part in (("results", "#frame"), ("design", "#make"), ("view", "#stage canvas")):
        page.click(f".tabs [data-tab={tab}]")
        page.locator(part).first.wait_for(state="visible")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#stage canvas").first.bounding_box()
    assert box
    assert box["width"] == pytest.approx(390, abs=2)


def test_keys_are_listed_and_dialogs_close(visit: Visit) -> None:
    page = visit.page
    page.goto(visit.origin)
    page.locator("#projects a").first.click()
    visit.ready()
    page.keyboard.press("?")
    page.locator("#dialog kbd", has_text="Space").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator("#dialog").is_visible()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
