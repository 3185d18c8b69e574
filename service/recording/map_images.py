"""Anomaly maps as PNG images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.geometry import Frame
from indexer.domain.inspection import Inspection
from indexer.imaging.encode import encode_png
from indexer.imaging.heatmap import render_heatmap

MAP_SCALE = 2.0  # the largest value a map can take, since it is made of 1 − cosine
_HEAT_SIDE = 1024  # pixels; the map itself has 256


def map_png(anomaly_map: NDArray[np.float32]) -> bytes:
    """A map float32 (rows, columns) as a 16-bit grey PNG: value / 65535 × MAP_SCALE."""
    levels = np.clip(anomaly_map / MAP_SCALE, 0.0, 1.0) * 65535
    return encode_png(np.round(levels).astype(np.uint16))


def heat_png(folder: Path, inspection: Inspection, frame: Frame) -> bytes | None:
    """The kept map as colours to lay over the whole image, RGBA PNG; None when it is no longer kept.

    frame: the cells of the inspected image.
    """
    path = folder / (inspection.map_name or "")
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if levels is None:
        return None
    anomaly_map = (levels / 65535 * MAP_SCALE).astype(np.float32)
    factor = min(1.0, _HEAT_SIDE / max(inspection.width, inspection.height))
    size = (max(1, round(inspection.width * factor)), max(1, round(inspection.height * factor)))
    return encode_png(render_heatmap(anomaly_map, inspection.threshold, frame.at_size(size)))
