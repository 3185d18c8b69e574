"""A printed circuit board: green mask, gold pads, traces, chips and white lettering."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from clients.demo import marks
from clients.demo.products.product import Product
from clients.demo.scene import CANVAS, Colour, Point, Scene, Window, cast, clouds, grain, window, write

_TABLE = (196, 197, 199)
_MASK = (18, 88, 58)
_TRACE = (34, 116, 76)
_GOLD = (214, 178, 98)
_TIN = (188, 190, 194)
_SILK = (232, 236, 232)
_EDGES = (112, 112, 912, 912)  # left, top, right, bottom
_EVERYWHERE = (slice(0, CANVAS), slice(0, CANVAS))


@dataclass(frozen=True)
class _Part:
    """One component: its body is `wide` × `high` canvas pixels; `pins` legs on each long side, none for a two-pole."""

    name: str
    marking: str
    x: int
    y: int
    wide: int
    high: int
    pins: int
    body: Colour

    @property
    def window(self) -> Window:
        return window((self.x, self.y), self.wide / 2 + 26, self.high / 2 + 30)


_PARTS = (
    _Part("U1", "TS32F4", 380, 400, 180, 180, 9, (36, 37, 40)),
    _Part("U2", "74HC04", 706, 300, 190, 96, 7, (34, 35, 38)),
    _Part("U3", "LM358", 720, 520, 130, 96, 4, (38, 38, 41)),
    _Part("Q1", "", 566, 640, 96, 70, 3, (36, 36, 38)),
    *(_Part(f"R{i + 1}", "103", 250 + 92 * i, 742, 30, 56, 0, (30, 30, 34)) for i in range(4)),
    *(_Part(f"C{i + 1}", "", 250 + 92 * i, 626, 30, 52, 0, (160, 122, 88)) for i in range(3)),
    *(_Part(f"C{i + 4}", "", 690 + 74 * i, 664, 30, 52, 0, (160, 122, 88)) for i in range(2)),
)
_LETTERING: tuple[tuple[str, Point, int, int], ...] = (
    ("TOUCHSTONE  REV C", (500, 166), 38, 0),
    ("SN 0042", (720, 806), 30, 0),
    ("J1", (846, 452), 26, 0),
    ("+5V", (846, 742), 22, 0),
)


def _traces() -> list[list[tuple[int, int]]]:
    """Copper under the mask: every bend at 45°."""
    paths = []
    for i in range(9):
        y = 330 + 18 * i
        paths.append([(490, y), (540 + 8 * i, y), (580 + 8 * i, y - 40), (640, y - 40)])
        x = 308 + 18 * i
        paths.append([(x, 510), (x, 545 + 6 * (i % 4)), (x - 30, 575 + 6 * (i % 4)), (x - 30, 600), (x - 30, 760)])
    for i in range(6):
        y = 560 + 22 * i
        paths.append([(600, y), (660, y), (690 + 5 * i, y + 30), (860, y + 30)])
        paths.append(
            [(200 + 16 * i, 240), (200 + 16 * i, 300 + 16 * i), (250 + 10 * i, 350 + 14 * i), (280, 350 + 14 * i)]
        )
    return paths


@lru_cache(maxsize=1)
def _bare() -> Scene:
    """The board as it comes from etching: no components, no lettering. Read-only."""
    scene = Scene.flat(_TABLE, gloss=0)
    left, top, right, bottom = _EDGES
    board = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.rectangle(board, (left + 16, top), (right - 16, bottom), 255, -1)
    cv2.rectangle(board, (left, top + 16), (right, bottom - 16), 255, -1)
    for x in (left + 16, right - 16):
        for y in (top + 16, bottom - 16):
            cv2.circle(board, (x, y), 16, 255, -1, cv2.LINE_AA)
    for x in (left + 50, right - 50):
        for y in (top + 50, bottom - 50):
            cv2.circle(board, (x, y), 22, 0, -1, cv2.LINE_AA)
    inside = board.astype(np.float32) / 255
    shadow = cast(inside, 12, 14, 12)
    scene.multiply(_EVERYWHERE, 1 - 0.6 * shadow)
    scene.blend(_EVERYWHERE, inside, _MASK, gloss=70)
    copper = np.zeros((CANVAS, CANVAS), np.uint8)
    for path in _traces():
        cv2.polylines(copper, [np.array(path, np.int32)], False, 255, 7, cv2.LINE_AA)
    bare = np.zeros((CANVAS, CANVAS), np.uint8)
    for x in (left + 50, right - 50):
        for y in (top + 50, bottom - 50):
            cv2.circle(bare, (x, y), 36, 255, 12, cv2.LINE_AA)
    vias = np.random.default_rng(3).integers((200, 230), (860, 700), (40, 2))
    for x, y in vias.tolist():
        cv2.circle(copper, (x, y), 11, 255, -1, cv2.LINE_AA)
        cv2.circle(bare, (x, y), 7, 255, -1, cv2.LINE_AA)
    for i in range(6):  # connector
        cv2.rectangle(bare, (822, 480 + 40 * i), (872, 504 + 40 * i), 255, -1, cv2.LINE_AA)
        cv2.rectangle(bare, (210 + 46 * i, 846), (238 + 46 * i, 898), 255, -1, cv2.LINE_AA)
    for part in _PARTS:
        for x0, y0, x1, y1 in _pads(part):
            cv2.rectangle(bare, (x0, y0), (x1, y1), 255, -1, cv2.LINE_AA)
    scene.blend(_EVERYWHERE, copper.astype(np.float32) * np.float32(0.85 / 255), _TRACE)
    scene.blend(_EVERYWHERE, bare.astype(np.float32) / 255, _GOLD, gloss=180)
    for x, y in vias.tolist():
        cv2.circle(scene.paint, (x, y), 3, (16, 22, 18, 0), -1, cv2.LINE_AA)
    high = inside * 6 + np.maximum(copper, bare).astype(np.float32) * np.float32(1.6 / 255)
    scene.relief += cv2.GaussianBlur(high.astype(np.float32), (0, 0), 1.0)
    return scene


def _pads(part: _Part) -> list[tuple[int, int, int, int]]:
    """Solder pads as (x0, y0, x1, y1)."""
    x, y, half_w, half_h = part.x, part.y, part.wide // 2, part.high // 2
    if not part.pins:
        return [(x - half_w - 4, y + s * half_h - 12, x + half_w + 4, y + s * half_h + 12) for s in (-1, 1)]
    step = part.wide / part.pins
    middles = [round(x - half_w + step * (i + 0.5)) for i in range(part.pins)]
    pads = [(m - 5, y + s * (half_h + 10) - 12, m + 5, y + s * (half_h + 10) + 12) for m in middles for s in (-1, 1)]
    if part.wide == part.high:
        middles = [round(y - half_h + step * (i + 0.5)) for i in range(part.pins)]
        pads += [
            (x + s * (half_w + 10) - 12, m - 5, x + s * (half_w + 10) + 12, m + 5) for m in middles for s in (-1, 1)
        ]
    return pads


def _mount(scene: Scene, part: _Part, rng: np.random.Generator, wander: float = 1.2) -> None:
    """Solder a component on, off its place by a pixel or so as a placing machine does."""
    dx, dy = (int(v) for v in np.round(rng.normal(0, wander, 2)))
    for x0, y0, x1, y1 in _pads(part):
        cv2.rectangle(
            scene.paint, (x0 + dx + 1, y0 + dy + 1), (x1 + dx - 1, y1 + dy - 1), (*_TIN, 200), -1, cv2.LINE_AA
        )
        cv2.rectangle(scene.relief, (x0 + dx + 1, y0 + dy + 1), (x1 + dx - 1, y1 + dy - 1), 10, -1)
    x, y, half_w, half_h = part.x + dx, part.y + dy, part.wide // 2, part.high // 2
    fall = window((x + 9, y + 11), half_w + 12, half_h + 12)
    shape = (fall[0].stop - fall[0].start, fall[1].stop - fall[1].start)
    shadow = np.zeros(shape, np.float32)
    shadow[12:-12, 12:-12] = 0.55
    scene.multiply(fall, 1 - cv2.blur(shadow, (13, 13)).astype(np.float32))
    end = 13 if not part.pins else 0  # a two-pole's metal caps
    cv2.rectangle(scene.paint, (x - half_w, y - half_h), (x + half_w, y + half_h), (*_TIN, 160), -1)
    cv2.rectangle(scene.paint, (x - half_w, y - half_h + end), (x + half_w, y + half_h - end), (*part.body, 70), -1)
    cv2.rectangle(scene.relief, (x - half_w, y - half_h), (x + half_w, y + half_h), 16, -1)
    cut = window((x, y), half_w + 3, half_h + 3)
    scene.relief[cut] = cv2.blur(scene.relief[cut], (5, 5))
    if part.pins:
        cv2.circle(scene.paint, (x - half_w + 16, y - half_h + 16), 6, (20, 20, 22, 40), -1, cv2.LINE_AA)
    if part.marking:
        size = 14 if not part.pins else 26
        write(scene, part.marking, (x, y), size, (186, 188, 190), 0.85)


def _letters(scene: Scene) -> None:
    for text, centre, size, turned in _LETTERING:
        write(scene, text, centre, size, _SILK, 0.95, turned)
    for part in _PARTS:
        if part.pins:
            corner = (part.x - part.wide / 2 - 28, part.y - part.high / 2 - 8)
            write(scene, part.name, corner, 26, _SILK, 0.9)
        else:
            write(scene, part.name, (part.x, part.y - part.high / 2 - 26), 18, _SILK, 0.9)


@lru_cache(maxsize=1)
def _lettered() -> Scene:
    scene = _bare().copy()
    _letters(scene)
    return scene


def _grain(scene: Scene, rng: np.random.Generator, cut: Window = _EVERYWHERE) -> None:
    scene.multiply(cut, (1 + grain(rng) * np.float32(0.025) + clouds(rng, 5) * np.float32(0.015))[cut])


def _make(rng: np.random.Generator) -> Scene:
    scene = _lettered().copy()
    for part in _PARTS:
        _mount(scene, part, rng)
    _grain(scene, rng)
    return scene


def _any_part(rng: np.random.Generator) -> _Part:
    return _PARTS[rng.integers(len(_PARTS))]


def _scratch(scene: Scene, rng: np.random.Generator) -> None:
    centre = marks.somewhere(rng, 240, 240, 800, 780)
    marks.scratch(scene, rng, centre, rng.uniform(60, 260), rng.uniform(1.5, 5), (196, 172, 112), 1.0)


def _missing(scene: Scene, rng: np.random.Generator) -> None:
    """A component that was never placed."""
    part = _any_part(rng)
    scene.copy_from(_lettered(), part.window)
    _grain(scene, rng, part.window)


def _contamination(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:  # flux
        marks.stain(scene, rng, marks.somewhere(rng), rng.uniform(30, 85), (150, 118, 60), rng.uniform(0.3, 0.9))
        return
    tin = (206, 208, 212) if rng.random() < 0.6 else (120, 84, 52)
    marks.particles(
        scene, rng, marks.somewhere(rng, 240, 240, 800, 780), int(rng.integers(1, 5)), rng.uniform(7, 15), tin
    )


def _colour(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:  # scorched
        marks.tint(
            scene,
            rng,
            marks.somewhere(rng, 260, 260, 780, 780),
            rng.uniform(70, 150),
            marks.faded((2.2, 0.75, 0.5), rng.uniform(0.3, 1.0)),
        )
        return
    part = [p for p in _PARTS if p.name in ("C1", "C2", "C3", "C4", "C5", "U3", "Q1")][rng.integers(7)]
    cut = window((part.x, part.y), part.wide / 2, part.high / 2 - (0 if part.pins else 12))
    wrong = np.array([0.5, 0.7, 1.5] if not part.pins else [3.2, 2.6, 1.9], np.float32)
    scene.multiply(cut, np.broadcast_to(wrong, (cut[0].stop - cut[0].start, cut[1].stop - cut[1].start, 3)))


def _deformation(scene: Scene, rng: np.random.Generator) -> None:
    """A component standing askew."""
    part = _any_part(rng)
    reach = int(max(part.wide, part.high) * 0.75 + 34)
    cut = window((part.x, part.y), reach)
    before = Scene(scene.paint.copy(), scene.relief.copy())
    scene.copy_from(_lettered(), part.window)
    _grain(scene, rng, part.window)
    angle = float(rng.choice([-1, 1]) * (rng.uniform(3, 12) if part.pins else rng.uniform(10, 40)))
    side = 2 * reach + 1
    matrix = cv2.getRotationMatrix2D((reach, reach), angle, 1.0)
    matrix[:, 2] = matrix[:, 2] + rng.normal(0, 5, 2)
    body = np.zeros((side, side), np.float32)
    half_w, half_h = part.wide // 2 + (22 if part.wide == part.high else 4), part.high // 2 + (22 if part.pins else 13)
    body[reach - half_h : reach + half_h, reach - half_w : reach + half_w] = 1
    alpha = cv2.warpAffine(body, matrix, (side, side))
    paint = cv2.warpAffine(before.paint[cut], matrix, (side, side)).astype(np.float32)
    relief = cv2.warpAffine(before.relief[cut], matrix, (side, side))
    under = scene.paint[cut].astype(np.float32)
    scene.paint[cut] = np.clip(under + (paint - under) * alpha[..., None] + 0.5, 0, 255).astype(np.uint8)
    scene.relief[cut] += (relief - scene.relief[cut]) * alpha


def _print(scene: Scene, rng: np.random.Generator) -> None:
    """Lettering that is missing, smeared, doubled or out of place."""
    text, centre, size, turned = _LETTERING[rng.integers(2)]
    place = window(centre, len(text) * size * 0.36, size * 0.8)
    wrong = rng.integers(4)
    if wrong == 1:  # smeared
        soft = cv2.blur(scene.paint[place], (45, 1))
        scene.paint[place] = np.maximum(soft, (scene.paint[place] * 0.55).astype(np.uint8))
        return
    if wrong != 2:
        scene.copy_from(_bare(), place)
        _grain(scene, rng, place)
    if wrong == 2:  # doubled
        write(scene, text, (centre[0] + 12, centre[1] + 9), size, _SILK, 0.8, turned)
    elif wrong == 3:
        write(scene, text, (centre[0] + rng.choice([-1, 1]) * 30, centre[1] + 16), size, _SILK, 0.95, turned)


BOARD = Product(
    "board",
    _make,
    {
        "scratch": _scratch,
        "missing": _missing,
        "contamination": _contamination,
        "colour": _colour,
        "deformation": _deformation,
        "print": _print,
    },
    shift=2.5,
    turn=1.0,
)
