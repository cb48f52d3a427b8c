"""The page in a real browser: it draws, sorts, filters, downloads, works by keyboard and never asks the network."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rdkit import Chem
from results_folder import HOSTILE, Made, write_results

from ligandsmith.chem.sdf import read_sdf
from ligandsmith.evaluation.report.page import write_report

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
FLAGS = ["--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
WITHOUT_WEBGL = """for (const kind of [HTMLCanvasElement, OffscreenCanvas]) {
  const real = kind.prototype.getContext;
  kind.prototype.getContext = function (name, ...rest) {
    return name.includes("webgl") ? null : real.call(this, name, ...rest);
  };
}"""
DRIVER_NOISE = "GL Driver Message"  # software rendering reads pixels back slowly


class Visit:
    """A page opened from its file; what it logged and asked for is kept."""

    def __init__(self, browser: "sync_api.Browser", path: Path, width: int = 1400, script: str = "") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context.route("**/*", self._route)
        self.page.on("console", self._log)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        if script:
            self.page.add_init_script(script)
        self.page.goto(path.as_uri())
        self.page.wait_for_function("document.querySelector('#details').childElementCount > 0")

    def _route(self, route: "sync_api.Route") -> None:
        if route.request.url.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()

    def _log(self, message: "sync_api.ConsoleMessage") -> None:
        if DRIVER_NOISE not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def titles(self) -> list[str]:
        return [text.strip() for text in self.page.locator("#body .view").all_inner_texts()]

    def column(self, name: str) -> list[float]:
        place = [text.strip() for text in self.page.locator("#head th").all_inner_texts()].index(name)
        cells = self.page.locator(f"#body tr > :nth-child({place + 1})").all_inner_texts()
        return [float(text.replace("−", "-")) for text in cells if text != "–"]

    def stage(self) -> np.ndarray:
        picture = Image.open(BytesIO(self.page.locator("#stage canvas").first.screenshot()))
        return np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Made]]:
    folder = tmp_path_factory.mktemp("results")
    made = write_results(folder)
    return write_report(folder), made


@pytest.fixture
def visit(browser: "sync_api.Browser", results: tuple[Path, list[Made]]) -> Iterator[Visit]:
    visit = Visit(browser, results[0])
    yield visit
    visit.context.close()
    assert visit.requests == []
    assert visit.complaints == []


def test_the_3d_view_shows_pocket_molecule_and_interactions(visit: Visit) -> None:
    visit.page.wait_for_timeout(500)
    pixels = visit.stage()
    drawn = pixels[(np.abs(pixels - 255) > 24).any(1)]
    assert len(drawn) > 0.05 * len(pixels)
    assert len(np.unique(drawn // 48, axis=0)) > 20
    green = (drawn[:, 1] > drawn[:, 0] + 40) & (drawn[:, 1] > drawn[:, 2] + 15)
    assert green.sum() > 300  # carbons of the molecule
    visit.page.uncheck("#show-pocket")
    visit.page.wait_for_timeout(300)
    bare = visit.stage()
    assert 0.005 < (np.abs(bare - 255) > 24).any(1).mean() < 0.8 * len(drawn) / len(pixels)
    legend = visit.page.locator("#legend").inner_text()
    assert "hydrophobic (" in legend or "hydrogen bond (" in legend


def test_choosing_another_molecule_changes_the_view(visit: Visit) -> None:
    before = visit.stage()
    visit.page.locator("#body .view").nth(1).click()
    visit.page.wait_for_timeout(400)
    assert (np.abs(visit.stage() - before) > 24).any(1).mean() > 0.02
    assert "rank 2" in visit.page.locator("#details").inner_text()
    visit.page.click("#previous")
    assert "rank 1" in visit.page.locator("#details").inner_text()


def test_sorting_by_a_column(visit: Visit) -> None:
    head = visit.page.locator('th[data-column="qed"]')
    head.get_by_role("button").click()
    down = visit.column("QED")
    assert down == sorted(down, reverse=True)  # higher is better: best first
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    up = visit.column("QED")
    assert up == sorted(up)
    assert up == down[::-1]
    assert up[0] < down[0]
    assert head.get_attribute("aria-sort") == "ascending"
    visit.page.locator('th[data-column="vina_score"]').get_by_role("button").click()
    assert visit.column("Vina score") == sorted(visit.column("Vina score"))
    assert head.get_attribute("aria-sort") is None


def test_filters(visit: Visit, results: tuple[Path, list[Made]]) -> None:
    valid = [m for m in results[1] if m.mol is not None]
    visit.page.fill("#filter", "配体")
    assert set(visit.titles()) == {"Ångström-Δ 配体"}
    visit.page.fill("#filter", "")
    visit.page.select_option("#pocket", label="7off")
    status = visit.page.locator("#page-text")
    assert status.inner_text().startswith(f"{sum(m.pocket == '7off' for m in valid)} of {len(valid)} ")
    visit.page.select_option("#pocket", "")
    visit.page.check("#pass")
    assert status.inner_text().startswith(f"{sum(m.row['pb_valid'] for m in valid):.0f} of {len(valid)} ")
    assert "✗" not in visit.page.locator("#body").inner_text()


def test_ticked_molecules_download_as_sdf(visit: Visit, results: tuple[Path, list[Made]], tmp_path: Path) -> None:
    assert visit.page.locator("#download").is_disabled()
    visit.page.click("#tick-all")
    with visit.page.expect_download() as started:
        visit.page.click("#download")
    path = tmp_path / started.value.suggested_filename
    started.value.save_as(path)
    made = {(m.pocket, str(m.index)): m for m in results[1] if m.mol is not None}
    records = read_sdf(path)
    assert len(records) == len(made)
    for record in records:
        assert record.mol is not None, record.reason
        origin = made[record.mol.GetProp("pocket"), record.mol.GetProp("index")]
        assert Chem.MolToSmiles(record.mol) == Chem.MolToSmiles(origin.mol)
        assert record.title == origin.title
        places = record.mol.GetConformer().GetPositions() - origin.mol.GetConformer().GetPositions()
        assert np.abs(places).max() < 1e-3
        assert float(record.mol.GetProp("qed")) == pytest.approx(origin.row["qed"], abs=1e-4)


def test_markup_in_a_title_is_shown_as_text(visit: Visit) -> None:
    assert HOSTILE in visit.page.locator("#body .view").all_text_contents()
    assert visit.page.title() == "Ligand evaluation report"
    assert visit.page.locator("#body th img").count() == 0


def test_keyboard_alone(visit: Visit) -> None:
    page = visit.page
    page.focus("#filter")
    reached = []
    while len(reached) < 30 and (not reached or reached[-1] != "view"):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("(document.activeElement.closest('[data-column]') || {dataset: {}}).dataset.column"
                                     " || document.activeElement.className"))  # fmt: skip
    assert reached[-1] == "view"
    assert {"rank", "title", "pass", "qed"} <= set(reached)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert "rank 2" in page.locator("#details").inner_text()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert page.locator("#download").inner_text() == "Download 1 ticked as SDF"
    page.focus('th[data-column="qed"] button')
    page.keyboard.press("Enter")
    assert page.locator('th[data-column="qed"]').get_attribute("aria-sort") == "descending"
    assert page.evaluate("document.activeElement.textContent") == "QED"


def test_a_phone_scrolls_in_one_direction(browser: "sync_api.Browser", results: tuple[Path, list[Made]]) -> None:
    visit = Visit(browser, results[0], width=375)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 375
    visit.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 375
    assert visit.complaints == []
    visit.context.close()


def test_a_bare_folder_gives_a_working_page(browser: "sync_api.Browser", tmp_path: Path) -> None:
    write_results(tmp_path, per_pocket=4, pockets=("7off",))
    for name in ("molecules.sdf", "references.sdf", "interactions.json", "pockets/7off.pdb"):
        (tmp_path / name).unlink()
    visit = Visit(browser, write_report(tmp_path))
    assert "no molecules.sdf" in visit.page.locator(".notice").first.inner_text()
    assert "coordinates of this molecule are not in this page" in visit.page.locator("#stage-note").inner_text()
    assert visit.page.locator("#body input").first.is_disabled()
    assert (visit.complaints, visit.requests) == ([], [])
    visit.context.close()


def test_without_webgl_the_tables_work(browser: "sync_api.Browser", results: tuple[Path, list[Made]]) -> None:
    visit = Visit(browser, results[0], script=WITHOUT_WEBGL)
    assert "draws no WebGL" in visit.page.locator("#stage-note").inner_text()
    visit.page.locator("#body .view").nth(1).click()
    assert "rank 2" in visit.page.locator("#details").inner_text()
    assert visit.complaints == []
    visit.context.close()


def test_no_molecule_at_all(browser: "sync_api.Browser", tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"format": 2, "requested": 1, "failures": {"valence": 1}}')
    (tmp_path / "per_molecule.csv").write_text("pocket,index,title,reason,detail,smiles\np,0,,valence,,\n")
    visit = Visit(browser, write_report(tmp_path))
    assert "There is no molecule to show." in visit.page.locator("#stage-note").inner_text()
    assert (visit.complaints, visit.requests) == ([], [])
    visit.context.close()


def test_molecules_come_before_distributions_and_details(visit: Visit) -> None:
    page = visit.page
    order = page.locator("main > section").evaluate_all("(parts) => parts.map((part) => part.id)")
    assert order == ["summary", "molecules", "distributions", "checks", "published", "details-of-all"]
    assert page.locator("#summary .card").count() == 5
    assert page.locator("#stage").bounding_box()["y"] < 900  # type: ignore[index]
    assert page.locator("#details-of-all details[open]").count() == 0


def test_paper_has_the_pictures_of_the_molecules(visit: Visit, results: tuple[Path, list[Made]]) -> None:
    assert not visit.page.locator(".gallery").is_visible()
    visit.page.emulate_media(media="print")
    pictures = visit.page.locator(".gallery svg")
    assert pictures.count() == sum(m.mol is not None for m in results[1])
    assert pictures.first.is_visible()
    assert not visit.page.locator(".workbench").is_visible()


def test_a_molecule_without_coordinates_has_a_picture(browser: "sync_api.Browser", tmp_path: Path) -> None:
    write_results(tmp_path, per_pocket=4, pockets=("7off",))
    (tmp_path / "molecules.sdf").unlink()
    visit = Visit(browser, write_report(tmp_path))
    assert visit.page.locator("#body img").count() == visit.page.locator("#body tr").count() > 0
    visit.context.close()
