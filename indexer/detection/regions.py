"""Where an anomaly map is above a level: connected regions, in the original image's pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.geometry import Frame
from indexer.domain.region import Region

MAX_REGIONS = 32


def find_regions(anomaly_map: NDArray[np.float32], threshold: float, frame: Frame) -> tuple[Region, ...]:
    """Regions of a map over an image's frame above `threshold`, highest peak first, at most 32."""
    # The threshold is not rounded to float32: a mean of equal pixels is never above all of them.
    mask = (anomaly_map > np.float64(threshold)).astype(np.uint8)
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask, connectivity=8)
    peaks = np.full(count, -np.inf, np.float32)
    inside_some = np.flatnonzero(mask)
    np.maximum.at(peaks, labels.ravel()[inside_some].astype(np.intp), anomaly_map.ravel()[inside_some])
    highest = 1 + np.argsort(-peaks[1:], kind="stable")[:MAX_REGIONS]  # 0 is what lies in no region
    regions = []
    for index in highest.tolist():
        left, top, width, height = (int(v) for v in stats[index, :4])
        inside = labels[top : top + height, left : left + width] == index
        part = np.where(inside, anomaly_map[top : top + height, left : left + width], -np.inf)
        down, right = divmod(int(np.argmax(part)), width)
        contours, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
        )
        outline = cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.0, closed=True)[:, 0]
        # Pixel centres lie half a pixel in; the box is bounded by pixel edges.
        corners = _to_original(np.array([[left, top], [left + width, top + height]]), anomaly_map, frame)
        x, y = corners[0]
        box_width, box_height = corners[1] - corners[0]
        centre = _to_original(centroids[index][None] + 0.5, anomaly_map, frame)[0]
        polygon = _to_original(outline + 0.5, anomaly_map, frame)
        pixel_area = (box_width / width) * (box_height / height)
        regions.append(
            Region(
                box=(float(x), float(y), float(box_width), float(box_height)),
                area=float(stats[index, cv2.CC_STAT_AREA] * pixel_area),
                peak=float(peaks[index]),
                centroid=(float(centre[0]), float(centre[1])),
                polygon=tuple((float(px), float(py)) for px, py in polygon),
                peak_cell=_cell_under(top + down, left + right, anomaly_map.shape, frame.grid),
            )
        )
    return tuple(regions)


def _to_original(points: NDArray[np.float64], anomaly_map: NDArray[np.float32], frame: Frame) -> NDArray[np.float64]:
    """Map positions (n, 2) as (x, y) → positions in the original image."""
    height, width = anomaly_map.shape
    window = points * (np.array(frame.geometry.size) / np.array([width, height]))
    return np.array(frame.placement.to_image([(x, y) for x, y in window.tolist()]), np.float64)


def _cell_under(y: int, x: int, shape: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    return y * grid[0] // shape[0], x * grid[1] // shape[1]
