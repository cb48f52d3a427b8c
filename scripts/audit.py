"""Look the locked versions up in a database of known vulnerabilities, by pip-audit, which uv fetches.

Prints each vulnerability with the versions that mend it, and ends with status 1. Where the database cannot be reached,
or does not know a package, it says so and ends with status 2: nothing is shown to be safe then.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements/torch.txt", "requirements/lock.txt")
SAFE, VULNERABLE, NOT_AUDITED = 0, 1, 2
COMMAND = [
    "tool", "run", "--quiet", "pip-audit", "--no-deps", "--disable-pip", "--progress-spinner", "off",
    "--vulnerability-service", "osv", "--format", "json",
]  # fmt: skip


class Audit(NamedTuple):
    """What to print, and the exit status."""

    lines: list[str]
    status: int


def read(answer: str, errors: str) -> Audit:
    """The outcome from what pip-audit printed on its two streams."""
    try:
        packages: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        last = (errors.strip().splitlines() or ["no answer"])[-1]
        return Audit([f"not audited: the database of vulnerabilities cannot be reached ({last[:120]})"], NOT_AUDITED)
    found = [
        f"{package['name']} {package['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in packages
        for flaw in package.get("vulns", [])
    ]
    unknown = [f"{p['name']}: not audited, {p['skip_reason']}" for p in packages if "skip_reason" in p]
    audited = len(packages) - len(unknown)
    lines = [*found, *unknown, f"{audited} of {len(packages)} packages audited, {len(found)} vulnerabilities known"]
    return Audit(lines, VULNERABLE if found else NOT_AUDITED if unknown or not audited else SAFE)


def main() -> int:
    """Audit the locks of the project."""
    locks = [word for name in LOCKS for word in ("--requirement", str(ROOT / name))]
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run([str(uv), *COMMAND, *locks], capture_output=True, text=True, check=False)
    audit = read(done.stdout, done.stderr)
    print(*audit.lines, sep="\n")
    return audit.status


if __name__ == "__main__":
    sys.exit(main())
