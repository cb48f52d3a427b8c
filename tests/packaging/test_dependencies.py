"""Licences of what is installed with the package, and the audit of locked versions."""

import json
from pathlib import Path

import pytest

from repository_scripts import script

ROOT = Path(__file__).resolve().parents[2]


def test_all_licences_are_known_compatible_and_listed() -> None:
    page = script("write_licences_page")
    of = page.licences()
    needed = page.needed_by()
    assert {"torch", "rdkit", "meeko", "pdb2pqr", "propka", "posebusters"} <= set(needed)
    assert page.problems({name: of[name] for name in needed}) == []
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    assert [name for name in needed if f"| {name} | {of[name]} |" not in text] == []


@pytest.mark.parametrize(
    "licence", ["GPL-3.0", "AGPL-3.0-or-later", "UNKNOWN", "", "MIT AND GPL-2.0-only", "Proprietary", "LGPL", "OSI"]
)
def test_an_unknown_or_incompatible_licence_is_a_problem(licence: str) -> None:
    page = script("write_licences_page")
    assert page.problems({"six": page.expression(licence)}) == [f"six: {licence}"]


def test_words_of_metadata_become_expressions() -> None:
    page = script("write_licences_page")
    assert page.expression("Apache Software License; BSD License") == "Apache-2.0 AND BSD"
    assert page.is_compatible("GPL-3.0 OR MIT")
    assert page.is_compatible("MPL-2.0 AND MIT")


def test_the_audit_tells_safe_vulnerable_and_unknown_apart() -> None:
    read = script("audit").read
    safe = {"name": "six", "version": "1.16.0", "vulns": []}
    flaw = {"id": "PYSEC-1", "fix_versions": ["3.1.6"]}
    bad = {"name": "jinja2", "version": "3.1.2", "vulns": [flaw]}
    skipped = {"name": "torch", "skip_reason": "not found"}

    def outcome(*packages: object) -> tuple[list[str], int]:
        return tuple(read(json.dumps({"dependencies": packages}), ""))

    assert outcome(safe) == (["1 of 1 packages audited, 0 vulnerabilities known"], 0)
    lines, status = outcome(safe, bad, skipped)
    assert lines[0] == "jinja2 3.1.2: PYSEC-1, mended in 3.1.6"
    assert (lines[-1], status) == ("2 of 3 packages audited, 1 vulnerabilities known", 1)
    assert outcome(safe, skipped)[1] == 2
    assert outcome()[1] == 2


def test_an_audit_without_its_database_says_so_in_one_line() -> None:
    lines, status = script("audit").read("", "Traceback\n  ...\nrequests.exceptions.ConnectionError: no such host\n")
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("not audited: the database of vulnerabilities cannot be reached")
