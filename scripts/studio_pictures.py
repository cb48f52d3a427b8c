"""Make ligands in the studio as a user does, say how long that takes, and take the pictures of docs/studio.md.

python scripts/studio_pictures.py --out docs/figures
Needs chromium, and the extras `studio`, `evaluate` and `dev`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

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


def make_ligands(page: Page, number: int, began: float) -> None:
    """Make ligands for the example 7OFF; says when the first one is on the page."""
    page.set_default_timeout(JOB_MS)
    page.click("[data-example='7off']")
    page.wait_for_selector("body[data-ready]")
    print(f"page of the project: {time.monotonic() - began:.1f} s")
    page.fill("#field-num", str(number))
    page.click("#make:not([disabled])")
    page.locator("#body .view").first.wait_for()
    print(f"first molecule: {time.monotonic() - began:.1f} s after `ligandsmith studio`")
    page.click("#jobs-button")
    page.locator(".job .done").first.wait_for()
    page.keyboard.press("Escape")
    print(f"{number} molecules, scored: {time.monotonic() - began:.1f} s")


def take(browser: Browser, session: object, address: str, path: Path) -> None:
    """A picture of the project's page, with the first molecule shown."""
    width, height, scheme = VIEWS[path.stem]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, storage_state=session
    )  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    if width < PHONE:
        page.click(".tabs [data-tab=results]")
    page.locator("#body .view").first.click()
    if width < PHONE:
        page.click(".tabs [data-tab=view]")
    page.locator("#legend", has_text="hydrogen bond").wait_for()
    page.wait_for_timeout(3000)  # the molecule is drawn, and what floats over it has gone
    page.mouse.move(1, 1)
    page.screenshot(path=path)
    print(f"written: {path}")
    context.close()


def main() -> None:
    """Start, make, take."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--num", type=int, default=14, help="ligands (default: %(default)s)")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        began = time.monotonic()
        process, address = started(Path(folder) / "projects")
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            page.goto(address)
            make_ligands(page, args.num, began)
            for name in VIEWS:
                take(browser, context.storage_state(), page.url, args.out / f"{name}.png")
            browser.close()
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
