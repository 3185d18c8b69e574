"""What a geometry costs on this machine, before anything is encoded under it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from indexer.domain.errors import GeometryError
from indexer.domain.geometry import InputGeometry, Size
from indexer.domain.geometry_choice import GeometryChoice, GeometryPolicy, commonest, smallest_defect
from indexer.encoders.base import Encoder, FeatureSpace
from indexer.memory import Codec, MemoryBank, join
from indexer.memory.capacity import available_bytes
from indexer.search.engine import PatchSearchEngine

_SIDE = 28  # cells along a side of the blank image that is measured
_REFERENCES = 32  # so many that what a search costs whatever it searches does not count
_RHO = 1


@dataclass(frozen=True)
class Pace:
    """Milliseconds. encode: of a cell in the encoder. search: of a cell against one reference."""

    encode: float
    search: float


@dataclass(frozen=True)
class GeometryCost:
    """What inspecting under a geometry takes.

    cells: of the grid. smallest_defect: that is found, in pixels of the image. references: that are counted with.
    reference_bytes: of one; memory_bytes: of all. encode_ms, search_ms: of one image, as measured with a blank one and
    carried over by cells.
    """

    cells: int
    smallest_defect: float
    references: int
    reference_bytes: int
    memory_bytes: int
    encode_ms: float
    search_ms: float


def measure_pace(encoder: Encoder, engine: PatchSearchEngine, codec: Codec) -> Pace:
    """Encode and search a blank image of 28 × 28 cells. Half a second on two cores, on the thread of the encoder."""
    side = _SIDE * encoder.space.patch
    blank = torch.full((1, 3, side, side), 127, dtype=torch.uint8)
    features = encoder.encode(blank)
    cells = _SIDE * _SIDE

    def encode() -> None:
        encoder.encode(blank).global_descriptors.cpu()

    encoded = join([codec.encode(features)] * _REFERENCES)
    memory = MemoryBank.empty(encoder.space, codec.name)
    memory = memory.with_references(range(_REFERENCES), ["blank"] * _REFERENCES, encoded, 1)
    rows = np.arange(_REFERENCES)

    def search() -> None:
        engine.max_similarity(memory, features.patches[0], rows, _RHO)

    search()
    return Pace(_milliseconds(encode) / cells, _milliseconds(search) / cells / _REFERENCES)


def cost_of(
    geometry: InputGeometry, image_size: Size, references: int, k: int, pace: Pace, space: FeatureSpace, codec: Codec
) -> GeometryCost:
    """What images of (width, height) pixels cost under a geometry. k: references of `references` that are searched."""
    rows, columns = geometry.grid(space.patch)
    cells = rows * columns
    bytes_each = reference_bytes(cells, len(space.layers), codec.code_size, space.global_dim)
    return GeometryCost(
        cells,
        smallest_defect(geometry, image_size, space.patch),
        references,
        bytes_each,
        bytes_each * references,
        pace.encode * cells,
        pace.search * cells * min(k, references),
    )


def reference_bytes(cells: int, layers: int, code_size: int, global_dim: int) -> int:
    """What one reference takes in the memory, and in a segment file. code_size: bytes of a patch."""
    return layers * cells * code_size + 4 * global_dim


def geometry_of_new(
    memory: MemoryBank,
    sizes: Mapping[Size, int],
    references: int,
    policy: GeometryPolicy,
    choice: GeometryChoice | None,
) -> InputGeometry:
    """How a new category is inspected: in the proportions that most of its first images have.

    sizes: (width, height) of those images → how many have it; of none, decoding them says why. references: that are to
    be held. choice: what was said of it. GeometryError, naming what would fit.
    """
    size = commonest(sizes)
    if size is None:
        return memory.space.global_geometry
    geometry = policy.of_new(size, memory.space.patch, choice)
    if not memory.mapped:  # codes in files take no memory
        check_memory(geometry, references, memory.space, memory.codec)
    return geometry


def check_memory(geometry: InputGeometry, references: int, space: FeatureSpace, codec: Codec) -> None:
    """GeometryError, with the cells that would fit, when so many references do not fit into this machine's memory."""
    rows, columns = geometry.grid(space.patch)
    per_cell = len(space.layers) * codec.code_size
    needed, available = rows * columns * per_cell * references, available_bytes()
    if available is not None and needed > available:
        raise GeometryError(
            f"{references} references of {rows * columns} cells take {needed / 1e9:.1f} GB of memory, of which "
            f"{available / 1e9:.1f} GB are free: {available // (per_cell * max(1, references))} cells fit"
        )


def _milliseconds(work: Callable[[], object]) -> float:
    """The quickest of three runs: others may have kept the machine busy in some."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds) * 1000
