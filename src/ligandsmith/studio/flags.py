"""The flags that a request can set, each with its own check: nothing else ever reaches a command line."""

import math
import re
from collections.abc import Callable
from typing import Any

from rdkit import Chem, rdBase

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS
from ligandsmith.errors import LigandsmithError, shortened

LONGEST_TEXT = 500
MOST_FLAG_VALUES = 200
SEVERAL = ("moves",)  # whose flag takes all values at once


def flag_words(name: str, value: Any) -> list[str]:
    """A field as words of a command line. Raises LigandsmithError."""
    make, flag = FLAGS[name]
    try:
        texts = make(value)
    except (TypeError, ValueError) as error:
        raise LigandsmithError(f"{name}: {error}") from None
    if texts is None:
        return [flag]
    if name in SEVERAL:
        return [flag, *texts]
    return [word for text in texts for word in ([f"{flag}={text}"] if text.startswith("-") else [flag, text])]


Texts = list[str] | None


def _whole(value: Any) -> Texts:
    if type(value) is not int:
        raise ValueError("a whole number is needed")
    return [str(value)]


def _number(value: Any) -> Texts:
    if value == "any":
        return ["any"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is needed")
    return [f"{value:g}"]


def _text(value: Any) -> Texts:
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_TEXT:
        raise ValueError(f"a text of at most {LONGEST_TEXT} letters is needed")
    return [value]


def _words(value: Any) -> Texts:
    """A plain word or range: nothing that could be a path."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not re.fullmatch(r"[\w.,-]{1,80}", text) or ".." in text:
        raise ValueError("a word, a number or a range like 18-26 is needed")
    return [text]


def _letters(value: Any) -> Texts:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{1,40}", value):
        raise ValueError("words of small letters are needed")
    return [value]


def _pair(value: Any) -> Texts:
    """A range: a text as on the command line, or two numbers."""
    if isinstance(value, list) and len(value) == 2:
        low, high = (_number(each) for each in value)
        return [f"{low[0]}-{high[0]}"] if low and high else None
    return _words(value)


def _size(value: Any) -> Texts:
    texts = _pair(value) or [""]
    parts = texts[0].split("-")
    sizes = [int(part) for part in parts if part.isdecimal() and len(part) < 9]
    if not 1 <= len(parts) == len(sizes) <= 2 or not MIN_ATOMS <= sizes[0] <= sizes[-1] <= MAX_ATOMS:
        raise ValueError(f"a number or a range like 18-26 is needed, within {MIN_ATOMS}-{MAX_ATOMS}")
    return texts


def _list(make: Callable[[Any], Texts]) -> Callable[[Any], Texts]:
    def each(value: Any) -> Texts:
        values = value if isinstance(value, list) else [value]
        if len(values) > MOST_FLAG_VALUES:
            raise ValueError(f"at most {MOST_FLAG_VALUES} values are possible")
        return [text for one in values for text in make(one) or ()]

    return each


def _joined(value: Any) -> Texts:
    """Objectives: one text, or a list of terms."""
    return _text(", ".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else value)


def _numbers(count: int) -> Callable[[Any], Texts]:
    def make(value: Any) -> Texts:
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"{count} numbers are needed")
        return [",".join((_number(each) or [""])[0] for each in value)]

    return make


def _smarts(value: Any) -> Texts:
    texts = _text(value)
    with rdBase.BlockLogs():
        if Chem.MolFromSmarts(value) is None:
            raise ValueError(f"RDKit cannot read the pattern {shortened(value)}")
    return texts


def _switch(value: Any) -> Texts:
    if value is not True:
        raise ValueError("true or false is needed")
    return None


def _known_rings(value: Any) -> Texts:
    return ["known"] if value is True else _words(value)


FLAGS: dict[str, tuple[Callable[[Any], Texts], str]] = {
    "num": (_whole, "--num"), "num_atoms": (_size, "--num_atoms"), "seed": (_whole, "--seed"),
    "objective": (_joined, "--objective"), "require": (_list(_text), "--require"),
    "exclude": (_list(_numbers(4)), "--exclude"), "toward": (_numbers(3), "--toward"),
    "steer": (_words, "--steer"), "forbid": (_list(_smarts), "--forbid"),
    "require_smarts": (_list(_smarts), "--require_smarts"), "no_alerts": (_switch, "--no-alerts"),
    "rings": (_known_rings, "--rings"), "charge": (_words, "--charge"),
    "chiral_centers_max": (_whole, "--chiral_centers_max"), "qed": (_number, "--qed"), "sa": (_number, "--sa"),
    "logp": (_number, "--logp"), "candidates": (_whole, "--candidates"), "steps": (_whole, "--steps"),
    "checkpoint": (_words, "--checkpoint"), "budget": (_words, "--budget"), "similarity": (_pair, "--similarity"),
    "moves": (_list(_letters), "--moves"), "smarts": (_smarts, "--smarts"), "add_hs": (_switch, "--add-hs"),
    "covalent": (_text, "--covalent"), "warhead": (_words, "--warhead"),
}  # fmt: skip
