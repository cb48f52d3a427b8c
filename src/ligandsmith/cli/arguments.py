"""Reading the words of a command: what a value may be, and one line for what is wrong."""

import argparse
from collections.abc import Sequence
from typing import NoReturn

from ligandsmith.config import PRESETS


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def boolean(text: str) -> bool:
    values = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"'{text}' is not true or false")
    return values[text.lower()]


def whole(text: str) -> int:
    """Zero or a positive number."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 up")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return int(text)


def above_zero(text: str) -> float:
    value = number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def probability(text: str) -> float:
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def number_or_any(text: str) -> float:
    """NaN for `any`."""
    return float("nan") if text == "any" else number(text)


def numbers(text: str) -> tuple[float, float, float]:
    parts = [number(part) for part in text.replace(",", " ").split()]
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not three numbers x,y,z")
    return parts[0], parts[1], parts[2]


def preset_name(text: str) -> str:
    if text not in PRESETS:
        raise argparse.ArgumentTypeError(f"unknown preset '{text}'; choose one of: {', '.join(PRESETS)}")
    return text


def joined_values(argv: Sequence[str]) -> list[str]:
    """`--center -1,2,3` and `--by -sa,qed` as one word: argparse would take a value with a minus sign for a flag."""
    words: list[str] = []
    for word in argv:
        if words and words[-1] in ("--center", "--by"):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
