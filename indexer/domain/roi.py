"""The region of interest of a category: polygons that are inspected, and polygons that are ignored."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_POLYGONS, MAX_CORNERS = 64, 1024  # of either kind, of one polygon

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RegionOfInterest:
    """Where a category's images are inspected; ValueError when it is not well formed.

    polygons: what lies in any of them is inspected; with none of them the whole image is. ignored: what lies in any of
    these is not, whatever the others say. Corners are (x, y) in fractions of the image's width and height, in [0, 1],
    which hold for images of every size and for every encoder. mask: of earlier versions, instead of polygons: base64 of
    a grey PNG, 256×256 over the whole image; what is not 0 is inspected.
    """

    polygons: tuple[Polygon, ...] = ()
    ignored: tuple[Polygon, ...] = ()
    mask: str | None = None

    def __post_init__(self) -> None:
        if bool(self.polygons or self.ignored) == (self.mask is not None):
            raise ValueError("a region of interest is either polygons or a mask")
        for polygons in (self.polygons, self.ignored):
            if len(polygons) > MAX_POLYGONS:
                raise ValueError(f"at most {MAX_POLYGONS} polygons are inspected, and as many ignored")
        for polygon in self.polygons + self.ignored:
            if not 3 <= len(polygon) <= MAX_CORNERS:
                raise ValueError(f"a polygon has between 3 and {MAX_CORNERS} corners")
            if not all(len(corner) == 2 and all(0 <= value <= 1 for value in corner) for corner in polygon):
                raise ValueError("the corners of a polygon are (x, y) in fractions of the image, between 0 and 1")
        if self.mask is not None:
            try:
                base64.b64decode(self.mask, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("the mask is not base64") from None

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RegionOfInterest:
        """From what the catalogue keeps; earlier versions ignored nothing within an area."""
        polygons, ignored = (
            tuple(tuple((x, y) for x, y in polygon) for polygon in stored.get(kind, ()))
            for kind in ("polygons", "ignored")
        )
        return cls(polygons, ignored, stored.get("mask"))
