"""Reads a Dockerfile, and does its steps in a folder instead of an image, where no Docker engine is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

OF_THE_SYSTEM = ("apt-get", "useradd")  # steps that need an image of their own


class Step(NamedTuple):
    """An instruction of a Dockerfile, without comments and line breaks."""

    instruction: str
    argument: str
    stage: int  # from 0; -1 before the first FROM


def steps(dockerfile: Path) -> list[Step]:
    """The instructions in order."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found, stage = [], -1
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            instruction, argument = line.split(maxsplit=1)
            stage += instruction == "FROM"
            found.append(Step(instruction, argument, stage))
    return found


def copied(step: Step) -> tuple[list[str], str]:
    """Sources and target of a COPY from the build context; no sources for one from another stage."""
    *sources, target = shlex.split(step.argument)
    return ([] if sources[0].startswith("--from") else sources), target


def replay(dockerfile: Path, root: Path, settings: dict[str, str | None]) -> dict[str, str]:
    """Do COPY, ENV, WORKDIR and RUN below `root`; the environment of the entry point.

    All stages share the folder. The image's Python is a new virtual environment. `settings` replace variables of the
    Dockerfile, or remove them (None). A step that fails raises CalledProcessError.
    """
    python = root / "usr/local"
    subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
    base = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = {**base, "PATH": f"{python}/bin:{base['PATH']}"}
    folder = root
    for step in steps(dockerfile):
        if step.instruction == "ENV":
            for name, value in (pair.split("=", 1) for pair in shlex.split(step.argument)):
                place = f"{root}{value}" if value.startswith("/opt") else value
                environment[name] = place.replace("$PATH", environment["PATH"])
            environment = {n: v for n, v in (environment | settings).items() if v is not None}
        elif step.instruction == "WORKDIR":
            folder = root / step.argument.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif step.instruction == "COPY":
            sources, target = copied(step)
            for source in sources:
                _copy(dockerfile.parent / source, folder / target, target.endswith("/"))
        elif step.instruction == "RUN" and not any(word in step.argument for word in OF_THE_SYSTEM):
            subprocess.run(["sh", "-ec", step.argument], cwd=folder, env=environment, check=True)
    return environment


def _copy(source: Path, target: Path, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        return
    place = target / source.name if into else target
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, place)
