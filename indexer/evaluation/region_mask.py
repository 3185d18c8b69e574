"""The mask of a defect, drawn from the regions that were found in it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from indexer.imaging.encode import encode_png


def region_mask(polygons: Sequence[Sequence[tuple[float, float]]], size: tuple[int, int]) -> bytes:
    """A grey PNG of the size (width, height), 255 within the polygons, whose corners are (x, y) in pixels."""
    width, height = size
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        # A pixel's centre lies at a half, for OpenCV at a whole number.
        corners = np.round(np.array(polygon, np.float64) - 0.5).astype(np.int32)
        cv2.fillPoly(mask, [corners], 255)
    return encode_png(mask)
