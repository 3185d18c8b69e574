"""Encodes patch vectors as stored codes; the bound of each format's error stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders.base import Features

CodecName = Literal["fp32", "fp16", "bf16", "int8"]
CODEC_NAMES: tuple[CodecName, ...] = ("fp32", "fp16", "bf16", "int8")
DEFAULT_CODEC: CodecName = "fp16"

_SCALE_BYTES = 4  # one float32 scale ends every int8 code
_INT8_MAX = 127
_FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


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
    def code_size(self) -> int:
        """Bytes of one patch."""
        return self.dim + _SCALE_BYTES if self.name == "int8" else self.dim * _FLOATS[self.name].itemsize

    def encode(self, features: Features) -> EncodedReferences:
        """Features of n images, on any device → their stored form on the host."""
        patches = features.patches.detach().to("cpu", torch.float32)  # (n, layers, cells, dim)
        global_descriptors = features.global_descriptors.detach().to("cpu", torch.float32).contiguous().numpy()
        if self.name == "int8":
            scale = patches.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / _INT8_MAX
            quantised = torch.round(patches / scale).to(torch.int8)
            codes = torch.cat([quantised.view(torch.uint8), scale.contiguous().view(torch.uint8)], dim=-1)
        else:
            codes = patches.to(_FLOATS[self.name]).contiguous().view(torch.uint8)
        return EncodedReferences(global_descriptors, codes.numpy(), self.name, features.grid)

    def decode(self, codes: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """Codes uint8 (…, code_size) on any device → contiguous float32 (…, dim) on the same device.

        out: a tensor to write them into.
        """
        if out is None:
            out = torch.empty((*codes.shape[:-1], self.dim), device=codes.device)
        if self.name == "int8":
            scale = codes[..., self.dim :].clone(memory_format=torch.contiguous_format).view(torch.float32)  # (…, 1)
            return out.copy_(codes[..., : self.dim].view(torch.int8)).mul_(scale)
        return out.copy_(codes.view(_FLOATS[self.name]))
