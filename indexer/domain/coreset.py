"""Coresets: the patches of a category that stand for all others of the same layer and cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands that only read the catalogue do without numpy
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class CoresetTarget:
    """How large a coreset is to be; one of the two.

    share: of the references, as many patches of each layer and cell, above 0 and below 1. bound: as few patches as let
    no score rise by more than this, above 0; see `CoresetResult.radii`. ValueError otherwise.
    """

    share: float | None = None
    bound: float | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.bound is None):
            raise ValueError("a coreset is made to a share of the patches or to a bound: give one of the two")
        if self.share is not None and not 0 < self.share < 1:
            raise ValueError("the share of patches to search must be above 0 and below 1")
        if self.bound is not None and not 0 < self.bound < 2:
            raise ValueError("the bound must be above 0 and below 2, the largest distance")


@dataclass(frozen=True)
class CoresetFile:
    """A coreset on disk. name: within the folder of coresets; sha256: of the whole file; size: bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class CoresetContent:
    """The patches that are searched in place of those of the references that they were chosen from.

    fingerprint, codec: of the memory. grid: (rows, columns) of cells. references: int64 (n,), the ids of those,
    ascending. owners: int32 (patches, layers, cells), indices into them: whose patch each is. codes: uint8 (patches,
    layers, cells, code_size).
    """

    fingerprint: str
    codec: str
    grid: tuple[int, int]
    references: NDArray[np.int64]
    owners: NDArray[np.int32]
    codes: NDArray[np.uint8]


@dataclass(frozen=True)
class CoresetResult:
    """A finished coreset.

    references: it was made from so many; patches: it holds so many of each layer and cell. radii: by layer, the longest
    difference between a reference's patch and the nearest one that is held in its cell: no distance to the coreset is
    larger than that to all references by more (lemma 4.1 of the paper).
    """

    file: CoresetFile
    references: int
    patches: int
    radii: tuple[float, ...]

    def bound(self, layer_weights: Sequence[float] | None) -> float:
        """No image score is higher than among all references by more, with these weights of layers, or any if None."""
        if layer_weights is None:
            return max(self.radii)
        weighted = sum(weight * radius for weight, radius in zip(layer_weights, self.radii, strict=True))
        return weighted / sum(layer_weights)


@dataclass(frozen=True)
class CoresetRecord:
    """A category's coreset: one that is asked for, or a finished one that serves while its references are all there.

    memory_id, result: None before it is made. error: why it cannot be made.
    """

    id: int
    category: str
    target: CoresetTarget
    requested_at: datetime
    memory_id: int | None = None
    result: CoresetResult | None = None
    error: str | None = None
