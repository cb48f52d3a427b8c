"""Configuration: frozen dataclasses, named presets, YAML/JSON files and `a.b=c` overrides.

Help text, unit and range of a value stand with its field. A value outside its range, an unknown key or a wrong type is
an error of one line, wherever it comes from: a flag, a file, an override or a checkpoint. The configuration is
stored in every checkpoint.
"""

import math
import reprlib
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

import yaml

from ligandsmith.errors import LigandsmithError, one_line, shortened
from ligandsmith.files import file_text, json_content

T = TypeVar("T")
SITE_RADIUS = 10.0  # Å, of a site around a centre
MAX_SITE_RADIUS = 1000.0  # Å
MIN_ATOMS, MAX_ATOMS = 5, 80  # heavy atoms of a ligand
MAX_FRAGMENT_SHARE = 0.85  # of the atoms of a ligand that is completed from a fragment
BACKBONES = ("eqattn", "egnn")
MAX_YAML_EVENTS, MAX_YAML_ALIASES = 10_000, 20  # of a configuration, which has some 150 values
UNLIMITED = 10**9  # a limit from here on only guards against nonsense and is not shown


class Setting(NamedTuple):
    """Help text and limits of a field."""

    help: str
    low: float | None = None
    high: float | None = None
    open_low: bool = False  # whether `low` itself is excluded
    choices: tuple[str, ...] = ()

    def allowed(self) -> str:
        """The limits as text; empty without limits."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is None and self.high is None:
            return ""
        if self.high is None or self.high >= UNLIMITED:
            return f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"
        return f"above {self.low:g}, at most {self.high:g}" if self.open_low else f"{self.low:g} to {self.high:g}"

    def problem(self, value: Any) -> str:
        """What is wrong with a value; empty if it is allowed."""
        if value is None or isinstance(value, bool):
            return ""
        if self.choices:
            return "" if value in self.choices else f"'{shortened(value)}': choose one of {self.allowed()}"
        if not isinstance(value, int | float):
            return ""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        inside = low <= value <= high and math.isfinite(value) and not (self.open_low and value == low)
        return "" if inside else f"{reprlib.repr(value)} is out of range: {self.allowed() or 'a finite number'}"


def setting(default: Any, help: str, low: float | None = None, high: float | None = None, **limits: Any) -> Any:
    """A dataclass field with help text, an inclusive range, and perhaps `open_low` or `choices`."""
    return field(default=default, metadata={"setting": Setting(help, low, high, **limits)})


def setting_of(f: "Field[Any]") -> Setting:
    """The help text and limits of a field."""
    found: Setting = f.metadata.get("setting", Setting(""))
    return found


class Checked:
    """Base of dataclasses whose values are checked against the limits of their fields. Raises LigandsmithError."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            if "setting" not in f.metadata:
                continue
            if problem := setting_of(f).problem(getattr(self, f.name)):
                raise LigandsmithError(f"{f.name}: {problem}")


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
class NetworkConfig(Checked):
    """What the networks have in common: the kind of their blocks and its sizes."""

    backbone: str = setting("eqattn", "equivariant block", choices=BACKBONES)
    width: int = setting(128, "width of the atom features", 1, 4096)
    edge_width: int = setting(64, "width of the edge features", 1, 4096)
    heads: int = setting(4, "attention heads", 1, 64)
    channels: int = setting(8, "vector channels of a block", 3, 512)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise LigandsmithError(f"heads: {self.heads} does not divide the width {self.width}; choose one that does")

    def block(self, **shape: Any) -> BlockConfig:
        """Sizes of one block; `shape`: further fields of BlockConfig."""
        return BlockConfig(self.width, self.edge_width, self.heads, self.channels, **shape)


