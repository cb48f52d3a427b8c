"""Configuration: frozen dataclasses, named presets, YAML/JSON files and `a.b=c` overrides.

An unknown key or a wrong type is an error that lists the valid keys. The whole config travels in every checkpoint.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from ligandsmith.errors import LigandsmithError

T = TypeVar("T")


@dataclass(frozen=True)
class BlockConfig:
    """Sizes of one equivariant block. Networks derive it from their own section; it is not a section itself."""

    width: int
    edge_width: int
    heads: int = 4
    channels: int = 8
    condition_width: int = 0  # 0: no adaptive normalisation
    moves: bool = True
    chiral: bool = True
    max_move: float = 1.5  # Å, soft limit of one block's move
    triangles: int = 0  # channels of the triangle update of the edge state; 0: none; dense graphs only


@dataclass(frozen=True)
class LigandVAEConfig:
    backbone: str = "eqattn"
    width: int = 128
    edge_width: int = 64
    encoder_layers: int = 2  # each reaches one bond: latents depend on two bonds around an atom
    decoder_layers: int = 4
    latent_width: int = 4  # per atom; of eight, four collapsed onto the prior and cost the denoiser half of its loss
    heads: int = 4
    channels: int = 8
    sigma_x: float = 0.1  # Å, posterior s.d. of the coordinates
    kl_weight: float = 1e-2
    noise_x: float = 0.2  # Å, upper end of the decoder's training noise on coordinates
    noise_h: float = 0.4  # upper end of the decoder's training noise on z_h; the KL holds its s.d. near 1
    distance_weight: float = 10.0


@dataclass(frozen=True)
class PocketVAEConfig:
    backbone: str = "eqattn"
    width: int = 128
    edge_width: int = 64
    layers: int = 3
    latent_width: int = 16
    heads: int = 4
    channels: int = 8
    neighbors: int = 24
    kl_weight: float = 1e-4
    mask_fraction: float = 0.15  # of the residues lose their side chain in training and must be told from the rest


@dataclass(frozen=True)
class DenoiserConfig:
    backbone: str = "eqattn"
    width: int = 128
    edge_width: int = 64
    self_layers: int = 6
    cross_layers: int = 3
    heads: int = 4
    channels: int = 8
    cross_neighbors: int = 32
    anchors: int = 16  # pocket atoms, spread over the site, that every ligand atom sees
    cutoff: float = 0.0  # Å, ligand-pocket; 0: no cut-off
    max_move: float = 6.0  # Å per block, in units of the network's target
    self_conditioning: bool = True
    triangles: int = 0  # channels of the triangle update of the edge state; 0: none
    bonds: bool = False  # bond orders are noised and denoised beside coordinates and features
    fragments: bool = False  # reads which atoms are given, and their latents
    properties: bool = False  # reads the properties that the ligand should have


@dataclass(frozen=True)
class DiffusionConfig:
    schedule: str = "linear"  # linear | cosine | polynomial_2
    prediction: str = "f"  # f: unit-variance target; eps: the noise
    noise_draws: int = 1  # noised copies of each ligand per step, sharing the encoded pocket
    geometry_weight: float = 0.3  # of the distances between bonded and 1-3 atoms, trained beside the loss; 0: none
    bond_weight: float = 0.3  # of the cross-entropy of the bond orders (nats per atom), trained beside the loss
    separate_times: float = 0.5  # share of molecules with independent times for x and for h and bonds
    time_mean: float = -0.2  # of the logit-normal distribution of t
    time_sd: float = 1.2
    time_uniform: float = 0.1  # share of t drawn uniformly
    min_time: float = 1e-3
    precision: float = 1e-4  # of polynomial_2
    cfg_dropout_prob: float = 0.1
    fragment_prob: float = 0.3  # share of ligands of which a part is given, where the denoiser reads fragments
    property_prob: float = 0.5  # share of ligands of which properties are told, where the denoiser reads them


SITE_RADIUS = 10.0  # Å, of a site around a centre


@dataclass(frozen=True)
class PocketConfig:
    """What a network sees of a site, and how training varies it."""

    radius: float = 8.0  # Å, heavy atoms around the ligand, residues or centre
    calpha_radius: float = 10.0  # Å, C-alphas beyond `radius`
    max_atoms: int = 400
    min_training_radius: float = 6.0  # Å, lower end of the random cut of training
    rim_dropout: float = 0.05  # share of the residues at the rim left out in training
    center_jitter: float = 1.0  # Å per axis, of the pocket's origin in training
    fitted_sizes: bool = False  # whether there are size models for sites around a ligand and around a centre


@dataclass(frozen=True)
class OptimizerConfig:
    name: str = "muon"  # muon (the blocks' matrices by Muon, the rest by AdamW) | adamw
    muon_lr_ratio: float = 6.0  # learning rate of the matrices over that of the rest
    weight_decay: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    clip_norm: float = 1.0
    warmup_steps: int = 100
    final_lr_fraction: float = 0.02  # of the cosine schedule
    ema_decay: float = 0.999


@dataclass(frozen=True)
class SamplingConfig:
    sampler: str = "euler"
    steps: int = 50
    churn: float = 0.6
    noise_scale: float = 0.5  # of the coordinates' starting and added noise; below 1: fewer fragments and clashes
    noise_scale_h: float = 1.0  # of the features' noise; below 1 carbon takes the place of every other element
    cfg_scale: float = 1.5  # of z_h; 1: no guidance
    cfg_scale_x: float = 1.0  # of the coordinates, never on the centre of mass
    autoguidance: float = 1.0  # extrapolation from the network without triangle updates; 1: none
    guidance_low: float = 0.2  # σ/α interval in which guidance acts
    guidance_high: float = 2.0
    rescale: float = 0.7
    min_time: float = 0.005
    power: float = 2.0  # spacing of the time grid towards 0
    candidates: int = 1  # at most so many are sampled for each ligand, until one is plausible; the best is kept
    refine_time: float = 0.3  # every other candidate is the best one noised up to here; 0: they are new
    regrow_time: float = (
        0.55  # the others are the best one with its faults, and nothing else, noised up to here; 0: new
    )
    repulsion: float = 0.0  # share of an overlap with the pocket that is taken back at each step
    repulsion_time: float = 0.6  # from which on
    qed: float | None = None  # what is asked for; None: nothing
    sa: float | None = None  # normalised, 1 the easiest to make
    logp: float | None = None


@dataclass(frozen=True)
class Config:
    preset: str = "small"
    ligand_vae: LigandVAEConfig = field(default_factory=LigandVAEConfig)
    pocket_vae: PocketVAEConfig = field(default_factory=PocketVAEConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    pocket: PocketConfig = field(default_factory=PocketConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


def _sized(name: str, width: int, edge: int, layers: tuple[int, int], channels: int) -> Config:
    common = {"width": width, "edge_width": edge, "channels": channels}
    return Config(
        preset=name,
        ligand_vae=LigandVAEConfig(**common),  # type: ignore[arg-type]
        pocket_vae=PocketVAEConfig(**common),  # type: ignore[arg-type]
        denoiser=DenoiserConfig(
            self_layers=layers[0],
            cross_layers=layers[1],
            triangles=16,
            bonds=True,
            fragments=True,
            properties=True,
            **common,  # type: ignore[arg-type]
        ),
    )


def _origin() -> Config:
    """Sizes and choices of the earlier scripts: EGNN, noise prediction, polynomial_2, wide latents."""
    return Config(
        preset="origin",
        ligand_vae=LigandVAEConfig(
            backbone="egnn", width=128, edge_width=128, encoder_layers=3, decoder_layers=3, latent_width=32,
            kl_weight=0.01,
        ),
        pocket_vae=PocketVAEConfig(
            backbone="egnn", width=128, edge_width=128, layers=3, latent_width=32, kl_weight=0.01
        ),
        denoiser=DenoiserConfig(
            backbone="egnn", width=256, edge_width=256, self_layers=3, cross_layers=2, anchors=0, cutoff=8.0,
            self_conditioning=False,
        ),
        diffusion=DiffusionConfig(
            schedule="polynomial_2", prediction="eps", geometry_weight=0.0, separate_times=0.0, time_uniform=1.0,
            precision=1e-4,
        ),
        pocket=PocketConfig(max_atoms=350),
        optimizer=OptimizerConfig(name="adamw"),
        sampling=SamplingConfig(sampler="ddpm", steps=1000, churn=0.0, noise_scale=1.0),
    )  # fmt: skip


def _tiny() -> Config:
    """For CPUs: also fewer pocket edges, which cost most of a step where the pocket is not cached."""
    config = _sized("tiny", 96, 48, (4, 2), 8)
    return replace(config, pocket_vae=replace(config.pocket_vae, layers=2, neighbors=16))


PRESETS: dict[str, Config] = {
    "tiny": _tiny(),
    "small": _sized("small", 128, 64, (6, 3), 16),
    "base": _sized("base", 256, 128, (8, 4), 32),
    "large": _sized("large", 384, 128, (8, 4), 64),
    "origin": _origin(),
}


def preset(name: str) -> Config:
    """A named configuration; raises LigandsmithError listing the names there are."""
    if name not in PRESETS:
        raise LigandsmithError(f"unknown preset '{name}'; choose one of: {', '.join(PRESETS)}")
    return PRESETS[name]


def to_dict(config: Any) -> dict[str, Any]:
    """Plain nested dict of numbers and strings."""
    return asdict(config)


def from_dict(cls: type[T], data: dict[str, Any], where: str = "config") -> T:
    """Nested dict -> dataclass. Raises LigandsmithError on an unknown key or a wrong type."""
    return _merged(cls(), data, where)


def _merged(base: T, data: dict[str, Any], where: str) -> T:
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise LigandsmithError(f"{where}: unknown key '{key}'; valid keys: {', '.join(sorted(hints))}")
        current = getattr(base, key)
        if is_dataclass(current):
            if not isinstance(value, dict):
                raise LigandsmithError(f"{where}.{key}: expected a table of keys, got {value!r}")
            changes[key] = _merged(current, value, f"{where}.{key}")
        else:
            changes[key] = _checked(hints[key], value, f"{where}.{key}")
    return replace(base, **changes)  # type: ignore[type-var]


def _checked(hint: Any, value: Any, where: str) -> Any:
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in allowed and isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)  # YAML 1.1 reads 1e-4 as a text
    if not any(type(value) is option for option in allowed):
        names = " or ".join(getattr(option, "__name__", str(option)) for option in allowed)
        raise LigandsmithError(f"{where}: expected {names}, got {value!r}")
    return value


def load_config(base: Config, path: Path) -> Config:
    """`base` with the keys of a YAML or JSON file laid over it."""
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise LigandsmithError(f"cannot read config {path}: {error.strerror}") from error
    except (yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise LigandsmithError(f"config {path} is not valid YAML or JSON: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise LigandsmithError(f"config {path}: expected keys and values, got {type(data).__name__}")
    return _merged(base, data, str(path))


def override(config: Config, assignments: list[str]) -> Config:
    """Apply `section.key=value` strings; values are read as YAML."""
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise LigandsmithError(f"override '{assignment}': expected section.key=value")
        try:
            nested: Any = yaml.safe_load(text)
        except yaml.YAMLError:
            raise LigandsmithError(f"override '{assignment}': '{text}' is not a value") from None
        for part in reversed(name.split(".")):
            nested = {part: nested}
        config = _merged(config, nested, "override")
    return config


def differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    """Fields in which two configs differ, as `name: a != b`."""
    found: list[str] = []
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if is_dataclass(x):
            found += differences(x, y, f"{prefix}{f.name}.")
        elif x != y:
            found.append(f"{prefix}{f.name}: {x} != {y}")
    return found
