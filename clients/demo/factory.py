"""Renders photographs of good and defective products, deterministic by seed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from clients.demo.products import CATALOGUE
from clients.demo.scene import Camera, Floats

PRODUCTS: tuple[str, ...] = tuple(CATALOGUE)

_VISIBLE_CHANGE = 7.0  # grey levels by which a pixel must change to count as part of the defect
_MIN_DEFECT_PIXELS = 60  # pixels that a visible defect has
_MAX_TRIES = 12


@dataclass(frozen=True)
class Sample:
    """A photograph, uint8 (512, 512, 3) RGB.

    Of a defective part also the kind of defect and where it is: `mask`, uint8 (512, 512), 0 or 255.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8] | None
    defect: str | None


def defect_kinds(product: str) -> tuple[str, ...]:
    """The defect_kinds of defect a product can have."""
    return tuple(CATALOGUE[product].defects)


def render_good(product: str, seed: int) -> Sample:
    """A good part; raises KeyError for an unknown product."""
    camera, exposed = _good(product, seed)
    return Sample(camera.develop(exposed), None, None)


def render_defective(product: str, seed: int, kind: str | None = None) -> Sample:
    """The part and photograph of `render_good` for this seed, with a defect; `kind` None: selected by the seed.

    The mask is where the two photographs differ before sensor noise: exactly the visible defect. Raises KeyError for an
    unknown product or kind.
    """
    definition = CATALOGUE[product]
    chosen = kind if kind is not None else list(definition.defects)[seed % len(definition.defects)]
    damage = definition.defects[chosen]
    camera, good = _good(product, seed)
    for attempt in range(_MAX_TRIES):
        scene = definition.make(_stream(product, seed, 1))
        damage(scene, _stream(product, seed, 2 + attempt))
        bad = camera.expose(scene)
        mask = _difference(good, bad)
        if np.count_nonzero(_crop(mask)) >= _MIN_DEFECT_PIXELS:
            return Sample(camera.develop(bad), mask, chosen)
    raise RuntimeError(f"no visible {chosen} on {product} in {_MAX_TRIES} tries (seed {seed})")


def write_mvtec(
    out: Path,
    products: Sequence[str] = PRODUCTS,
    good: int = 60,
    test: int = 24,
    seed: int = 0,
    *,
    progress: bool = False,
) -> int:
    """Write train/good, test/good, test/<kind> and ground_truth/<kind> per product as MVTec AD lays them out.

    `good`: training images a product; `test`: good and as many defective test images. Returns how many were written.
    """
    jobs: list[tuple[str, str, int]] = []
    for product in products:
        jobs += [(product, "train", i) for i in range(good)]
        jobs += [(product, "good", i) for i in range(test)]
        jobs += [(product, "defective", i) for i in range(test)]
    for product, purpose, index in track(jobs, "Rendering", disable=not progress):
        folder = out / product
        name = f"{index:03d}.png"
        if purpose == "train":
            _save(folder / "train" / "good" / name, render_good(product, seed + index).image)
        elif purpose == "good":
            _save(folder / "test" / "good" / name, render_good(product, test_seed(seed, index)).image)
        else:
            sample = render_defective(product, test_seed(seed, test + index))
            _save(folder / "test" / str(sample.defect) / name, sample.image)
            if sample.mask is not None:
                _save(folder / "ground_truth" / str(sample.defect) / name.replace(".png", "_mask.png"), sample.mask)
    return len(jobs)


def test_seed(seed: int, index: int) -> int:
    """Seed of a test part, which no training part has."""
    return seed + 1_000_000 + index


def _stream(product: str, seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([PRODUCTS.index(product), seed, purpose])


def _good(product: str, seed: int) -> tuple[Camera, Floats]:
    definition = CATALOGUE[product]
    camera = Camera.at_random(_stream(product, seed, 0), definition.shift, definition.turn)
    return camera, camera.expose(definition.make(_stream(product, seed, 1)))


def _difference(good: Floats, bad: Floats) -> NDArray[np.uint8]:
    """Where two images differ visibly, specks removed and gaps closed: uint8, 0 or 255."""
    change = cv2.GaussianBlur(np.abs(good - bad).max(axis=2), (0, 0), 1.0)
    mask = (change > _VISIBLE_CHANGE).astype(np.uint8) * np.uint8(255)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] < 12]
    mask[np.isin(labels, small)] = 0
    return mask.astype(np.uint8)


def _crop(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The centre crop that the paper's preprocessing analyses."""
    return mask[32:-32, 32:-32]


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"cannot write {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: write a data set."""
    parser = argparse.ArgumentParser(prog="python -m clients.demo.factory", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, in the layout of MVTec AD")
    parser.add_argument(
        "--products", nargs="+", choices=PRODUCTS, default=PRODUCTS, metavar="NAME", help=", ".join(PRODUCTS)
    )
    parser.add_argument("--good", type=int, default=60, help="good training images a product (default 60)")
    parser.add_argument(
        "--test", type=int, default=24, help="good and as many defective test images a product (default 24)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the rendered parts (default 0)")
    options = parser.parse_args(arguments)
    written = write_mvtec(options.out, options.products, options.good, options.test, options.seed, progress=True)
    print(f"{written} images in {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
