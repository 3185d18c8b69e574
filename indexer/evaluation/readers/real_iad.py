"""Real-IAD: images in `realiad_<size>/<category>`, the split in one JSON file a category."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from indexer.evaluation.dataset import GOOD, Dataset, DatasetError, Reference, Sample, chosen
from indexer.imaging.listing import list_folders
from indexer.text import TextRejected, read_text

_SIZES = ("realiad_1024", "realiad_512", "realiad_256")  # the paper's first
_SPLITS = (Path("realiad_jsons") / "realiad_jsons", Path("realiad_jsons"))


def recognises(folder: Path) -> bool:
    """Whether the folder looks like Real-IAD, even where a part of it is missing."""
    return (folder / "realiad_jsons").is_dir() or any((folder / size).is_dir() for size in _SIZES)


def read(folder: Path, requested: Collection[str]) -> Dataset:
    """Read the multi-view split at the largest size there is. DatasetError."""
    images = next((folder / size for size in _SIZES if (folder / size).is_dir()), None)
    if images is None:
        raise DatasetError(f"{folder} holds none of {', '.join(_SIZES)}: unpack Real-IAD's images there")
    listed = next((candidates for split in _SPLITS if (candidates := sorted((folder / split).glob("*.json")))), None)
    if listed is None:
        raise DatasetError(f"no JSON file in {folder / _SPLITS[0]}: unpack realiad_jsons there")
    files = {file.stem: file for file in listed}
    references: list[Reference] = []
    samples: list[Sample] = []
    for category in chosen(files.keys() | {path.name for path in list_folders(images)}, requested, folder):
        if category not in files:
            raise DatasetError(f"{category} has images in {images}, but no JSON file in {listed[0].parent}")
        file = files[category]
        if not (images / category).is_dir():
            raise DatasetError(
                f"{file.name} is there, but {images / category} is not: unpack that category, or choose others with "
                "--category"
            )
        parts = _parse(file)
        references += [Reference(_there(images, category, row["image_path"], file), category) for row in parts["train"]]
        for row in parts["test"]:
            image = _there(images, category, row["image_path"], file)
            if row["anomaly_class"] == "OK":
                samples.append(Sample(image, category, GOOD))
            else:
                mask = _there(images, category, row["mask_path"], file) if row.get("mask_path") else None
                samples.append(Sample(image, category, row["anomaly_class"], mask))
    return Dataset("real-iad", folder, tuple(references), tuple(samples))


def _parse(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        parts: dict[str, list[dict[str, Any]]] = json.loads(read_text(file))
        for split in ("train", "test"):
            for row in parts[split]:
                named = (row["image_path"], row["anomaly_class"], row.get("mask_path") or "")
                if not all(isinstance(value, str) for value in named):
                    raise TypeError
    except TextRejected as refused:
        raise DatasetError(str(refused)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DatasetError(
            f"{file} is not one of Real-IAD's: it should list image_path and anomaly_class under train and test"
        ) from None
    return parts


def _there(images: Path, category: str, name: str, file: Path) -> Path:
    path = images / category / name
    if not path.is_file():
        raise DatasetError(f"{file.name} names {name}, which is not in {images / category}: unpack that category again")
    return path
