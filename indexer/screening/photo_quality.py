"""Photo quality of an image: brightness, sharpness, aspect ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.finding import Finding
from indexer.domain.photo_quality import PhotoQuality

MIN_IMAGES = 5  # images to compare with before one can be called unlike them
_DARK, _BRIGHT = 0.06, 0.94  # mean lightness that no image of a part should have
_LIGHT_RATIO = 1.6  # brighter or darker than usual by this factor
_SHARPNESS_RATIO = 2.5
_NO_SHARPNESS = 1e-9
_SPREADS = 6.0
_SHAPE_RATIO = 1.05


def photo_quality_of(prepared: torch.Tensor, width: int, height: int) -> PhotoQuality:
    """From the window that the encoder sees, uint8 (3, height, width), and the image's own size in pixels."""
    grey = cv2.cvtColor(np.ascontiguousarray(prepared.numpy().transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    variance = float(grey.var())
    # Sensor noise is not sharpness; nor is the rounding of a smoothed image, so it is smoothed as floats.
    edges = cv2.Laplacian(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0), cv2.CV_32F)
    return PhotoQuality(float(grey.mean()) / 255, float(edges.var()) / (variance + 1.0), width / height)


@dataclass(frozen=True, eq=False)
class PhotoQualities:
    """How many images look, each float64 (n,). sharpness: its natural logarithm."""

    brightness: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    shape: NDArray[np.float64]

    @classmethod
    def from_images(cls, qualities: Sequence[PhotoQuality]) -> PhotoQualities:
        """Of these images, in order."""
        table = np.array([(quality.brightness, quality.sharpness, quality.shape) for quality in qualities]).reshape(
            -1, 3
        )
        return cls(table[:, 0], np.log(np.maximum(table[:, 1], _NO_SHARPNESS)), table[:, 2])

    def without(self, index: int) -> PhotoQualities:
        """Of all images but one."""
        return PhotoQualities(*(np.delete(values, index) for values in (self.brightness, self.sharpness, self.shape)))

    def __len__(self) -> int:
        return len(self.brightness)


def photo_findings(quality: PhotoQuality, others: PhotoQualities) -> list[Finding]:
    """Photo-quality findings of an image, in absolute terms and relative to others of its category."""
    result = []
    light = quality.brightness
    typical = float(np.median(others.brightness)) if len(others) >= MIN_IMAGES else None
    std = _robust_std(others.brightness)
    low = _DARK if typical is None else max(_DARK, min(typical / _LIGHT_RATIO, typical - _SPREADS * std))
    high = _BRIGHT if typical is None else min(_BRIGHT, max(typical * _LIGHT_RATIO, typical + _SPREADS * std))
    against = "" if typical is None else f"; the others have {typical:.2f}"
    # References that are dark, or bright, all of them are so on purpose.
    if light < low and (typical is None or light < typical / _LIGHT_RATIO):
        result.append(Finding("too_dark", f"Mean lightness {light:.2f} of 1{against}.", light, typical, low))
    if light > high and (typical is None or light > typical * 1.02):
        result.append(Finding("too_bright", f"Mean lightness {light:.2f} of 1{against}.", light, typical, high))
    if len(others) < MIN_IMAGES:
        return result
    # Sharpness is compared by ratio: six spreads below the usual would be below 0 where parts differ in it.
    typical = float(np.exp(np.median(others.sharpness)))
    low = typical / max(_SHARPNESS_RATIO, float(np.exp(_SPREADS * _robust_std(others.sharpness))))
    if quality.sharpness < low:
        detail = f"Sharpness {quality.sharpness:.3f}; the others have {typical:.3f}."
        result.append(Finding("blurred", detail, quality.sharpness, typical, low))
    typical = float(np.median(others.shape))
    if max(quality.shape / typical, typical / quality.shape) > _SHAPE_RATIO:
        limit = typical * _SHAPE_RATIO if quality.shape > typical else typical / _SHAPE_RATIO
        detail = f"Its width is {quality.shape:.2f} of its height; of the others it is {typical:.2f}."
        result.append(Finding("framing", detail, quality.shape, typical, limit))
    return result


def _robust_std(values: NDArray[np.float64]) -> float:
    """A robust standard deviation; 0 for no values."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
