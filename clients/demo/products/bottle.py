"""An amber bottle with a cap and a printed label: soft shapes, reflections, text and a barcode."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from clients.demo import marks
from clients.demo.products.product import Product
from clients.demo.scene import CANVAS, Bytes, Floats, Point, Scene, Window, clouds, grain, window, write

_AMBER = (150, 84, 28)
_CAP = (38, 78, 138)
_PAPER = (240, 235, 222)
_INK = (40, 44, 50)
_ACCENT = (176, 58, 44)
_MIDDLE = 512
_BODY = 208  # half its width
_LEVEL = 338  # of the liquid
_LABEL = (304, 456, 416, 320)  # left, top, width, height
_EVERYWHERE = (slice(0, CANVAS), slice(0, CANVAS))


def _half_widths() -> Floats:
    """Half the bottle's width at every row of the canvas; 0 where there is none."""
    stations = [(0, 0), (205, 0), (206, 70), (268, 70), (300, 84), (350, 150), (400, 196), (440, _BODY), (838, _BODY)]
    stations += [(866, 202), (884, 186), (892, 160), (893, 0), (CANVAS, 0)]
    rows, halves = zip(*stations, strict=True)
    wide = np.interp(np.arange(CANVAS), rows, halves).astype(np.float32)
    smooth = cv2.GaussianBlur(wide[:, None], (1, 31), 7)[:, 0]
    outline: Floats = np.where((np.arange(CANVAS) > 290) & (np.arange(CANVAS) < 860), smooth, wide).astype(np.float32)
    return outline


@lru_cache(maxsize=1)
def _around() -> tuple[Floats, Floats]:
    """For every pixel its place across the bottle in [-1, 1], beyond that outside; and how far it is glass, 0..1."""
    half = _half_widths()[:, None]
    x = np.abs(np.arange(CANVAS, dtype=np.float32) - _MIDDLE)[None, :]
    inside = np.clip(half - x + 0.5, 0, 1) * (half > 0)
    signed = (np.arange(CANVAS, dtype=np.float32) - _MIDDLE)[None, :] / np.maximum(half, 1)
    return np.clip(signed, -1, 1).astype(np.float32), inside.astype(np.float32)


def _roundness(place: Floats) -> Floats:
    """Brightness around an upright cylinder under a soft lamp at the left and a fainter one at the right."""
    depth = np.sqrt(np.clip(1 - place * place, 0, 1))
    shade: Floats = (0.42 + 0.58 * np.clip(depth * 0.86 - place * 0.3, 0, 1) / 0.9).astype(np.float32)
    return shade


@lru_cache(maxsize=4)
def _glass(level: int, capped: bool) -> Scene:
    """Table, bottle and cap, no label yet. Read-only."""
    scene = Scene.flat((214, 216, 218))
    rows = np.arange(CANVAS, dtype=np.float32)[:, None]
    wall = 1 - 0.10 * np.clip((rows - 700) / 300, 0, 1) - 0.10 * np.exp(-(((rows - 905) / 60) ** 2))
    scene.multiply(_EVERYWHERE, np.broadcast_to(wall.astype(np.float32), (CANVAS, CANVAS)).copy())
    shadow = np.zeros((CANVAS, CANVAS), np.float32)
    cv2.ellipse(shadow, (_MIDDLE + 34, 896), (240, 20), 0, 0, 360, 1.0, -1)
    scene.multiply(_EVERYWHERE, 1 - 0.55 * cv2.GaussianBlur(shadow, (0, 0), 16))
    place, inside = _around()
    scene.blend(_EVERYWHERE, inside, _AMBER, gloss=60)
    depth = np.sqrt(np.clip(1 - place * place, 0, 1))
    through = 0.34 + 0.85 * depth**0.8  # thicker glass at the rim swallows the light
    liquid = np.clip((rows - level) / 2 + 0.5, 0, 1)
    through = through * (1.28 - 0.46 * liquid)
    meniscus = np.exp(-(((rows - level - 40 * (1 - depth) ** 2) / 4) ** 2))
    through = through - 0.28 * meniscus * (inside > 0.9)
    tone = np.stack([through, through**1.15, through**1.35], -1)
    scene.multiply(
        _EVERYWHERE, np.where(inside[..., None] > 0, 1 + inside[..., None] * (tone - 1), 1).astype(np.float32)
    )
    for at, breadth, strength in ((-0.66, 0.10, 0.75), (0.78, 0.045, 0.35)):  # window reflections
        streak = np.exp(-(((place - at) / breadth) ** 4)) * inside * strength
        streak *= np.clip((rows - 300) / 60, 0, 1) * np.clip((872 - rows) / 40, 0, 1)
        scene.blend(_EVERYWHERE, cv2.GaussianBlur(streak.astype(np.float32), (0, 0), 3), (255, 236, 206))
    if capped:
        _cap(scene)
    else:
        for y in range(212, 262, 16):  # the thread under the cap
            cv2.line(scene.paint, (_MIDDLE - 68, y), (_MIDDLE + 68, y + 7), (206, 150, 84, 60), 4, cv2.LINE_AA)
    return scene


