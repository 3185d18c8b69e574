"""Which part of a picture is inspected: polygons or a mask over the picture, turned into grid cells."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.encoders.preprocessing import Geometry
from indexer.images import encode_png

MASK_SIDE = 256  # pixels of a kept mask: finer than any grid, and a few hundred bytes as PNG
_MOST_POLYGONS, _MOST_CORNERS = 64, 1024
_SUBPIXEL_BITS = 8

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RegionOfInterest:
    """Where a category's pictures are inspected; ValueError when it is not well formed.

    polygons: corners (x, y) in fractions of the picture's width and height, in [0, 1]; what lies in any of them is
    inspected. mask: instead of polygons, base64 of a grey PNG, 256×256 over the whole picture; what is not 0 is
    inspected. Fractions hold for pictures of every size, and for every encoder.
    """

    polygons: tuple[Polygon, ...] = ()
    mask: str | None = None

    def __post_init__(self) -> None:
        if bool(self.polygons) == (self.mask is not None):
            raise ValueError("a region of interest is either polygons or a mask")
        if len(self.polygons) > _MOST_POLYGONS:
            raise ValueError(f"at most {_MOST_POLYGONS} polygons")
        for polygon in self.polygons:
            if not 3 <= len(polygon) <= _MOST_CORNERS:
                raise ValueError(f"a polygon has between 3 and {_MOST_CORNERS} corners")
            if not all(len(corner) == 2 and all(0 <= value <= 1 for value in corner) for corner in polygon):
                raise ValueError("the corners of a polygon are (x, y) in fractions of the picture, between 0 and 1")
        if self.mask is not None:
            _decode_mask(self.mask)

    @classmethod
    def from_mask(cls, inside: NDArray[np.bool_]) -> RegionOfInterest:
        """From a mask, bool (height, width) of any size over the whole picture; True is inspected.

        A pixel of the kept mask is inspected when half or more of what it stands for is.
        """
        kept = cv2.resize(inside.astype(np.float32), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA) >= 0.5
        png = encode_png(kept.astype(np.uint8) * np.uint8(255))
        return cls(mask=base64.b64encode(png).decode())

    def drawn(self, side: int) -> NDArray[np.bool_]:
        """The region over the whole picture, squeezed into a square: bool (side, side)."""
        if self.mask is not None:
            kept = _decode_mask(self.mask)
            return cv2.resize(kept, (side, side), interpolation=cv2.INTER_NEAREST) > 0
        canvas = np.zeros((side, side), np.uint8)
        for polygon in self.polygons:
            # cv2's coordinates are pixel centres: pixel i covers [i − ½, i + ½).
            corners = np.round((np.array(polygon) * side - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
            cv2.fillPoly(canvas, [corners], 1, shift=_SUBPIXEL_BITS)
        return canvas > 0


@dataclass(frozen=True, eq=False)
class Inspected:
    """A region of interest as an anomaly map needs it.

    cells: bool (rows, columns), at least one True. source: int64 (cells,), for each cell the nearest inspected one,
    which is itself where it is inspected.
    """

    cells: NDArray[np.bool_]
    source: NDArray[np.int64]

    def pixels(self, side: int) -> NDArray[np.bool_]:
        """The same on a map of side × side pixels: every pixel belongs to the cell it lies in."""
        return cv2.resize(self.cells.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) > 0


@lru_cache(maxsize=256)
def inspected_cells(region: RegionOfInterest, grid: tuple[int, int], geometry: Geometry) -> Inspected:
    """The grid cells (rows, columns) of which half or more lies in the region.

    ValueError when there is none: the region lies outside of the centre that the encoder looks at, or is too small.
    """
    low, high = geometry.margin, geometry.margin + geometry.crop
    seen = region.drawn(geometry.resize)[low:high, low:high].astype(np.float32)
    cells = cv2.resize(seen, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) >= 0.5
    if not cells.any():
        raise ValueError("the region of interest covers half of no grid cell")
    y, x = np.divmod(np.arange(cells.size), grid[1])
    inside = np.flatnonzero(cells)
    distances = (y[:, None] - y[inside]) ** 2 + (x[:, None] - x[inside]) ** 2  # (cells, inspected)
    return Inspected(cells, inside[distances.argmin(axis=1)])


def _decode_mask(mask: str) -> NDArray[np.uint8]:
    try:
        data = np.frombuffer(base64.b64decode(mask, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        raise ValueError("the mask is not base64") from None
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if image is None or image.shape != (MASK_SIDE, MASK_SIDE):
        raise ValueError(f"the mask is not a grey PNG of {MASK_SIDE}×{MASK_SIDE} pixels")
    return image.astype(np.uint8)
