"""The whole way through the studio in a real browser: drop, site, make, look, filter, compare, export."""

import csv
import io
from collections.abc import Iterator

import numpy as np
import pytest
from rdkit import Chem
from studio_browser import BROWSER, COMPLEXES, Server, Visit, browsing, sync_api, wait_until

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
NUMBER = 3


@pytest.fixture(scope="module")
def visit(server: Server) -> Iterator[Visit]:
    with browsing(server) as context:
        visit = Visit(context, server.origin)
        yield visit
        assert visit.strangers == []
        assert visit.complaints == []


def test_a_dropped_complex_is_shown_with_its_site(visit: Visit) -> None:
    page = visit.page
    page.goto(visit.origin)
    visit.drop(*(COMPLEXES / "7off" / name for name in ("protein.pdb.gz", "ligand.sdf")))
    page.wait_for_url("**/projects/**")
    visit.ready()
    assert "291 residues" in page.locator("#protein").inner_text()
    page.get_by_text("Around the reference ligand").click()
    page.locator(".site-summary", has_text="residues").wait_for()
    page.locator("#legend", has_text="hydrogen bond").wait_for()
    visit.drawn()
    pixels = visit.pixels()
    drawn = pixels[(np.abs(pixels - 255) > 24).any(1)]
    assert len(drawn) > 0.15 * len(pixels)
    pink = (drawn[:, 0] > drawn[:, 1] + 30) & (drawn[:, 2] > drawn[:, 1] + 10)
    assert pink.sum() > 300  # carbons of the reference ligand


def test_the_command_line_follows_the_form(visit: Visit) -> None:
    visit.small(NUMBER)
    text = visit.command("--num 3", "--checkpoint tiny")
    assert text.startswith("ligandsmith generate --protein")
    assert "&& ligandsmith evaluate" in text
    visit.expected = ("422",)
    visit.page.fill("#field-num_atoms", "18 to 26")
    visit.page.locator("#task-problem:visible", has_text="num_atoms").wait_for()
    assert visit.page.locator("#make").is_disabled()
    visit.page.fill("#field-num_atoms", "")
    visit.page.locator("#make:not([disabled])").wait_for()
    visit.expected = ()


def test_molecules_appear_and_are_scored(visit: Visit) -> None:
    page = visit.page
    page.click("#make")
    page.locator("#body .view").first.wait_for(timeout=120_000)
    visit.finished()
    page.locator("#count", has_text=f"{NUMBER} molecules").wait_for()
    assert page.locator("#body img").count() == NUMBER
    page.locator("#body .molecule-card", has_text="Vina").first.wait_for()


def test_keys_walk_tick_and_star_and_all_of_it_can_be_undone(visit: Visit) -> None:
    page = visit.page
    page.click("#title")
    page.keyboard.press("ArrowRight")
    first = visit.state()["current"]
    page.keyboard.press("ArrowRight")
    second = visit.state()["current"]
    assert first
    assert second not in ("", first)
    page.keyboard.press("ArrowLeft")
    assert visit.state()["current"] == first
    page.keyboard.press("Space")
    assert visit.state()["ticked"] == [first]
    page.keyboard.press("s")
    page.locator("#body .star.on").wait_for()
    page.keyboard.press("Control+z")
    page.locator("#body .star.on").wait_for(state="detached")
    page.keyboard.press("Control+z")
    assert visit.state()["ticked"] == []
    page.keyboard.press("Control+Shift+z")
    assert visit.state()["ticked"] == [first]


def test_a_star_survives_rows_that_were_asked_for_before(visit: Visit) -> None:
    page = visit.page
    held: list[sync_api.Route] = []
    page.route("**/molecules?*", lambda route: route.continue_() if held else held.append(route))
    page.evaluate("""async () => (await import("/static/store.js")).emit("made")""")
    wait_until(lambda: held, page)
    answer = held[0].fetch()
    assert not any(row["starred"] for row in answer.json()["rows"])
    page.keyboard.press("s")
    page.locator("#body .star.on").wait_for()
    with page.expect_response("**/molecules?*"):  # the page sees that its rows are old, and asks again
        held[0].fulfill(response=answer)
    page.unroute("**/molecules?*")
    page.wait_for_load_state("networkidle")
    assert page.locator("#body .star.on").count() == 1
    page.keyboard.press("Control+z")
    page.locator("#body .star.on").wait_for(state="detached")


def test_undo_waits_for_what_is_under_way(visit: Visit) -> None:
    page = visit.page
    page.keyboard.press("s")
    page.keyboard.press("Control+z")
    page.locator("#undo[title*='Undo: tick']").wait_for()
    page.wait_for_load_state("networkidle")
    page.locator("#body .star.on").wait_for(state="detached")
    assert len(visit.state()["ticked"]) == 1


