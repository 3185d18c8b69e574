"""The images of the verdict study, rendered and real, and faulty views derived from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from clients.demo.factory import PRODUCTS, render_defective, render_good, test_seed
from indexer.domain.geometry import InputGeometry
from indexer.encoders import Encoder, Features
from indexer.imaging.decode import decode_image
from tests.study.onboarded import Image, encode, geometry_of

T = TypeVar("T")
Kinds = dict[str, list[Image]]
MOST_IMAGES = 60  # of a kind and a product, that are stored in other ways


@dataclass(frozen=True)
class Images:
    """Some images of one product."""

    references: list[Image]
    good: list[Image]
    defective: list[Image]


@dataclass(frozen=True)
class Product:
    """Features of one product's images: references, fresh good parts, defective parts, views gone wrong by name.

    geometry: how they are inspected. images: some of them, to be stored in other ways.
    """

    name: str
    geometry: InputGeometry
    references: list[Features]
    good: list[Features]
    defective: list[Features]
    odd: dict[str, list[Features]]
    images: Images | None = None

    @classmethod
    def encoded(cls, encoder: Encoder, name: str, kinds: Kinds) -> Product:
        """From images by kind, each encoded by itself."""
        images = Images(*(kinds[kind][:MOST_IMAGES] for kind in ("references", "good", "defective")))
        geometry = geometry_of(encoder, kinds["references"])
        features = {kind: [encode(encoder, image, geometry) for image in images] for kind, images in kinds.items()}
        references, good, defective = (features.pop(kind) for kind in ("references", "good", "defective"))
        return cls(name, geometry, references, good, defective, features, images)


def together(name: str, products: Sequence[Product]) -> Product:
    """Several products onboarded as one category, in a mixed order; of odd views those that are odd to all of them."""
    references = [reference for product in products for reference in product.references]
    odd = {
        kind: [image for product in products for image in product.odd[kind]]
        for kind in products[0].odd
        if kind != "other products"
    }
    [geometry] = {product.geometry for product in products}
    return Product(
        name,
        geometry,
        shuffled(references),
        [image for product in products for image in product.good],
        [image for product in products for image in product.defective],
        odd,
    )


def odd_views(images: Sequence[Image]) -> dict[str, list[Image]]:
    """What a camera sees when something is wrong with it, made of good images; and frames that show nothing."""
    shape = images[0].shape
    side = shape[1]
    rng = np.random.default_rng(0)
    dark = [np.clip(rng.normal(4, 2, shape), 0, 255).astype(np.uint8) for _ in range(4)]
    views = {
        "black": [np.zeros(shape, np.uint8), *dark],
        "white": [np.full(shape, 255, np.uint8), *(255 - frame for frame in dark)],
        "lens covered": [cv2.GaussianBlur(image, (0, 0), side / 8) // 4 for image in images],
    }
    for share in (0.05, 0.1, 0.25):
        views[f"shifted {share:.0%}"] = [moved(image, shift=share * side) for image in images]
    for degrees in (3, 10, 45, 180):
        views[f"turned {degrees}°"] = [moved(image, degrees=degrees) for image in images]
    return views


def moved(image: Image, shift: float = 0.0, degrees: float = 0.0) -> Image:
    """The image as a displaced or turned camera would see it, mirrored where it would see beyond the border."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += (shift, shift / 2)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT).astype(np.uint8)


def rendered(
    encoder: Encoder, products: Sequence[str], references: int, tests: int, odd: int, keep: Path | None = None
) -> Iterator[Product]:
    """Products of the rendered factory. keep: a folder where images stay: rendering takes longer than all else."""
    for name in products:
        kinds = _kept(keep, f"{name}-{references}-{tests}-{odd}", lambda: _rendered(name, references, tests, odd))  # noqa: B023
        yield Product.encoded(encoder, name, kinds)


def _rendered(name: str, references: int, tests: int, odd: int) -> Kinds:
    good = [render_good(name, test_seed(0, index)).image for index in range(tests)]
    return {
        "references": [render_good(name, index).image for index in range(references)],
        "good": good,
        "defective": [render_defective(name, test_seed(0, tests + index)).image for index in range(tests)],
        **odd_views(good[:odd]),
        "other products": [
            render_good(other, test_seed(0, 5000 + index)).image
            for other in PRODUCTS
            if other != name
            for index in range(max(1, odd // 2))
        ],
    }


def _kept(folder: Path | None, name: str, make: Callable[[], Kinds]) -> Kinds:
    if folder is None:
        return make()
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{kind: np.stack(images) for kind, images in make().items()})
    with np.load(path) as stored:
        return {kind: list(stored[kind]) for kind in stored.files}


def real(encoder: Encoder, folder: Path, odd: int) -> Iterator[Product]:
    """Products laid out as MVTec-AD lays them out."""
    names = sorted(path.name for path in folder.iterdir() if (path / "train/good").is_dir())

    def read(*parts: str) -> list[Image]:
        files = sorted(file for file in folder.joinpath(*parts).rglob("*") if file.is_file())
        return [decode_image(file) for file in files]

    for name in names:
        good = read(name, "test", "good")
        defective = [
            image
            for kind in sorted((folder / name / "test").iterdir())
            if kind.name != "good"
            for image in read(name, "test", kind.name)
        ]
        views = odd_views(good[:odd])
        views["other products"] = [
            image for other in names if other != name for image in read(other, "test", "good")[:odd]
        ]
        kinds = {"references": shuffled(read(name, "train", "good")), "good": good, "defective": defective, **views}
        yield Product.encoded(encoder, name, kinds)


def photographs(folder: Path) -> Iterator[Images]:
    """Some images of each product that is laid out as MVTec-AD lays it out."""
    for path in sorted(path for path in folder.iterdir() if (path / "train/good").is_dir()):
        kinds = sorted(kind for kind in (path / "test").iterdir() if kind.name != "good")
        files = [
            sorted((path / "train/good").iterdir()),
            sorted((path / "test/good").iterdir()),
            [file for kind in kinds for file in sorted(kind.iterdir())],
        ]
        yield Images(*([decode_image(file) for file in shuffled(group)[:MOST_IMAGES]] for group in files))


def shuffled(images: Sequence[T]) -> list[T]:
    """In another order, always the same: files may lie as they were taken, and a part of them be of one moment."""
    return [images[index] for index in np.random.default_rng(0).permutation(len(images))]
