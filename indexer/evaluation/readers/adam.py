"""3D-ADAM, RGB only: as published, `test/<kind>/rgb` beside `ground_truth`, or converted to MVTec's layout."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from indexer.evaluation.dataset import GOOD, Dataset, DatasetError, Reference, Sample, chosen
from indexer.evaluation.readers import mvtec
from indexer.evaluation.readers.masks import masks_of
from indexer.imaging.listing import list_folders, list_images

CATEGORIES = frozenset(
    (
        "1m1",
        "1m2",
        "1m3",
        "2m1",
        "2m2h",
        "2m2m",
        "3m1",
        "3m2",
        "3m2c",
        "4m1",
        "4m2",
        "4m2c",
        "gripper_closed",
        "gripper_open",
        "helicalgear1",
        "helicalgear2",
        "rackgear",
        "spiralgear",
        "spurgear",
        "tapa2m1",
        "tapa3m1",
        "tapa4m1",
        "tapatbb",
    )
)
_RGB = "rgb"


def recognises(folder: Path) -> bool:
    """Whether the folder holds 3D-ADAM, in either form."""
    names = mvtec.category_names(folder)
    return bool(names) and names <= CATEGORIES


def read(folder: Path, requested: Collection[str]) -> Dataset:
    """Read 3D-ADAM. As its authors do, the good parts under `validation` are test images. DatasetError."""
    dataset = mvtec.begun(folder)
    if not dataset:
        raise DatasetError(f"{folder} is not 3D-ADAM: no folder in it has train/good inside")
    if not any((path / "train" / GOOD / _RGB).is_dir() for path in dataset.values()):
        return mvtec.read_as(folder, "3d-adam", requested)
    references: list[Reference] = []
    samples: list[Sample] = []
    for path in map(dataset.__getitem__, chosen(dataset, requested, folder)):
        good = list_images(path / "train" / GOOD / _RGB)
        if not good:
            raise DatasetError(f"no images in {path / 'train' / GOOD / _RGB}: the data set is not completely unpacked")
        references += [Reference(image, path.name) for image in good]
        samples += [Sample(image, path.name, GOOD) for image in list_images(path / "validation" / GOOD / _RGB)]
        for kind in list_folders(path / "test") if (path / "test").is_dir() else []:
            images = list_images(kind / _RGB)
            if not images:
                raise DatasetError(f"no images in {kind / _RGB}: the data set is not completely unpacked")
            if kind.name == GOOD:
                samples += [Sample(image, path.name, GOOD) for image in images]
                continue
            masks = masks_of(images, kind / "ground_truth", str(kind / _RGB))
            samples += [Sample(image, path.name, kind.name, mask) for image, mask in zip(images, masks, strict=True)]
    return Dataset("3d-adam", folder, tuple(references), tuple(samples))
