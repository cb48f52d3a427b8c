"""The page of an optimisation in a real browser: its plots answer, it fits a phone, and it never asks the network."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from optimisation_folder import optimised
from test_report_page import BROWSER, FLAGS, sync_api

from ligandsmith.evaluation.report.page import write_report

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(optimised(tmp_path_factory.mktemp("optimised") / "out"))


@pytest.fixture(params=[1280, 390])
def page(report: Path, request: pytest.FixtureRequest) -> Iterator["sync_api.Page"]:
    complaints: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": request.param, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
        )
        page.goto(report.as_uri())
        yield page
        browser.close()
    assert complaints == []


def places(page: "sync_api.Page") -> list[tuple[float, float]]:
    dots = page.locator("#scatter .dot")
    texts = dots.evaluate_all("(dots) => dots.map((dot) => dot.getAttribute('transform'))")
    return [tuple(map(float, re.findall(r"[\d.]+", text))) for text in texts]  # type: ignore[misc]


def test_the_front_shows_the_objectives_that_are_chosen(page: "sync_api.Page") -> None:
    before = places(page)
    page.select_option("#across", label="logP")
    page.select_option("#up", label="QED")
    swapped = places(page)
    assert page.locator("#scatter .title-across").text_content() == "logP"
    order = sorted(range(len(before)), key=lambda k: before[k][0])
    heights = [swapped[k][1] for k in order]
    assert heights == sorted(heights, reverse=True)  # what lay to the right lies above
    page.select_option("#across", label="QED")
    page.select_option("#up", label="logP")
    assert places(page) == before


def test_a_point_says_what_it_is(page: "sync_api.Page") -> None:
    for plot in ("#scatter", "#tree"):
        dot = page.locator(f"{plot} .dot").last
        dot.scroll_into_view_if_needed()
        dot.dispatch_event("click")
        said = page.locator(f"figure:has({plot}) .said").inner_text()
        assert re.match(r"ligand \d+ .*QED .*round \d", said)


def test_nothing_is_wider_than_the_window(page: "sync_api.Page") -> None:
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator(".path .picture svg").first.bounding_box()["width"] > 150  # type: ignore[index]
