"""The encoder protocol with its values: feature space, features, settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.errors import EncoderError, GeometryError
from indexer.domain.geometry import InputGeometry


@dataclass(frozen=True)
class FeatureSpace:
    """Names a space of features; a memory accepts features of its own space only.

    encoder: a name for people. layers: a name per layer, fine to coarse. patch: pixels along the side of a cell, in
    windows of any size. dim: values per patch, the same in every layer. global_dim: values of the global descriptor.
    global_geometry: how an image is prepared for its global descriptor, and for its patches where its category has no
    geometry of its own. fingerprint: sha256 (hex) over weights, layers, global geometry, preprocessing and dtype: equal
    exactly when features are comparable.
    """

    encoder: str
    layers: tuple[str, ...]
    patch: int
    dim: int
    global_dim: int
    global_geometry: InputGeometry
    fingerprint: str

    @property
    def global_grid(self) -> tuple[int, int]:
        """(rows, columns) of the cells of the global geometry."""
        return self.global_geometry.grid(self.patch)

    def to_json(self) -> str:
        """As stored beside a memory."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FeatureSpace:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        fields["layers"] = tuple(fields["layers"])
        if "grid" in fields:  # every category had the memory's own geometry once
            fields["global_geometry"] = fields.pop("geometry")
            fields["patch"] = fields["global_geometry"]["crop"] // fields.pop("grid")[0]
        fields["global_geometry"] = InputGeometry.from_values(fields["global_geometry"])
        return cls(**fields)


@dataclass(frozen=True)
class Features:
    """The features of a batch of B images of one size.

    global_descriptors: float32 (B, global_dim), the L2-normalised global descriptors (CLS of the last layer).
    patches: float32 (B, layers, cells, dim), each patch L2-normalised; cells are row-major. Patches of zeros lie where
    there is no image. grid: (rows, columns) of the cells.
    """

    global_descriptors: torch.Tensor
    patches: torch.Tensor
    grid: tuple[int, int]

    def __len__(self) -> int:
        return len(self.global_descriptors)

    def without_image(self) -> NDArray[np.bool_] | None:
        """Of a batch of one, bool (cells,): where there is no image; None when the image covers all cells."""
        empty = ~self.patches[0, 0].any(dim=-1)
        return empty.cpu().numpy() if bool(empty.any()) else None

    def item(self, index: int) -> Features:
        """One image of the batch, as a batch of one."""
        return self.slice(index, index + 1)

    def slice(self, start: int, stop: int) -> Features:
        """Images start … stop − 1 of the batch."""
        return Features(self.global_descriptors[start:stop], self.patches[start:stop], self.grid)

    def to(self, device: torch.device | str) -> Features:
        """The same on another device."""
        return Features(self.global_descriptors.to(device), self.patches.to(device), self.grid)


def join_features(parts: Sequence[Features]) -> Features:
    """Batches of one grid, at least one, as one batch."""
    if len(parts) == 1:
        return parts[0]
    return Features(
        torch.cat([part.global_descriptors for part in parts]),
        torch.cat([part.patches for part in parts]),
        parts[0].grid,
    )


def in_passes(batch: torch.Tensor, device: torch.device) -> Sequence[torch.Tensor]:
    """Windows (B, 3, H, W) as the batches that are encoded at once, on the device.

    On a CPU one image at a time: its values stay in the cache, and an answer does not depend on its batch. Elsewhere up
    to 32: launching an operation takes longer than one image's share of it.
    """
    return [part.to(device) for part in torch.split(batch, 1 if device.type == "cpu" else _MAX_TOGETHER)]


def grid_of(batch: torch.Tensor, patch: int) -> tuple[int, int]:
    """(rows, columns) of the cells of windows uint8 (B, 3, H, W); ValueError unless these are whole cells."""
    if batch.dtype != torch.uint8 or batch.ndim != 4 or batch.shape[1] != 3:
        raise ValueError(f"expected uint8 (B, 3, H, W), not {batch.dtype} {tuple(batch.shape)}")
    height, width = batch.shape[2:]
    if not height or not width or height % patch or width % patch:
        raise ValueError(f"expected sides that are multiples of {patch}, not {width} × {height}")
    return height // patch, width // patch


def geometry_facts(geometry: InputGeometry) -> list[int | str]:
    """A geometry as part of a fingerprint; the paper's preset keeps its original form."""
    return [geometry.resized[0], geometry.size[0]] if geometry.is_paper_preset else [geometry.to_json()]


def checked_geometry(geometry: InputGeometry, patch: int) -> InputGeometry:
    """A global geometry that an encoder with this patch can be given. EncoderError."""
    try:
        geometry.grid(patch)
    except GeometryError as error:
        raise EncoderError(str(error)) from error
    return geometry


class Encoder(Protocol):
    """A frozen feature extractor."""

    space: FeatureSpace
    device: torch.device
    max_pass_cells: int  # of a window; larger images are encoded in several, see `encode_images`

    def encode(self, batch: torch.Tensor) -> Features:
        """Windows uint8 (B, 3, H, W) RGB, on any device → their features on the encoder's device.

        H, W: any multiples of the patch. ValueError otherwise.
        """
        ...


_MAX_TOGETHER = 32
MAX_PASS_CELLS = 1024  # 32 × 32: a window of 512 pixels in patches of 16
Dtype = Literal["float32", "bfloat16", "float16", "int8"]
RuntimeName = Literal["torch", "openvino", "onnxruntime"]


@dataclass(frozen=True)
class EncoderSettings:
    """Which encoder, and how it is run.

    model: `builtin`, `builtin-fine`, `filterbank`, a Hugging Face hub id, `timm:` and a timm model, a local folder with
    the files of either, or a checkpoint file as published by the authors (`.pth`, `.pt`, `.tar`, `.safetensors`).
    layers: 1-based transformer layers; None spreads four evenly as the paper does (4, 7, 10, 12 of 12).
    resize, crop: pixels, of the memory's global geometry: `InputGeometry.paper`.
    device: `auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:N`; of OpenVINO one of its own, such as `GPU`.
    runtime: what carries out a transformer's blocks. dtype: at which precision: see `runtimes.PRECISIONS`.
    converted: folder that keeps networks converted for another runtime than torch; None: converted at each start.
    compiled: compile a transformer once for each bucket of batch sizes (1, 2, 4, …), on CUDA into CUDA graphs.
    """

    model: str = "builtin"
    layers: tuple[int, ...] | None = None
    resize: int = 448
    crop: int = 448
    device: str = "auto"
    dtype: Dtype = "float32"
    compiled: bool = False
    runtime: RuntimeName = "torch"
    converted: Path | None = None
