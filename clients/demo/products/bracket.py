"""A machined aluminium bracket: rigid, shiny, with bolt holes, a bore, a slot and an engraved number."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from clients.demo import marks
from clients.demo.products.product import Product
from clients.demo.scene import (
    CANVAS,
    Bytes,
    Floats,
    Point,
    Scene,
    cast,
    clouds,
    grain,
    lettering,
    offsets,
    soften,
    window,
)

_HOLES: tuple[tuple[Point, int], ...] = (((235, 235), 46), ((789, 235), 46), ((235, 789), 46), ((789, 789), 46))
_BORE: tuple[Point, int] = ((512, 470), 150)
_SLOT = ((390, 776), (634, 776), 38)  # its two ends and half its width
_TABLE = (47, 50, 54)
_METAL = (176, 179, 183)
_ENGRAVING = ("TS-4410", (512.0, 690.0), 46)


def _disc(mask: Bytes, centre: Point, radius: float, value: int) -> None:
    cv2.circle(mask, (int(centre[0] * 16), int(centre[1] * 16)), int(radius * 16), value, -1, cv2.LINE_AA, 4)


def _outline(missing: int | None) -> Bytes:
    """Where there is metal, 0..255; `missing`: the number of a hole that was not drilled."""
    metal = np.zeros((CANVAS, CANVAS), np.uint8)
    left, right, round_ = 140, 884, 90
    cv2.rectangle(metal, (left + round_, left), (right - round_, right), 255, -1)
    cv2.rectangle(metal, (left, left + round_), (right, right - round_), 255, -1)
    for x in (left + round_, right - round_):
        for y in (left + round_, right - round_):
            _disc(metal, (x, y), round_, 255)
    for side in (left - 120, right + 120):  # waisted on both sides
        _disc(metal, (side, 512), 175, 0)
    for index, (centre, radius) in enumerate(_HOLES):
        if index != missing:
            _disc(metal, centre, radius, 0)
    _disc(metal, *_BORE, 0)
    (x0, y0), (x1, y1), half = _SLOT
    if missing != 4:
        cv2.line(metal, (x0, y0), (x1, y1), 0, 2 * half, cv2.LINE_AA)
    return metal


@lru_cache(maxsize=8)
def _blank(missing: int | None = None, engraved: bool = True) -> Scene:
    """The part without what differs from one to the next. Read-only."""
    metal = _outline(missing)
    scene = Scene.flat(_TABLE, gloss=6)
    inside = metal.astype(np.float32) / 255
    shadow = cast(inside, 20, 24, 15)
    everywhere = (slice(0, CANVAS), slice(0, CANVAS))
    scene.multiply(everywhere, 1 - 0.72 * shadow)
    scene.blend(everywhere, inside, _METAL, gloss=190)
    # Walls of the holes catch the light on the side away from the lamp.
    wall = np.clip(cast(inside, 7, 8, 0.6) - inside, 0, 1)
    scene.blend(everywhere, wall * np.float32(0.5), (24, 25, 27))
    edge = cv2.distanceTransform((metal > 127).astype(np.uint8), cv2.DIST_L2, 5)
    scene.relief += cv2.GaussianBlur(np.minimum(edge, 9.0) * np.float32(0.8), (0, 0), 1.2)
    ring = np.abs(_radius() - (_BORE[1] + 34))  # a turned step around the bore
    scene.relief += cv2.GaussianBlur(
        np.where(_radius() < _BORE[1] + 34, np.float32(3.0), np.float32(0)) * inside, (0, 0), 1.5
    )
    scene.multiply(everywhere, 1 - 0.18 * np.exp(-((ring / 4) ** 2)) * inside)
    if engraved:
        _engrave(scene, *_ENGRAVING)
    return scene


def _engrave(scene: Scene, text: str, centre: Point, size: int) -> None:
    ink = lettering(text, size)
    height, width = ink.shape
    x, y = round(centre[0] - width / 2), round(centre[1] - height / 2)
    cut = (slice(y, y + height), slice(x, x + width))
    scene.blend(cut, ink * np.float32(0.72), (70, 72, 76), gloss=40)
    scene.relief[cut] -= ink * 2


@lru_cache(maxsize=1)
def _radius() -> Floats:
    x, y = offsets((slice(0, CANVAS), slice(0, CANVAS)), _BORE[0])
    return np.sqrt(x * x + y * y).astype(np.float32)


@lru_cache(maxsize=1)
def _rings() -> NDArray[np.int32]:
    rings: NDArray[np.int32] = np.minimum(_radius() * 1.5, 1199).astype(np.int32)
    return rings


def _machined(scene: Scene, rng: np.random.Generator) -> Scene:
    """Give a part the turning marks and the grain of its own."""
    profile = rng.standard_normal(1200).astype(np.float32)
    profile = 0.6 * profile + np.convolve(profile, np.ones(9, np.float32) / 3, "same").astype(np.float32)
    texture = profile[_rings()] * np.float32(0.018) + grain(rng) * np.float32(0.03) + clouds(rng, 6) * np.float32(0.012)
    metal = scene.paint[..., 3].astype(np.float32) * np.float32(1 / 190)
    np.minimum(metal, 1, out=metal)
    scene.multiply((slice(0, CANVAS), slice(0, CANVAS)), 1 + texture * (0.35 + 0.65 * metal))
    return scene


def _make(rng: np.random.Generator) -> Scene:
    return _machined(_blank().copy(), rng)


def _on_metal(rng: np.random.Generator) -> Point:
    """A point of the face, away from holes and the engraving."""
    return [
        marks.somewhere(rng, 330, 200, 690, 262),
        marks.somewhere(rng, 300, 640, 360, 760),
        marks.somewhere(rng, 690, 560, 730, 700),
        marks.somewhere(rng, 290, 380, 310, 560),
    ][rng.integers(4)]


def _scratch(scene: Scene, rng: np.random.Generator) -> None:
    bright = (232, 234, 238) if rng.random() < 0.6 else (84, 86, 90)
    marks.scratch(scene, rng, _on_metal(rng), rng.uniform(40, 240), rng.uniform(1.2, 4), bright, 0.8)


def _missing(scene: Scene, rng: np.random.Generator) -> None:
    number = int(rng.integers(5))
    undrilled = _machined(_blank(missing=number).copy(), rng)
    if number == 4:
        (x0, y0), (x1, _), half = _SLOT
        cut = window(((x0 + x1) / 2, y0), (x1 - x0) / 2 + half + 20, half + 20)
    else:
        cut = window(_HOLES[number][0], _HOLES[number][1] + 20)
    hole = (_blank(number).paint[cut][..., 3] > _blank().paint[cut][..., 3]).astype(np.uint8)
    filled = cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (29, 29))).astype(np.float32)
    scene.copy_from(undrilled, cut, soften(filled, 2.5))


def _contamination(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        marks.stain(scene, rng, _on_metal(rng), rng.uniform(22, 70), (110, 84, 52), rng.uniform(0.15, 0.7))
    else:
        marks.particles(scene, rng, _on_metal(rng), int(rng.integers(1, 5)), rng.uniform(6, 14), (52, 44, 38))


def _colour(scene: Scene, rng: np.random.Generator) -> None:
    heat = [(1.05, 0.84, 0.58), (0.70, 0.82, 1.12), (0.98, 0.72, 0.60)][rng.integers(3)]
    marks.tint(scene, rng, _on_metal(rng), rng.uniform(60, 130), marks.faded(heat, rng.uniform(0.25, 1.0)))


def _deformation(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.6:
        marks.dent(scene, rng, _on_metal(rng), rng.uniform(16, 36), rng.uniform(1.5, 7))
    else:  # a bent edge
        x = float(rng.uniform(400, 620))
        marks.pull(scene, (x, 142), 110, (0, float(rng.uniform(10, 36))))


def _print(scene: Scene, rng: np.random.Generator) -> None:
    text, centre, size = _ENGRAVING
    cut = window(centre, 140, 34)
    ink = (_blank().paint[cut][..., 0] < _blank(engraved=False).paint[cut][..., 0]).astype(np.uint8)
    erased = soften(cv2.dilate(ink, np.ones((7, 7), np.uint8)).astype(np.float32), 1)
    scene.copy_from(_machined(_blank(engraved=False).copy(), rng), cut, erased)
    wrong = rng.integers(3)
    if wrong == 1:
        _engrave(scene, text[:4], (centre[0] - 40, centre[1]), size)
    elif wrong == 2:
        _engrave(scene, text, (centre[0] + rng.choice([-1, 1]) * rng.uniform(14, 44), centre[1] + 6), size)


BRACKET = Product(
    "bracket",
    _make,
    {
        "scratch": _scratch,
        "missing": _missing,
        "contamination": _contamination,
        "colour": _colour,
        "deformation": _deformation,
        "print": _print,
    },
    shift=3.0,
    turn=1.2,
)
