"""A studio server of its own, and a browser that looks at it."""

import base64
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("uvicorn", reason="ligandsmith[studio] is not installed")
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = ["--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
DRIVER_NOISE = "GL Driver Message"  # software rendering reads pixels back slowly
COMPLEXES = Path(__file__).parents[2] / "examples" / "complexes"
JOB_MS = 600_000  # a job on a busy machine


def wait_until(condition: Callable[[], object], page: "sync_api.Page", seconds: float = 120) -> None:
    """Wait until something outside the page is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        page.wait_for_timeout(100)


class Server:
    """`ligandsmith studio` as a process."""

    def __init__(self, projects: Path) -> None:
        self.projects = projects
        self.log = projects.parent / f"{projects.name}.log"
        command = [sys.executable, "-m", "ligandsmith", "studio", "--no-browser", "--projects", str(projects)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=self.log.open("a"), text=True
        )
        assert self.process.stdout
        found = re.search(r"http://[\d.]+:\d+/\?token=\S+", self.process.stdout.readline())
        assert found, self.log.read_text()
        self.address = found[0]
        self.origin = self.address.split("/?")[0]

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def served(projects: Path) -> Iterator[Server]:
    """A server, stopped at the end."""
    server = Server(projects)
    try:
        yield server
    finally:
        server.stop()


class Visit:
    """A page of the studio; what it logged and which other hosts it asked is kept."""

    def __init__(self, context: "sync_api.BrowserContext", origin: str) -> None:
        self.context, self.origin = context, origin
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.expected: tuple[str, ...] = ()  # parts of what may be logged
        self.page = context.new_page()
        self.page.set_default_timeout(120_000)
        self.page.on("console", self._log)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _log(self, message: "sync_api.ConsoleMessage") -> None:
        if DRIVER_NOISE not in message.text and not any(part in message.text for part in self.expected):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: "sync_api.Request") -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.strangers.append(request.url)

    def example(self, name: str) -> None:
        """Start a project with an example complex."""
        self.page.goto(self.origin)
        self.page.click(f"[data-example='{name}']")
        self.ready()

    def open(self, path: str) -> None:
        """A page of a project."""
        self.page.goto(f"{self.origin}{path}")
        self.ready()

    def drop(self, *paths: Path) -> None:
        """Drop files on the page."""
        files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
        self.page.evaluate(DROP, files)

    def ready(self) -> None:
        """Wait until a project is shown."""
        self.page.wait_for_selector("body[data-ready]")
        self.drawn()

    def drawn(self) -> None:
        """Wait until the 3D view has settled."""
        quiet = self.page.locator("#stage[aria-busy=false]")
        for _ in range(2):  # what was asked for just now may begin a little later
            self.page.wait_for_timeout(300)
            quiet.wait_for()

    def small(self, number: int = 3) -> None:
        """Few ligands, by the weights that are quick."""
        if self.page.is_enabled("#field-checkpoint"):
            self.page.select_option("#field-checkpoint", "tiny")
        self.page.fill("#field-num", str(number))

    def command(self, *parts: str) -> str:
        """Wait until the command line has these parts."""
        for part in parts:
            self.page.locator("#command", has_text=part).wait_for()
        return self.page.locator("#command").inner_text().replace("\n", " ")

    def make(self) -> None:
        """Start the task, and wait for its end."""
        self.page.click("#make:not([disabled])")
        self.page.locator(".toast", has_text="is in the queue").wait_for()
        self.finished()

    def finished(self, state: str = "done") -> None:
        """Wait until the last job is in a state."""
        if self.page.locator("#jobs-panel").is_hidden():
            self.page.click("#jobs-button")
        job = self.page.locator(".job").first
        job.locator(":is(.done, .failed, .cancelled, .interrupted)").wait_for(timeout=JOB_MS)
        assert job.locator(f".{state}").count() == 1, job.inner_text()
        self.page.keyboard.press("Escape")

    def click_atom(self, key: str, index: int, shift: bool = False) -> None:
        """Click an atom of a model of the 3D view, turned so that it can be seen."""
        at = self.page.evaluate(PLACE, [key, index])
        if shift:
            self.page.keyboard.down("Shift")
        self.page.mouse.click(*at)
        if shift:
            self.page.keyboard.up("Shift")

    def pixels(self) -> np.ndarray:
        """Colours [N, 3] of the 3D view."""
        picture = Image.open(BytesIO(self.page.locator("#stage canvas").first.screenshot()))
        return np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)

    def state(self) -> dict[str, Any]:
        """What the page holds of the task."""
        return dict(self.page.evaluate(STATE))


PLACE = """async ([key, index]) => {
  const { viewer } = await import("/static/scene.js");
  const known = viewer.models.get(key);
  const atom = known.model.selectedAtoms({})[index];
  viewer.gl.center({ model: known.model, index: atom.index });
  viewer.gl.render();
  const at = viewer.gl.modelToScreen(atom);
  return [at.x, at.y];
}"""
DROP = """(files) => {
  const dropped = new DataTransfer();
  for (const [name, text] of files) {
    dropped.items.add(new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], name));
  }
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""
STATE = """async () => {
  const { state } = await import("/static/store.js");
  return { task: state.task, from: state.from, atoms: state.atoms, require: state.require, exclude: state.exclude,
    current: state.current, ticked: [...state.ticked], filters: state.filters, mode: state.mode };
}"""


@contextlib.contextmanager
def browsing(server: Server, **settings: Any) -> Iterator["sync_api.BrowserContext"]:
    """A browser that is signed in."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        context = browser.new_context(
            viewport={"width": settings.pop("width", 1400), "height": 900}, accept_downloads=True, **settings
        )
        page = context.new_page()
        page.goto(server.address)
        page.close()
        yield context
        browser.close()
