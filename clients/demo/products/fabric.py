"""A plain-woven cloth: no fixed place or shape, every piece with yarns of its own."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.demo import marks
from clients.demo.products.product import Product
from clients.demo.scene import CANVAS, Floats, Scene, clouds, grain, offsets, window

_PITCH = 32  # canvas pixels from one yarn to the next
_YARNS = CANVAS // _PITCH
_WARP = np.array((150, 160, 176), np.float32)
_WEFT = np.array((96, 112, 140), np.float32)


@lru_cache(maxsize=1)
def _weave() -> tuple[Floats, Floats]:
    """Height of the warp (upright) and of the weft (level) yarns of a plain weave, float32 (CANVAS, CANVAS)."""
    place = (np.arange(CANVAS, dtype=np.float32) + 0.5) / _PITCH
    across = np.abs(np.cos(np.pi * (place - np.floor(place) - 0.5)))  # a yarn's round section
    sign = np.where(np.floor(place) % 2 == 0, 1.0, -1.0).astype(np.float32)
    warp = across[None, :] ** 0.7 * (0.5 + 0.5 * sign[None, :] * np.sin(np.pi * place)[:, None])
    weft = across[:, None] ** 0.7 * (0.5 - 0.5 * sign[:, None] * np.sin(np.pi * place)[None, :])
    return warp.astype(np.float32), weft.astype(np.float32)


@lru_cache(maxsize=1)
def _upper() -> NDArray[np.bool_]:
    """Where the upright yarn lies on top."""
    warp, weft = _weave()
    return warp > weft


@lru_cache(maxsize=1)
def _cloth() -> Scene:
    """The cloth if all its yarns were alike and straight. Read-only."""
    height = np.maximum(*_weave())
    scene = Scene.flat((0, 0, 0), gloss=8)
    colour = np.where(_upper()[..., None], _WARP, _WEFT)
    scene.paint[..., :3] = (colour * (0.45 + 0.55 * height)[..., None]).astype(np.uint8)
    scene.relief += height * np.float32(5)
    return scene


def _strands(rng: np.random.Generator, spread: float) -> Floats:
    """How much brighter or darker each yarn is, one value a canvas pixel."""
    return np.repeat(1 + rng.normal(0, spread, _YARNS), _PITCH).astype(np.float32)


def _make(rng: np.random.Generator) -> Scene:
    scene = _cloth().copy()
    yarns = np.where(_upper(), _strands(rng, 0.035)[None, :], _strands(rng, 0.035)[:, None])
    fuzz = np.float32(1) + grain(rng) * np.float32(0.05) + clouds(rng, 5) * np.float32(0.015)
    scene.multiply((slice(0, CANVAS), slice(0, CANVAS)), yarns * fuzz)
    _sway(scene, rng)
    return scene


def _sway(scene: Scene, rng: np.random.Generator) -> None:
    """No yarn lies quite straight."""
    ramp = np.arange(CANVAS, dtype=np.float32)
    columns = ramp[None, :] + clouds(rng, 6) * np.float32(3.5)
    rows = ramp[:, None] + clouds(rng, 6) * np.float32(3.5)
    fixed = cv2.convertMaps(columns, rows, cv2.CV_16SC2)
    scene.paint = cv2.remap(scene.paint, *fixed, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(
        np.uint8, copy=False
    )
    scene.relief = cv2.remap(scene.relief, *fixed, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(
        np.float32, copy=False
    )


def _scratch(scene: Scene, rng: np.random.Generator) -> None:
    """A cut: the yarns gape."""
    x, y = marks.somewhere(rng, 260, 260, 764, 764)
    length, gape = rng.uniform(50, 150), rng.uniform(5, 14)
    cut = window((x, y), length)
    right, down = offsets(cut, (x, y))
    angle = rng.uniform(0, np.pi)
    along, beside = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
    ragged = gape * (1 + 0.25 * clouds(rng, 24, max(along.shape))[: along.shape[0], : along.shape[1]])
    gap = np.clip((ragged * np.sqrt(np.clip(1 - (along / length * 1.6) ** 2, 0, 1)) - np.abs(beside)) / 3 + 0.5, 0, 1)
    gap[np.abs(along) > length / 1.6] = 0
    scene.blend(cut, gap.astype(np.float32), (22, 24, 30))
    scene.relief[cut] -= cv2.GaussianBlur(gap.astype(np.float32), (0, 0), 3) * np.float32(5)


def _missing(scene: Scene, rng: np.random.Generator) -> None:
    """A yarn that is not there for a while: the cloth behind it shows."""
    x, y = marks.somewhere(rng, 260, 260, 764, 764)
    length, level = rng.uniform(70, 210), rng.random() < 0.5
    cut = window((x, y), length if level else _PITCH * 0.52, _PITCH * 0.52 if level else length)
    right, down = offsets(cut, (x, y))
    along, beside = (right, down) if level else (down, right)
    gone = np.clip((length - np.abs(along)) / 12, 0, 1) * np.clip((_PITCH * 0.5 - np.abs(beside)) / 4, 0, 1)
    scene.blend(cut, gone.astype(np.float32) * np.float32(rng.uniform(0.4, 0.85)), (38, 42, 52))
    scene.relief[cut] -= gone.astype(np.float32) * 3


def _contamination(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.6:
        marks.stain(scene, rng, marks.somewhere(rng), rng.uniform(40, 105), (136, 104, 72), rng.uniform(0.2, 0.8))
    else:
        marks.particles(scene, rng, marks.somewhere(rng), int(rng.integers(1, 4)), rng.uniform(10, 22), (58, 46, 34))


def _colour(scene: Scene, rng: np.random.Generator) -> None:
    """A stretch of yarns from the wrong bobbin, or a patch that took the dye badly."""
    if rng.random() < 0.5:
        marks.tint(
            scene,
            rng,
            marks.somewhere(rng),
            rng.uniform(90, 170),
            marks.faded((1.3, 0.86, 0.72), rng.uniform(0.35, 1.0)),
        )
        return
    first, count = int(rng.integers(8, _YARNS - 10)), int(rng.integers(1, 3))
    begin, length = int(rng.integers(150, 420)), int(rng.integers(280, 440))
    cut = (slice(first * _PITCH, (first + count) * _PITCH), slice(begin, begin + length))
    scene.multiply(cut, np.broadcast_to(np.array([1.35, 0.78, 0.62], np.float32), (count * _PITCH, length, 3)))


def _deformation(scene: Scene, rng: np.random.Generator) -> None:
    """The yarns are pushed aside."""
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(16, 46)
    by = (float(far * np.cos(angle)), float(far * np.sin(angle)))
    centre = marks.somewhere(rng, 260, 260, 764, 764)
    marks.pull(scene, centre, float(rng.uniform(95, 140)), by)
    marks.dent(scene, rng, centre, 50, -0.2 * far)


FABRIC = Product(
    "fabric",
    _make,
    {
        "scratch": _scratch,
        "missing": _missing,
        "contamination": _contamination,
        "colour": _colour,
        "deformation": _deformation,
    },
    shift=14.0,
    turn=1.5,
)
