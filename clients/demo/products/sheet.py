"""A brushed steel sheet: a fine directional texture that is never twice the same."""

from __future__ import annotations

import cv2
import numpy as np

from clients.demo import marks
from clients.demo.products.product import Product
from clients.demo.scene import CANVAS, Floats, Scene, clouds, grain, window

_STEEL = (150, 153, 158)


def _brushing(rng: np.random.Generator) -> Floats:
    """Level strokes of several lengths, float32 (CANVAS, CANVAS), deviation about 1."""
    strokes = np.zeros((CANVAS, CANVAS), np.float32)
    for columns, weight in ((4, 0.55), (12, 0.55), (48, 0.45)):
        strokes += weight * cv2.resize(rng.standard_normal((CANVAS, columns), np.float32), (CANVAS, CANVAS))
    return cv2.blur(strokes, (1, 2)).astype(np.float32, copy=False)


def _make(rng: np.random.Generator) -> Scene:
    scene = Scene.flat(_STEEL, gloss=150)
    sheen = np.linspace(-1, 1, CANVAS, dtype=np.float32)[None, :] - np.float32(rng.normal(-0.15, 0.12))
    band = 1 + 0.20 * np.exp(-((sheen / 0.55) ** 2)) - 0.08  # the lamp's reflection, drawn out across the brushing
    texture = _brushing(rng) * np.float32(0.055) + grain(rng) * np.float32(0.012) + clouds(rng, 4) * np.float32(0.008)
    scene.multiply((slice(0, CANVAS), slice(0, CANVAS)), (1 + texture) * band)
    return scene


def _scratch(scene: Scene, rng: np.random.Generator) -> None:
    centre = marks.somewhere(rng, 260, 260, 764, 764)
    for _ in range(int(rng.integers(1, 3))):
        colour = (236, 238, 242) if rng.random() < 0.6 else (66, 67, 70)
        near = (centre[0] + float(rng.normal(0, 25)), centre[1] + float(rng.normal(0, 25)))
        marks.scratch(scene, rng, near, rng.uniform(70, 320), rng.uniform(1.2, 4.5), colour, 1.0)


def _missing(scene: Scene, rng: np.random.Generator) -> None:
    """A patch the brush did not reach: dull and without strokes."""
    radius = rng.uniform(65, 110)
    spot = marks.blob(rng, radius, 0.4, 0.2)
    cut = window(marks.somewhere(rng), int(radius))
    dull = cv2.GaussianBlur(scene.paint[cut], (0, 0), 14).astype(np.float32)
    dull[..., :3] *= 0.9 + grain(rng)[cut][..., None] * np.float32(0.02)
    own = scene.paint[cut].astype(np.float32)
    scene.paint[cut] = np.clip(own + (dull - own) * spot[..., None], 0, 255).astype(np.uint8)


def _contamination(scene: Scene, rng: np.random.Generator) -> None:
    kind = rng.integers(3)
    if kind == 0:
        marks.stain(scene, rng, marks.somewhere(rng), rng.uniform(35, 105), (120, 108, 88), rng.uniform(0.08, 0.5))
    elif kind == 1:
        marks.particles(scene, rng, marks.somewhere(rng), int(rng.integers(1, 6)), rng.uniform(6, 14), (40, 36, 34))
    else:
        _fingerprint(scene, rng)


def _fingerprint(scene: Scene, rng: np.random.Generator) -> None:
    radius = 92
    cut = window(marks.somewhere(rng), radius)
    ramp = np.linspace(-1, 1, 2 * radius + 1, dtype=np.float32)
    x, y = ramp[None, :] * 1.35, ramp[:, None] + 0.25
    ridges = np.sin((np.sqrt(x * x + y * y) * 44 + clouds(rng, 5, 2 * radius + 1) * 1.3).astype(np.float32))
    inside = np.clip((0.85 - np.sqrt((ramp[None, :] * 1.3) ** 2 + ramp[:, None] ** 2)) * 6, 0, 1)
    scene.multiply(cut, 1 - rng.uniform(0.1, 0.24) * np.clip(ridges + 0.3, 0, 1) * inside)


def _colour(scene: Scene, rng: np.random.Generator) -> None:
    centre = marks.somewhere(rng, 260, 260, 764, 764)
    if rng.random() < 0.5:  # heat: straw outside, blue inside
        marks.tint(scene, rng, centre, 150, (1.04, 0.86, 0.62))
        marks.tint(scene, rng, centre, 80, (0.66, 0.86, 1.5))
    else:  # rust
        marks.tint(scene, rng, centre, rng.uniform(45, 110), marks.faded((0.92, 0.60, 0.40), rng.uniform(0.2, 0.9)))


def _deformation(scene: Scene, rng: np.random.Generator) -> None:
    marks.dent(scene, rng, marks.somewhere(rng, 240, 240, 784, 784), rng.uniform(26, 64), rng.uniform(1.5, 8))


SHEET = Product(
    "sheet",
    _make,
    {
        "scratch": _scratch,
        "missing": _missing,
        "contamination": _contamination,
        "colour": _colour,
        "deformation": _deformation,
    },
    shift=10.0,
    turn=1.0,
)
