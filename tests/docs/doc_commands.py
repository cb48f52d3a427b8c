"""Command lines of the documentation: where they stand, and which parser they belong to."""

import argparse
import importlib
import importlib.util
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from ligandsmith.cli import main as cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("src/**/*.md")]
)
SCRIPTS = {"train_vae.py": "train-vae", "train_denoiser.py": "train-denoiser", "train_all.py": "train-all"}
SHELL = {
    "cd",
    "cp",
    "eval",
    "source",
    "pip",
    "tensorboard",
    "wandb",
    "mlflow",
}  # other programs than those of this repository
BLOCK = re.compile(r"^( *)```bash\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:ligandsmith [a-z-]+|python) [^`]+)`")


class CommandLine(NamedTuple):
    """A command line in a page. `kind` is ligandsmith, benchmark, script, make or shell."""

    page: Path
    text: str
    kind: str
    name: str
    arguments: list[str]

    @property
    def id(self) -> str:
        """Name of a test."""
        return f"{self.page.relative_to(ROOT)}: {self.text[:60]}"


def block_lines(page: Path) -> Iterator[CommandLine]:
    """All lines of the shell blocks of a page."""
    for _, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if shlex.split(line, comments=True):
                yield parsed_line(page, line.strip())


def command_lines(page: Path) -> Iterator[CommandLine]:
    """Lines of the shell blocks of a page, and commands within its sentences."""
    yield from block_lines(page)
    for inline in INLINE.findall(page.read_text(encoding="utf-8")):
        line = " ".join(inline.split())
        if not re.search(r"NAME|COMMAND|python -m (benchmarks|ligandsmith)$", line):
            yield parsed_line(page, line)


def parsed_line(page: Path, line: str) -> CommandLine:
    """Raises ValueError for a line that calls an unknown program."""
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):  # variables of the environment
        words = words[1:]
    if words[0] == "ligandsmith":
        return CommandLine(page, line, "ligandsmith", words[1], words[2:])
    if words[:3] == ["python", "-m", "benchmarks"]:
        return CommandLine(page, line, "benchmark", words[3], words[4:])
    if words[0] in ("python", "torchrun"):
        place = next((i for i, word in enumerate(words) if word.endswith(".py")), None)
        if place is not None:
            name = words[place]
            kind = "ligandsmith" if name in SCRIPTS else "script"
            return CommandLine(page, line, kind, SCRIPTS.get(name, name), words[place + 1 :])
    if words[0] == "make" or words[0] in SHELL:
        return CommandLine(page, line, "make" if words[0] == "make" else "shell", words[0], words[1:])
    raise ValueError(f"{page.name}: no known program: {line}")


class _Parsed(Exception):
    """Ends a program once its flags are read."""


@contextmanager
def _only_parsing() -> Iterator[None]:
    read = argparse.ArgumentParser.parse_args

    def parse(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> Any:
        read(self, args, namespace)
        raise _Parsed

    with patch.object(argparse.ArgumentParser, "parse_args", parse):
        yield


def program(line: CommandLine) -> Callable[[], Any]:
    """`main` of a benchmark or of a file in scripts/."""
    if line.kind == "benchmark":
        return importlib.import_module(f"benchmarks.{line.name}").main
    path = ROOT / line.name
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def check_flags(line: CommandLine) -> None:
    """Read the flags with the real parser. Raises SystemExit for wrong flags.

    A benchmark without flags is only looked up: sentences name benchmarks that need some.
    """
    if line.kind == "ligandsmith":
        cli.build_parser().parse_args([line.name, *line.arguments])
        return
    main = program(line)
    if line.kind == "benchmark" and not line.arguments:
        return
    with patch.object(sys, "argv", [line.name, *line.arguments]), _only_parsing():
        try:
            main()
        except _Parsed:
            return
    raise AssertionError(f"{line.name} reads no flags")
