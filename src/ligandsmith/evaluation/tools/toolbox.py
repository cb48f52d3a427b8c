"""The slow tools by name. A tool's settings are the fields of its dataclass."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ligandsmith.errors import LigandsmithError
from ligandsmith.evaluation.tools.interactions import InteractionsTool
from ligandsmith.evaluation.tools.posebusters import PoseBustersTool
from ligandsmith.evaluation.tools.runner import Tool
from ligandsmith.evaluation.tools.strain import StrainTool
from ligandsmith.evaluation.tools.vina import VinaTool

TOOLS: dict[str, Callable[..., Tool]] = {
    "posebusters": PoseBustersTool,
    "vina": VinaTool,
    "strain": StrainTool,
    "interactions": InteractionsTool,
}


def make_tools(chosen: Mapping[str, Mapping[str, Any]], folder: Path | None = None) -> list[Tool]:
    """The tools with their settings; those that keep files of their own (receptors) do so in `folder`.

    Raises LigandsmithError for a tool or a setting that does not exist.
    """
    return [_make(name, settings, folder) for name, settings in chosen.items()]


def _make(name: str, settings: Mapping[str, Any], folder: Path | None) -> Tool:
    if name not in TOOLS:
        raise LigandsmithError(f"no tool '{name}'; choose from: {', '.join(TOOLS)}")
    known = {f.name for f in fields(TOOLS[name])}  # type: ignore[arg-type]
    for key in settings:
        if key not in known or key == "cache":
            raise LigandsmithError(f"{name} has no setting '{key}'; there are: {', '.join(sorted(known - {'cache'}))}")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    if "cache" in known and folder is not None:
        values["cache"] = folder / "receptors"
    return TOOLS[name](**values)
