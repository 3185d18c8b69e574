"""How an image looks as a photograph."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoQuality:
    """brightness: mean lightness, 0 to 1. sharpness: variance of the Laplacian over the variance, ≥ 0. shape: w / h."""

    brightness: float
    sharpness: float
    shape: float
