"""The site of the documentation builds without a warning and loads nothing from other hosts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ligandsmith.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


def build(site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_of_the_repository_is_in_the_site(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        assert (site / path.relative_to(ROOT / "docs").with_suffix(".html")).is_file()
    assert (site / "repository/CONTRIBUTING.html").is_file()


def test_every_command_has_a_page_with_its_flags(site: Path) -> None:
    assert {path.stem for path in (site / "reference/cli").glob("*.html")} == {"index", *COMMANDS}
    page = (site / "reference/cli/generate.html").read_text(encoding="utf-8")
    assert "<code>--num_atoms NUM_ATOMS</code>" in page
    assert "%(default)s" not in page


def test_the_python_api_has_signatures(site: Path) -> None:
    assert "read_pocket" in (site / "reference/api/ligandsmith.html").read_text(encoding="utf-8")
    assert 'id="ligandsmith.diffusion.samplers.euler"' in (site / "reference/api/diffusion.html").read_text("utf-8")


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*\"", text)
        assert loaded == [], path.name


def test_external_links_have_a_sound_form() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md")]
    links = [link for page in pages for link in re.findall(r"\]\((\w+:[^)\s]*)\)", page.read_text(encoding="utf-8"))]
    assert len(links) >= 5
    assert [link for link in links if not re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[^\s\"<>]*)?", link)] == []
