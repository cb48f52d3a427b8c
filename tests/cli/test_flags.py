"""Flags: a flag that is given wins over --set, --set over --config, --config over the preset; one that is not, changes
nothing. Ranges hold wherever a value comes from, and help answers without heavy imports."""

import subprocess
import sys
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from ligandsmith.checkpoints.files import load_checkpoint
from ligandsmith.cli import generate
from ligandsmith.cli.arguments import with_flags
from ligandsmith.cli.main import COMMANDS, OK, build_parser, main
from ligandsmith.cli.train import CONFIG_FLAGS, train_request
from ligandsmith.config import Config, SamplingConfig, from_dict, override, preset, setting_of
from ligandsmith.errors import LigandsmithError
from ligandsmith.generation.generator import sampling_config, shipped_weights
from ligandsmith.options import DataOptions, GenerationOptions, Hardware, TrainOptions
from ligandsmith.records import PROPERTIES
from tiny_runs import Tiny, content


def other(cls: Any, name: str) -> Any:
    """A value of a field that is allowed and not its default."""
    (f,) = [f for f in fields(cls) if f.name == name]
    limits = setting_of(f)
    if limits.choices:
        return next(choice for choice in limits.choices if choice != f.default)
    if isinstance(f.default, bool):
        return not f.default
    if isinstance(f.default, int | float):
        return f.default + 1 if limits.high is None or f.default + 1 <= limits.high else f.default / 2
    if name == "init_from":
        return Path("small")  # shipped weights; their configuration is read
    return Path("elsewhere") if name not in ("resume", "num_atoms") else "17"


def words(name: str, value: Any) -> list[str]:
    """The words that give a flag a value."""
    if value is True:
        return [f"--{name}"]
    return [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]


def value_of(name: str, given: list[str]) -> Any:
    request = train_request(build_parser("train-all").parse_args(given))
    return getattr(getattr(request.config, CONFIG_FLAGS[name]), name)


@pytest.mark.parametrize("name", CONFIG_FLAGS)
def test_a_flag_wins_over_set_over_file_over_preset(name: str, tmp_path: Path) -> None:
    section, file = CONFIG_FLAGS[name], tmp_path / "config.yaml"
    file.write_text(f"{section}: {{{name}: 0.2}}")
    in_file, in_set, flag = ["--config", str(file)], ["--set", f"{section}.{name}=0.3"], [f"--{name}", "0.4"]
    assert value_of(name, []) == getattr(getattr(preset("small"), section), name)
    assert value_of(name, in_file) == 0.2
    assert value_of(name, [*in_file, *in_set]) == 0.3
    assert value_of(name, [*flag, *in_file, *in_set]) == 0.4
    assert value_of(name, ["--preset", "origin"]) == getattr(getattr(preset("origin"), section), name)


@pytest.mark.parametrize(
    ("cls", "part", "name"),
    [
        (cls, part, f.name)
        for cls, part in ((DataOptions, "data"), (TrainOptions, "train"), (Hardware, "hardware"))
        for f in fields(cls)
        if f.name not in ("ligand_only", "static_shapes")  # have flags of another name
    ],
)
def test_each_training_flag_sets_its_option_and_no_other(cls: Any, part: str, name: str) -> None:
    value = other(cls, name)
    plain = getattr(train_request(build_parser("train-all").parse_args([])), part)
    found = getattr(train_request(build_parser("train-all").parse_args(words(name, value))), part)
    assert getattr(plain, name) != value
    assert found == replace(plain, **{name: value})


@pytest.mark.parametrize(
    "name", [f.name for f in fields(GenerationOptions) if f.name not in ("fix", "grow_from", "constraints", "add_hs")]
)
def test_each_generation_flag_sets_its_option_and_no_other(name: str) -> None:
    of = SamplingConfig if hasattr(SamplingConfig, name) else GenerationOptions
    value = 0.5 if name in PROPERTIES else other(of, name)
    site = ["--protein", "p.pdb", "--het", "LIG", "--out", "o"]
    found = with_flags(GenerationOptions(), build_parser("generate").parse_args([*site, *words(name, value)]))
    assert found == replace(GenerationOptions(), **{name: value})
    if of is SamplingConfig:
        assert sampling_config(found, SamplingConfig()) == replace(SamplingConfig(), **{name: value})


