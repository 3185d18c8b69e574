"""The encoder protocol with its values: feature space, features, settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

import torch

from indexer.encoders.preprocessing import InputGeometry


class EncoderError(ValueError):
    """An encoder cannot be loaded as requested; the message is one line that says what to do."""


@dataclass(frozen=True)
class FeatureSpace:
    """Names a space of features; a memory accepts features of its own space only.

    encoder: a name for people. layers: a name per layer, fine to coarse. grid: (rows, columns) of patches.
    dim: values per patch, the same in every layer. global_dim: values of the global descriptor.
    fingerprint: sha256 (hex) over weights, layers, geometry, preprocessing and dtype: equal exactly when features are
    comparable.
    """

    encoder: str
    layers: tuple[str, ...]
    grid: tuple[int, int]
    dim: int
    global_dim: int
    geometry: InputGeometry
    fingerprint: str

    @property
    def cells(self) -> int:
        """Patches per layer."""
        return self.grid[0] * self.grid[1]

    def to_json(self) -> str:
        """As stored beside a memory."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpace:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        fields["layers"] = tuple(fields["layers"])
        fields["grid"] = tuple(fields["grid"])
        fields["geometry"] = InputGeometry(**fields["geometry"])
        return cls(**fields)


@dataclass(frozen=True)
class Features:
    """The features of a batch of B images.

    global_descriptors: float32 (B, global_dim), the L2-normalised global descriptors (CLS of the last layer).
    patches: float32 (B, layers, cells, dim), each patch L2-normalised; cells are row-major.
    """

    global_descriptors: torch.Tensor
    patches: torch.Tensor

    def __len__(self) -> int:
        return len(self.global_descriptors)

    def item(self, index: int) -> Features:
        """One image of the batch, as a batch of one."""
        return self.slice(index, index + 1)

    def slice(self, start: int, stop: int) -> Features:
        """Images start … stop − 1 of the batch."""
        return Features(self.global_descriptors[start:stop], self.patches[start:stop])


class Encoder(Protocol):
    """A frozen feature extractor."""

    space: FeatureSpace
    device: torch.device

    def encode(self, batch: torch.Tensor) -> Features:
        """Prepared images, uint8 (B, 3, crop, crop) RGB, on any device → their features on the encoder's device."""
        ...


Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class EncoderSettings:
    """Which encoder, and how it is run.

    model: `builtin`, `builtin-fine`, `filterbank`, a Hugging Face hub id, `timm:` and a timm model, a local folder with
    the files of either, or a checkpoint file as published by the authors (`.pth`, `.pt`, `.tar`, `.safetensors`).
    layers: 1-based transformer layers; None spreads four evenly as the paper does (4, 7, 10, 12 of 12).
    resize, crop: pixels; the image is resized to a square of `resize` and its centre `crop` is looked at.
    device: `auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:N`.
    compiled: compile a transformer once for each bucket of batch sizes (1, 2, 4, …), on CUDA into CUDA graphs.
    """

    model: str = "builtin"
    layers: tuple[int, ...] | None = None
    resize: int = 448
    crop: int = 448
    device: str = "auto"
    dtype: Dtype = "float32"
    compiled: bool = False
