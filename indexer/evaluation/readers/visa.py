"""VisA's one-class split: as it is downloaded, with `split_csv/1cls.csv`, or converted by its own script to `1cls/`."""

from __future__ import annotations

import csv
from pathlib import Path

from indexer.evaluation.dataset import GOOD, Dataset, DatasetError, Reference, Sample
from indexer.evaluation.readers import mvtec

CATEGORIES = frozenset((
    "candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2", "pcb1", "pcb2",
    "pcb3", "pcb4", "pipe_fryum",
))  # fmt: skip
_SPLIT = Path("split_csv") / "1cls.csv"
_COLUMNS = ["object", "split", "label", "image", "mask"]


def recognises(folder: Path) -> bool:
    """Whether the folder holds VisA, in either form."""
    names = mvtec.category_names(folder)
    return (folder / _SPLIT).is_file() or (folder / "1cls").is_dir() or (bool(names) and names <= CATEGORIES)


def read(folder: Path) -> Dataset:
    """Read VisA's one-class split. DatasetError."""
    if (folder / _SPLIT).is_file():
        return _read_split(folder)
    converted = folder / "1cls" if (folder / "1cls").is_dir() else folder
    if not mvtec.category_names(converted):
        raise DatasetError(f"{folder} is not VisA: it has neither {_SPLIT} nor its conversion 1cls/<object>/train/good")
    return mvtec.read_as(converted, "visa")


def _read_split(folder: Path) -> Dataset:
    references: list[Reference] = []
    samples: list[Sample] = []
    with (folder / _SPLIT).open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != _COLUMNS:
            raise DatasetError(f"{folder / _SPLIT} is not VisA's: its columns should be {', '.join(_COLUMNS)}")
        for row in rows:
            image = _there(folder, row["image"])
            if row["split"] == "train":
                references.append(Reference(image, row["object"]))
            elif row["label"] == "normal":
                samples.append(Sample(image, row["object"], GOOD))
            else:
                mask = _there(folder, row["mask"]) if row["mask"] else None
                samples.append(Sample(image, row["object"], "bad", mask, numbered=True))
    return Dataset(
        "visa", folder,
        tuple(sorted(references, key=lambda each: (each.category, each.path))),
        tuple(sorted(samples, key=lambda each: (each.category, each.path))),
    )  # fmt: skip


def _there(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DatasetError(f"{_SPLIT} names {name}, which is not in {folder}: the data set is not wholly unpacked")
    return path
