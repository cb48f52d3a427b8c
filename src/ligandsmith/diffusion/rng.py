"""Counter-based random numbers: they depend on (seed, stream, position) alone, not on the order of the calls.

So the noise of a molecule does not change with the other molecules of its batch, the padding, the number of processes
or the device, and a resumed run needs no generator state. The splitmix64 finaliser (Steele, Lea, Flood 2014) feeds a
Box-Muller transform; everything is vectorised. Seeds are int64 tensors, one for each molecule.
"""

import math
import zlib

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX = (-4658895280553007687, -7723592293110705685)  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _scramble(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX[0]
    x = (x ^ _shift(x, 27)) * _MIX[1]
    return x ^ _shift(x, 31)


def fold_in(seeds: Tensor, value: int | Tensor) -> Tensor:
    """New seeds from seeds [...] and an integer, or a tensor of integers that broadcasts."""
    value = torch.as_tensor(value, dtype=torch.int64)  # a number stays on the CPU: nothing is copied to a GPU
    return _scramble(seeds * 3 + _GOLDEN + _scramble(value + _GOLDEN))


def make_seeds(seed: int, *parts: int | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Seeds from a user's seed and further integers or integer tensors, which broadcast."""
    seeds = torch.tensor(seed, dtype=torch.int64, device=device)
    for part in parts:
        seeds = fold_in(seeds, part)
    return seeds


def step_seeds(seed: int, step: int, count: int, ranks: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Seeds [count] of the molecules of a training step, and the seed of the step.

    `ranks` is (rank, number of processes). The seed of a molecule depends on its position in the global batch, not on
    the number of processes. That of the step is a scalar on the CPU: what it decides must not wait for a GPU.
    """
    rank, world = ranks
    position = torch.arange(count, device=device) * world + rank
    seeds = make_seeds(seed, step)
    return fold_in(seeds.to(device), position), fold_in(seeds, -1)


def text_seed(text: str) -> int:
    """A stable integer for a text such as the id of a record."""
    return zlib.crc32(text.encode()) | (len(text) << 32)


def _bits(seeds: Tensor, stream: str, shape: tuple[int, ...]) -> Tensor:
    """[B, *shape] random int64; position (i, j, ...) has its own counter, independent of the extent of `shape`."""
    base = fold_in(seeds, text_seed(stream))
    for axis, size in enumerate(shape):
        position = torch.arange(size, device=seeds.device)
        base = fold_in(base.unsqueeze(-1), position * 2 + axis)
    return base


def uniform(seeds: Tensor, stream: str, shape: tuple[int, ...] = ()) -> Tensor:
    """Uniform in (0, 1), float32, [B, *shape] for seeds [B]."""
    if seeds.device.type == "mps":  # which has no float64
        return uniform(seeds.cpu(), stream, shape).to(seeds.device)
    value = ((_shift(_bits(seeds, stream, shape), 40).double() + 0.5) * 2.0**-24).float()
    return value.clamp(max=1 - 2.0**-24)  # the largest value rounds up to 1 in float32


def normal(seeds: Tensor, stream: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal, float32, [B, *shape] for seeds [B]."""
    if seeds.device.type == "mps":
        return normal(seeds.cpu(), stream, shape).to(seeds.device)
    bits = _bits(seeds, stream, shape)
    radius = (-2.0 * torch.log((_shift(bits, 32).double() + 0.5) * 2.0**-32)).sqrt()
    angle = (2.0 * math.pi * 2.0**-32) * (bits & 0xFFFFFFFF).double()
    return (radius * angle.cos()).float()
