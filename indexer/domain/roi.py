"""The region of interest of a category: polygons or a mask."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

_MAX_POLYGONS, _MAX_CORNERS = 64, 1024

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class RegionOfInterest:
    """Where a category's images are inspected; ValueError when it is not well formed.

    polygons: corners (x, y) in fractions of the image's width and height, in [0, 1]; what lies in any of them is
    inspected. mask: instead of polygons, base64 of a grey PNG, 256×256 over the whole image; what is not 0 is
    inspected. Fractions hold for images of every size, and for every encoder.
    """

    polygons: tuple[Polygon, ...] = ()
    mask: str | None = None

    def __post_init__(self) -> None:
        if bool(self.polygons) == (self.mask is not None):
            raise ValueError("a region of interest is either polygons or a mask")
        if len(self.polygons) > _MAX_POLYGONS:
            raise ValueError(f"at most {_MAX_POLYGONS} polygons")
        for polygon in self.polygons:
            if not 3 <= len(polygon) <= _MAX_CORNERS:
                raise ValueError(f"a polygon has between 3 and {_MAX_CORNERS} corners")
            if not all(len(corner) == 2 and all(0 <= value <= 1 for value in corner) for corner in polygon):
                raise ValueError("the corners of a polygon are (x, y) in fractions of the image, between 0 and 1")
        if self.mask is not None:
            try:
                base64.b64decode(self.mask, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("the mask is not base64") from None
