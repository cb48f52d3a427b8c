"""Configurations: presets, files, overrides, and one line for every mistake."""

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ligandsmith.config import PRESETS, Config, differences, from_dict, load_config, override, preset
from ligandsmith.errors import LigandsmithError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_the_checkpoint(name: str) -> None:
    config = preset(name)
    assert config.preset == name
    plain = json.loads(json.dumps(asdict(config)))
    assert from_dict(Config, plain) == config


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(LigandsmithError, match=r"'huge'.*tiny, small, base, large, origin"):
        preset("huge")


def test_presets_grow() -> None:
    widths = [preset(name).denoiser.width for name in ("tiny", "small", "base", "large")]
    assert widths == sorted(set(widths))


@pytest.mark.parametrize("name", PRESETS)
def test_widths_are_divisible_by_heads(name: str) -> None:
    config = preset(name)
    for part in (config.ligand_vae, config.pocket_vae, config.denoiser):
        assert part.width % part.heads == 0
        assert part.channels >= 3


@pytest.mark.parametrize(("suffix", "write"), [(".yaml", yaml.safe_dump), (".json", json.dumps)])
def test_a_file_is_laid_over_the_base(tmp_path: Path, suffix: str, write: Any) -> None:
    path = tmp_path / f"config{suffix}"
    path.write_text(write({"denoiser": {"width": 48}, "diffusion": {"schedule": "cosine", "time_sd": 1}}))
    config = load_config(preset("tiny"), path)
    assert (config.denoiser.width, config.diffusion.schedule) == (48, "cosine")
    assert config.diffusion.time_sd == 1.0
    assert isinstance(config.diffusion.time_sd, float)
    assert differences(config, preset("tiny")) == [
        "denoiser.width: 48 != 96", "diffusion.schedule: cosine != linear", "diffusion.time_sd: 1.0 != 1.2"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("denoiser: {widht: 3}", r"config\.yaml\.denoiser: unknown key 'widht'; valid keys: .*width"),
        ("denoizer: {width: 3}", r"unknown key 'denoizer'; valid keys: .*denoiser"),
        ("denoiser: {width: wide}", r"denoiser\.width: expected int, got 'wide'"),
        ("denoiser: {width: 3.5}", r"denoiser\.width: expected int, got 3\.5"),
        ("denoiser: {width: true}", r"denoiser\.width: expected int, got True"),
        ("denoiser: {self_conditioning: 1}", r"expected bool, got 1"),
        ("denoiser: 3", r"denoiser: expected a table of keys, got 3"),
        ("- a\n- b", r"expected keys and values, got list"),
        ("denoiser: {width: [", r"not valid YAML or JSON"),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(LigandsmithError, match=message) as caught:
        load_config(Config(), path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LigandsmithError, match=r"cannot read config .*none\.yaml"):
        load_config(Config(), tmp_path / "none.yaml")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LigandsmithError, match="not valid YAML or JSON"):
        load_config(Config(), tmp_path / "binary.json")


def test_overrides_apply_in_order() -> None:
    config = override(Config(), ["sampling.steps=10", "diffusion.schedule=cosine", "sampling.steps=20"])
    assert (config.sampling.steps, config.diffusion.schedule) == (20, "cosine")
    assert config.denoiser == Config().denoiser
    assert override(Config(), ["denoiser.self_conditioning=false"]).denoiser.self_conditioning is False


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("sampling.steps", r"expected section\.key=value"),
        ("sampling.step=3", r"unknown key 'step'"),
        ("steps=3", r"unknown key 'steps'"),
        ("sampling=3", r"expected a table"),
        ("sampling.steps=many", r"expected int, got 'many'"),
        ("sampling.steps.x=3", r"expected int"),
    ],
)
def test_a_wrong_override_says_what_was_expected(assignment: str, message: str) -> None:
    with pytest.raises(LigandsmithError, match=message):
        override(Config(), [assignment])


def test_configurations_are_frozen_all_the_way_down() -> None:
    def parts(config: Any) -> list[Any]:
        return [config, *(p for f in fields(config) if is_dataclass(v := getattr(config, f.name)) for p in parts(v))]

    for part in parts(Config()):
        hash(part)
        with pytest.raises(AttributeError):
            setattr(part, fields(part)[0].name, 1)


def test_override_reads_scientific_notation_and_names_what_is_no_value() -> None:
    config = override(preset("tiny"), ["ligand_vae.kl_weight=1e-4"])
    assert config.ligand_vae.kl_weight == 1e-4
    with pytest.raises(LigandsmithError, match="is not a value"):
        override(preset("tiny"), ["ligand_vae.kl_weight=["])
