"""Evaluation protocols: which tools run with which settings, and which published rows the result stands under."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from ligandsmith.errors import LigandsmithError

PROTOCOLS_FOLDER = "evaluation/protocols"


@dataclass(frozen=True)
class Protocol:
    """A frozen, versioned way to evaluate. `tools` maps a tool's name to its settings."""

    name: str
    version: int
    about: str
    tools: Mapping[str, Mapping[str, Any]]
    columns: tuple[str, ...] = ()  # metrics of the published table, in order
    published: tuple[Mapping[str, Any], ...] = ()  # rows: method, source, values by metric
    differences: tuple[str, ...] = field(default=())  # where published evaluations and this one differ


def protocol_names() -> list[str]:
    """The protocols that come with the package."""
    return sorted(p.name.removesuffix(".json") for p in _folder().iterdir() if p.name.endswith(".json"))


def load_protocol(name: str) -> Protocol:
    """A protocol by name; raises LigandsmithError listing those there are."""
    if name not in protocol_names():
        raise LigandsmithError(f"no protocol '{name}'; choose one of: {', '.join(protocol_names())}")
    data: dict[str, Any] = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    sequences = {key: tuple(value) for key, value in data.items() if isinstance(value, list)}
    return Protocol(**{**data, **sequences})


NO_TOOLS = Protocol("none", 1, "metrics that need no slow tool", {})


def adapted(
    name: str, tools: Collection[str] | None = None, without: Collection[str] = (), dock: bool = False, **settings: Any
) -> Protocol:
    """The protocol `name` ('none': no tools) with only some tools and other settings of Vina; None keeps a setting.

    What differs is said in the name, so that a table never passes for the protocol's. Raises LigandsmithError.
    """
    protocol = NO_TOOLS if name == "none" else load_protocol(name)
    unknown = sorted(set(tools or ()) - set(load_protocol("crossdocked-v1").tools))
    if unknown:
        raise LigandsmithError(f"no tool '{unknown[0]}'; there are: {', '.join(load_protocol('crossdocked-v1').tools)}")
    chosen = {t: dict(s) for t, s in protocol.tools.items() if (tools is None or t in tools) and t not in without}
    for tool in tools or ():
        chosen.setdefault(tool, {})
    given = {key: value for key, value in settings.items() if value is not None}
    if dock:
        given["modes"] = ["score", "minimise", "dock"]
    if dock or (given and "vina" in chosen):
        chosen["vina"] = {**chosen.get("vina", {}), **given}
    changed = chosen != {t: dict(s) for t, s in protocol.tools.items()}
    return replace(protocol, name=f"{protocol.name} (changed)" if changed else protocol.name, tools=chosen)


def _folder() -> Any:
    return resources.files("ligandsmith") / PROTOCOLS_FOLDER
