"""Where in an image something is anomalous."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """One connected region, all lengths in pixels of the original image.

    box: (x, y, width, height). area: square pixels. peak: the map's largest value inside. centroid: (x, y).
    polygon: the outer contour as (x, y) corners. peak_cell: the (row, column) of the grid under the peak.
    """

    box: tuple[float, float, float, float]
    area: float
    peak: float
    centroid: tuple[float, float]
    polygon: tuple[tuple[float, float], ...]
    peak_cell: tuple[int, int]