@dataclass(frozen=True)
class LigandVAEConfig(NetworkConfig):
    """Ligand VAE."""

    # Each layer reaches one bond further: the latents of an atom depend on two bonds around it.
    encoder_layers: int = setting(2, "blocks of the encoder", 1, 64)
    decoder_layers: int = setting(4, "blocks of the decoder", 1, 64)
    # Of eight channels, four collapsed onto the prior and cost the denoiser half of its loss.
    latent_width: int = setting(4, "latent features per atom", 1, 512)
    sigma_x: float = setting(0.1, "s.d. of the posterior of the coordinates, Å", 0, 2, open_low=True)
    kl_weight: float = setting(1e-2, "weight of the KL divergence", 0, 100)
    noise_x: float = setting(0.2, "largest training noise on the coordinates, Å", 0, 5)
    # The KL divergence keeps the s.d. of z_h near 1.
    noise_h: float = setting(0.4, "largest training noise on z_h", 0, 5)
    distance_weight: float = setting(10.0, "weight of the loss of distances", 0, 1000)


@dataclass(frozen=True)
class PocketVAEConfig(NetworkConfig):
    """Pocket VAE."""

    layers: int = setting(3, "blocks of the encoder", 1, 64)
    latent_width: int = setting(16, "latent features per pocket atom", 1, 512)
    neighbors: int = setting(24, "neighbours of each pocket atom", 1, 1000)
    kl_weight: float = setting(1e-4, "weight of the KL divergence", 0, 100)
    mask_fraction: float = setting(0.15, "share of the residues whose side chain is masked in training", 0, 1)


@dataclass(frozen=True)
class DenoiserConfig(NetworkConfig):
    """Denoiser of the latent diffusion model."""

    self_layers: int = setting(6, "ligand blocks", 1, 256)
    cross_layers: int = setting(3, "blocks from ligand to pocket", 0, 256)
    cross_neighbors: int = setting(32, "nearest pocket atoms of each ligand atom", 1, 1000)
    anchors: int = setting(16, "global tokens: pocket atoms that every ligand atom attends to", 0, 1000)
    cutoff: float = setting(0.0, "cut-off of ligand-pocket edges, Å; 0: none", 0, 100)
    max_move: float = setting(6.0, "largest move of one block, Å in units of the target", 0, 100, open_low=True)
    self_conditioning: bool = setting(True, "condition on an earlier estimate (Chen et al. 2023)")
    triangles: int = setting(0, "channels of the triangle update of the edge state; 0: none", 0, 512)
    bonds: bool = setting(False, "diffuse bond orders together with coordinates and features")
    fragments: bool = setting(False, "condition on fixed fragments")
    properties: bool = setting(False, "condition on QED, SA and logP")


@dataclass(frozen=True)
class DiffusionConfig(Checked):
    """Noising process and training objective."""

    schedule: str = setting("linear", "noise schedule", choices=("linear", "cosine", "polynomial_2"))
    prediction: str = setting("f", "target: f (unit variance) or eps (the noise)", choices=("f", "eps"))
    noise_draws: int = setting(1, "noised copies of each ligand per step, which share the encoded pocket", 1, 64)
    geometry_weight: float = setting(0.3, "weight of the distances of bonded and 1-3 atoms; 0: none", 0, 1000)
    bond_weight: float = setting(0.3, "weight of the cross-entropy of bond orders", 0, 1000)
    separate_times: float = setting(0.5, "share of molecules with independent times of coordinates and features", 0, 1)
    time_mean: float = setting(-0.2, "mean of the logit-normal distribution of t", -20, 20)
    time_sd: float = setting(1.2, "s.d. of the logit-normal distribution of t", 0, 20)
    time_uniform: float = setting(0.1, "share of times drawn uniformly", 0, 1)
    min_time: float = setting(1e-3, "smallest training time", 0, 0.5, open_low=True)
    precision: float = setting(1e-4, "precision s of polynomial_2", 0, 0.1, open_low=True)
    cfg_dropout_prob: float = setting(0.1, "share of complexes trained without their pocket", 0, 1)
    fragment_prob: float = setting(0.3, "share of ligands with a fixed fragment, if the denoiser takes fragments", 0, 1)
    property_prob: float = setting(0.5, "share of ligands with properties, if the denoiser takes them", 0, 1)


