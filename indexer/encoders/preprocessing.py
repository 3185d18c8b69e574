"""Resizes and crops a decoded image to the square an encoder takes; maps coordinates back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class InputGeometry:
    """Resize to a square of `resize` pixels, then keep the centre square of `crop` pixels (paper: 512, 448).

    With both the same nothing is cut off, and every part of an image is looked at.
    """

    resize: int
    crop: int

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"the crop ({self.crop}) must be between 1 and the resized side ({self.resize})")

    @property
    def margin(self) -> int:
        """Resized pixels cut off at the left and at the top."""
        return (self.resize - self.crop) // 2

    @property
    def unseen(self) -> float:
        """The share of an image's area that is cut off, 0 to 1: its border."""
        return 1.0 - (self.crop / self.resize) ** 2

    def to_original(self, points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """Positions (n, 2) as (x, y) in the crop → positions in the original image of size (width, height).

        Positions are continuous: pixel i covers [i, i + 1).
        """
        moved: NDArray[np.float64] = (np.asarray(points, np.float64) + self.margin) * (np.array(size) / self.resize)
        return moved


def preprocess(image: NDArray[np.uint8], geometry: InputGeometry) -> torch.Tensor:
    """RGB image uint8 (height, width, 3) → uint8 (3, crop, crop).

    The resize is Pillow's own antialiased bilinear one, so it equals what the method was published with. It is done in
    bytes, as there, and stays in bytes until the encoder scales it: a quarter of the traffic of floats.
    """
    square = Image.fromarray(image).resize((geometry.resize, geometry.resize), Image.Resampling.BILINEAR)
    low, high = geometry.margin, geometry.margin + geometry.crop
    crop = square.crop((low, low, high, high))
    return torch.from_numpy(np.asarray(crop).transpose(2, 0, 1).copy())
