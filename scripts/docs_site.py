"""Hooks of the documentation site (mkdocs.yml): generated reference pages, and files of the repository outside docs/.

Pages link to files of the repository by relative paths, so that links work in a checkout, too. Every linked file
outside docs/ becomes a page (Markdown) or a download (everything else) under repository/, and links are changed.
"""

import argparse
import ast
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from ligandsmith.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OUTSIDE = "repository"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
API = {
    "ligandsmith": "Public functions and records",
    "structure": "Proteins, ligands and pockets",
    "data": "Data sets",
    "chem": "Chemistry",
    "diffusion": "Diffusion",
    "models": "Networks",
    "training": "Training",
    "generation": "Generation",
    "design": "Design tasks",
    "evaluation": "Evaluation",
}


def on_config(config: Any) -> Any:
    """Fill the lists of commands and of Python modules in the navigation; move files outside docs/ to their place."""
    config["nav"] = [_filled(entry) for entry in config["nav"]]
    return config


def _filled(entry: Any) -> Any:
    if isinstance(entry, str):
        return site_path(entry)
    title, content = next(iter(entry.items()))
    if title == "Command line":
        return {title: ["reference/cli/index.md", *({name: f"reference/cli/{name}.md"} for name in COMMANDS)]}
    if title == "Python API":
        return {title: [{text: f"reference/api/{name}.md"} for name, text in API.items()]}
    return {title: [_filled(e) for e in content] if isinstance(content, list) else site_path(content)}


def site_path(link: str) -> str:
    """Path in the site of a file that is named relative to docs/."""
    path = posixpath.normpath(posixpath.join("docs", link))
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{OUTSIDE}/{path}"


def _repository_path(src_uri: str) -> str:
    """Path in the repository of a page of the site."""
    return src_uri.removeprefix(f"{OUTSIDE}/") if src_uri.startswith(f"{OUTSIDE}/") else f"docs/{src_uri}"


def _linked_files(text: str, page: str) -> Iterator[str]:
    """Existing files outside docs/ that a page (a path in the repository) links to."""
    for _, link, _, _ in LINK.findall(text):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
        if "://" not in link and not path.startswith("docs/") and (ROOT / path).is_file():
            yield path


def outside_files() -> set[str]:
    """Files outside docs/ that pages of the site link to, directly or by each other."""
    todo = [(path.relative_to(ROOT).as_posix()) for path in DOCS.rglob("*.md")]
    todo += ["CONTRIBUTING.md", "CHANGELOG.md", "src/ligandsmith/weights/MODEL_CARD.md"]
    seen: set[str] = set()
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            if page.endswith(".md"):
                todo += _linked_files((ROOT / page).read_text(encoding="utf-8"), page)
    return {path for path in seen if not path.startswith("docs/")}


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages and the files outside docs/."""
    for path in sorted(outside_files()):
        files.append(File.generated(config, f"{OUTSIDE}/{path}", abs_src_path=str(ROOT / path)))
    pages = {f"reference/cli/{name}.md": command_page(name) for name in COMMANDS}
    pages["reference/cli/index.md"] = command_index()
    pages |= {f"reference/api/{name}.md": api_page(name) for name in API}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Change links to files outside docs/, and between them, to their place in the site."""
    source = _repository_path(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri) or "."

    def changed(match: re.Match[str]) -> str:
        before, link, anchor, after = match.groups()
        if re.match(r"[a-z]+:", link):
            return match.group()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        path = target.removeprefix("docs/") if target.startswith("docs/") else f"{OUTSIDE}/{target}"
        return f"{before}{posixpath.relpath(path, here)}{anchor or ''}{after}"

    return markdown if page.file.src_uri.startswith("reference/") else LINK.sub(changed, markdown)


def command_index() -> str:
    """List of all commands."""
    rows = [f"| [`{name}`]({name}.md) | {entry.help} |" for name, entry in COMMANDS.items()]
    return "\n".join(
        [
            "# Command line", "",
            "Every command prints its flags with `--help`. `ligandsmith completion bash` prints a completion script.",
            "",
            "| command | what it does |", "|---|---|", *rows, "",
        ]
    )  # fmt: skip


def command_page(name: str) -> str:
    """The flags of a command by group, from its parser."""
    parser = build_parser(name)
    parser.prog = f"ligandsmith {name}"
    formatter = argparse.HelpFormatter(parser.prog, width=100)
    lines = [f"# ligandsmith {name}", "", COMMANDS[name].description, ""]
    for group in sorted(parser._action_groups, key=lambda group: group.title == "options"):
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        if actions:
            title = {"positional arguments": "Arguments", "options": "Options"}.get(
                group.title or "", group.title or ""
            )
            lines += [f"## {title[0].upper()}{title[1:]}", ""]
            lines += [*([group.description, ""] if group.description else []), "| | |", "|---|---|"]
            lines += [f"| {_invocation(a, formatter)} | {_help(a, formatter)} |" for a in actions] + [""]
    return "\n".join(lines)


def _invocation(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    words = formatter._format_action_invocation(action)
    return f"`{words}`".replace("|", "\\|") + (" (required)" if action.required and action.option_strings else "")


def _help(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    text = formatter._expand_help(action) if action.help else ""
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").replace("_", "\\_")


def api_page(name: str) -> str:
    """Directives for mkdocstrings: the public names of the package, or each module of a subpackage."""
    lines = [f"# {API[name]}", ""]
    if name == "ligandsmith":
        lines += ["Names of `ligandsmith` itself, and what they give and take.", ""]
        return "\n".join(lines + [f"::: ligandsmith.{target}\n" for target in PUBLIC])
    folder = ROOT / "src" / "ligandsmith" / name
    lines += [ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or "", ""]
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        if path.stem != "__init__":
            lines += [f"::: {module}", ""]
    return "\n".join(lines)


PUBLIC = (
    "generation.generator.load", "generation.generator.generate", "generation.generator.LigandGenerator",
    "structure.pocket.read_pocket", "records.Pocket", "records.Ligand", "records.GeneratedLigand",
    "evaluation.evaluate.evaluate", "design.setup.optimise", "chem.sdf.write_sdf", "errors.LigandsmithError",
)  # fmt: skip
