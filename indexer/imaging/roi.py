"""Which part of an image is inspected: polygons or a mask over the image, turned into grid cells."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.roi import RegionOfInterest
from indexer.encoders.preprocessing import InputGeometry
from indexer.imaging.encode import encode_png

MASK_SIDE = 256  # pixels of a kept mask: finer than any grid, and a few hundred bytes as PNG
_SUBPIXEL_BITS = 8


def region_from_mask(inside: NDArray[np.bool_]) -> RegionOfInterest:
    """A region from a mask, bool (height, width) of any size over the whole image; True is inspected.

    A pixel of the kept mask is inspected when half or more of what it stands for is.
    """
    stored = cv2.resize(inside.astype(np.float32), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA) >= 0.5
    png = encode_png(stored.astype(np.uint8) * np.uint8(255))
    return RegionOfInterest(mask=base64.b64encode(png).decode())


def rasterise(region: RegionOfInterest, side: int) -> NDArray[np.bool_]:
    """A region over the whole image, squeezed into a square: bool (side, side). ValueError for no mask of ours."""
    if region.mask is not None:
        stored = _decode_mask(region.mask)
        return cv2.resize(stored, (side, side), interpolation=cv2.INTER_NEAREST) > 0
    canvas = np.zeros((side, side), np.uint8)
    for polygon in region.polygons:
        # cv2's coordinates are pixel centres: pixel i covers [i − ½, i + ½).
        corners = np.round((np.array(polygon) * side - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 1, shift=_SUBPIXEL_BITS)
    return canvas > 0


@dataclass(frozen=True, eq=False)
class RoiMask:
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
def roi_cells(region: RegionOfInterest, grid: tuple[int, int], geometry: InputGeometry) -> RoiMask:
    """The grid cells (rows, columns) of which half or more lies in the region.

    ValueError when there is none: the region lies outside of the centre that the encoder looks at, or is too small.
    """
    low, high = geometry.margin, geometry.margin + geometry.crop
    seen = rasterise(region, geometry.resize)[low:high, low:high].astype(np.float32)
    cells = cv2.resize(seen, (grid[1], grid[0]), interpolation=cv2.INTER_AREA) >= 0.5
    if not cells.any():
        raise ValueError("the region of interest covers half of no grid cell")
    y, x = np.divmod(np.arange(cells.size), grid[1])
    inside = np.flatnonzero(cells)
    distances = (y[:, None] - y[inside]) ** 2 + (x[:, None] - x[inside]) ** 2  # (cells, inspected)
    return RoiMask(cells, inside[distances.argmin(axis=1)])


def _decode_mask(mask: str) -> NDArray[np.uint8]:
    data = np.frombuffer(base64.b64decode(mask), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if image is None or image.shape != (MASK_SIDE, MASK_SIDE):
        raise ValueError(f"the mask is not a grey PNG of {MASK_SIDE}×{MASK_SIDE} pixels")
    return image.astype(np.uint8)
