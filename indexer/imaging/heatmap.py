"""Renders an anomaly map as heat, alone or over the image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.geometry import Frame
from indexer.domain.region import Region
from indexer.domain.roi import RegionOfInterest
from indexer.imaging.roi import rasterise

_MAX_OPACITY = 0.65  # opacity where the map is highest
_MAX_COLOUR = 0.86  # how far up the colour map heat goes: beyond it, Turbo turns dark
_OUTLINE = (255, 255, 255)


def render_overlay(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    threshold: float | None,
    regions: Sequence[Region],
    frame: Frame,
    region_of_interest: RegionOfInterest | None = None,
) -> NDArray[np.uint8]:
    """RGB image (height, width, 3) with the map as heat and the regions outlined; same shape.

    Heat begins at half of `threshold` and is full at one and a half times it, so that images of one product compare;
    with no threshold the map's own range is used. frame: the image's cells. Pixels outside its window or
    of the region of interest are not inspected and are dimmed.
    """
    height, width = image.shape[:2]
    warmth, inside = _warmth(anomaly_map, threshold, frame)
    if region_of_interest is not None:
        inside &= rasterise(region_of_interest, (width, height))
    opacity = (warmth * _MAX_OPACITY)[..., None]
    blended = image * (1.0 - opacity) + _colours(warmth) * opacity
    blended[~inside] *= 0.6
    canvas: NDArray[np.uint8] = np.ascontiguousarray(np.round(blended).astype(np.uint8))
    line = max(1, round(min(height, width) / 300))
    for region in regions:
        outline = np.round(np.array(region.polygon)).astype(np.int32)
        cv2.polylines(canvas, [outline], isClosed=True, color=_OUTLINE, thickness=line, lineType=cv2.LINE_AA)
    return canvas


def render_heatmap(anomaly_map: NDArray[np.float32], threshold: float | None, frame: Frame) -> NDArray[np.uint8]:
    """The map alone, RGBA (height, width, 4), to be laid over the image whose cells are `frame`.

    Colours are those of `render_overlay`; alpha is 0 where there is no heat or nothing was inspected, 255 where it is
    highest, so that the client chooses the opacity.
    """
    warmth, _ = _warmth(anomaly_map, threshold, frame)
    alpha = np.round(warmth * 255).astype(np.uint8)
    return np.dstack([_colours(warmth), alpha])


def _warmth(
    anomaly_map: NDArray[np.float32], threshold: float | None, frame: Frame
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Heat from 0 to 1 at every pixel of the image, and whether the pixel was inspected: both (height, width)."""
    width, height = frame.placement.image_size
    low, high = (
        (0.5 * threshold, 1.5 * threshold) if threshold else (float(anomaly_map.min()), float(anomaly_map.max()))
    )
    heat = np.clip((anomaly_map - low) / max(high - low, 1e-6), 0.0, 1.0)
    scale = np.array(heat.shape[::-1]) / np.array(frame.geometry.size)  # map pixels of a pixel of the window
    shown = np.array(frame.placement.shown).reshape(2, 2) * scale
    (begin_x, begin_y), (end_x, end_y) = np.round(shown).astype(int).tolist()  # the part of the map that is image
    warmth, inside = np.zeros((height, width), np.float32), np.zeros((height, width), bool)
    corners = [(x / scale[0], y / scale[1]) for x, y in ((begin_x, begin_y), (end_x, end_y))]
    (left, top), (right, bottom) = np.clip(
        np.round(np.array(frame.placement.to_image(corners))).astype(int), 0, [width, height]
    )
    if left < right and top < bottom and begin_x < end_x and begin_y < end_y:
        part = np.ascontiguousarray(heat[begin_y:end_y, begin_x:end_x])
        warmth[top:bottom, left:right] = cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        inside[top:bottom, left:right] = True
    return warmth, inside


def _colours(warmth: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.round(warmth * (_MAX_COLOUR * 255)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB).astype(np.uint8)