def _cap(scene: Scene) -> None:
    top, bottom, half = 152, 264, 88
    cut = (slice(top, bottom), slice(_MIDDLE - half, _MIDDLE + half))
    place = np.linspace(-1, 1, 2 * half, dtype=np.float32)[None, :]
    body = np.ones((bottom - top, 2 * half), np.float32)
    for x, y in ((0, 0), (2 * half - 1, 0)):
        corner = np.zeros_like(body)
        cv2.rectangle(corner, (min(x, x - 13) if x else 0, y), (x if x else 13, 13), 1.0, -1)
        disc = np.zeros_like(body)
        cv2.circle(disc, (14 if not x else x - 14, 14), 14, 1.0, -1)
        body *= 1 - corner * (1 - disc)
    scene.blend(cut, body, _CAP, gloss=120)
    ribs = 1 + 0.10 * np.sign(np.sin(np.arcsin(place * 0.995) * 26)) * np.ones((bottom - top, 1), np.float32)
    ribs[:22] = 1.06
    shade = np.broadcast_to(0.15 + 0.95 * _roundness(place), body.shape) * ribs
    shade = shade + 0.5 * np.exp(-(((place + 0.5) / 0.13) ** 2))
    shade = 1 + body * (shade - 1)
    shade[-5:] *= 0.7
    scene.multiply(cut, cv2.GaussianBlur(shade.astype(np.float32), (0, 0), 1.1))


@lru_cache(maxsize=4)
def _label(text: bool = True, bars: bool = True) -> tuple[Bytes, Floats]:
    """The printed paper, uint8 (height, width, 4), flat, and its opacity. Read-only."""
    left, top, width, height = _LABEL
    sheet = Scene.flat(_PAPER, gloss=20)
    cut = (slice(top, top + height), slice(left, left + width))
    paint = sheet.paint
    cv2.rectangle(paint, (left, top), (left + width, top + 74), (*_ACCENT, 20), -1)
    cv2.rectangle(paint, (left, top + height - 16), (left + width, top + height), (*_ACCENT, 20), -1)
    if text:
        write(sheet, "TOUCHSTONE", (left + width / 2, top + 38), 46, _PAPER)
        write(sheet, "Assay Solution", (left + width / 2, top + 108), 36, _INK)
        write(sheet, "No. 7   250 ml", (left + width / 2, top + 152), 28, _INK)
        for i, line in enumerate(("Keep in a cool place.", "Shake before use.", "LOT 2291-B  EXP 08/29")):
            write(sheet, line, (left + 128, top + 204 + 34 * i), 20, _INK, 0.9)
    if bars:
        widths = np.random.default_rng(11).integers(2, 6, 46)
        x = left + 254
        for i, bar in enumerate(widths.tolist()):
            if i % 2 == 0 and x + bar < left + width - 16:
                paint[top + 190 : top + 274, x : x + bar, :3] = _INK
            x += bar
        write(sheet, "4 006381 333931", (left + 326, top + 285), 15, _INK)
    opacity = np.ones((height, width), np.float32)
    return paint[cut].copy(), opacity


