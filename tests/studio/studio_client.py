"""A studio in this process and a client that its guard lets in; a studio in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from ligandsmith.cli.studio import check_command
from ligandsmith.studio.app import create_app
from ligandsmith.studio.security import Access
from ligandsmith.studio.service import Studio, open_studio

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "complexes"
HOST = "127.0.0.1:8000"
QUICK = {"num": 3, "num_atoms": "9", "steps": 3, "candidates": 1, "checkpoint": "tiny", "seed": 1}
SLOW = {**QUICK, "num": 30, "steps": 15, "candidates": 2}  # some seconds
ENDED = ("done", "cancelled", "failed", "interrupted")


@dataclass
class Opened:
    """A studio and a client that it knows."""

    studio: Studio
    access: Access
    client: TestClient

    def project(self, example: str = "7sza", title: str = "") -> str:
        """A new project with an example complex; its address."""
        answer = self.client.post("/api/projects", json={"title": title, "example": example or None})
        assert answer.status_code == 200, answer.text
        return f"/api/projects/{answer.json()['id']}"


@contextmanager
def studio_in(folder: Path) -> Iterator[Opened]:
    """A studio whose projects are in a folder."""
    with open_studio(folder / "projects", check=check_command) as studio:
        access = Access(frozenset({HOST}))
        client = TestClient(create_app(studio, access), f"http://{HOST}", headers={"X-Ligandsmith": "1"})
        client.get("/", params={"token": access.token})
        yield Opened(studio, access, client)


def refused(answer: Any, status: int, *words: str) -> None:
    """An answer that says in one line what is wrong."""
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert "\n" not in detail
    assert all(word in detail for word in words), detail


def ended(client: Any, job: Mapping[str, Any], seconds: float = 900) -> dict[str, Any]:
    """A job once it has ended."""
    return until(client, job, lambda view: view["state"] in ENDED, seconds)


def until(client: Any, job: Mapping[str, Any], wanted: Any, seconds: float = 900) -> dict[str, Any]:
    """A job once it is as wanted."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        view = client.get(f"/api/jobs/{job['id']}").json()
        if wanted(view):
            return dict(view)
        time.sleep(0.1)
    raise AssertionError(f"still {json.dumps(view)} after {seconds} s")


class Server:
    """`ligandsmith studio` as a user starts it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        words = ["studio", "--projects", str(folder / "projects"), "--no-browser", *flags]
        self.errors = (folder / "stderr.txt").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ligandsmith", *words], cwd=folder, stdout=subprocess.PIPE, stderr=self.errors,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip()
        self.client = httpx.Client(
            base_url=self.address.split("?")[0], headers={"X-Ligandsmith": "1"}, timeout=60, follow_redirects=True
        )

    def enter(self) -> httpx.Client:
        """The client, let in by the token."""
        assert self.client.get(f"/?{self.address.split('?')[1]}").status_code == 200
        return self.client

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Signal the server; its exit status."""
        self.process.send_signal(number)
        status = self.process.wait(90)
        self.client.close()
        self.errors.close()
        return status
