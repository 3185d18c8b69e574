"""Images made from nothing but a seed: what the built-in encoder's constants are fitted on."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (side, side, 3), RGB in [0, 1] until photographed


def scene(rng: np.random.Generator, side: int) -> Image:
    """A random scene, float32 (side, side, 3) RGB in about [0, 1]: up to three kinds of content."""
    image = _SCENES[rng.integers(len(_SCENES))](rng, side)
    for _ in range(rng.choice([0, 0, 1, 2])):
        scene = _SCENES[rng.integers(len(_SCENES))](rng, side)
        weight = np.full((1, 1, 1), rng.uniform(0.2, 0.8), np.float32)
        if rng.random() < 0.5:
            weight = _blob_mask(rng, side)[..., None]
        image = image * (1 - weight) + scene * weight
    if rng.random() < 0.3:
        image = _perspective(rng, image)
    if rng.random() < 0.25:  # grey products are common
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    return np.ascontiguousarray(image, np.float32)


def photograph(rng: np.random.Generator, image: Image, crop: int, shift: float) -> NDArray[np.uint8]:
    """One photograph of a scene, uint8 (crop, crop, 3): moved by up to `shift` pixels, lit, blurred, noisy."""
    side = image.shape[0]
    angle, scale = rng.normal(0, 0.6), 1 + rng.normal(0, 0.006)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle, scale)
    turn[:, 2] = turn[:, 2] + rng.uniform(-shift, shift, 2)
    view = cv2.warpAffine(image, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    margin = (side - crop) // 2
    view = view[margin : margin + crop, margin : margin + crop]
    blur = rng.uniform(0, 0.8)
    if blur > 0.3:
        view = cv2.GaussianBlur(view, (0, 0), blur)
    ramp = np.linspace(-0.5, 0.5, crop, dtype=np.float32)
    slope = rng.normal(0, 0.06, 2).astype(np.float32)
    light = np.float32(1 + rng.normal(0, 0.06)) + slope[0] * ramp[:, None] + slope[1] * ramp[None]
    tint = rng.normal(1, 0.01, 3).astype(np.float32)
    view = np.clip(view, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.05))) * light[..., None] * tint
    view = view + rng.standard_normal(view.shape, np.float32) * np.float32(rng.uniform(0.002, 0.02))
    photographed: NDArray[np.uint8] = (np.clip(view, 0, 1) * 255 + 0.5).astype(np.uint8)
    return photographed


def _colour(rng: np.random.Generator) -> NDArray[np.float32]:
    grey = rng.uniform(0.02, 0.98)
    colour: NDArray[np.float32] = np.clip(grey + rng.normal(0, rng.choice([0.02, 0.2]), 3), 0, 1).astype(np.float32)
    return colour


def _flat(rng: np.random.Generator, side: int) -> Image:
    return np.tile(_colour(rng), (side, side, 1))


def _mix(mask: NDArray[np.float32], rng: np.random.Generator) -> Image:
    """A mask (side, side) in [0, 1] drawn between two random colours."""
    first, second = _colour(rng), _colour(rng)
    return first + (second - first) * mask[..., None]


def _fractal(rng: np.random.Generator, side: int, exponent: float, stretch: float = 1.0) -> NDArray[np.float32]:
    """Noise with a 1/f**exponent amplitude spectrum, float32 (side, side), mean 0.5 and within about [0, 1]."""
    down, across = np.fft.fftfreq(side)[:, None] * stretch, np.fft.rfftfreq(side)[None]
    frequency = np.maximum(np.hypot(down, across), 1 / side)
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), np.float32)) / frequency**exponent
    noise = np.fft.irfft2(spectrum, (side, side))
    noise = (noise - noise.mean()) / (noise.std() + 1e-9)
    clipped: NDArray[np.float32] = np.clip(0.5 + 0.2 * noise, 0, 1).astype(np.float32)
    return clipped


def _noise(rng: np.random.Generator, side: int) -> Image:
    grain = _fractal(rng, side, rng.uniform(0.3, 2.0), rng.choice([1.0, 1.0, 0.1, 8.0]))
    return _mix(grain, rng)


def _gratings(rng: np.random.Generator, side: int) -> Image:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    total = np.zeros((side, side), np.float32)
    for _ in range(rng.integers(1, 4)):
        angle, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(120)))
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + rng.uniform(0, 7))
        total += np.tanh(wave * rng.choice([0.8, 6.0])).astype(np.float32)
    return _mix(0.5 + 0.5 * total / max(1.0, float(np.abs(total).max())), rng)


def _dead_leaves(rng: np.random.Generator, side: int) -> Image:
    image = _flat(rng, side)
    for _ in range(int(rng.choice([30, 120, 400]))):
        radius = float(np.exp(rng.uniform(np.log(4), np.log(90))))
        centre = tuple(int(v) for v in rng.uniform(-20, side + 20, 2))
        colour = [float(v) for v in _colour(rng)]
        if rng.random() < 0.5:
            cv2.circle(image, centre, int(radius), colour, -1, cv2.LINE_AA)
        else:
            size = (radius, radius * rng.uniform(0.3, 2))
            corners = cv2.boxPoints((centre, size, float(rng.uniform(0, 180))))
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return image


def _strokes(rng: np.random.Generator, side: int) -> Image:
    mask = np.zeros((side, side), np.float32)
    thickness = int(rng.integers(1, 8))
    for _ in range(int(rng.integers(8, 80))):
        points = np.cumsum(rng.normal(0, side / 18, (int(rng.integers(2, 9)), 2)), axis=0) + rng.uniform(0, side, 2)
        cv2.polylines(mask, [points.astype(np.int32)], False, float(rng.uniform(0.4, 1)), thickness, cv2.LINE_AA)
    return _mix(mask, rng)


def _text(rng: np.random.Generator, side: int) -> Image:
    mask = np.zeros((side, side), np.uint8)
    letters = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-/#%.")
    scale = rng.uniform(0.5, 3)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    line = int(32 * scale)
    for y in range(line, side, line + int(rng.integers(0, 30))):
        words = "".join(rng.choice(letters, int(rng.integers(3, 40))))
        origin = (int(rng.integers(-20, side // 3)), y)
        cv2.putText(mask, words, origin, font, scale, 255, max(1, int(scale * rng.uniform(1, 3))), cv2.LINE_AA)
    return _mix(mask.astype(np.float32) / np.float32(255), rng)


def _circuit(rng: np.random.Generator, side: int) -> Image:
    mask = np.zeros((side, side), np.float32)
    pitch, width = int(rng.integers(14, 44)), int(rng.integers(3, 16))
    steps = np.array([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]]) * pitch
    for _ in range(int(rng.integers(15, 70))):
        at = rng.integers(0, side // pitch + 1, 2) * pitch
        heading = int(rng.integers(8))
        path = [at]
        for _ in range(int(rng.integers(1, 6))):
            at = at + steps[heading] * int(rng.integers(1, 7))
            path.append(at)
            heading = (heading + int(rng.integers(-1, 2))) % 8
        cv2.polylines(mask, [np.array(path, np.int32)], False, 1.0, width, cv2.LINE_AA)
        for end in (path[0], path[-1]):
            if rng.random() < 0.6:
                place = (int(end[0]), int(end[1]))
                cv2.circle(mask, place, width + int(rng.integers(1, 8)), 1.0, -1, cv2.LINE_AA)
                if rng.random() < 0.5:
                    cv2.circle(mask, place, max(1, width // 2), 0.0, -1, cv2.LINE_AA)
    return _mix(mask, rng)


def _weave(rng: np.random.Generator, side: int) -> Image:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
    bend = (_fractal(rng, side, 2.0) - 0.5) * np.float32(rng.uniform(0, 12))
    u = (x * np.cos(angle) + y * np.sin(angle) + bend) * np.float32(np.pi / period)
    v = (y * np.cos(angle) - x * np.sin(angle) + bend) * np.float32(np.pi / period * rng.uniform(0.6, 1.5))
    over = np.sign(np.sin(u) * np.sin(v))
    thread = np.where(over > 0, np.abs(np.cos(u)), np.abs(np.cos(v)))
    return _mix((0.3 + 0.7 * thread).astype(np.float32) * (0.8 + 0.4 * (_fractal(rng, side, 0.5) - 0.5)), rng)


def _parts(rng: np.random.Generator, side: int) -> Image:
    """A few big shapes with rims and holes on a plain ground, as a part lies on a belt."""
    image = _mix(_fractal(rng, side, 1.0) * np.float32(0.2), rng)
    for _ in range(int(rng.integers(1, 6))):
        centre = tuple(int(v) for v in rng.uniform(0.15 * side, 0.85 * side, 2))
        radius = int(rng.uniform(0.06, 0.3) * side)
        for share in sorted(rng.uniform(0.1, 1, int(rng.integers(1, 5))), reverse=True):
            cv2.circle(image, centre, max(1, int(radius * share)), [float(v) for v in _colour(rng)], -1, cv2.LINE_AA)
        count = int(rng.integers(0, 9))
        for k in range(count):
            angle = 2 * np.pi * k / count
            at = (int(centre[0] + 0.7 * radius * np.cos(angle)), int(centre[1] + 0.7 * radius * np.sin(angle)))
            cv2.circle(image, at, max(2, radius // 9), [float(v) for v in _colour(rng)], -1, cv2.LINE_AA)
    return image


def _speckle(rng: np.random.Generator, side: int) -> Image:
    """Grains and pores on a plain ground."""
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(rng.choice([40, 300, 1500]))):
        centre = tuple(int(v) for v in rng.integers(0, side, 2))
        cv2.circle(mask, centre, int(rng.integers(1, 6)), float(rng.uniform(0.2, 1)), -1, cv2.LINE_AA)
    return _mix(mask, rng)


def _blob_mask(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    level = _fractal(rng, side, 1.8)
    edge = np.float32(rng.choice([8.0, 80.0]))
    mask: NDArray[np.float32] = 1 / (1 + np.exp(-edge * (level - np.float32(rng.uniform(0.35, 0.65)))))
    return mask


def _perspective(rng: np.random.Generator, image: Image) -> Image:
    side = image.shape[0]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = corners + rng.normal(0, 0.08 * side, (4, 2)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    warped: Image = cv2.warpPerspective(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT).astype(np.float32)
    return warped


_SCENES: tuple[Callable[[np.random.Generator, int], Image], ...] = (
    _flat,
    _noise,
    _gratings,
    _dead_leaves,
    _strokes,
    _text,
    _circuit,
    _weave,
    _parts,
    _speckle,
)
