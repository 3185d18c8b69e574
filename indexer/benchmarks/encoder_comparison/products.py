"""The validation's products: eight drawn ones, and cuttings of any texture that is photographed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.benchmarks.encoder_comparison.camera import Camera, Scene, Spread, changed
from indexer.benchmarks.encoder_comparison.defects import SURFACE, Mask, foreign, print_fault, scratch, swapped

_SCENE = 720  # pixels of a scene: wider than a photograph, so that a moved one still sees it
_MIN_DEFECT = 60  # pixels
_TRIES = 20


@dataclass(frozen=True)
class Product:
    """A category. make: a scene from a stream of chance. defects: what can go wrong, by name."""

    make: Callable[[np.random.Generator], Scene]
    defects: dict[str, Callable[[np.random.Generator, np.random.Generator], Scene]]
    spread: Spread

    def good(self, seed: list[int]) -> NDArray[np.uint8]:
        """A photograph of a good part, uint8 (512, 512, 3) RGB."""
        scene = self.make(np.random.default_rng([*seed, 0]))
        camera = Camera.at_random(np.random.default_rng([*seed, 1]), self.spread, len(scene))
        return camera.develop(camera.expose(scene))

    def defective(self, seed: list[int], kind: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The same part in the same photograph with a defect, and where it shows: uint8 (512, 512), 0 or 255."""
        scene = self.make(np.random.default_rng([*seed, 0]))
        camera = Camera.at_random(np.random.default_rng([*seed, 1]), self.spread, len(scene))
        good = camera.expose(scene)
        for attempt in range(_TRIES):
            streams = (np.random.default_rng([*seed, 0]), np.random.default_rng([*seed, 2, attempt]))
            bad = camera.expose(self.defects[kind](*streams))
            mask = changed(good, bad)
            if np.count_nonzero(mask[40:-40, 40:-40]) >= _MIN_DEFECT:
                return camera.develop(bad), mask
        raise RuntimeError(f"no visible {kind} in {_TRIES} tries")


def surface(make: Callable[[np.random.Generator], Scene], spread: Spread, *more: Callable[..., Scene]) -> Product:
    """A product whose defects lie on top of it."""

    def with_defect(by: Callable[..., Scene]) -> Callable[[np.random.Generator, np.random.Generator], Scene]:
        return lambda chance, fault: by(fault, make(chance))

    return Product(make, {by.__name__: with_defect(by) for by in (*SURFACE, *more)}, spread)


def printed(draw: Callable[[np.random.Generator], Mask], paint: Callable[[Mask], Scene], spread: Spread) -> Product:
    """A product that is printed or etched: most of its defects are in the print itself."""

    def faulty(chance: np.random.Generator, fault: np.random.Generator) -> Scene:
        return paint(print_fault(fault, draw(chance)))

    def on_top(by: Callable[..., Scene]) -> Callable[[np.random.Generator, np.random.Generator], Scene]:
        return lambda chance, fault: by(fault, paint(draw(chance)))

    defects = {"print": faulty, "scratch": on_top(scratch), "foreign": on_top(foreign), "swapped": on_top(swapped)}
    return Product(lambda chance: paint(draw(chance)), defects, spread)


