"""Every number that can be set has a range, and a value outside of it is one line that gives it, by whatever route."""

import json
import math
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import yaml

from ligandsmith.checkpoints.files import weights_folder
from ligandsmith.cli.main import COMMANDS, FAILED, USAGE, build_parser, main
from ligandsmith.config import Config, Setting, from_dict, load_config, override, setting_of
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import DataOptions, GenerationOptions, Hardware, TrainOptions
from tiny_runs import ROOT

SITE = ROOT / "examples/complexes/7sza"


@dataclass(frozen=True)
class Number:
    """A number of the configuration: its section, name, type and limits."""

    section: str
    name: str
    kind: type
    limits: Setting

    @property
    def place(self) -> str:
        return f"{self.section}.{self.name}"


def numbers_of(cls: type[Any], section: str) -> Iterator[Number]:
    hints = get_type_hints(cls)
    for f in fields(cls):
        kind = next((k for k in (int, float) if hints[f.name] in (k, k | None)), None)
        if kind is not None and not is_dataclass(hints[f.name]):
            yield Number(section, f.name, kind, setting_of(f))


def sections() -> list[Field[Any]]:
    return [f for f in fields(Config) if is_dataclass(get_type_hints(Config)[f.name])]


CONFIG_NUMBERS = [n for f in sections() for n in numbers_of(get_type_hints(Config)[f.name], f.name)]
OPTIONS = {cls: list(numbers_of(cls, cls.__name__)) for cls in (DataOptions, TrainOptions, Hardware, GenerationOptions)}


def outside(number: Number) -> list[Any]:
    """Values that a number cannot have: beyond its limits, no number, of another type."""
    low, high = number.limits.low, number.limits.high
    assert low is not None, number.place
    assert high is not None, number.place
    step = 1 if number.kind is int else max(abs(high), 1.0) * 1e-3
    beyond: list[Any] = [low if number.limits.open_low else low - step, high + step]
    return [*beyond, -(10**30), 10**30, math.nan, math.inf, -math.inf, "x", [1], {"a": 1}, True]


@pytest.mark.parametrize("number", CONFIG_NUMBERS, ids=lambda n: n.place)
def test_a_value_outside_its_range_is_refused_by_every_route(number: Number, tmp_path: Path) -> None:
    for value in outside(number):
        content = {number.section: {number.name: value}}
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
        (tmp_path / "c.json").write_text(json.dumps(content))
        routes = [
            lambda content=content: from_dict(Config, content, "checkpoint"),
            lambda: load_config(Config(), tmp_path / "c.yaml"),
            lambda: load_config(Config(), tmp_path / "c.json"),
            lambda value=value: override(
                Config(), [f"{number.place}={yaml.safe_dump(value, default_flow_style=True)}"]
            ),
        ]
        for route in routes:
            with pytest.raises(LigandsmithError) as caught:
                route()
            message = str(caught.value)
            assert "\n" not in message
            assert number.name in message
            if isinstance(value, int | float) and type(value) in (number.kind, int) and value is not True:
                assert number.limits.allowed() in message, message


def test_every_number_has_both_limits() -> None:
    own = [n for found in OPTIONS.values() for n in found if n.name not in SAMPLING]
    assert [n.place for n in [*CONFIG_NUMBERS, *own] if n.limits.low is None or n.limits.high is None] == []


SAMPLING = [n.name for n in CONFIG_NUMBERS if n.section == "sampling"]  # options with the limits of these


@pytest.mark.parametrize("number", [n for found in OPTIONS.values() for n in found if n.name not in SAMPLING],
                         ids=lambda n: n.place)  # fmt: skip
def test_an_option_outside_its_range_is_refused(number: Number) -> None:
    cls = next(cls for cls in OPTIONS if cls.__name__ == number.section)
    for value in outside(number):
        if isinstance(value, int | float) and value is not True:
            with pytest.raises(LigandsmithError, match=number.name):
                replace(cls(), **{number.name: value})


def numeric_flags() -> list[tuple[str, str]]:
    """(command, flag) of every flag that takes a number, as argparse has them."""
    found = []
    for command in COMMANDS:
        for action in build_parser(command)._actions:
            if action.metavar in ("N", "X", "SHARE", "X,Y,Z"):
                found.append((command, action.option_strings[0]))
    return found


@pytest.mark.parametrize(("command", "flag"), numeric_flags())
def test_a_flag_refuses_what_is_no_number_or_too_large(
    command: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("nan", "inf", "-inf", "1e30", "-1e30", "1000000000000000000000000000000", "x", "", "²", "0x10"):
        with pytest.raises(SystemExit) as end:
            build_parser(command).parse_args([f"{flag}={text}"])
        message = capsys.readouterr().err
        assert end.value.code == USAGE, (text, message)
        assert message.startswith("error: argument ")
        assert message.count("\n") == 1
        assert flag in message


def test_flags_of_numbers_are_found_by_their_placeholder() -> None:
    counted = {flag for _, flag in numeric_flags()}
    assert {"--batch_size", "--seed", "--workers", "--radius", "--center", "--qed", "--identity", "--chunk"} <= counted


NONSENSE = [
    ("optimizer", "beta1", 5.0, "0 to 0.99999"),
    ("ligand_vae", "heads", 0, "1 to 64"),
    ("denoiser", "self_layers", 10**9, "1 to 256"),
    ("sampling", "churn", math.inf, "0 to 100"),
    ("sampling", "qed", math.nan, "0 to 1"),
]


@pytest.mark.parametrize(("section", "name", "value", "said"), NONSENSE)
def test_nonsense_in_a_checkpoint_is_refused(
    section: str, name: str, value: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(weights_folder() / "denoiser_tiny.pt", weights_only=True)
    content["config"][section][name] = value
    torch.save(content, tmp_path / "x.pt")
    generate = ["generate", "--protein", f"{SITE}/protein.pdb.gz", "--ligand", f"{SITE}/ligand.sdf", "--device", "cpu"]
    train = ["train-denoiser", "--device", "cpu", "--num_workers", "0", "--run_dir", str(tmp_path / "run")]
    for words in (
        [*generate, "--out", str(tmp_path / "out"), "--checkpoint", str(tmp_path / "x.pt")],
        [*train, "--init_from", str(tmp_path / "x.pt")],
        ["export", str(tmp_path / "x.pt"), "--out", str(tmp_path / "export")],
    ):
        assert main(words) == FAILED
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
        assert said in line
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ("center,0;nan;0", "three numbers"),
        ("center,1e400;0;0", "three numbers"),
        ("radius,nan", "above 0, at most 1000"),
        ("radius,1e30", "above 0, at most 1000"),
        ("radius,-1", "above 0, at most 1000"),
        ("radius,x", "a number"),
    ],
)
def test_nonsense_in_a_manifest_is_refused(
    site: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    column, value = site.split(",")
    cells = {"center": "0;0;0", "radius": "10"} | {column: value}
    center = '"' + cells["center"].replace(";", ",") + '"'
    (tmp_path / "m.csv").write_text(
        f"pocket,protein,center,radius\na,{SITE}/protein.pdb.gz,{center},{cells['radius']}\n"
    )
    words = ["generate", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--checkpoint", "tiny", "--num", "1"]) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
