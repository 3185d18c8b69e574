"""Which part of an image is inspected: polygons or a mask over the image, turned into grid cells."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.geometry import Frame, Placement
from indexer.domain.roi import RegionOfInterest
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


def rasterise(region: RegionOfInterest, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A region over a whole image of (width, height) pixels: bool (height, width). ValueError for no mask of ours."""
    if region.mask is not None:
        stored = _decode_mask(region.mask)
        return cv2.resize(stored, size, interpolation=cv2.INTER_NEAREST) > 0
    canvas = np.zeros(size[::-1], np.uint8)
    for polygon in region.polygons:
        # cv2's coordinates are pixel centres: pixel i covers [i − ½, i + ½).
        corners = np.round((np.array(polygon) * size - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 1, shift=_SUBPIXEL_BITS)
    return canvas > 0


@dataclass(frozen=True, eq=False)
class RoiMask:
    """The cells of a frame that score, as an anomaly map needs them.

    cells: bool (rows, columns), at least one True. source: int64 (cells,), for each cell the nearest inspected one,
    which is itself where it is inspected.
    """

    cells: NDArray[np.bool_]
    source: NDArray[np.int64]

    def pixels(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """The same on a map of (rows, columns) pixels: every pixel belongs to the cell it lies in."""
        return cv2.resize(self.cells.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


@lru_cache(maxsize=256)
def roi_cells(region: RegionOfInterest | None, frame: Frame) -> RoiMask | None:
    """The cells (rows, columns) of which half or more shows the image, inside the region. None for all of them.

    ValueError when there is none: the region lies outside of the window that the encoder sees, or is too small.
    """
    if region is None and not frame.placement.letterboxed:
        return None
    covered = _in_window(region, frame.placement).astype(np.float32)
    cells = cv2.resize(covered, frame.grid[::-1], interpolation=cv2.INTER_AREA) >= 0.5
    if not cells.any():
        raise ValueError("the region of interest covers half of no grid cell")
    return RoiMask(cells, _nearest(cells))


def _nearest(cells: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each cell the nearest True one, the first of equally near ones: int64 (cells,). At least one is True."""
    rows, columns = cells.shape
    filled = np.flatnonzero(cells.any(axis=0))
    at = np.where(cells[:, filled], np.arange(rows)[:, None], -4 * (rows + columns))
    above = np.maximum.accumulate(at, axis=0)
    at[at < 0] = 4 * (rows + columns)
    below = np.minimum.accumulate(at[::-1], axis=0)[::-1]
    y = np.arange(rows)[:, None]
    nearest_row = np.where(y - above <= below - y, above, below)  # (rows, filled): the nearest row of each column
    source = np.empty((rows, columns), np.int64)
    for row in range(rows):
        apart = (nearest_row[row] - row) ** 2 + (np.arange(columns)[:, None] - filled) ** 2  # (columns, filled)
        index = nearest_row[row] * columns + filled
        source[row] = index[(apart * cells.size + index).argmin(axis=1)]
    return source.ravel()


def _in_window(region: RegionOfInterest | None, placement: Placement) -> NDArray[np.bool_]:
    """What of a window shows the image, inside the region: bool (H, W)."""
    (width, height), (left, top, across, down) = placement.geometry.resized, placement.geometry.window
    canvas = np.zeros((height, width), bool)
    x, y, drawn_across, drawn_down = placement.drawn
    canvas[y : y + drawn_down, x : x + drawn_across] = (
        True if region is None else rasterise(region, (drawn_across, drawn_down))
    )
    return canvas[top : top + down, left : left + across]


def _decode_mask(mask: str) -> NDArray[np.uint8]:
    data = np.frombuffer(base64.b64decode(mask), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if image is None or image.shape != (MASK_SIDE, MASK_SIDE):
        raise ValueError(f"the mask is not a grey PNG of {MASK_SIDE}×{MASK_SIDE} pixels")
    return image.astype(np.uint8)
