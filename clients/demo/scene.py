"""A product as a surface under a camera, and the photograph of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 512  # of a photograph, pixels
CANVAS = 1024  # of a scene: supersampled twice

Colour = tuple[int, int, int]
Point = tuple[float, float]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]
Window = tuple[slice, slice]


@dataclass
class Scene:
    """A surface seen from above, drawn on in place.

    `paint`: uint8 (CANVAS, CANVAS, 4), RGB of the surface under white light and, as fourth channel, its gloss.
    `relief`: float32 (CANVAS, CANVAS), height towards the camera in canvas pixels.
    """

    paint: Bytes
    relief: Floats

    @classmethod
    def flat(cls, colour: Colour, gloss: int = 0) -> Scene:
        """An empty table of one colour."""
        paint = np.empty((CANVAS, CANVAS, 4), np.uint8)
        paint[:] = (*colour, gloss)
        return cls(paint, np.zeros((CANVAS, CANVAS), np.float32))

    def copy(self) -> Scene:
        """A scene that can be drawn on without changing this one."""
        return Scene(self.paint.copy(), self.relief.copy())

    def blend(self, window: Window, alpha: Reals, colour: Colour, gloss: int | None = None) -> None:
        """Paint `colour` over a window; `alpha`: opacity in [0, 1], of the window's shape."""
        paint = self.paint[window].astype(np.float32)
        a = alpha[..., None]
        paint[..., :3] += (np.array(colour, np.float32) - paint[..., :3]) * a
        if gloss is not None:
            paint[..., 3] += (gloss - paint[..., 3]) * alpha
        self.paint[window] = np.clip(paint + 0.5, 0, 255).astype(np.uint8)

    def multiply(self, window: Window, factor: Reals) -> None:
        """Darken or lighten a window; `factor`: of the window's shape, or with three channels more."""
        factor = factor.astype(np.float32, copy=False)
        three = [factor] * 3 if factor.ndim == 2 else list(cv2.split(factor))
        whole = cv2.merge([*three, np.ones(factor.shape[:2], np.float32)])  # gloss stays
        self.paint[window] = cv2.multiply(self.paint[window], whole, dtype=cv2.CV_8U)

    def copy_from(self, other: Scene, window: Window, alpha: Reals | None = None) -> None:
        """Copy a window of another scene; `alpha`: its opacity in [0, 1], 1 if None."""
        if alpha is None:
            self.paint[window] = other.paint[window]
            self.relief[window] = other.relief[window]
            return
        own = self.paint[window].astype(np.float32)
        mixed = own + (other.paint[window] - own) * alpha[..., None]
        self.paint[window] = (mixed + 0.5).astype(np.uint8)
        self.relief[window] += (other.relief[window] - self.relief[window]) * alpha


