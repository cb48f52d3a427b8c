"""Every command line in README.md and docs/ is accepted by the program that it calls."""

import re
from pathlib import Path

import pytest
from doc_commands import PAGES, ROOT, CommandLine, check_flags, command_lines, parsed_line

from ligandsmith.cli import main as cli
from ligandsmith.cli.train import train_request

ALL = [line for page in PAGES for line in command_lines(page)]
CHECKED = list({(line.name, *line.arguments): line for line in ALL if line.kind not in ("make", "shell")}.values())


def test_the_pages_show_every_command() -> None:
    assert {line.name for line in ALL if line.kind == "ligandsmith"} >= set(cli.COMMANDS)


@pytest.mark.parametrize("line", CHECKED, ids=[line.id for line in CHECKED])
def test_a_command_line_is_accepted(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if line.arguments[-1:] == ["--help"] or line.name.startswith("--"):
        return
    check_flags(line)
    if line.name.startswith("train-"):
        args = cli.build_parser().parse_args([line.name, *line.arguments])
        if Path(getattr(args, "init_from", ".")).exists():
            train_request(args)  # preset and overrides exist


@pytest.mark.parametrize(
    "text",
    [
        "ligandsmith generate --protein p.pdb --ligand l.sdf --out o --no_such_flag 1",
        "ligandsmith evaluate",
        "python train_vae.py --model_type lipid",
        "python -m benchmarks relaxation --no_such_flag",
        "python scripts/fit_size_models.py",
    ],
)
def test_a_wrong_line_is_noticed(text: str) -> None:
    with pytest.raises(SystemExit):
        check_flags(parsed_line(ROOT / "README.md", text))


def test_an_unknown_program_is_noticed() -> None:
    with pytest.raises(ValueError, match="no known program"):
        parsed_line(ROOT / "README.md", "ligandsmth generate")


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))}
    named |= {line.arguments[0] for line in ALL if line.kind == "make"}
    assert {"demo", "test", "docs"} <= named <= targets


def test_extras_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for page in PAGES:
        for extras in re.findall(r"pip install[^\n`]*\[([a-z,]+)\]", page.read_text(encoding="utf-8")):
            assert all(re.search(rf"^{extra} = \[", project, flags=re.MULTILINE) for extra in extras.split(","))


def test_lines_of_all_kinds_are_found() -> None:
    assert {line.kind for line in ALL} == {"ligandsmith", "benchmark", "script", "make", "shell"}
    assert len(CHECKED) > 100
    assert Path("docs/training.md") in {line.page.relative_to(ROOT) for line in ALL}
