"""What README.md and docs/ tell the reader to type, import and open exists."""

import argparse
import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from ligandsmith.cli import main as cli
from ligandsmith.cli.train import train_request

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "examples").glob("**/*.md")])
SCRIPTS = {"train_vae.py": "train-vae", "train_denoiser.py": "train-denoiser", "train_all.py": "train-all"}


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def shell_lines(page: Path) -> list[str]:
    """Lines of the shell blocks, and inline code that is a whole command."""
    lines = [line.strip() for block in blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return lines + re.findall(r"(?<!`)`(ligandsmith [a-z-]+ [^`]+)`", page.read_text(encoding="utf-8"))


def command_of(line: str) -> tuple[str, list[str]] | None:
    """(command, arguments) if the line calls this program."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["ligandsmith"]:
        return words[1], words[2:]
    if words[:1] in (["python"], ["torchrun"]):
        for i, word in enumerate(words):
            if word in SCRIPTS:
                return SCRIPTS[word], words[i + 1 :]
    return None


def parsed(command: str, arguments: list[str]) -> argparse.Namespace:
    return cli.build_parser().parse_args([command, *arguments])


COMMANDS = [(page.name, line) for page in PAGES for line in shell_lines(page) if command_of(line)]


def test_the_pages_show_every_command() -> None:
    shown = {command_of(line)[0] for _, line in COMMANDS if command_of(line)}  # type: ignore[index]
    assert shown >= set(cli.COMMANDS)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:60]}" for page, line in COMMANDS])
def test_a_command_line_is_accepted(page: str, line: str) -> None:
    found = command_of(line)
    assert found
    if "--help" in found[1] or found[0].startswith("--"):
        return
    args = parsed(*found)
    if found[0].startswith("train"):
        train_request(args)  # preset and overrides exist


def test_a_wrong_flag_would_be_noticed() -> None:
    with pytest.raises(SystemExit):
        parsed("generate", ["--protein", "p.pdb", "--ligand", "l.sdf", "--out", "o", "--no_such_flag", "1"])


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: page.name)
def test_python_blocks_parse_and_their_imports_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif (
                isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ligandsmith"
            ):
                assert hasattr(import_module("ligandsmith"), node.attr)
