"""The Jinja2 templates of the reports, in `evaluation/page/`, and how names and numbers read in them.

Every text is escaped when it is inserted. Only the files of this package, and templates rendered before, are markup.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

PAGE_FOLDER = files("ligandsmith.evaluation") / "page"
IMPORT_OR_EXPORT = re.compile(r"^import .*;\n|^export ", re.MULTILINE)
LABELS = {
    "qed": "QED",
    "sa": "SA score",
    "sa_normalised": "SA, normalised",
    "logp": "logP",
    "pb_valid": "PoseBusters-valid",
    "pb_valid_of_requested": "PoseBusters-valid, of requested",
    "valid_connected": "valid and connected",
    "rmsd": "RMSD",
}


def label(name: str) -> str:
    """What a metric is called on the page."""
    return LABELS.get(name) or re.sub(r"^vina\b", "Vina", name.replace("_", " "))


def number(value: Any, unit: str = "") -> str:
    """Three figures, or a percentage for a fraction; a dash for what is missing."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if unit == "fraction":
        return f"{100 * value:.1f} %"
    if isinstance(value, int) or value == 0:
        return str(int(value))
    size = abs(value)
    digits = 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0
    text = f"{value:.0e}" if size < 0.0005 else f"{value:.{digits}f}"
    return text.replace("-", "−")


def interval(entry: Mapping[str, Any], unit: str = "") -> str:
    """'low to high', or a dash."""
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return "–"
    return f"{number(low, unit).removesuffix(' %')} to {number(high, unit)}"


def markdown(text: str) -> Markup:
    """Text with everything escaped that Markdown or HTML would take as markup, on one line."""
    return Markup(re.sub(r"([\\`*_\[\]|~#])", r"\\\1", escape(" ".join(text.split()), quote=False)))


def asset(name: str) -> Markup:
    """A style sheet, script or licence of the package, inserted as it is."""
    return Markup((PAGE_FOLDER / name).read_text(encoding="utf-8"))


def modules(*names: str) -> Markup:
    """ES modules of the package as one module that a page from disk can hold: in the order of their imports, without
    them. Names at the top of the modules must differ."""
    return Markup("".join(IMPORT_OR_EXPORT.sub("", asset(name)) for name in names))


def script_hash(script: str) -> str:
    """How a content security policy names a script that stands in the page."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


ENVIRONMENT = Environment(
    loader=PackageLoader("ligandsmith.evaluation", "page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
ENVIRONMENT.filters.update(label=label, number=number, interval=interval, markdown=markdown)
ENVIRONMENT.globals.update(asset=asset, modules=modules, script_hash=script_hash)


def render(template: str, **values: Any) -> Markup:
    """A template filled in; raises jinja2.UndefinedError for a value that is not given."""
    return Markup(ENVIRONMENT.get_template(template).render(values))
