"""The sampling configuration and the range of sizes that generation options stand for."""

import math
from dataclasses import fields, replace

from ligandsmith.config import MAX_ATOMS, MIN_ATOMS, SamplingConfig
from ligandsmith.errors import LigandsmithError
from ligandsmith.options import GenerationOptions


def sampling_config(options: GenerationOptions, base: SamplingConfig) -> SamplingConfig:
    """`base` with the options that are set; NaN removes a requested property. Raises LigandsmithError."""
    names = {f.name for f in fields(options)} & {f.name for f in fields(base)}
    changes = {n: value for n in names if (value := getattr(options, n)) is not None}
    changes = {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in changes.items()}
    try:
        return replace(base, **changes)
    except LigandsmithError as error:
        raise LigandsmithError(f"--{error}") from None


def size_range(options: GenerationOptions) -> tuple[int, int] | None:
    """Smallest and largest number of heavy atoms, or None for the size model. Raises LigandsmithError."""
    if options.num_atoms is None:
        return None
    parts = str(options.num_atoms).split("-")
    try:
        low, high = int(parts[0]), int(parts[-1])
    except ValueError:
        low, high = 0, -1
    if len(parts) > 2 or not MIN_ATOMS <= low <= high <= MAX_ATOMS:
        raise LigandsmithError(
            f"--num_atoms {options.num_atoms}: give a number or a range like 18-26, within {MIN_ATOMS}-{MAX_ATOMS}"
        )
    return low, high