def _stick(scene: Scene, sheet: Bytes, opacity: Floats, shift: Point, turn: float) -> None:
    """Put a label on, off its place by `shift` canvas pixels and `turn` degrees, shaded as the bottle is round."""
    left, top, width, height = _LABEL
    reach = 70
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
    matrix[:, 2] = matrix[:, 2] + reach + np.array(shift)
    size = (width + 2 * reach, height + 2 * reach)
    paper = cv2.warpAffine(sheet, matrix, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    alpha = cv2.warpAffine(opacity, matrix, size)
    cut = (slice(top - reach, top + height + reach), slice(left - reach, left + width + reach))
    place, inside = _around()
    alpha = alpha * inside[cut]
    paper[..., :3] *= (0.12 + 0.93 * _roundness(place[cut]))[..., None]
    under = scene.paint[cut].astype(np.float32)
    edge = np.clip(cv2.blur(alpha, (9, 9)) - alpha, 0, 1)  # paper throws a thin shadow
    under[..., :3] *= 1 - 0.5 * edge[..., None]
    scene.paint[cut] = np.clip(under + (paper - under) * alpha[..., None] + 0.5, 0, 255).astype(np.uint8)
    scene.relief[cut] += alpha * np.float32(1.2)


def _finish(scene: Scene, rng: np.random.Generator, cut: Window = _EVERYWHERE) -> None:
    scene.multiply(cut, (1 + grain(rng) * np.float32(0.010) + clouds(rng, 5) * np.float32(0.012))[cut])


def _bottle(rng: np.random.Generator, sheet: Bytes | None, shift: Point = (0, 0), turn: float = 0.0) -> Scene:
    scene = _glass(_LEVEL, True).copy()
    _pour(scene, _LEVEL + int(rng.integers(-4, 5)))
    if sheet is not None:
        wander = rng.normal(0, 1.5, 2)
        place = (float(wander[0]) + shift[0], float(wander[1]) + shift[1])
        _stick(scene, sheet, _label()[1], place, float(rng.normal(0, 0.25)) + turn)
    _finish(scene, rng)
    return scene


def _pour(scene: Scene, level: int) -> None:
    """Move the liquid's surface: the strip around it is copied from another height."""
    by = level - _LEVEL
    rows = slice(_LEVEL - 20, _LEVEL + 40)
    place, inside = _around()
    source = _glass(_LEVEL, True)
    moved = source.paint[rows.start - by : rows.stop - by]
    keep = (inside[rows] > 0.99) & (np.abs(place[rows]) < 0.6)
    scene.paint[rows][keep] = moved[keep]


def _make(rng: np.random.Generator) -> Scene:
    return _bottle(rng, _label()[0])


def _on_glass(rng: np.random.Generator) -> Point:
    return marks.somewhere(rng, 370, 400, 650, 440) if rng.random() < 0.5 else marks.somewhere(rng, 360, 800, 660, 850)


def _on_label(rng: np.random.Generator) -> Point:
    return marks.somewhere(rng, 360, 490, 660, 740)


def _scratch(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        marks.scratch(scene, rng, _on_label(rng), rng.uniform(50, 200), rng.uniform(1.5, 5), (158, 150, 140), 1.0)
    else:
        marks.scratch(scene, rng, _on_glass(rng), rng.uniform(50, 150), rng.uniform(1.5, 4.5), (232, 208, 170), 1.2)


def _missing(scene: Scene, rng: np.random.Generator) -> None:
    """No cap, or no label."""
    if rng.random() < 0.5:
        cut = window((_MIDDLE, 205), 104, 62)
        scene.copy_from(_glass(_LEVEL, False), cut)
    else:
        left, top, width, height = _LABEL
        cut = (slice(top - 20, top + height + 20), slice(left - 20, left + width + 20))
        scene.copy_from(_glass(_LEVEL, True), cut)
    _finish(scene, rng, cut)


def _contamination(scene: Scene, rng: np.random.Generator) -> None:
    if rng.random() < 0.6:
        marks.stain(scene, rng, _on_label(rng), rng.uniform(20, 75), (150, 118, 74), rng.uniform(0.2, 0.7))
    else:
        marks.particles(scene, rng, _on_glass(rng), int(rng.integers(1, 4)), rng.uniform(7, 15), (52, 46, 40))


def _colour(scene: Scene, rng: np.random.Generator) -> None:
    """A cap of another batch, or a label that faded."""
    if rng.random() < 0.5:
        cut = window((_MIDDLE, 207), 86, 54)
        swap = scene.paint[cut][..., :3].astype(np.float32)
        part = np.array([[0.9, 0.2, 0.1], [0.2, 0.9, 0.1], [0.1, 0.2, 0.6]], np.float32)
        if rng.random() < 0.5:
            part = np.array([[0.2, 0.1, 1.0], [0.2, 0.5, 0.1], [0.5, 0.1, 0.1]], np.float32)
        blue = (swap[..., 2] > swap[..., 0] * 1.25)[..., None]
        scene.paint[cut][..., :3] = np.clip(np.where(blue, swap @ part.T, swap), 0, 255).astype(np.uint8)
    else:
        marks.tint(
            scene, rng, _on_label(rng), rng.uniform(70, 120), marks.faded((1.0, 0.88, 0.56), rng.uniform(0.35, 1.0))
        )


def _deformation(scene: Scene, rng: np.random.Generator) -> None:
    """A wrinkled label, or a dented side."""
    if rng.random() < 0.5:
        x, y = _on_label(rng)
        marks.pull(scene, (x, y), 90, (float(rng.choice([-1, 1]) * rng.uniform(9, 26)), float(rng.uniform(-14, 14))))
        marks.dent(scene, rng, (x, y), 26, -9)
    else:
        side = int(rng.choice([-1, 1]))
        marks.pull(
            scene, (_MIDDLE + side * _BODY, float(rng.uniform(540, 780))), 110, (-side * float(rng.uniform(12, 38)), 0)
        )


def _print(scene: Scene, rng: np.random.Generator) -> None:
    """A label askew, out of place, without its text or bars, or smeared."""
    left, top, width, height = _LABEL
    cut = (slice(top - 60, top + height + 60), slice(left - 20, left + width + 20))
    wrong = rng.integers(5)
    if wrong == 4:
        y = int(rng.integers(top + 90, top + 230))
        band = (slice(y, y + 60), slice(left + 40, left + width - 40))
        scene.paint[band] = cv2.blur(scene.paint[band], (61, 3))
        return
    sheet = _label(text=wrong != 2, bars=wrong != 3)[0]
    shift = (
        (float(rng.choice([-1, 1]) * rng.uniform(12, 36)), float(rng.uniform(-20, 20))) if wrong == 1 else (0.0, 0.0)
    )
    turn = float(rng.choice([-1, 1]) * rng.uniform(1.5, 5)) if wrong == 0 else 0.0
    scene.copy_from(_bottle(rng, sheet, shift, turn), cut)


BOTTLE = Product(
    "bottle",
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
    turn=0.8,
)