def test_the_address_opens_the_same_view(visit: Visit) -> None:
    page = visit.page
    page.click("[data-layout=table]")
    page.locator('th[data-column="qed"]').get_by_role("button").click()
    page.locator('th[data-column="qed"][aria-sort="descending"]').wait_for()
    before = visit.state()
    address = page.url
    order = page.locator("#body .view").all_inner_texts()
    page.goto("about:blank")
    page.goto(address)
    visit.ready()
    after = visit.state()
    assert {name: after[name] for name in ("current", "ticked")} == {
        name: before[name] for name in ("current", "ticked")
    }
    assert page.locator("#body .view").all_inner_texts() == order
    place = [text.strip() for text in page.locator("#head th").all_inner_texts()].index("QED ↑")
    values = page.locator(f"#body tr > :nth-child({place + 1})").all_inner_texts()
    numbers = [float(text.replace("−", "-")) for text in values if text != "–"]
    assert numbers == sorted(numbers, reverse=True)


def test_filters_are_chips(visit: Visit) -> None:
    page = visit.page
    page.fill("#filter", "[#92]")
    page.keyboard.press("Enter")
    page.locator("#empty", has_text="No molecule passes the filters").wait_for()
    page.get_by_role("button", name="Remove the filter [#92]").click()
    page.locator("#count", has_text=f"{NUMBER} molecules").wait_for()
    visit.expected = ("422",)
    page.fill("#filter", "c1ccc")
    page.keyboard.press("Enter")
    page.locator(".bad-toast", has_text="cannot read the pattern").wait_for()
    page.get_by_role("button", name="Remove the filter c1ccc").click()
    page.locator("#chips .chip").wait_for(state="detached")
    visit.expected = ()


def test_a_drawn_substructure_filters(visit: Visit) -> None:
    page = visit.page
    page.click("#draw-filter")
    editor = page.locator("openchemlib-editor")
    box = editor.bounding_box()
    assert box
    page.wait_for_timeout(500)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    pattern = page.locator("#sketch-text")
    wait_until(pattern.input_value, page)
    assert Chem.MolFromSmarts(pattern.input_value()).GetNumAtoms() >= 2
    page.get_by_role("button", name="Use it").click()
    page.locator("#chips .chip").first.wait_for()
    page.locator("#chips .chip button").first.click()
    page.locator("#chips .chip").wait_for(state="detached")


def test_a_note_is_kept(visit: Visit, server: Server) -> None:
    page = visit.page
    page.locator("#current textarea").fill("<b>worth a look</b>")
    page.locator("#title").click()
    wait_until(lambda: any("worth a look" in path.read_text() for path in server.projects.glob("*/notes.json")), page)
    assert page.locator("#current b", has_text="worth a look").count() == 0


def test_molecules_side_by_side(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="All", exact=True).click()
    page.locator("#ticked-bar", has_text=f"{NUMBER} ticked").wait_for()
    page.get_by_role("button", name="Compare").click()
    table = page.locator("#dialog table")
    table.wait_for()
    assert table.locator("thead img").count() == NUMBER
    assert "QED" in table.inner_text()
    page.keyboard.press("Escape")


def test_an_area_of_the_plot_filters(visit: Visit) -> None:
    page = visit.page
    page.click("[data-layout=plot]")
    page.select_option("select[aria-label=Across]", "qed")
    page.select_option("select[aria-label=Up]", "sa")
    box = page.locator("canvas.scatter").bounding_box()
    assert box
    page.wait_for_timeout(300)
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=3)
    page.mouse.up()
    page.locator("#chips .chip", has_text="QED").wait_for()
    page.keyboard.press("Control+z")
    page.locator("#chips .chip").wait_for(state="detached")
    page.click("[data-layout=cards]")


def test_export(visit: Visit) -> None:
    page = visit.page

    def saved(label: str) -> bytes:
        page.click("#export summary")
        with page.expect_download() as started:
            page.locator("#export-menu button", has_text=label).click()
        return started.value.path().read_bytes()

    sdf = Chem.SDMolSupplier()
    sdf.SetData(saved("Listed molecules (3) as SDF").decode())
    assert sum(mol is not None for mol in sdf) == NUMBER
    rows = list(csv.DictReader(io.StringIO(saved("Listed molecules (3) as CSV").decode())))
    assert len(rows) == NUMBER
    complex_ = saved("as PDB").decode()
    assert "HETATM" in complex_
    assert complex_.count("ATOM  ") > 2000
    assert saved("as PNG").startswith(b"\x89PNG")
    assert b"Ligand evaluation report" in saved("Report of job")


def test_surface(visit: Visit) -> None:
    visit.drawn()
    before = visit.pixels()
    visit.page.check("#show-surface")
    wait_until(lambda: (np.abs(visit.pixels() - before) > 24).any(1).mean() > 0.05, visit.page)
    visit.page.uncheck("#show-surface")
