"""From a drawn scene to a photograph of it, with the spread of pose and light that a category has."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 512  # pixels of a photograph
Scene = NDArray[np.float32]  # (side, side, 3) RGB, in about [0, 1]


@dataclass(frozen=True)
class Spread:
    """How much photographs of a category differ. shift: ± pixels. turn: ± degrees. zoom: ± share, each side by itself.

    light: standard deviation of the exposure, as a share.
    """

    shift: float = 4.0
    turn: float = 0.6
    zoom: float = 0.005
    light: float = 0.04


@dataclass(frozen=True)
class Camera:
    """One photograph's circumstances: two scenes taken with the same camera differ only where they differ."""

    matrix: NDArray[np.float64]  # (2, 3), scene to photograph
    gain: NDArray[np.float32]  # (SIDE, SIDE, 1)
    blur: float
    noise: float
    seed: int

    @classmethod
    def at_random(cls, rng: np.random.Generator, spread: Spread, scene_side: int) -> Camera:
        """A camera over the middle of a scene, moved and lit at random."""
        angle = np.deg2rad(rng.uniform(-spread.turn, spread.turn))
        across, down = np.exp(rng.uniform(-spread.zoom, spread.zoom, 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([across, down])
        middle = SIDE / 2 + rng.uniform(-spread.shift, spread.shift, 2) - turn @ np.full(2, scene_side / 2)
        slope = rng.normal(0, spread.light, 2)
        ramp = np.linspace(-0.5, 0.5, SIDE)
        gain = np.exp(rng.normal(0, spread.light)) + slope[0] * ramp[:, None] + slope[1] * ramp[None]
        return cls(
            np.column_stack([turn, middle]),
            gain[..., None].astype(np.float32),
            float(rng.uniform(0, 0.9)),
            float(rng.uniform(0.004, 0.015)),
            int(rng.integers(1 << 31)),
        )

    def expose(self, scene: Scene) -> NDArray[np.float32]:
        """The photograph before its noise, float32 (SIDE, SIDE, 3) in [0, 255]."""
        view = cv2.warpAffine(scene, self.matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
        if self.blur > 0.3:
            view = cv2.GaussianBlur(view, (0, 0), self.blur)
        exposed: NDArray[np.float32] = np.clip(view * self.gain, 0, 1) * np.float32(255)
        return exposed

    def develop(self, exposed: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The photograph, uint8 (SIDE, SIDE, 3)."""
        grain = np.random.default_rng(self.seed).standard_normal(exposed.shape, np.float32)
        return np.clip(exposed + grain * np.float32(255 * self.noise) + 0.5, 0, 255).astype(np.uint8)


def changed(good: NDArray[np.float32], bad: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Where two exposures differ by more than 8 grey levels, gaps closed: uint8 (SIDE, SIDE), 0 or 255."""
    difference = np.abs(cv2.GaussianBlur(good - bad, (0, 0), 1.0)).max(axis=2)
    mask = np.where(difference > 8, 255, 0).astype(np.uint8)
    return cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)).astype(np.uint8)
