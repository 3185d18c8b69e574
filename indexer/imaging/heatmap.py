"""Renders an anomaly map as heat, alone or over the image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.domain.region import Region
from indexer.encoders.base import FeatureSpace

_MAX_OPACITY = 0.65  # opacity where the map is highest
_MAX_COLOUR = 0.86  # how far up the colour map heat goes: beyond it, Turbo turns dark
_OUTLINE = (255, 255, 255)


def render_overlay(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32],
    threshold: float | None,
    regions: Sequence[Region],
    space: FeatureSpace,
) -> NDArray[np.uint8]:
    """RGB image (height, width, 3) with the map as heat and the regions outlined; same shape.

    Heat begins at half of `threshold` and is full at one and a half times it, so that images of one product compare;
    with no threshold the map's own range is used. Pixels outside the crop are not inspected and are dimmed.
    """
    height, width = image.shape[:2]
    warmth, inside = _warmth(anomaly_map, threshold, space, (width, height))
    opacity = (warmth * _MAX_OPACITY)[..., None]
    blended = image * (1.0 - opacity) + _colours(warmth) * opacity
    blended[~inside] *= 0.6
    canvas: NDArray[np.uint8] = np.ascontiguousarray(np.round(blended).astype(np.uint8))
    line = max(1, round(min(height, width) / 300))
    for region in regions:
        outline = np.round(np.array(region.polygon)).astype(np.int32)
        cv2.polylines(canvas, [outline], isClosed=True, color=_OUTLINE, thickness=line, lineType=cv2.LINE_AA)
    return canvas


def render_heatmap(
    anomaly_map: NDArray[np.float32], threshold: float | None, space: FeatureSpace, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The map alone, RGBA (height, width, 4), to be laid over an image of `size` (width, height).

    Colours are those of `render_overlay`; alpha is 0 where there is no heat or nothing was inspected, 255 where it is
    highest, so that the client chooses the opacity.
    """
    warmth, _ = _warmth(anomaly_map, threshold, space, size)
    alpha = np.round(warmth * 255).astype(np.uint8)
    return np.dstack([_colours(warmth), alpha])


def _warmth(
    anomaly_map: NDArray[np.float32], threshold: float | None, space: FeatureSpace, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Heat from 0 to 1 at every pixel of the image, and whether the pixel was inspected: both (height, width)."""
    width, height = size
    low, high = (
        (0.5 * threshold, 1.5 * threshold) if threshold else (float(anomaly_map.min()), float(anomaly_map.max()))
    )
    heat = np.clip((anomaly_map - low) / max(high - low, 1e-6), 0.0, 1.0)
    side = space.geometry.crop
    corners = space.geometry.to_original(np.array([[0.0, 0.0], [side, side]]), size)
    (left, top), (right, bottom) = np.clip(np.round(corners).astype(int), 0, [width, height])
    warmth = np.zeros((height, width), np.float32)
    warmth[top:bottom, left:right] = cv2.resize(heat, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    inside = np.zeros((height, width), bool)
    inside[top:bottom, left:right] = True
    return warmth, inside


def _colours(warmth: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels = np.round(warmth * (_MAX_COLOUR * 255)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB).astype(np.uint8)
