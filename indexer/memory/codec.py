"""Encodes patch vectors as stored codes; the bound of each format's error stands beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders.base import Features
from indexer.memory import four_bits
from indexer.memory.rotation import Rotation

CodecName = Literal["fp32", "fp16", "bf16", "int8", "int4"]
CODEC_NAMES: tuple[CodecName, ...] = ("fp32", "fp16", "bf16", "int8", "int4")
DEFAULT_CODEC: CodecName = "fp16"

_SCALE_BYTES = 4  # one float32 scale ends every int8 and int4 code
_INT8_MAX = 127
_FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_ROUNDING = {"fp32": 0.0, "fp16": 2.0**-11, "bf16": 2.0**-8}  # of a value, relative to it


@dataclass(frozen=True)
class EncodedReferences:
    """References as a segment file holds them, byte for byte.

    global_descriptors: float32 (n, global_dim), L2-normalised global descriptors.
    codes: uint8 (n, layers, cells, code_size), the patches as `codec` writes them. grid: (rows, columns) of the cells.
    """

    global_descriptors: NDArray[np.float32]
    codes: NDArray[np.uint8]
    codec: CodecName
    grid: tuple[int, int]

    def __len__(self) -> int:
        return len(self.global_descriptors)

    def select(self, picked: Sequence[int]) -> EncodedReferences:
        """The selected references, in this order."""
        return EncodedReferences(self.global_descriptors[picked], self.codes[picked], self.codec, self.grid)

    def run(self, first: int, last: int) -> EncodedReferences:
        """References `first` … `last`, as views."""
        run = slice(first, last + 1)
        return EncodedReferences(self.global_descriptors[run], self.codes[run], self.codec, self.grid)


def join(parts: Sequence[EncodedReferences]) -> EncodedReferences:
    """Several encodings, at least one, as one. ValueError when they are in different codecs or of different grids."""
    if len(parts) == 1:
        return parts[0]
    if len(codecs := {part.codec for part in parts}) > 1:
        raise ValueError(f"codes in {' and '.join(sorted(codecs))} cannot be joined")
    if len(grids := {part.grid for part in parts}) > 1:
        raise ValueError(f"codes of the grids {' and '.join(map(str, sorted(grids)))} cannot be joined")
    return EncodedReferences(
        np.concatenate([part.global_descriptors for part in parts]),
        np.concatenate([part.codes for part in parts]),
        parts[0].codec,
        parts[0].grid,
    )


@dataclass(frozen=True)
class Codec:
    """Turns unit patch vectors of `dim` values into codes of `code_size` bytes and back.

    `fp32` is exact. `fp16` rounds every value to 11 bits: an inner product moves by at most 5e-4.
    `bf16` rounds to 8 bits, enough for an encoder that computes in them: by at most 4e-3.
    `int8` has 127 steps either side of zero and one float32 scale per patch, the scale being the patch's largest
    magnitude over 127; nothing is fitted, so a code never depends on what was stored before it. An inner product
    with a unit vector moves by at most `√dim · scale / 2`.
    `int4` rotates the patch (`rotation.py`) and stores each value as one of 16 levels, with one float32 scale per patch
    (`four_bits.py`). Nothing is fitted here either. An inner product moves by at most what `error_bounds` reads off
    the code, 0.1 to 0.15; in practice by a fifth of it at most (docs/codecs.md).

    Inner products of `int4` codes are computed with rotated queries: what `decode` returns is compared with what
    `to_basis` returns. The other codecs' codes are in the basis of the patches.
    """

    name: CodecName
    dim: int

    @classmethod
    def from_name(cls, name: str, dim: int) -> Codec:
        """The codec called `name`; ValueError names the choices otherwise."""
        if name not in CODEC_NAMES:
            raise ValueError(f"unknown codec {name!r}: choose one of {', '.join(CODEC_NAMES)}")
        return cls(name, dim)

    @property
    def has_levels(self) -> bool:
        """Whether codes are integer levels of at most 8 bits with a scale at their end."""
        return self.name in ("int8", "int4")

    @property
    def _level_bytes(self) -> int:
        return self.dim if self.name == "int8" else four_bits.packed_size(self.dim)

    @property
    def code_size(self) -> int:
        """Bytes of one patch."""
        return self._level_bytes + _SCALE_BYTES if self.has_levels else self.dim * _FLOATS[self.name].itemsize

    def encode(self, features: Features) -> EncodedReferences:
        """Features of n images, on any device → their stored form on the host."""
        patches = features.patches.detach().to("cpu", torch.float32)  # (n, layers, cells, dim)
        global_descriptors = features.global_descriptors.detach().to("cpu", torch.float32).contiguous().numpy()
        if self.name == "int8":
            scale = patches.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / _INT8_MAX
            quantised = torch.round(patches / scale).to(torch.int8)
            codes = torch.cat([quantised.view(torch.uint8), scale.contiguous().view(torch.uint8)], dim=-1)
        elif self.name == "int4":
            codes = torch.empty((*patches.shape[:-1], self.code_size), dtype=torch.uint8)
            for layer, code in zip(patches.flatten(0, 1), codes.flatten(0, 1), strict=True):  # few, for the cache
                packed, scale = four_bits.quantise(Rotation(self.dim).apply(layer))
                code[..., : self._level_bytes] = packed
                code[..., self._level_bytes :] = scale.view(torch.uint8)
        else:
            codes = patches.to(_FLOATS[self.name]).contiguous().view(torch.uint8)
        return EncodedReferences(global_descriptors, codes.numpy(), self.name, features.grid)

    def decode(self, codes: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Codes uint8 (…, code_size) on any device → contiguous float32 (…, dim) on the same device, in their basis.

        out: a tensor to write them into.
        """
        if out is None:
            out = torch.empty((*codes.shape[:-1], self.dim), device=codes.device)
        if not self.has_levels:
            return out.copy_(codes.view(_FLOATS[self.name]))
        levels = codes[..., : self._level_bytes]
        out.copy_(levels.view(torch.int8) if self.name == "int8" else four_bits.levels_of(levels, self.dim))
        return out.mul_(self._scales(codes))

    def to_basis(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches float32 (…, dim) in the basis of the codes, where their inner products are those with the patches."""
        return Rotation(self.dim).apply(patches) if self.name == "int4" else patches

    def from_basis(self, decoded: torch.Tensor) -> torch.Tensor:
        """The inverse of `to_basis`: what `decode` returned, as patches."""
        return Rotation(self.dim).undo(decoded) if self.name == "int4" else decoded

    def error_bounds(self, codes: torch.Tensor) -> torch.Tensor:
        """The most that each decoded patch can be away from the unit patch that was encoded: float32 (…).

        No inner product with a unit vector moves by more, nor does a distance to the nearest of several patches (lemma
        4.1 of the paper). Of `int4` it is the error itself, since the scale makes error and patch orthogonal, which
        leaves |decoded|² − 1 = |error|²; of the others it follows from their format.
        """
        if self.name == "int4":
            squares = four_bits.squared_levels(codes[..., : self._level_bytes], self.dim)
            return four_bits.errors(squares, self._scales(codes)[..., 0])
        if self.name == "int8":
            return self._scales(codes)[..., 0] * (math.sqrt(self.dim) / 2)
        return torch.full(codes.shape[:-1], _ROUNDING[self.name], device=codes.device)

    def _scales(self, codes: torch.Tensor) -> torch.Tensor:
        """float32 (…, 1)."""
        return codes[..., self._level_bytes :].clone(memory_format=torch.contiguous_format).view(torch.float32)
