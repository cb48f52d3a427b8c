"""Columns of a manifest for what the ligands of one row contain, must be and must not be.

They are the flags of `constraints`, read by the same parser: `fix` for `--fix`, `alerts` (yes or no) for `--no-alerts`.
"""

# ruff: noqa: PLC0415 - imports inside the command

import argparse
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ligandsmith.cli.arguments import Parser, add_options, boolean
from ligandsmith.cli.constraints import add_constraints, requested, require_fitting_parts
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import GenerationOptions

if TYPE_CHECKING:
    from ligandsmith.generation.batch.manifest import OptionColumns

SEPARATOR = re.compile(r";(?![^\[]*\])")  # not within the brackets of a SMARTS pattern
NEGATED = "no-"


class _CellParser(Parser):
    def error(self, message: str) -> NoReturn:
        raise LigandsmithError(message.replace("argument --", "column ", 1))


def option_columns(args: argparse.Namespace) -> "OptionColumns":
    """The columns. What a row asks for adds to these flags or, where there can be only one value, replaces theirs."""
    from ligandsmith.generation.batch.manifest import OptionColumns

    return OptionColumns(tuple(_parser_and_columns()[1]), partial(_row_options, args))


@cache
def _parser_and_columns() -> tuple[_CellParser, dict[str, argparse.Action]]:
    parser = _CellParser(add_help=False)
    add_options(parser, GenerationOptions, ["num_atoms"])
    add_constraints(parser)
    # argparse has no public list of its flags
    return parser, {a.option_strings[0].lstrip("-").removeprefix(NEGATED): a for a in parser._actions}


def _row_options(args: argparse.Namespace, cells: Mapping[str, str], folder: Path) -> GenerationOptions:
    """The options of a row. Raises LigandsmithError, also where the cells contradict each other."""
    merged = argparse.Namespace(**{**vars(args), "manifest": None})
    for column, text in cells.items():
        name, value = _cell(column, text)
        value = _placed(value, folder)
        adds = isinstance(value, list) and hasattr(merged, name)
        setattr(merged, name, getattr(merged, name) + value if adds else value)
    try:
        require_fitting_parts(merged)
        return requested(merged)
    except argparse.ArgumentTypeError as error:
        raise LigandsmithError(str(error)) from None


def _cell(column: str, text: str) -> tuple[str, Any]:
    """Name and value of the flag that a cell stands for; a list if it can have several values."""
    parser, columns = _parser_and_columns()
    action = columns[column]
    flag = action.option_strings[0]
    if action.nargs == 0:
        try:
            return action.dest, boolean(text) is not flag.startswith(f"--{NEGATED}")
        except argparse.ArgumentTypeError as error:
            raise LigandsmithError(f"column {column}: {error}") from None
    parts = [part for part in map(str.strip, SEPARATOR.split(text)) if part] or [text]
    value = getattr(parser.parse_args([f"{flag}={part}" for part in parts]), action.dest)
    if len(parts) > 1 and not isinstance(value, list):
        value = getattr(parser.parse_args([f"{flag}={text}"]), action.dest)
    return action.dest, value


def _placed(value: Any, folder: Path) -> Any:
    """A value with its paths relative to the folder; of a text in a list, which may name a file, if there is one."""
    if isinstance(value, list):
        return [str(folder / v) if isinstance(v, str) and (folder / v).is_file() else _placed(v, folder) for v in value]
    return folder / value if isinstance(value, Path) else value
