"""Four bits a value: 16 levels that fit normally distributed values, two in a byte, with a scale for each patch."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch.nn import functional as F

# Lloyd and Max's 16 levels of a standard normal distribution, the outermost of which is 2.7326, in 127ths of that, so
# that they can be multiplied as 8-bit integers. The compiled search (`patch_search.c`) has the same table.
LEVELS = (-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127)

_OUTERMOST = 2.7326
_STRETCHES = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)  # of the scale for normally distributed values: the best is taken
_ROUNDING = 1e-5  # of squared lengths in float32, well above what was observed

_TABLE = torch.tensor(LEVELS, dtype=torch.float32)
_BYTES = np.arange(256)
_PAIRS = _TABLE[torch.from_numpy(np.stack([_BYTES & 15, _BYTES >> 4], axis=1))]  # (256, 2), the values of each byte

# The level nearest to a value in −127 … 127, by the half step that it lies in: no level ends within one.
_HALF_STEPS = torch.arange(4 * LEVELS[-1] + 1, dtype=torch.float32) / 2 - LEVELS[-1] + 0.25
_NEAREST = torch.bucketize(_HALF_STEPS, (_TABLE[1:] + _TABLE[:-1]) / 2)


def packed_size(dim: int) -> int:
    """Bytes of `dim` values."""
    return -(-dim // 2)


def quantise(patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches float32 (…, dim) → their packed levels, uint8 (…, packed_size), and scales, float32 (…, 1).

    The levels are those whose direction is nearest to the patch's, of those that a few scales give. The scale stored
    is then such that the unit patch's inner product with its decoded form is 1: error and patch are orthogonal, and a
    patch's distance to what resembles it is right on average. The scale of least squares would make it too large.
    """
    length = patches.norm(dim=-1, keepdim=True)
    usual = (length * (_OUTERMOST / LEVELS[-1] / patches.shape[-1] ** 0.5)).clamp_min(1e-12)
    alike, along, chosen = torch.full_like(length, -1.0), torch.ones_like(length), usual
    for stretch in _STRETCHES:
        levels = _TABLE[_NEAREST].index_select(0, _half_steps(patches / (usual * stretch))).view(patches.shape)
        product = (patches * levels).sum(dim=-1, keepdim=True)
        cosine = product / levels.norm(dim=-1, keepdim=True)
        better = cosine > alike
        alike = torch.where(better, cosine, alike)
        along = torch.where(better, product, along)
        chosen = torch.where(better, usual * stretch, chosen)
    nibbles = _NEAREST.to(torch.uint8).index_select(0, _half_steps(patches / chosen)).view(patches.shape)
    nibbles = F.pad(nibbles, (0, patches.shape[-1] % 2))
    return nibbles[..., 0::2] | nibbles[..., 1::2] << 4, length / along.clamp_min(1e-30)


def _half_steps(values: torch.Tensor) -> torch.Tensor:
    """Values of any shape, in steps → int32 (n,), places in `_NEAREST`."""
    return ((values.clamp(LEVELS[0], LEVELS[-1]) - LEVELS[0]) * 2).to(torch.int32).flatten()


def levels_of(packed: torch.Tensor, dim: int) -> torch.Tensor:
    """Packed levels uint8 (…, packed_size) on any device → float32 (…, dim) on the same device, unscaled."""
    return F.embedding(packed.int(), _pairs_on(packed.device)).flatten(-2)[..., :dim]


@cache
def _pairs_on(device: torch.device) -> torch.Tensor:
    return _PAIRS.to(device)


def squared_levels(packed: torch.Tensor, dim: int) -> torch.Tensor:
    """The squared lengths of unscaled levels: float64 (…)."""
    return levels_of(packed, dim).double().square().sum(dim=-1)


def errors(squares: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """How far unit patches are from their decoded forms, rounding included: float32 (…). Patches of zeros are exact.

    squares: as from `squared_levels`. scales: float32 (…).
    """
    beyond = squares * scales.double().square() - 1.0
    return torch.where(scales == 0, 0.0, (beyond.clamp_min(0.0) + _ROUNDING).sqrt()).float()
