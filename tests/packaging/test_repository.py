"""Workflows, hooks and templates of the repository: well formed, and what they call exists."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
OURS = [
    *GITHUB.rglob("*.*ml"), *(ROOT / ".devcontainer").iterdir(), ROOT / "Dockerfile", ROOT / "environment.yml",
    ROOT / ".pre-commit-config.yaml", ROOT / "pyproject.toml", ROOT / "scripts/setup.sh", ROOT / "scripts/audit.py",
]  # fmt: skip
REGISTRY = re.compile(
    r"(pypi|pythonhosted|pytorch|anaconda|npmjs|docker|quay|debian|microsoft|nvidia|osv)\.(org|com|io|dev)|ghcr\.io",
    re.I,
)
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def content(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in content(workflow)["jobs"].values() for step in job["steps"]]


def missing(command: str) -> list[str]:
    """Make targets, scripts and modules of a step's command that do not exist."""
    words = shlex.split(command, comments=True)
    wrong = [f"make {b}" for a, b in pairwise(words) if a == "make" and b not in TARGETS]
    files = [word for word in words if word.startswith((".ci/", "scripts/", "requirements/", "examples/"))]
    return wrong + [name for name in files if not (ROOT / name).exists()]


def test_there_are_workflows_and_forms() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    assert [path.name for path in FORMS] == ["bug.yml", "feature.yml", "question.yml"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_what_exists_with_few_rights(workflow: Path) -> None:
    whole = content(workflow)
    assert True in whole  # `on`, as YAML 1.1 reads it
    assert whole["permissions"] == {"contents": "read"}
    jobs = whole["jobs"]
    assert all({"runs-on", "timeout-minutes", "steps"} <= set(job) for job in jobs.values())
    assert all(set([job["needs"]] if "needs" in job else []) <= set(jobs) for job in jobs.values())
    assert [name for step in steps(workflow) if "run" in step for name in missing(step["run"])] == []
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[\w./-]+", step["uses"]) for step in steps(workflow) if "uses" in step)
    assert all(("run" in step) != ("uses" in step) for step in steps(workflow))


def test_a_step_that_calls_nothing_would_be_noticed() -> None:
    assert missing("make no_such && bash scripts/none.sh .ci/run") == ["make no_such", "scripts/none.sh"]


def test_continuous_integration_has_all_pythons_docs_and_wheels() -> None:
    ci = content(GITHUB / "workflows/ci.yml")["jobs"]
    classifiers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert ci["test"]["strategy"]["matrix"]["python"] == re.findall(r":: (3\.\d+)\"", classifiers)
    runs = {name: [step.get("run", "") for step in job["steps"]] for name, job in ci.items()}
    assert "bash .ci/run" in runs["test"]
    assert "make docs" in runs["docs"]
    assert "python -m build" in runs["distributions"]
    kept = [step["with"]["path"] for name in ("docs", "distributions") for step in ci[name]["steps"]
            if step.get("uses", "").startswith("actions/upload-artifact")]  # fmt: skip
    assert kept == ["site", "dist"]


def test_a_release_is_published_without_a_stored_password() -> None:
    jobs = content(GITHUB / "workflows/release.yml")["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert [step["uses"].split("@")[0] for step in jobs["publish"]["steps"]][-1] == "pypa/gh-action-pypi-publish"
    assert "secrets." not in (GITHUB / "workflows/release.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_a_form_asks_questions_that_the_site_can_show(form: Path) -> None:
    whole = content(form)
    assert {"name", "description", "labels", "body"} == set(whole)
    asked = [entry for entry in whole["body"] if entry["type"] != "markdown"]
    assert all(entry["type"] in ("input", "textarea", "dropdown", "checkboxes") for entry in asked)
    assert all(entry["attributes"]["label"] for entry in asked)
    assert len({entry["id"] for entry in asked}) == len(asked)
    assert any(entry.get("validations", {}).get("required") for entry in asked)


def test_a_bug_report_has_what_a_maintainer_needs() -> None:
    asked = [entry for entry in content(GITHUB / "ISSUE_TEMPLATE/bug.yml")["body"] if entry["type"] != "markdown"]
    assert {"command", "output", "files", "doctor"} <= {e["id"] for e in asked if e["validations"]["required"]}
    assert any("ligandsmith doctor" in entry["attributes"]["label"] for entry in asked)


def test_updates_are_asked_for_where_versions_are() -> None:
    updates = content(GITHUB / "dependabot.yml")["updates"]
    assert {entry["package-ecosystem"] for entry in updates} == {"github-actions", "docker", "pip"}
    folders = [folder for entry in updates for folder in entry.get("directories", [entry.get("directory")])]
    assert all((ROOT / folder.lstrip("/")).is_dir() for folder in folders)


def test_hooks_run_the_tools_of_make_lint() -> None:
    (local,) = content(ROOT / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    tools = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in local["hooks"]}
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert tools == set(re.findall(r"\$\(BIN\)/(\w+)", lint))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_file_names_a_registry(path: Path) -> None:
    assert REGISTRY.findall(path.read_text(encoding="utf-8")) == []