@dataclass(frozen=True)
class PocketConfig(Checked):
    """How pockets are cropped, and how training varies the crop."""

    radius: float = setting(
        8.0, "radius of heavy atoms around the ligand, residues or centre, Å", 0, 100, open_low=True
    )
    calpha_radius: float = setting(10.0, "radius of C-alphas, Å", 0, 100)
    max_atoms: int = setting(400, "largest number of pocket atoms", 1, 100_000)
    min_training_radius: float = setting(6.0, "smallest radius of the random crop of training, Å", 0, 100)
    rim_dropout: float = setting(0.05, "share of the residues at the rim left out in training", 0, 1)
    center_jitter: float = setting(1.0, "s.d. of the pocket's origin in training, Å per axis", 0, 20)
    fitted_sizes: bool = setting(False, "use size models fitted to sites around a ligand and around a centre")


@dataclass(frozen=True)
class OptimizerConfig(Checked):
    """Optimizer and learning-rate schedule."""

    name: str = setting("muon", "muon (matrices by Muon, all others by AdamW) or adamw", choices=("muon", "adamw"))
    muon_lr_ratio: float = setting(6.0, "learning rate of the matrices relative to all others", 0, 1000, open_low=True)
    weight_decay: float = setting(1e-4, "weight decay", 0, 1)
    beta1: float = setting(0.9, "first moment's decay", 0, 0.99999)
    beta2: float = setting(0.99, "second moment's decay", 0, 0.9999999)
    clip_norm: float = setting(1.0, "largest norm of the gradient", 0, 1e6, open_low=True)
    warmup_steps: int = setting(100, "steps of linear warm-up", 0, UNLIMITED)
    final_lr_fraction: float = setting(0.02, "final learning rate relative to the peak", 0, 1)
    ema_decay: float = setting(0.999, "decay of the moving average of the weights", 0, 0.9999999)


SAMPLER_NAMES = ("euler", "heun", "ddim", "ddpm", "dpmpp_2m")


@dataclass(frozen=True)
class SamplingConfig(Checked):
    """Sampling of ligands."""

    sampler: str = setting("euler", "sampler of the diffusion process", choices=SAMPLER_NAMES)
    steps: int = setting(50, "network steps per candidate", 1, 100_000)
    churn: float = setting(0.6, "noise added back at each step (Karras et al. 2022)", 0, 100)
    noise_scale: float = setting(0.5, "scale of the coordinates' noise; lower: fewer clashes, less diverse", 0, 10,
                                 open_low=True)  # fmt: skip
    # Below 1, carbon takes the place of all other elements.
    noise_scale_h: float = setting(1.0, "scale of the features' noise", 0, 10, open_low=True)
    cfg_scale: float = setting(1.5, "classifier-free guidance of the features; 1: none", 0, 100)
    cfg_scale_x: float = setting(1.0, "classifier-free guidance of the coordinates; 1: none", 0, 100)
    autoguidance: float = setting(
        1.0, "guidance by the network without triangle updates and without the pocket; 1: none", 0, 100
    )
    autoguidance_interval: int = setting(2, "steps from one call of that network to the next", 1, 1000)
    guidance_low: float = setting(0.2, "lowest σ/α at which guidance acts", 0, 1e6)
    guidance_high: float = setting(2.0, "highest σ/α at which guidance acts", 0, 1e6)
    rescale: float = setting(0.7, "share of the guided prediction rescaled to the conditional one", 0, 1)
    min_time: float = setting(0.005, "last time of the grid", 0, 0.5, open_low=True)
    power: float = setting(2.0, "spacing of the time grid, denser towards 0", 0, 20, open_low=True)
    candidates: int = setting(1, "maximum number of candidates per ligand; the most plausible is kept", 1, 10_000)
    refine_time: float = setting(
        0.3, "time of partial noising of the best candidate (SDEdit); 0: start from noise", 0, 1
    )
    regrow_time: float = setting(
        0.55, "time of inpainting the defects of the best candidate; 0: start from noise", 0, 1
    )
    inspection_time: float = setting(0.22, "time at which the rings and pieces of an estimate are looked at", 0, 1)
    restarts: int = setting(4, "times that a ligand in pieces or with odd rings is then noised again, at most", 0, 1000)
    restart_time: float = setting(0.33, "time of that noise", 0, 1)
    repulsion: float = setting(0.0, "steric guidance: share of a clash with the pocket removed at each step", 0, 1)
    repulsion_time: float = setting(0.6, "highest time of steric guidance", 0, 1)
    relax: bool = setting(True, "relax every candidate in the pocket, with a force field, before it is judged")
    qed: float | None = setting(None, "requested QED (drug-likeness)", 0, 1)
    sa: float | None = setting(None, "requested synthetic accessibility, normalised: 1 is easiest", 0, 1)
    logp: float | None = setting(None, "requested Crippen logP", -6, 10)
    # Network inputs without a request: they lead to more drug-like ligands, and no candidate is judged by them.
    usual_qed: float | None = setting(0.7, "QED that the network is told where no property is requested", 0, 1)
    usual_sa: float | None = setting(0.85, "SA that the network is told where no property is requested", 0, 1)


