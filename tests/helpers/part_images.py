"""Small images of an imaginary part, good and scratched, as PNG files."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from indexer.imaging.encode import encode_png

_kept = lru_cache(maxsize=1024)  # most tests use the same parts, and to draw one takes some milliseconds

WIDTH, HEIGHT = 640, 360
PLACES = [(x, y) for x in (0, WIDTH // 2, WIDTH - 1) for y in (0, HEIGHT // 2, HEIGHT - 1)]


@_kept
def part(seed: int, *, scratched: bool = False, kind: int = 0) -> bytes:
    """A 160×144 image of a disc with holes (kind 0) or a striped plate (kind 1), in slightly varying light."""
    rng = np.random.default_rng(seed)
    image = np.full((144, 160, 3), 60.0, np.float32)
    shift = rng.normal(0, 0.7, 2)
    if kind == 0:
        cv2.circle(image, tuple(np.round((80 + shift[0], 72 + shift[1])).astype(int).tolist()), 50, (170, 170, 180), -1)
        for angle in range(0, 360, 60):
            x, y = 80 + 32 * np.cos(np.radians(angle)) + shift[0], 72 + 32 * np.sin(np.radians(angle)) + shift[1]
            cv2.circle(image, (round(x), round(y)), 7, (40, 40, 45), -1)
    else:
        for x in range(10, 160, 20):
            cv2.rectangle(image, (round(x + shift[0]), 10), (round(x + 9 + shift[0]), 134), (60, 150, 70), -1)
    if scratched:
        x, y = (int(v) for v in rng.integers(60, 90, 2))
        cv2.line(image, (x, y), (x + 24, y + 12), (250, 250, 250), 3)
    image = image * rng.normal(1, 0.02) + rng.normal(0, 2, image.shape)
    return encode_png(np.clip(image, 0, 255).astype(np.uint8))


@_kept
def displaced(seed: int, *, scratched: bool = False) -> bytes:
    """A disc like `part`, somewhere in the image."""
    image = cv2.imdecode(np.frombuffer(part(seed, scratched=scratched), np.uint8), cv2.IMREAD_COLOR)
    return encode_png(np.roll(image, (37 * seed % 144, 53 * seed % 160), (0, 1))[..., ::-1])


@_kept
def varied(seed: int, *, scratched: bool = False) -> bytes:
    """A part like `part`, cast and lit so that no two are alike: strokes of its own texture at a steady place."""
    rng = np.random.default_rng(seed)
    image = cv2.imdecode(np.frombuffer(part(0), np.uint8), cv2.IMREAD_COLOR).astype(np.float32)
    image += cv2.resize(rng.normal(0, 14, (24, 27, 3)).astype(np.float32), (160, 144), interpolation=cv2.INTER_CUBIC)
    if scratched:
        cv2.line(image, (60, 60), (90, 80), (250, 250, 250), 4)
    return encode_png(np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])


@_kept
def textured(seed: int, *, dotted: bool = False) -> bytes:
    """A part like `part`, whose texture is strong or weak; with a small bright dot somewhere on it."""
    rng = np.random.default_rng(seed)
    image = cv2.imdecode(np.frombuffer(part(0), np.uint8), cv2.IMREAD_COLOR).astype(np.float32)
    strokes = rng.normal(0, rng.uniform(6, 24), (24, 27, 3)).astype(np.float32)
    image += cv2.resize(strokes, (160, 144), interpolation=cv2.INTER_CUBIC)
    if dotted:
        cv2.circle(image, tuple(rng.integers(55, 95, 2).tolist()), 3, (235, 235, 235), -1)
    return encode_png(np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])


def shifted(seed: int) -> bytes:
    """A 144×144 image of one texture, which begins at another of 64 places each time."""
    tile = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    texture = np.kron(np.tile(tile, (2, 2, 1)), np.ones((12, 12, 1), np.uint8))
    y, x = (18 * place for place in divmod(11 * seed % 64, 8))  # a cell of the tests' encoder, whose grid is 8 × 8
    return encode_png(np.ascontiguousarray(texture[y : y + 144, x : x + 144]))


def plain(level: int) -> bytes:
    """An image that shows nothing, of one grey."""
    return encode_png(np.full((144, 160, 3), level, np.uint8))


@_kept
def plate(seed: int, blot: tuple[int, int] | None = None) -> bytes:
    """A brushed plate that fills the image, in varying light; with a dark blot around a point."""
    rng = np.random.default_rng(seed)
    brushed = cv2.GaussianBlur(rng.normal(0, 40, (HEIGHT, WIDTH)), (0, 0), sigmaX=12, sigmaY=0.8)
    light = np.linspace(-8, 8, WIDTH)[None] * rng.uniform(0.7, 1.3) + rng.normal(0, 2)
    image = 150 + brushed + light + rng.normal(0, 2, (HEIGHT, WIDTH))
    if blot is not None:
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        image -= 70 * np.exp(-(((x - blot[0]) ** 2 + (y - blot[1]) ** 2) / (2 * 9.0**2)))
    return encode_png(np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))
