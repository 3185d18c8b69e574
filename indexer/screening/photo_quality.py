"""How a picture looks as a photograph: its light, its sharpness, its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.finding import Finding

FEWEST = 5  # pictures to compare with before one can be called unlike them
_DARK, _BRIGHT = 0.06, 0.94  # mean lightness that no picture of a part should have
_LIGHT_RATIO = 1.6  # brighter or darker than usual by this factor
_SHARPNESS_RATIO = 2.5
_NO_SHARPNESS = 1e-9
_SPREADS = 6.0
_SHAPE_RATIO = 1.05


@dataclass(frozen=True)
class Appearance:
    """brightness: mean lightness, 0 to 1. sharpness: variance of the Laplacian over the variance, ≥ 0. shape: w / h."""

    brightness: float
    sharpness: float
    shape: float

    @classmethod
    def of(cls, prepared: torch.Tensor, width: int, height: int) -> Appearance:
        """From the crop that the encoder sees, uint8 (3, crop, crop), and the picture's own size in pixels."""
        grey = cv2.cvtColor(np.ascontiguousarray(prepared.numpy().transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
        variance = float(grey.var())
        # Sensor noise is not sharpness; nor is the rounding of a smoothed picture, so it is smoothed as floats.
        edges = cv2.Laplacian(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0), cv2.CV_32F)
        return cls(float(grey.mean()) / 255, float(edges.var()) / (variance + 1.0), width / height)


@dataclass(frozen=True, eq=False)
class Appearances:
    """How many pictures look, each float64 (n,). sharpness: its natural logarithm."""

    brightness: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    shape: NDArray[np.float64]

    @classmethod
    def of(cls, pictures: Sequence[Appearance]) -> Appearances:
        """Of these pictures, in order."""
        table = np.array([(each.brightness, each.sharpness, each.shape) for each in pictures]).reshape(-1, 3)
        return cls(table[:, 0], np.log(np.maximum(table[:, 1], _NO_SHARPNESS)), table[:, 2])

    def without(self, number: int) -> Appearances:
        """Of all pictures but one."""
        return Appearances(*(np.delete(each, number) for each in (self.brightness, self.sharpness, self.shape)))

    def __len__(self) -> int:
        return len(self.brightness)


def photographic_findings(appearance: Appearance, others: Appearances) -> list[Finding]:
    """What is wrong with a picture as a photograph, by itself and against others of its category."""
    found = []
    light = appearance.brightness
    usual = float(np.median(others.brightness)) if len(others) >= FEWEST else None
    spread = _spread(others.brightness)
    low = _DARK if usual is None else max(_DARK, min(usual / _LIGHT_RATIO, usual - _SPREADS * spread))
    high = _BRIGHT if usual is None else min(_BRIGHT, max(usual * _LIGHT_RATIO, usual + _SPREADS * spread))
    against = "" if usual is None else f"; the others have {usual:.2f}"
    # References that are dark, or bright, all of them are so on purpose.
    if light < low and (usual is None or light < usual / _LIGHT_RATIO):
        found.append(Finding("too_dark", f"Mean lightness {light:.2f} of 1{against}.", light, usual, low))
    if light > high and (usual is None or light > usual * 1.02):
        found.append(Finding("too_bright", f"Mean lightness {light:.2f} of 1{against}.", light, usual, high))
    if len(others) < FEWEST:
        return found
    # Sharpness is compared by ratio: six spreads below the usual would be below 0 where parts differ in it.
    usual = float(np.exp(np.median(others.sharpness)))
    low = usual / max(_SHARPNESS_RATIO, float(np.exp(_SPREADS * _spread(others.sharpness))))
    if appearance.sharpness < low:
        detail = f"Sharpness {appearance.sharpness:.3f}; the others have {usual:.3f}."
        found.append(Finding("blurred", detail, appearance.sharpness, usual, low))
    usual = float(np.median(others.shape))
    ratio = max(appearance.shape / usual, usual / appearance.shape)
    if ratio > _SHAPE_RATIO:
        detail = f"Its width is {appearance.shape:.2f} of its height; of the others it is {usual:.2f}."
        found.append(Finding("differently_framed", detail, appearance.shape, usual, usual * _SHAPE_RATIO))
    return found


def _spread(values: NDArray[np.float64]) -> float:
    """A robust standard deviation; 0 for no values."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0