def texture(image: NDArray[np.uint8]) -> Product:
    """Cuttings of a photographed texture, uint8 (height, width, 3): any place of it, turned, enlarged by 1 to 1.7."""
    source = image.astype(np.float32) / np.float32(255)
    height, width = source.shape[:2]

    def make(rng: np.random.Generator) -> Scene:
        scale = np.exp(rng.uniform(np.log(1.0), np.log(1.7)))
        angle = np.deg2rad(rng.uniform(-12, 12))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        centre = np.array([width, height]) * rng.uniform(0.3, 0.7, 2)
        matrix = np.column_stack([turn, _SCENE / 2 - turn @ centre])
        cut = cv2.warpAffine(source, matrix, (_SCENE, _SCENE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        return np.clip(cut, 0, 1).astype(np.float32)

    return surface(make, Spread(shift=0, light=0.06))


class _Traces:
    """A large board of which every photograph shows some part: (seed, pitch, width) make the board."""

    def __init__(self, seed: int, pitch: int, width: int, side: int) -> None:
        self._seed, self._pitch, self._width, self._side = seed, pitch, width, side

    @cached_property
    def _board(self) -> Mask:
        rng = np.random.default_rng(self._seed)
        board, pitch = np.zeros((self._side, self._side), np.float32), self._pitch
        for row in range(0, self._side, pitch):
            column = 0
            while column < self._side:
                length, kind = int(rng.integers(2, 8)) * pitch, rng.random()
                end = (column + length, row)
                if kind < 0.5:
                    cv2.line(board, (column, row), end, 1.0, self._width, cv2.LINE_AA)
                elif kind < 0.7:
                    down = (end[0], row + int(rng.integers(1, 4)) * pitch)
                    cv2.polylines(board, [np.array([(column, row), end, down])], False, 1.0, self._width, cv2.LINE_AA)
                elif kind < 0.85:
                    cv2.circle(board, (column, row), self._width, 1.0, -1, cv2.LINE_AA)
                    cv2.circle(board, (column, row), self._width // 2, 0.0, -1, cv2.LINE_AA)
                elif kind < 0.9:
                    cv2.rectangle(board, (column, row), (column + 2 * pitch, row + pitch), 1.0, -1)
                column += length + pitch
        return board

    def __call__(self, rng: np.random.Generator) -> Mask:
        x, y = rng.integers(0, self._side - _SCENE, 2)
        return self._board[y : y + _SCENE, x : x + _SCENE]


def _binary(mask: Mask) -> Scene:
    return np.repeat((1 - mask)[..., None], 3, axis=2)


def _copper(mask: Mask) -> Scene:
    ground, metal = np.array([0.08, 0.3, 0.16], np.float32), np.array([0.72, 0.55, 0.3], np.float32)
    return (ground + (metal - ground) * mask[..., None]).astype(np.float32)


def _grain(rng: np.random.Generator, sigmas: tuple[float, ...], along: float = 0.0) -> Mask:
    """Smoothed noise of several widths added up, about in [−1, 1]; `along`: extra smoothing from left to right."""
    total = np.zeros((_SCENE, _SCENE), np.float32)
    for sigma in sigmas:
        step = max(1, int(sigma / 2))  # a wide blur is drawn small and enlarged
        noise = rng.standard_normal((_SCENE // step + 1, _SCENE // step + 1), np.float32)
        layer = cv2.GaussianBlur(noise, (0, 0), sigmaX=(sigma + along) / step, sigmaY=sigma / step)
        layer = cv2.resize(layer, (_SCENE, _SCENE), interpolation=cv2.INTER_CUBIC)
        total += layer / (2 * layer.std())
    return total / np.float32(np.sqrt(len(sigmas)))


def _weave(rng: np.random.Generator) -> Scene:
    y, x = np.mgrid[:_SCENE, :_SCENE].astype(np.float32)
    bend = 3 * _grain(rng, (60.0,))
    warp, weft = np.sin((x + bend) * (np.pi / 9)), np.sin((y + bend) * (np.pi / 11))
    crossing = (np.floor((x + bend) / 9) + np.floor((y + bend) / 11)) % 2
    thread = np.where(crossing > 0, np.abs(warp), np.abs(weft)) * (1 + 0.15 * _grain(rng, (1.0,), 4.0))
    scene: Scene = (np.array([0.55, 0.5, 0.4], np.float32) * (0.35 + 0.65 * thread[..., None])).astype(np.float32)
    return scene


def _leather(rng: np.random.Generator) -> Scene:
    seeds = np.full((_SCENE, _SCENE), 255, np.uint8)
    points = rng.integers(0, _SCENE, (int(_SCENE**2 / 150), 2))
    seeds[points[:, 0], points[:, 1]] = 0
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
    height = np.tanh(distance / 6) + 0.25 * _grain(rng, (1.5, 25.0))
    relief = height - np.roll(height, (2, 2), (0, 1))
    scene: Scene = np.clip(np.array([0.36, 0.22, 0.13], np.float32) + 0.18 * relief[..., None], 0, 1).astype(np.float32)
    return scene


def _wood(rng: np.random.Generator) -> Scene:
    y = np.mgrid[:_SCENE, :_SCENE][0].astype(np.float32)
    rings = np.sin((y + 30 * _grain(rng, (40.0,), 160.0)) * np.float32(2 * np.pi / rng.uniform(28, 40)))
    tone = 0.25 * rings + 0.2 * _grain(rng, (0.8,), 20.0) + 0.15 * _grain(rng, (3.0,), 60.0)
    scene: Scene = np.clip(np.array([0.6, 0.42, 0.26], np.float32) * (1 + 0.3 * tone[..., None]), 0, 1).astype(
        np.float32
    )
    return scene


def _tile(rng: np.random.Generator) -> Scene:
    """A ground dark surface with streaks, cut anywhere: its rim and the lamp's gloss lie where they will."""
    tone = 0.3 + 0.05 * _grain(rng, (1.0,), rng.uniform(6, 20)) + 0.04 * _grain(rng, (30.0,), 60.0)
    y, x = np.mgrid[:_SCENE, :_SCENE].astype(np.float32)
    bow = rng.uniform(-80, 80)
    for rim, sign in ((rng.uniform(60, 180), -1), (rng.uniform(540, 660), 1)):
        beyond = sign * (y - rim - bow * ((x / _SCENE - 0.5) ** 2))
        tone = tone + np.clip(beyond / 3, 0, 1) * (rng.uniform(0.02, 0.1) - tone)
    gloss = np.exp(-(((y - rng.uniform(150, 570)) / rng.uniform(60, 160)) ** 2))
    scene = tone * (0.7 + rng.uniform(0.2, 0.8) * gloss)
    return np.repeat(np.clip(scene, 0, 1)[..., None], 3, axis=2).astype(np.float32)


def _disc(rng: np.random.Generator) -> Scene:
    y, x = np.mgrid[:_SCENE, :_SCENE].astype(np.float32) - np.float32(_SCENE / 2)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    metal = 0.55 + 0.1 * np.cos(2 * angle) + 0.06 * np.sin(radius * 1.9) + 0.03 * _grain(rng, (0.8,))
    for ring in (60, 110, 205):
        metal = metal - 0.3 * np.exp(-(((radius - ring) / 3) ** 2))
    scene = np.where((radius < 215) & (radius > 40), metal, 0.06 + 0.02 * _grain(rng, (2.0,))).astype(np.float32)
    for index in range(6):
        at = (_SCENE / 2 + 158 * np.cos(index * np.pi / 3), _SCENE / 2 + 158 * np.sin(index * np.pi / 3))
        cv2.circle(scene, (int(at[0]), int(at[1])), 15, 0.08, -1, cv2.LINE_AA)
    return np.clip(scene[..., None] * np.array([1, 0.98, 0.94], np.float32), 0, 1).astype(np.float32)


def _label(rng: np.random.Generator) -> Mask:
    """A printed label: fixed text and bars, and a serial number that is another on every one."""
    mask = np.zeros((_SCENE, _SCENE), np.uint8)
    font = cv2.FONT_HERSHEY_TRIPLEX
    for row, words in enumerate(("TOUCHSTONE", "Type 44-B  230 V~", "50 Hz   1.6 A", "Made to be compared")):
        cv2.putText(mask, words, (150, 190 + 56 * row), font, 1.5 if row == 0 else 1.0, 255, 2, cv2.LINE_AA)
    widths = np.random.default_rng(5).integers(2, 9, 60)  # the bars are always the same
    x = 150
    for index, width in enumerate(widths):
        if index % 2 == 0:
            cv2.rectangle(mask, (x, 420), (min(x + int(width), 590), 500), 255, -1)
        x += int(width)
    cv2.putText(mask, f"No {rng.integers(10**6):06d}", (150, 560), font, 1.1, 255, 2, cv2.LINE_AA)
    cv2.rectangle(mask, (120, 120), (600, 600), 255, 3)
    return mask.astype(np.float32) / np.float32(255)


def _ink(mask: Mask) -> Scene:
    paper, ink = np.array([0.9, 0.88, 0.8], np.float32), np.array([0.1, 0.12, 0.25], np.float32)
    return (paper + (ink - paper) * mask[..., None]).astype(np.float32)


DRAWN: dict[str, Product] = {
    "board-binary": printed(_Traces(11, 34, 12, 1500), _binary, Spread(shift=1, turn=0.2, zoom=0.0, light=0.01)),
    "board-copper": printed(_Traces(12, 26, 9, 1100), _copper, Spread()),
    "weave": surface(_weave, Spread(turn=2.0, zoom=0.03)),
    "leather": surface(_leather, Spread(zoom=0.05)),
    "wood": surface(_wood, Spread(turn=2.0, zoom=0.05)),
    "tile": surface(_tile, Spread(shift=40, turn=6.0, zoom=0.3, light=0.15)),
    "disc": surface(_disc, Spread(), swapped),
    "label": printed(_label, _ink, Spread()),
}
