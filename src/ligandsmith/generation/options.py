"""What to generate, and how to sample."""

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

from rdkit import Chem

from ligandsmith.config import SamplingConfig
from ligandsmith.data.properties import PROPERTIES
from ligandsmith.diffusion.samplers import SAMPLERS
from ligandsmith.errors import LigandsmithError
from ligandsmith.models.size import MAX_ATOMS, MIN_ATOMS


@dataclass(frozen=True)
class GenerationOptions:
    """What to make. None means the checkpoint's own setting."""

    num: int = 100
    num_atoms: str | None = None  # "24" or "18-26"; None: the size model
    steps: int | None = None
    sampler: str | None = None
    cfg_scale: float | None = None
    cfg_scale_x: float | None = None
    autoguidance: float | None = None
    churn: float | None = None
    noise_scale: float | None = None
    noise_scale_h: float | None = None
    candidates: int | None = None
    repulsion: float | None = None
    qed: float | None = None  # NaN: any, whatever the checkpoint's setting
    sa: float | None = None
    logp: float | None = None
    fix: Path | str | Chem.Mol | None = None  # a fragment that all ligands contain as it is
    batch_size: int = 100  # at a time; on a CPU in groups of like sizes
    seed: int = 0
    add_hs: bool = False

    def sampling(self, base: SamplingConfig) -> SamplingConfig:
        """The checkpoint's sampling settings with the given ones laid over them."""
        names = {f.name for f in fields(self)} & {f.name for f in fields(base)}
        given = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        for name, scale in PROPERTIES.items():
            value = given.get(name)
            if value is not None and math.isnan(value):
                given[name] = None
            elif value is not None and not scale.low <= value <= scale.high:
                raise LigandsmithError(
                    f"--{name} {value:g}: give a number from {scale.low:g} to {scale.high:g}, or any"
                )
        setting = replace(base, **given)
        if setting.sampler not in SAMPLERS:
            raise LigandsmithError(f"unknown sampler '{setting.sampler}'; choose one of: {', '.join(SAMPLERS)}")
        return setting

    def size_range(self) -> tuple[int, int] | None:
        """Lowest and highest number of heavy atoms, or None."""
        if self.num_atoms is None:
            return None
        parts = str(self.num_atoms).split("-")
        try:
            low, high = int(parts[0]), int(parts[-1])
        except ValueError:
            low, high = 0, -1
        if len(parts) > 2 or not MIN_ATOMS <= low <= high <= MAX_ATOMS:
            raise LigandsmithError(
                f"--num_atoms {self.num_atoms}: give a number or a range like 18-26, within {MIN_ATOMS}-{MAX_ATOMS}"
            )
        return low, high
