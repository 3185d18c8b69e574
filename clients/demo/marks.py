"""Damage that can happen to any product: scratches, stains, particles, tints, dents and pulls."""

from __future__ import annotations

import cv2
import numpy as np

from clients.demo.scene import CANVAS, Colour, Floats, Point, Scene, clouds, offsets, soften, window


def scratch(
    scene: Scene, rng: np.random.Generator, centre: Point, length: float, width: float, colour: Colour, depth: float
) -> None:
    """A slightly bent line that thins out to its ends; `length` and `width` in canvas pixels."""
    angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.12)
    along = np.linspace(-0.5, 0.5, 24)
    x = centre[0] + length * (along * np.cos(angle) - bend * (along**2 - 0.08) * np.sin(angle))
    y = centre[1] + length * (along * np.sin(angle) + bend * (along**2 - 0.08) * np.cos(angle))
    points = np.stack([x, y], 1) + rng.normal(0, 0.8, (24, 2))
    ink = np.zeros((CANVAS, CANVAS), np.uint8)
    for i in range(23):
        thick = max(1, round(width * (1 - abs(2 * along[i]) ** 3) + rng.normal(0, 0.3)))
        start, end = (tuple(int(v) for v in np.round(p * 16)) for p in points[i : i + 2])
        cv2.line(ink, start, end, 255, thick, cv2.LINE_AA, 4)
    cut = window(centre, length * 0.6 + 8)
    groove = soften(ink[cut].astype(np.float32), 0.8) / np.float32(255)
    scene.blend(cut, groove * np.float32(0.75), colour)
    scene.relief[cut] -= groove * np.float32(depth)


def blob(rng: np.random.Generator, radius: float, roughness: float = 0.35, softness: float = 0.12) -> Floats:
    """An irregular spot as opacity in [0, 1], float32 (2·radius + 1, same)."""
    side = 2 * int(radius) + 1
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    distance = np.sqrt(ramp[None, :] ** 2 + ramp[:, None] ** 2)
    edge = 0.62 + 0.16 * np.tanh(clouds(rng, 5, side)) * roughness / 0.35
    spot = np.clip((edge - distance) / softness + 0.5, 0, 1)
    rounded: Floats = (spot * spot * (3 - 2 * spot)).astype(np.float32)
    return rounded


def stain(scene: Scene, rng: np.random.Generator, centre: Point, radius: float, colour: Colour, opacity: float) -> None:
    """A dried liquid: a transparent pool, darker along its rim."""
    spot = blob(rng, radius)
    cut = window(centre, int(radius))
    spot = spot[: cut[0].stop - cut[0].start, : cut[1].stop - cut[1].start]
    rim = np.clip(spot - soften(spot, radius / 9), 0, 1)
    alpha = spot * opacity * (0.8 + 0.12 * clouds(rng, 6, max(spot.shape))[: spot.shape[0], : spot.shape[1]]) + rim
    absorbed = 1 - np.clip(alpha, 0, 1)[..., None] * (1 - np.array(colour, np.float32) / 255)
    scene.multiply(cut, absorbed.astype(np.float32))
    scene.relief[cut] += soften(spot, 3) * np.float32(1.2)


def particles(scene: Scene, rng: np.random.Generator, centre: Point, count: int, size: float, colour: Colour) -> None:
    """Chips or crumbs lying on the surface, each with its small shadow."""
    for _ in range(count):
        spread = size * 2.2 * np.sqrt(count - 1)
        x, y = centre[0] + rng.normal(0, 1) * spread, centre[1] + rng.normal(0, 1) * spread
        radius = size * rng.uniform(0.8, 1.5)
        spot = blob(rng, radius, 0.6, 0.25)
        shadow = window((x + radius * 0.35, y + radius * 0.4), int(radius))
        if (shadow[0].stop - shadow[0].start, shadow[1].stop - shadow[1].start) != spot.shape:
            continue
        scene.multiply(shadow, 1 - 0.55 * soften(spot, radius / 5))
        cut = window((x, y), int(radius))
        scene.blend(cut, spot, colour, gloss=60)
        scene.relief[cut] += soften(spot, radius / 6) * np.float32(radius * 0.5)


def tint(
    scene: Scene, rng: np.random.Generator, centre: Point, radius: float, factors: tuple[float, float, float]
) -> None:
    """A cloudy change of colour without an edge; `factors` multiply red, green and blue where it is strongest."""
    spot = blob(rng, radius, 0.3, 0.8)
    cut = window(centre, int(radius))
    spot = spot[: cut[0].stop - cut[0].start, : cut[1].stop - cut[1].start]
    scene.multiply(cut, 1 + spot[..., None] * (np.array(factors, np.float32) - 1))


def faded(factors: tuple[float, float, float], strength: float) -> tuple[float, float, float]:
    """A tint's factors at a strength in [0, 1]; 0 changes nothing."""
    red, green, blue = (1 + strength * (factor - 1) for factor in factors)
    return red, green, blue


def dent(scene: Scene, rng: np.random.Generator, centre: Point, radius: float, depth: float) -> None:
    """A smooth hollow, a little longer than wide."""
    cut = window(centre, radius * 3.4)
    x, y = offsets(cut, centre)
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.5)
    along, beside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    hollow = np.exp(-((along / (radius * stretch)) ** 2 + (beside / radius) ** 2) * 1.6)
    scene.relief[cut] -= (hollow * depth).astype(np.float32)


def pull(scene: Scene, centre: Point, radius: float, by: Point) -> None:
    """Drag the surface sideways around a point, `by` canvas pixels at the point and nothing `radius` away."""
    cut = window(centre, radius)
    x, y = offsets(cut, centre)
    weight = np.clip(1 - (x * x + y * y) / (radius * radius), 0, 1) ** 2
    columns = (np.arange(weight.shape[1], dtype=np.float32)[None, :] - weight * by[0]).astype(np.float32)
    rows = (np.arange(weight.shape[0], dtype=np.float32)[:, None] - weight * by[1]).astype(np.float32)
    for layer in (scene.paint, scene.relief):
        layer[cut] = cv2.remap(layer[cut], columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def somewhere(
    rng: np.random.Generator, left: float = 190, top: float = 190, right: float = 834, bottom: float = 834
) -> Point:
    """A random point of a rectangle of the canvas; by default well inside the analysed crop."""
    return float(rng.uniform(left, right)), float(rng.uniform(top, bottom))
