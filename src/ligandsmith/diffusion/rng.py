"""Random numbers by identity, not by history.

A number depends on (key, stream, position) alone: a molecule's noise does not change with its batch mates, the padding,
the number of processes or the device, and a resumed run needs no generator state. A counter-based generator
(splitmix64 finaliser; Steele, Lea, Flood 2014) feeds a Box-Muller transform; everything is vectorised.
"""

import math
import zlib

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX = (-4658895280553007687, -7723592293110705685)  # 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 2**64


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _scramble(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX[0]
    x = (x ^ _shift(x, 27)) * _MIX[1]
    return x ^ _shift(x, 31)


def _scrambled_number(x: int) -> int:
    """`_scramble` of one number, which then need not be on the device of a key."""
    x %= _WORD
    x = (x ^ (x >> 30)) * _MIX[0] % _WORD
    x = (x ^ (x >> 27)) * _MIX[1] % _WORD
    x ^= x >> 31
    return x - _WORD if x >= _WORD // 2 else x


def combine(key: Tensor, value: int | Tensor) -> Tensor:
    """A new key from a key [...] int64 and an integer (or a tensor of integers)."""
    other = _scramble(value.long() + _GOLDEN) if isinstance(value, Tensor) else _scrambled_number(value + _GOLDEN)
    return _scramble(key * 3 + _GOLDEN + other)


def make_keys(seed: int, *parts: int | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Key(s) from a seed and any further integers or integer tensors (broadcast)."""
    key = torch.tensor(seed, dtype=torch.int64, device=device)
    for part in parts:
        key = combine(key, part)
    return key


def text_key(text: str) -> int:
    """A stable integer for a text such as a record's id."""
    return zlib.crc32(text.encode()) | (len(text) << 32)


def _bits(keys: Tensor, stream: str, shape: tuple[int, ...]) -> Tensor:
    """[B, *shape] random int64; position (i, j, ...) has its own counter, independent of the extent of `shape`."""
    base = combine(keys, text_key(stream))
    for axis, size in enumerate(shape):
        position = torch.arange(size, device=keys.device)
        base = combine(base.unsqueeze(-1), position * 2 + axis)
    return base


def uniform(keys: Tensor, stream: str, shape: tuple[int, ...] = ()) -> Tensor:
    """Uniform in (0, 1), float32, [B, *shape] for keys [B]."""
    value = ((_shift(_bits(keys, stream, shape), 40).double() + 0.5) * 2.0**-24).float()
    return value.clamp(max=1 - 2.0**-24)  # the largest value rounds up to 1 in float32


def normal(keys: Tensor, stream: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal, float32, [B, *shape] for keys [B]."""
    bits = _bits(keys, stream, shape)
    radius = (-2.0 * torch.log((_shift(bits, 32).double() + 0.5) * 2.0**-32)).sqrt()
    angle = (2.0 * math.pi * 2.0**-32) * (bits & 0xFFFFFFFF).double()
    return (radius * angle.cos()).float()