@dataclass(frozen=True)
class Config:
    """The configuration of a model and its training."""

    preset: str = "small"
    ligand_vae: LigandVAEConfig = field(default_factory=LigandVAEConfig)
    pocket_vae: PocketVAEConfig = field(default_factory=PocketVAEConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    pocket: PocketConfig = field(default_factory=PocketConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


def _sized(name: str, width: int, edge: int, layers: tuple[int, int], channels: int) -> Config:
    common: dict[str, Any] = {"width": width, "edge_width": edge, "channels": channels}
    return Config(
        preset=name,
        ligand_vae=LigandVAEConfig(**common),
        pocket_vae=PocketVAEConfig(**common),
        denoiser=DenoiserConfig(
            self_layers=layers[0], cross_layers=layers[1], triangles=16, bonds=True, fragments=True, properties=True,
            **common,
        ),
    )  # fmt: skip


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


def from_dict(cls: type[T], data: dict[str, Any], where: str = "config") -> T:
    """Nested dict -> dataclass. Raises LigandsmithError on an unknown key or a wrong type."""
    return _merged(cls(), data, where)


def _merged(base: T, data: Any, where: str) -> T:
    if not isinstance(data, dict):
        raise LigandsmithError(f"{where}: expected a table of keys, got {reprlib.repr(data)}")
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise LigandsmithError(f"{where}: unknown key '{shortened(key)}'; valid keys: {', '.join(sorted(hints))}")
        current = getattr(base, key)
        if is_dataclass(current):
            changes[key] = _merged(current, value, f"{where}.{key}")
        else:
            changes[key] = _checked(hints[key], value, f"{where}.{key}")
    try:
        return replace(base, **changes)  # type: ignore[type-var]
    except LigandsmithError as error:
        raise LigandsmithError(f"{where}.{error}") from None


def _checked(hint: Any, value: Any, where: str) -> Any:
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if float in allowed and isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            return float(value)  # YAML 1.1 reads 1e-4 as a text
    if not any(type(value) is option for option in allowed):
        names = " or ".join(getattr(option, "__name__", str(option)) for option in allowed)
        raise LigandsmithError(f"{where}: expected {names}, got {reprlib.repr(value)}")
    return value


def load_config(base: Config, path: Path) -> Config:
    """`base` with the keys of a YAML or JSON file laid over it."""
    try:
        data = json_content(path) if path.suffix == ".json" else _from_yaml(file_text(path))
    except OSError as error:
        raise LigandsmithError(f"cannot read config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise LigandsmithError(f"config {path} is not valid YAML or JSON: {one_line(error)}") from error
    if not isinstance(data, dict):
        raise LigandsmithError(f"config {path}: expected keys and values, got {type(data).__name__}")
    return _merged(base, data, str(path))


def _from_yaml(text: str) -> Any:
    """The content of a YAML text. Raises ValueError, also for a text of which little would make very much."""
    try:
        aliases = 0
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            aliases += isinstance(event, yaml.AliasEvent)
            if number > MAX_YAML_EVENTS or aliases > MAX_YAML_ALIASES:
                limits = f"{MAX_YAML_EVENTS} entries and {MAX_YAML_ALIASES} aliases (*name)"
                raise ValueError(f"more than {limits}; write the values that are needed, without aliases")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(error) from error
    except RecursionError:
        raise ValueError("nested too deeply") from None


def override(config: Config, assignments: list[str]) -> Config:
    """Apply `section.key=value` strings; values are read as YAML."""
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise LigandsmithError(f"override '{assignment}': expected section.key=value")
        try:
            nested: Any = _from_yaml(text)
        except ValueError:
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
