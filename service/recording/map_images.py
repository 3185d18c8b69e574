"""Anomaly maps as PNG images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.geometry import Frame
from indexer.domain.inspection import Inspection
from indexer.domain.stored_file import thumbnail_name
from indexer.imaging.encode import encode_jpeg, encode_png
from indexer.imaging.heatmap import render_heatmap, render_overlay

MAP_SCALE = 2.0  # the largest value a map can take, since it is made of 1 − cosine
_HEAT_SIDE = 1024  # pixels, as many as the largest map has
_OVERLAY_QUALITY = 85


def map_png(anomaly_map: NDArray[np.float32]) -> bytes:
    """A map float32 (rows, columns) as a 16-bit grey PNG: value / 65535 × MAP_SCALE."""
    levels = np.clip(anomaly_map / MAP_SCALE, 0.0, 1.0) * 65535
    return encode_png(np.round(levels).astype(np.uint16))


def heat_png(folder: Path, inspection: Inspection, frame: Frame) -> bytes | None:
    """The kept map as colours to lay over the whole image, RGBA PNG; None when it is no longer kept.

    frame: the cells of the inspected image.
    """
    anomaly_map = _stored_map(folder, inspection)
    if anomaly_map is None:
        return None
    factor = min(1.0, _HEAT_SIDE / max(inspection.width, inspection.height))
    size = (max(1, round(inspection.width * factor)), max(1, round(inspection.height * factor)))
    return encode_png(render_heatmap(anomaly_map, inspection.threshold, frame.at_size(size)))


def overlay_jpeg(folder: Path, inspection: Inspection, frame: Frame) -> bytes | None:
    """The thumbnail with its heat, JPEG; None when thumbnail or map are no longer kept. frame: as of `heat_png`."""
    anomaly_map = _stored_map(folder, inspection)
    path = folder / thumbnail_name(inspection.id)
    thumbnail = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if anomaly_map is None or thumbnail is None:
        return None
    image = cv2.cvtColor(thumbnail, cv2.COLOR_BGR2RGB).astype(np.uint8)
    height, width = image.shape[:2]
    frame = frame.at_size((width, height))
    drawn = render_overlay(image, anomaly_map, inspection.threshold, (), frame, inspection.region)
    return encode_jpeg(drawn, _OVERLAY_QUALITY)


def _stored_map(folder: Path, inspection: Inspection) -> NDArray[np.float32] | None:
    path = folder / (inspection.map_name or "")
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    return None if levels is None else (levels / 65535 * MAP_SCALE).astype(np.float32)
