"""MVTec-AD's layout, which many data sets share: `<category>/train/good`, `test/<kind>`, `ground_truth/<kind>`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from indexer.evaluation.dataset import GOOD, Dataset, DatasetError, Layout, Reference, Sample, chosen
from indexer.evaluation.readers.masks import masks_of
from indexer.imaging.listing import list_folders, list_images

CATEGORIES = frozenset(
    (
        "bottle",
        "cable",
        "capsule",
        "carpet",
        "grid",
        "hazelnut",
        "leather",
        "metal_nut",
        "pill",
        "screw",
        "tile",
        "toothbrush",
        "transistor",
        "wood",
        "zipper",
    )
)


def recognises(folder: Path) -> bool:
    """Whether the folder holds MVTec-AD itself: categories in this layout, all with its names."""
    names = category_names(folder)
    return bool(names) and names <= CATEGORIES


def category_names(folder: Path) -> set[str]:
    """Names of the folders that hold a `train` folder."""
    return {path.name for path in list_folders(folder) if (path / "train").is_dir()}


def begun(folder: Path) -> dict[str, Path]:
    """By name, the folders that hold `train` or `test`: categories, be they whole or not."""
    return {path.name: path for path in list_folders(folder) if (path / "train").is_dir() or (path / "test").is_dir()}


def read(folder: Path, requested: Collection[str]) -> Dataset:
    """Read MVTec-AD. DatasetError."""
    return read_as(folder, "mvtec-ad", requested)


def read_folder(folder: Path, requested: Collection[str]) -> Dataset:
    """Read any data set in this layout; `ground_truth` may be absent. DatasetError."""
    return read_as(folder, "folder", requested)


def read_as(folder: Path, layout: Layout, requested: Collection[str]) -> Dataset:
    """Read the layout under a name. requested: categories, all when none is named. DatasetError."""
    if (folder / "train").is_dir():
        raise DatasetError(f"{folder} is one category: give the folder that it lies in, and --category {folder.name}")
    categories = begun(folder)
    if not categories:
        raise DatasetError(f"{folder} holds no data set: no folder in it has train/good and test inside")
    references: list[Reference] = []
    samples: list[Sample] = []
    for path in map(categories.__getitem__, chosen(categories, requested, folder)):
        good = list_images(path / "train" / GOOD)
        if not good:
            raise DatasetError(f"no images in {path / 'train' / GOOD}: the data set is not completely unpacked")
        references += [Reference(image, path.name) for image in good]
        samples += _samples(path)
    return Dataset(layout, folder, tuple(references), tuple(samples))


def _samples(category: Path) -> list[Sample]:
    tests = list_folders(category / "test") if (category / "test").is_dir() else []
    truth = category / "ground_truth"
    samples: list[Sample] = []
    for path in tests:
        images = list_images(path)
        if not images:
            raise DatasetError(f"no images in {path}: the data set is not completely unpacked")
        if path.name == GOOD:
            samples += [Sample(image, category.name, GOOD) for image in images]
            continue
        if truth.is_dir() and not (truth / path.name).is_dir():
            raise DatasetError(f"{truth} has no folder {path.name}: the masks are not wholly unpacked")
        masks = masks_of(images, truth / path.name, str(path))
        samples += [Sample(image, category.name, path.name, mask) for image, mask in zip(images, masks, strict=True)]
    if not samples:
        raise DatasetError(f"no images in {category / 'test'}: the data set is not completely unpacked")
    return samples