def test_what_is_set_reaches_the_checkpoint(tiny: Tiny, tmp_path: Path) -> None:
    flags = ("--set", "diffusion.cfg_dropout_prob=0.3", "--max_steps", "1", "--limit", "3")
    assert tiny.run("train-denoiser", tmp_path, *flags) == OK
    assert content(tmp_path / "best_denoiser.pt")["config"]["diffusion"]["cfg_dropout_prob"] == 0.3


NONSENSE = [
    ("optimizer.beta1", 5, "0 to 0.99999"),
    ("optimizer.ema_decay", 2, "0 to 1"),
    ("denoiser.heads", 0, "1 to 64"),
    ("denoiser.heads", 3, "does not divide the width 128"),
    ("denoiser.self_layers", 10**9, "1 to 256"),
    ("sampling.churn", float("inf"), "0 to 100"),
    ("sampling.qed", float("nan"), "0 to 1"),
    ("diffusion.schedule", "cosin", "linear, cosine, polynomial_2"),
    ("pocket.radius", 0.0, "above 0, at most 100"),
]


@pytest.mark.parametrize(("name", "value", "said"), NONSENSE)
def test_nonsense_is_refused_with_the_range_wherever_it_comes_from(name: str, value: Any, said: str) -> None:
    section, key = name.split(".")
    for attempt in (
        lambda: override(preset("small"), [f"{name}={str(value).replace('inf', '.inf').replace('nan', '.nan')}"]),
        lambda: from_dict(Config, {section: {key: value}}, "checkpoint config"),
        lambda: replace(preset("small"), **{section: replace(getattr(preset("small"), section), **{key: value})}),
    ):
        with pytest.raises(LigandsmithError, match=key) as caught:
            attempt()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_help_shows_the_settings_of_the_shipped_weights() -> None:
    shipped = from_dict(Config, load_checkpoint(shipped_weights("small"))["config"]).sampling
    assert shipped == generate.SMALL_SAMPLING


def test_help_of_generate_begins_with_what_most_people_need() -> None:
    text = build_parser("generate").format_help()
    groups = ["most used", "site", "what to make", "fragments", "constraints", "sampling", "scale", "output"]
    places = [text.index(f"\n{group}:") for group in groups]
    assert places == sorted(places)
    first = text[places[0] : places[1]]
    assert all(flag in first for flag in ("--protein", "--ligand", "--num", "--seed", "--out"))


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_flag_has_help(command: str | None) -> None:
    parser = build_parser(command)
    assert [action.dest for action in parser._actions if not action.help] == []


def test_descriptions_keep_the_case_of_names() -> None:
    described = {build_parser(name).description for name in ("report", "conformers", "properties", "train-all")}
    assert described == {
        "Write an HTML page of an evaluation, optimisation or training run.",
        "Make a data set of ligands from SMILES.",
        "Add QED, SA and logP to a data set.",
        "Train everything together, on one or many GPUs.",
    }


def test_a_start_from_weights_takes_their_networks_unless_told_otherwise() -> None:
    parser = build_parser("train-denoiser")
    saved = from_dict(Config, load_checkpoint(shipped_weights("small"))["config"], "checkpoint")
    config = train_request(parser.parse_args(["--init_from", "small", "--preset", "large"])).config
    assert (config.denoiser, config.ligand_vae, config.pocket_vae) == (
        saved.denoiser,
        saved.ligand_vae,
        saved.pocket_vae,
    )
    assert config.optimizer == preset("large").optimizer
    changed = train_request(parser.parse_args(["--init_from", "small", "--set", "denoiser.triangles=0"])).config
    assert changed.denoiser == replace(saved.denoiser, triangles=0)


def test_help_imports_nothing_heavy() -> None:
    """All parsers are made for `ligandsmith --help`."""
    heavy = {"torch", "rdkit", "pandas", "matplotlib", "numpy", "scipy", "gemmi", "pyarrow"}
    code = (
        f"import sys; from ligandsmith.cli.main import build_parser; build_parser(); print({heavy} & {{*sys.modules}})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_the_module_is_the_command_and_tells_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ligandsmith", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ligandsmith {metadata.version('ligandsmith')}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == OK
    out = capsys.readouterr().out
    assert "generate" in out
    assert "cfg_scale" in out


def test_quiet_prints_the_result_only(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny.run("train-vae", tmp_path, "--model_type", "ligand", "--max_steps", "1", "--quiet") == OK
    assert capsys.readouterr().out == ""
    assert main(["export", str(tmp_path / "best_ligand_vae.pt"), "--out", str(tmp_path / "out"), "--quiet"]) == OK
    assert capsys.readouterr().out.startswith("written: ")
