"""Write docs/licences.md: licences of all packages that ligandsmith and its extras install, from their metadata.

Run it in an environment with all extras. `problems()` names what is not known to be compatible.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
TOOLS = "dev"  # the extra of development, whose packages users do not get
PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "ISC", "MIT", "MIT-0", "MIT-CMU", "OLDAP-2.8", "PSF-2.0", "Zlib",
}  # fmt: skip
LIBRARIES = {"LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-or-later", "MPL-2.0"}  # weak copyleft
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.1-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}  # classifiers and other words
READ = {
    "posebusters": "MIT",  # its classifier says BSD
    "mmtf-python": "Apache-2.0",  # its classifier says MIT
}  # where the licence file differs from the metadata


def closure(requirements: Iterable[str]) -> set[str]:
    """Names of installed packages that requirements need, with theirs. Packages of other platforms are not there."""
    names: set[str] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        new = {(name, own) for own in ("", *requirement.extras)} - seen
        seen |= new
        if new:
            names.add(name)
            needed = metadata.distribution(name).requires or []
            waiting += [(Requirement(text), own) for _, own in new for text in needed]
    return names


def needed_by() -> dict[str, list[str]]:
    """For each package: "always", or the extras that install it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always = closure(project["dependencies"])
    found = {name: ["always"] for name in always}
    for extra, requirements in project["optional-dependencies"].items():
        for name in sorted(closure(requirements) - always) if extra != TOOLS else ():
            found[name] = [*found.get(name, []), f"`{extra}`"]
    return dict(sorted(found.items()))


def licences() -> dict[str, str]:
    """Licence of each installed package, as an SPDX expression where its words are known."""
    command = [sys.executable, "-m", "piplicenses", "--python", sys.executable, "--with-system", "--format", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = {canonicalize_name(entry["Name"]): entry["License"] for entry in listed}
    return {name: READ.get(name, expression(text)) for name, text in found.items()}


def expression(words: str) -> str:
    """The words of a package's metadata as an SPDX expression; several classifiers hold together."""
    return " AND ".join(SPDX.get(part.strip(), part.strip()) for part in words.split(";"))


def is_compatible(licence: str) -> bool:
    """Whether an MIT-licensed program may depend on packages of this licence, unchanged and installed beside it."""
    return any(
        all(part.strip("() ") in PERMISSIVE | LIBRARIES for part in re.split(r"\bAND\b", choice))
        for choice in re.split(r"\bOR\b", licence)
    )


def problems(found: dict[str, str]) -> list[str]:
    """Packages whose licence is unknown or not compatible."""
    return [f"{name}: {licence}" for name, licence in found.items() if not is_compatible(licence)]


def page() -> str:
    """The page as Markdown."""
    of = licences()
    rows = [f"| {name} | {of[name]} | {', '.join(why)} |" for name, why in needed_by().items()]
    weak = [name for name in needed_by() if any(licence in of[name] for licence in LIBRARIES)]
    return f"""# Licences

Written by `scripts/write_licences_page.py` from the metadata of the installed packages; do not edit by hand. A test
fails if a package has an unknown licence or one that is not compatible.

ligandsmith is under the MIT licence. The wheel contains two libraries of others: 3Dmol.js (BSD-3-Clause) and
OpenChemLib (BSD-3-Clause). Their licences are in the wheel. The data set and the example structures come mostly from
the Protein Data Bank (CC0-1.0). Each record has its source and licence.

All other packages are installed beside ligandsmith and used unchanged. Most have permissive licences. These have a weak
copyleft licence (MPL or LGPL), which asks to share changes of the package itself: {", ".join(weak)}.

On Linux, the default wheel of torch installs NVIDIA's CUDA libraries. They are proprietary and free to use. The CPU
wheel does not need them.

| package | licence | installed |
|---|---|---|
{chr(10).join(rows)}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
