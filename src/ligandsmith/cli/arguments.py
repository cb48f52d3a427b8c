"""Flags: made from the fields of dataclasses, with their help, range and default; and values of other flags.

A flag that is not given leaves no trace in the parsed arguments, so that it never overrides a file or a preset.
"""

import argparse
import logging
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from ligandsmith.config import PRESETS, UNLIMITED, Setting, setting_of
from ligandsmith.files import path_or_uri

T = TypeVar("T")
log = logging.getLogger("ligandsmith")
METAVARS = {int: "N", float: "X", Path: "PATH", path_or_uri: "PATH|URI"}


class Parser(argparse.ArgumentParser):
    """Reports a wrong command in one line; the flags in `signed` take values that start with a minus sign."""

    signed: tuple[str, ...] = ("--center", "--by", "--exclude", "--toward", "--charge", "--objective")

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, which would take `-1,2,3` or `-sa,qed` for a flag."""
        words: list[str] = []
        for word in args or []:
            if words and words[-1] in self.signed:
                words[-1] += f"={word}"
            else:
                words.append(word)
        return super().parse_known_args(words, namespace)


def say(*lines: str) -> None:
    """Print lines to the user, unless --quiet is given."""
    if log.isEnabledFor(logging.INFO):
        print(*lines, sep="\n")


def add_options(
    parser: Any, cls: type[Any], names: Iterable[str], defaults: Any = None, default_text: Callable[[str], str] = str
) -> None:
    """A flag for each named field of a dataclass. `defaults` is an instance; `default_text` words a default."""
    hints, known = get_type_hints(cls), {f.name: f for f in fields(cls)}
    for name in names:
        default = known[name].default if defaults is None else getattr(defaults, name)
        _add_flag(parser, name, setting_of(known[name]), _kind(hints[name]), (default, default_text))


def _kind(hint: Any) -> Any:
    """The type of a field without None; a function that reads it for a path that may be a URI."""
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if Path in options and str in options:
        return path_or_uri
    return next(option for option in options if option is not type(None))


def _add_flag(parser: Any, name: str, limits: Setting, kind: Any, default: tuple[Any, Callable[[str], str]]) -> None:
    value, word = default
    notes = [limits.allowed()] if limits.allowed() and not limits.choices else []
    notes += [f"default: {word(_text(value))}"] if value not in (None, "", Path()) and kind is not bool else []
    text = (limits.help + (f" ({'; '.join(notes)})" if notes else "")).replace("%", "%%")
    flag, add = f"--{name}", partial(parser.add_argument, default=argparse.SUPPRESS)
    if kind is bool and value:
        add(flag, type=boolean, nargs="?", const=True, metavar="true|false", help=f"{text} (default: true)")
        add(f"--no-{name}", f"--no_{name}", dest=name, action="store_false", help=f"the same as {flag} false")
    elif kind is bool:
        add(flag, action="store_true", help=text)
    else:
        kind = str if kind is Any else kind
        metavar = "{" + ",".join(limits.choices) + "}" if limits.choices else METAVARS.get(kind, name.upper())
        add(flag, type=checked(kind, limits), help=text, metavar=metavar)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def checked(kind: Any, limits: Setting) -> Callable[[str], Any]:
    """A reader of values of a type within limits."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            word = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"'{text}' is not {word}: {limits.allowed()}".rstrip(": ")) from None
        if problem := limits.problem(value):
            raise argparse.ArgumentTypeError(problem)
        return value

    return read


def explicit(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The values of the flags that were given."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def with_flags(base: T, args: argparse.Namespace) -> T:
    """A dataclass instance with the fields whose flags were given."""
    return replace(base, **explicit(args, [f.name for f in fields(base)]))  # type: ignore[arg-type, type-var]


def boolean(text: str) -> bool:
    """true, yes, on, 1 or false, no, off, 0."""
    values = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"'{text}' is not true or false")
    return values[text.lower()]


MAX_WORKERS = 4096
positive = checked(int, Setting("", 1, UNLIMITED))
non_negative = checked(int, Setting("", 0, 2**63 - 1))
probability = checked(float, Setting("", 0, 1))


def add_number(
    parser: Any, flag: str, kind: Callable[[str], Any], default: float, help: str, metavar: str = "N"
) -> None:
    """A flag for a number with a default, which the help shows."""
    parser.add_argument(flag, type=kind, default=default, metavar=metavar, help=f"{help} (default: %(default)s)")


def add_path(parser: Any, flag: str, help: str, metavar: str = "PATH", **more: Any) -> None:
    """A flag for a file or folder; `more` is passed on to argparse."""
    parser.add_argument(flag, type=Path, metavar=metavar, help=help, **more)


def add_allow_dropped(parser: Any) -> None:
    """The flag `--allow_dropped`, of all commands that read proteins."""
    text = "use a protein file even if more than 20 %% of its atoms cannot be used"
    parser.add_argument("--allow_dropped", action="store_true", help=text)


def add_workers(parser: Any, help: str = "processes") -> None:
    """The flag `--workers`."""
    add_number(parser, "--workers", checked(int, Setting("", 1, MAX_WORKERS)), 1, help)


def add_engine(parser: Any, ray: str) -> None:
    """The flags `--workers` and `--engine`; `ray` says what the work is distributed to with Ray."""
    add_workers(parser, "processes, or Ray tasks at a time")
    text = f"processes of this machine, or {ray} (default: %(default)s)"
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help=text)


def add_smiles(parser: Any) -> None:
    """The flag `--smiles`."""
    text = "SMILES of the ligand, with the bond orders that its file lacks (PDB); default: NAME.smi beside the file"
    parser.add_argument("--smiles", default="", metavar="SMILES", help=text)


def add_overwrite(parser: Any, what: str = "other results in the folder") -> None:
    """The flag `--overwrite`."""
    parser.add_argument("--overwrite", action="store_true", help=f"replace {what}, which are refused otherwise")


def add_seed(parser: Any) -> None:
    """The flag `--seed`."""
    add_number(parser, "--seed", non_negative, 0, "random seed")


def number_or_any(limits: Setting) -> Callable[[str], float]:
    """A number within limits, or NaN for the word `any`."""
    read = checked(float, limits)

    def value(text: str) -> float:
        try:
            return float("nan") if text == "any" else float(read(text))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{error}, or any") from None

    return value


def numbers(text: str) -> tuple[float, float, float]:
    """Three finite numbers, separated by commas or spaces."""
    read = checked(float, Setting(""))
    parts = [read(part) for part in text.replace(",", " ").split()]
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers x,y,z")
    return parts[0], parts[1], parts[2]


def atom_numbers(text: str) -> tuple[int, ...]:
    """Numbers of atoms, from 1, as in `3,7` or `5-12,20`, ascending."""
    found: set[int] = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and 1 <= int(first) <= int(last or first) < 100_000):
            raise argparse.ArgumentTypeError(f"'{part}' is no atom number or range like 5-12")
        found.update(range(int(first), int(last or first) + 1))
    if not found:
        raise argparse.ArgumentTypeError("no atom number given")
    return tuple(sorted(found))


def preset_name(text: str) -> str:
    """The name of a preset."""
    if text not in PRESETS:
        raise argparse.ArgumentTypeError(f"unknown preset '{text}'; choose one of: {', '.join(PRESETS)}")
    return text
