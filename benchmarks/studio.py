"""The studio as a user sees it: time to the first paint and the first molecule, and how soon the 3D view answers.

`python -m benchmarks studio --pictures docs/figures` takes the pictures of docs/studio.md, too. Needs chromium.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, StorageState, sync_playwright

from benchmarks.measure import report

FLAGS = ["--headless", "--no-sandbox", "--enable-unsafe-swiftshader"]
VIEWS = {"studio": (1400, 900, "light"), "studio-dark": (1400, 900, "dark"), "studio-phone": (390, 844, "light"),
         "studio-phone-dark": (390, 844, "dark")}  # fmt: skip
JOB_MS = 900_000
PHONE = 600  # px; narrower pages have tabs


def started(projects: Path) -> tuple["subprocess.Popen[str]", str]:
    """A server and its address."""
    command = [sys.executable, "-m", "ligandsmith", "studio", "--no-browser", "--projects", str(projects)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, "the studio does not start"
    return process, found[0]


def first_paint(page: Page) -> float:
    """From the request of a page to the first picture of it, s."""
    page.wait_for_function("performance.getEntriesByType('paint').length")
    return float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")) / 1000


def make_ligands(page: Page, number: int, began: float) -> dict[str, float]:
    """Make ligands for the example 7OFF; seconds since `began`."""
    page.click("[data-example='7off']")
    page.wait_for_selector("body[data-ready]")
    ready = time.monotonic() - began
    page.fill("#field-num", str(number))
    page.click("#make:not([disabled])")
    page.locator("#body .view").first.wait_for()
    first = time.monotonic() - began
    page.click("#jobs-button")
    page.locator(".job .done").first.wait_for()
    page.keyboard.press("Escape")
    return {"project_s": ready, "first_molecule_s": first, "all_scored_s": time.monotonic() - began}


def take(browser: Browser, session: StorageState, address: str, path: Path) -> None:
    """A picture of the project's page, with the first molecule shown."""
    width, height, scheme = VIEWS[path.stem]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, storage_state=session
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    if width < PHONE:
        page.click(".tabs [data-tab=results]")
    page.locator("#body .view").first.click()
    if width < PHONE:
        page.click(".tabs [data-tab=view]")
    page.locator("#legend", has_text="hydrophobic").wait_for()
    page.wait_for_timeout(3000)  # the molecule is drawn, and what floats over it has gone
    page.mouse.move(1, 1)
    page.screenshot(path=path)
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num", type=int, default=14, help="ligands")
    parser.add_argument("--pictures", type=Path, help="folder of the pictures")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        began = time.monotonic()
        process, address = started(Path(folder) / "projects")
        try:
            served = time.monotonic() - began
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            page.set_default_timeout(JOB_MS)
            page.goto(address)
            paint = first_paint(page)
            times = make_ligands(page, args.num, began)
            page.reload()
            page.wait_for_selector("body[data-ready]")
            project_paint = first_paint(page)
            turn = statistics.median(page.evaluate(TURN_MS)) / 1000
            report(
                benchmark="studio", num=args.num, address_s=served, first_paint_s=paint,
                project_first_paint_s=project_paint, **times, turn_3d_s=turn, cores=os.cpu_count(),
            )  # fmt: skip
            for name in VIEWS if args.pictures else ():
                take(browser, context.storage_state(), page.url, args.pictures / f"{name}.png")
            browser.close()
        finally:
            process.terminate()
            process.wait()


# Turns the 3D view by 3 degrees, twenty times; reading a pixel waits until it is drawn.
TURN_MS = """async () => {
  const { viewer } = await import("/static/scene.js");
  const canvas = document.querySelector("#stage canvas");
  const pixel = new OffscreenCanvas(1, 1).getContext("2d");
  const times = [];
  for (let k = 0; k < 20; k += 1) {
    const began = performance.now();
    viewer.gl.rotate(3);
    viewer.gl.render();
    pixel.drawImage(canvas, 0, 0, 1, 1);
    pixel.getImageData(0, 0, 1, 1);
    times.push(performance.now() - began);
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  return times;
}"""


if __name__ == "__main__":
    main()
