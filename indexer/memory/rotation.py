"""A fixed rotation of patches that spreads what lies in few of their values over all: for codecs of few bits."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

_SEED = b"touchstone rotation 1"  # stored codes depend on it: another seed is another codec


@dataclass(frozen=True)
class Rotation:
    """An orthogonal map of vectors of `dim` values, the same on every machine.

    Signs by a seed, then a cosine transform along the rows and the columns of the vector laid out as a matrix, as near
    to square as `dim` allows: for 768 values 56 products each instead of the 768 of a dense matrix, and no padding,
    which Hadamard's would need. Afterwards values are close to normally distributed, whatever they were.
    """

    dim: int

    def apply(self, vectors: torch.Tensor) -> torch.Tensor:
        """float32 (…, dim) on any device, rotated: lengths and inner products stay."""
        signs, rows, columns = _parts(self.dim, vectors.device)
        matrices = (vectors * signs).reshape(-1, len(rows), len(columns)) @ columns.T
        return (matrices.transpose(1, 2).contiguous() @ rows.T).view(vectors.shape)

    def undo(self, rotated: torch.Tensor) -> torch.Tensor:
        """The inverse of `apply`, to float32's rounding."""
        signs, rows, columns = _parts(self.dim, rotated.device)
        matrices = rotated.reshape(-1, len(columns), len(rows)) @ rows
        return (matrices.transpose(1, 2).contiguous() @ columns).view(rotated.shape) * signs


@cache
def _parts(dim: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The signs (dim,) and the two cosine transforms, float32."""
    height = max(side for side in range(1, math.isqrt(dim) + 1) if dim % side == 0)
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(_SEED).digest(-(-dim // 8)), np.uint8))[:dim]
    signs = torch.from_numpy(1.0 - 2.0 * bits.astype(np.float32))
    return signs.to(device), _cosines(height).to(device), _cosines(dim // height).to(device)


def _cosines(size: int) -> torch.Tensor:
    """The orthogonal cosine transform (DCT-II) of `size` values, float32 (size, size)."""
    frequency, place = np.arange(size)[:, None], np.arange(size)[None]
    matrix = np.cos(np.pi * (2 * place + 1) * frequency / (2 * size)) * math.sqrt(2 / size)
    matrix[0] = math.sqrt(1 / size)
    return torch.from_numpy(matrix.astype(np.float32))
