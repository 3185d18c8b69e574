"""Which part of an image is inspected: polygons over the image, drawn as pixels and turned into grid cells."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.errors import NothingInspected
from indexer.domain.geometry import Frame, Placement
from indexer.domain.roi import MAX_CORNERS, MAX_POLYGONS, Polygon, RegionOfInterest

MASK_SIDE = 256  # pixels of a region as an image
_TRACED_SIDE = 1024  # pixels of a mask whose outlines are followed: finer than any grid
_SUBPIXEL_BITS = 8
_TOLERANCES = (0.75, 1.5, 3.0)  # pixels by which an outline may be simplified: the first that needs few corners
_DIGITS = 5


def region_from_mask(inside: NDArray[np.bool_]) -> RegionOfInterest | None:
    """The polygons of a mask, bool (height, width) of any size over the whole image; True is inspected.

    None when all of it is. Outlines are followed as OpenCV does (Suzuki and Abe 1985) and simplified (Douglas and
    Peucker 1973) by a thousandth of the image or so. ValueError when nothing is inspected, or when it takes more
    polygons or corners than a region may have.
    """
    if inside.all():
        return None
    scale = min(1.0, _TRACED_SIDE / max(inside.shape))
    size = tuple(max(2, round(side * scale)) for side in inside.shape[::-1])
    traced = (cv2.resize(inside.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5).astype(np.uint8)
    if not traced.any():
        raise ValueError("the mask leaves nothing to inspect")
    outlines, hierarchy = cv2.findContours(traced, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    parents = hierarchy[0, :, 3].tolist()
    is_hole = [_depth(parents, index) % 2 == 1 for index in range(len(parents))]
    for tolerance in _TOLERANCES:
        simple = [_simplified(cast(NDArray[np.int32], outline), tolerance) for outline in outlines]
        shown = [index for index, outline in enumerate(simple) if len(outline) >= 3]
        # What is inspected within a hole is cut out of the hole.
        polygons = [simple[index] for index in shown if parents[index] == -1]
        ignored = [
            _cut_out(simple[index], [simple[island] for island in shown if parents[island] == index])
            for index in shown
            if is_hole[index]
        ]
        if all(len(outline) <= MAX_CORNERS for outline in polygons + ignored):
            break
    if not polygons:
        raise ValueError("what the mask leaves to inspect is too small")
    if max(len(polygons), len(ignored)) > MAX_POLYGONS:
        raise ValueError(
            f"the mask has {len(polygons)} areas and {len(ignored)} holes, more than {MAX_POLYGONS}: smooth it, or "
            "fill its specks"
        )
    extent = np.array(size) - 1  # so that an outline at the image's edge is at 0 or 1
    inspected, holes = (tuple(_fractions(outline / extent) for outline in outlines) for outlines in (polygons, ignored))
    return RegionOfInterest(inspected, holes)


def rasterise(region: RegionOfInterest, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A region over a whole image of (width, height) pixels: bool (height, width). ValueError for no mask of ours."""
    if region.mask is not None:
        stored = _decode_mask(region.mask)
        return cv2.resize(stored, size, interpolation=cv2.INTER_NEAREST) > 0
    canvas = np.full(size[::-1], 0 if region.polygons else 1, np.uint8)
    for polygons, value in ((region.polygons, 1), (region.ignored, 0)):
        for polygon in polygons:
            # cv2's coordinates are pixel centres: pixel i covers [i − ½, i + ½).
            corners = np.round((np.array(polygon) * size - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
            cv2.fillPoly(canvas, [corners], value, shift=_SUBPIXEL_BITS)
    return canvas > 0


@lru_cache(maxsize=256)
def inspected_fraction(region: RegionOfInterest, window: Polygon) -> float:
    """The fraction of an image's area that lies in the region and in a window, a polygon like the region's."""
    size = (MASK_SIDE, MASK_SIDE)
    return float((rasterise(region, size) & rasterise(RegionOfInterest((window,)), size)).mean())


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

    NothingInspected when there is none: the region lies outside of the window that the encoder sees, or is too small,
    as it and the image itself may be where other proportions are kept.
    """
    if region is None and not frame.placement.letterboxed:
        return None
    covered = _in_window(region, frame.placement).astype(np.float32)
    cells = cv2.resize(covered, frame.grid[::-1], interpolation=cv2.INTER_AREA) >= 0.5
    if not cells.any():
        shown = "the image" if region is None else "the region of interest"
        (width, height), letterboxed = frame.placement.image_size, frame.placement.letterboxed
        where = f" of an image of {width} × {height} pixels" if letterboxed else ""
        raise NothingInspected(f"{shown} covers half of no grid cell{where}")
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
        distances = (nearest_row[row] - row) ** 2 + (np.arange(columns)[:, None] - filled) ** 2  # (columns, filled)
        index = nearest_row[row] * columns + filled
        source[row] = index[(distances * cells.size + index).argmin(axis=1)]
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


def _depth(parents: list[int], index: int) -> int:
    """How many outlines lie around one."""
    depth = 0
    while (index := parents[index]) != -1:
        depth += 1
    return depth


def _simplified(outline: NDArray[np.int32], tolerance: float) -> NDArray[np.float64]:
    """A closed outline, int32 (n, 1, 2), with fewer corners: float64 (m, 2)."""
    return cv2.approxPolyDP(outline, tolerance, closed=True)[:, 0].astype(np.float64)


def _cut_out(hole: NDArray[np.float64], islands: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """A polygon (n, 2) without others that lie in it: each is joined to it by a slit of no width."""
    for island in islands:
        distances = np.linalg.norm(hole[:, None] - island[None], axis=2)
        at, start = np.unravel_index(distances.argmin(), distances.shape)
        around = np.roll(island, -start, axis=0)
        hole = np.concatenate([hole[: at + 1], around, around[:1], hole[at:]])
    return hole


def _fractions(outline: NDArray[np.float64]) -> Polygon:
    return tuple((x, y) for x, y in outline.round(_DIGITS).tolist())