@dataclass(frozen=True)
class Camera:
    """The camera's position and exposure for one photograph."""

    turn: float  # degrees
    shift: Point  # pixels of the photograph
    zoom: float
    light: tuple[float, float, float]  # direction the light comes from, unit length
    gain: float
    slope: Point  # how much brighter the light is from left to right and from top to bottom
    tint: tuple[float, float, float]
    blur: float
    noise: float
    grain: int  # seed of the sensor's noise

    @classmethod
    def at_random(cls, rng: np.random.Generator, shift: float, turn: float) -> Camera:
        """Typical variation of a fixed camera over a conveyor: at most `shift` pixels and `turn` degrees."""
        towards = np.array([-0.55, -0.65, 1.0]) + rng.normal(0, 0.035, 3)
        towards /= np.linalg.norm(towards)
        return cls(
            turn=float(rng.uniform(-turn, turn)),
            shift=(float(rng.uniform(-shift, shift)), float(rng.uniform(-shift, shift))),
            zoom=float(1 + rng.normal(0, 0.003)),
            light=(float(towards[0]), float(towards[1]), float(towards[2])),
            gain=float(np.clip(rng.normal(1, 0.035), 0.92, 1.08)),
            slope=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
            tint=(float(rng.normal(1, 0.008)), 1.0, float(rng.normal(1, 0.008))),
            blur=float(rng.uniform(0.3, 0.6)),
            noise=float(rng.uniform(1.2, 2.4)),
            grain=int(rng.integers(2**31)),
        )

    def expose(self, scene: Scene) -> Floats:
        """The image before sensor noise, float32 (SIDE, SIDE, 3) in [0, 255]."""
        middle = CANVAS / 2 - 0.5
        matrix = cv2.getRotationMatrix2D((middle, middle), self.turn, self.zoom * SIDE / CANVAS)
        matrix[:, 2] = matrix[:, 2] + (SIDE - CANVAS) / 2 + np.array(self.shift)
        paint = cv2.warpAffine(scene.paint, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
        relief = cv2.warpAffine(scene.relief, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
        # Slopes of the surface; half a canvas pixel of height is one of the photograph.
        across = cv2.Scharr(relief, cv2.CV_32F, 1, 0, scale=0.5 / 32)
        down = cv2.Scharr(relief, cv2.CV_32F, 0, 1, scale=0.5 / 32)
        x, y, z = self.light
        upright = 1.0 / np.sqrt(1.0 + across * across + down * down)
        diffuse = np.maximum(z - across * x - down * y, 0.0) * upright / z
        shade = 0.32 + 0.68 * diffuse
        half = np.array([x, y, z + 1.0])
        half /= np.linalg.norm(half)
        toward = np.maximum(half[2] - across * half[0] - down * half[1], 0.0) * upright
        shine = (toward**24 - half[2] ** 24) * paint[..., 3]
        ramp = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
        lamp = self.gain * (1 + self.slope[0] * ramp[None, :] + self.slope[1] * ramp[:, None])
        lamp = (lamp * _vignette()).astype(np.float32)
        image = paint[..., :3] * (shade * lamp)[..., None] + (shine * lamp)[..., None]
        image *= np.array(self.tint, np.float32)
        return np.clip(soften(image, self.blur), 0, 255)

    def develop(self, image: Floats) -> Bytes:
        """The photograph, uint8 (SIDE, SIDE, 3), with sensor noise, which grows with the light."""
        rng = np.random.default_rng(self.grain)
        grain = rng.standard_normal((SIDE, SIDE), np.float32)
        speckle = cv2.resize(rng.standard_normal((SIDE // 2, SIDE // 2, 3), np.float32), (SIDE, SIDE))
        bright = np.sqrt(image[..., 1:2] * np.float32(1 / 128) + np.float32(0.25)) * np.float32(self.noise)
        noisy = image + (grain[..., None] + speckle * np.float32(0.6)) * bright
        photograph: Bytes = np.clip(noisy + 0.5, 0, 255).astype(np.uint8)
        return photograph


@lru_cache(maxsize=1)
def _vignette() -> Floats:
    ramp = np.linspace(-1, 1, SIDE, dtype=np.float32)
    return (1 - 0.07 * (ramp[None, :] ** 2 + ramp[:, None] ** 2)).astype(np.float32)


@lru_cache(maxsize=1)
def _grain_sheet() -> Floats:
    return np.random.default_rng(7).standard_normal((CANVAS + 512, CANVAS + 512), np.float32)


def grain(rng: np.random.Generator) -> Floats:
    """Fine white noise of unit deviation, float32 (CANVAS, CANVAS): a random cut of one sheet. Read-only."""
    y, x = rng.integers(0, 512, 2)
    return _grain_sheet()[y : y + CANVAS, x : x + CANVAS]


def clouds(rng: np.random.Generator, cells: int, side: int = CANVAS) -> Floats:
    """Smooth noise of unit deviation, float32 (side, side), with about `cells` hills a side."""
    hills = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(hills, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32, copy=False)


def soften(image: Reals, sigma: float) -> Floats:
    """Gaussian blur."""
    return cv2.GaussianBlur(image.astype(np.float32, copy=False), (0, 0), sigma).astype(np.float32, copy=False)


def cast(shape: Reals, right: float, down: float, sigma: float) -> Floats:
    """The soft shadow that a shape throws `right` and `down` canvas pixels away."""
    away = cv2.warpAffine(
        shape.astype(np.float32, copy=False), np.array([[1, 0, right], [0, 1, down]], np.float32), (CANVAS, CANVAS)
    )
    return soften(away.astype(np.float32, copy=False), sigma)


def window(centre: Point, half_width: float, half_height: float | None = None) -> Window:
    """The part of the canvas around a point, cut at the canvas's border."""
    half_height = half_width if half_height is None else half_height
    x, y = centre
    return (
        slice(max(0, int(y - half_height)), min(CANVAS, int(y + half_height) + 1)),
        slice(max(0, int(x - half_width)), min(CANVAS, int(x + half_width) + 1)),
    )


def offsets(cut: Window, centre: Point) -> tuple[Floats, Floats]:
    """Distances in x (1, width) and y (height, 1) of a window's pixels from a point."""
    rows, columns = cut
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(centre[0])
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(centre[1])
    return x, y


@lru_cache(maxsize=256)
def lettering(text: str, size: int, quarter_turns: int = 0) -> Floats:
    """Text as opacity in [0, 1], cut to its ink; `size`: type size in canvas pixels. Read-only."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    sheet = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(sheet).text((1 - left, 1 - top), text, fill=255, font=font)
    return np.rot90(np.asarray(sheet, np.float32) / 255, quarter_turns)


def write(
    scene: Scene, text: str, centre: Point, size: int, colour: Colour, opacity: float = 1.0, quarter_turns: int = 0
) -> Window:
    """Print text centred on a point; returns the window it fills."""
    ink = lettering(text, size, quarter_turns)
    height, width = ink.shape
    x, y = round(centre[0] - width / 2), round(centre[1] - height / 2)
    cut = (slice(y, y + height), slice(x, x + width))
    scene.blend(cut, ink * np.float32(opacity), colour)
    return cut
