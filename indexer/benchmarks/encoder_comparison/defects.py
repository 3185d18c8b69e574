"""Defects of drawn scenes: each takes a scene, leaves it alone, and gives it back with one fault."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.benchmarks.encoder_comparison.camera import SIDE, Scene

Mask = NDArray[np.float32]  # (side, side) in [0, 1]
Damage = Callable[[np.random.Generator, Scene], Scene]


def scratch(rng: np.random.Generator, scene: Scene) -> Scene:
    """A thin, wavering line, brighter or darker than its ground."""
    mask = np.zeros(scene.shape[:2], np.float32)
    steps = np.cumsum(_heading(rng) * 12 + rng.normal(0, 4, (int(rng.integers(4, 12)), 2)), axis=0)
    points = (_place(rng, scene) + steps - steps.mean(axis=0)).astype(np.int32)
    cv2.polylines(mask, [points], False, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
    return _toned(rng, scene, cv2.GaussianBlur(mask, (0, 0), 0.7).astype(np.float32), 0.15, 0.4)


def crack(rng: np.random.Generator, scene: Scene) -> Scene:
    """A dark, jagged line that forks."""
    mask = np.zeros(scene.shape[:2], np.float32)
    start = _place(rng, scene)
    for _ in range(int(rng.integers(1, 4))):
        path = start + np.cumsum(_heading(rng) * 9 + rng.normal(0, 5, (int(rng.integers(4, 10)), 2)), axis=0)
        cv2.polylines(mask, [path.astype(np.int32)], False, 1.0, int(rng.integers(1, 3)), cv2.LINE_AA)
    return scene * (1 - mask[..., None] * np.float32(rng.uniform(0.4, 0.8)))


def stain(rng: np.random.Generator, scene: Scene) -> Scene:
    """A soft patch of another tone."""
    return _toned(rng, scene, _blob(rng, scene, 12, 32, 0.25), 0.12, 0.3)


def hole(rng: np.random.Generator, scene: Scene) -> Scene:
    """A few small dark pits."""
    out = scene.copy()
    centre = _place(rng, scene)
    for _ in range(int(rng.integers(1, 5))):
        at = tuple(int(v) for v in centre + rng.normal(0, 10, 2))
        tone = scene[at[1] % len(scene), at[0] % len(scene)] * rng.uniform(0.1, 0.5)
        cv2.circle(out, at, int(rng.integers(3, 7)), [float(v) for v in tone], -1, cv2.LINE_AA)
    return out


def dent(rng: np.random.Generator, scene: Scene) -> Scene:
    """The pattern is pulled aside, as by a fold or a dent."""
    side = len(scene)
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    centre, width = _place(rng, scene), rng.uniform(14, 30)
    bump = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2)).astype(np.float32)
    pull = _heading(rng).astype(np.float32) * np.float32(rng.uniform(0.5, 0.9) * width)
    moved = cv2.remap(scene, x + pull[0] * bump, y + pull[1] * bump, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    pulled: Scene = moved.astype(np.float32) * (1 - np.float32(0.15) * bump[..., None])
    return pulled


def worn(rng: np.random.Generator, scene: Scene) -> Scene:
    """The pattern is rubbed away to its mean tone."""
    mask = _blob(rng, scene, 18, 40, 0.15)[..., None]
    return scene * (1 - mask) + cv2.GaussianBlur(scene, (0, 0), 9) * mask


def foreign(rng: np.random.Generator, scene: Scene) -> Scene:
    """A crumb of some other colour."""
    mask = _blob(rng, scene, 6, 16, 0.05)[..., None]
    return scene * (1 - mask) + np.clip(rng.uniform(0, 1) + rng.normal(0, 0.1, 3), 0, 1).astype(np.float32) * mask


def swapped(rng: np.random.Generator, scene: Scene) -> Scene:
    """A patch of the same product in the wrong place, a quarter turned."""
    size = int(rng.integers(28, 60))
    low, high = (len(scene) - SIDE) // 2 + 40, (len(scene) + SIDE) // 2 - 40 - size
    (x, y), (u, v) = rng.integers(low, high, (2, 2))
    out = scene.copy()
    out[y : y + size, x : x + size] = np.rot90(scene[v : v + size, u : u + size])
    return out


SURFACE: tuple[Damage, ...] = (scratch, crack, stain, hole, dent, worn, foreign)


def print_fault(rng: np.random.Generator, mask: Mask) -> Mask:
    """A print or copper mask with a bite, a spur, a short, a gap or a pinhole at one of its edges."""
    low, high = (len(mask) - SIDE) // 2 + 44, (len(mask) + SIDE) // 2 - 44
    edges = np.argwhere(cv2.Laplacian(mask[low:high, low:high], cv2.CV_32F) != 0)  # the mask's own borders
    y, x = (edges[rng.integers(len(edges))] if len(edges) else rng.integers(0, high - low, 2)) + low
    out, value = mask.copy(), float(rng.random() < 0.5)
    if rng.random() < 0.5:
        cv2.circle(out, (int(x), int(y)), int(rng.integers(4, 8)), value, -1, cv2.LINE_AA)
        return out
    steps = np.cumsum(_heading(rng) * 6 + rng.normal(0, 3, (int(rng.integers(3, 7)), 2)), axis=0)
    points = (steps - steps[len(steps) // 2] + (x, y)).astype(np.int32)
    cv2.polylines(out, [points], False, value, int(rng.integers(3, 7)), cv2.LINE_AA)
    return out


def _place(rng: np.random.Generator, scene: NDArray[np.float32]) -> NDArray[np.float64]:
    """A point (x, y) that is in every photograph's centre crop."""
    return len(scene) / 2 + rng.uniform(-0.33, 0.33, 2) * SIDE


def _heading(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _blob(rng: np.random.Generator, scene: Scene, least: float, most: float, softness: float) -> Mask:
    """An irregular patch with a radius of `least` to `most` pixels; softness: of its rim, as a share of the radius."""
    mask = np.zeros(scene.shape[:2], np.float32)
    radius, corners = rng.uniform(least, most), 12
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    rim = radius * rng.uniform(0.6, 1.2, corners)
    points = (
        _place(rng, scene) + np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.5, 1)], axis=1) * rim[:, None]
    )
    cv2.fillPoly(mask, [points.astype(np.int32)], 1.0, cv2.LINE_AA)
    soft: Mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, softness * radius)).astype(np.float32)
    return soft


def _toned(rng: np.random.Generator, scene: Scene, mask: Mask, least: float, most: float) -> Scene:
    """The scene brighter or darker by `least` to `most` under a mask."""
    tint = rng.uniform(least, most) * rng.choice([-1, 1]) * rng.uniform(0.8, 1.2, 3)
    toned: Scene = np.clip(scene + mask[..., None] * tint.astype(np.float32), 0, 1).astype(np.float32)
    return toned
