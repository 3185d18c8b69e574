"""VisA's one-class split: as it is downloaded, with `split_csv/1cls.csv`, or converted by its own script to `1cls/`."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

from indexer.evaluation.dataset import GOOD, Dataset, DatasetError, Reference, Sample, chosen
from indexer.evaluation.readers import mvtec
from indexer.imaging.listing import list_folders
from indexer.text import TextRejected, read_text

CATEGORIES = frozenset(
    (
        "candle",
        "capsules",
        "cashew",
        "chewinggum",
        "fryum",
        "macaroni1",
        "macaroni2",
        "pcb1",
        "pcb2",
        "pcb3",
        "pcb4",
        "pipe_fryum",
    )
)
_SPLIT = Path("split_csv") / "1cls.csv"
_COLUMNS = ["object", "split", "label", "image", "mask"]


def recognises(folder: Path) -> bool:
    """Whether the folder holds VisA, in either form, even where a part of it is missing."""
    if (folder / _SPLIT).is_file() or (folder / "1cls").is_dir():
        return True
    names = mvtec.category_names(folder) or {path.name for path in list_folders(folder) if (path / "Data").is_dir()}
    return bool(names) and names <= CATEGORIES


def read(folder: Path, requested: Collection[str]) -> Dataset:
    """Read VisA's one-class split. DatasetError."""
    if (folder / _SPLIT).is_file():
        return _read_split(folder, requested)
    converted = folder / "1cls" if (folder / "1cls").is_dir() else folder
    if not mvtec.category_names(converted):
        raise DatasetError(f"{folder} is not VisA: it has neither {_SPLIT} nor its conversion 1cls/<object>/train/good")
    return mvtec.read_as(converted, "visa", requested)


def _read_split(folder: Path, requested: Collection[str]) -> Dataset:
    references: list[Reference] = []
    samples: list[Sample] = []
    rows = _rows(folder / _SPLIT)
    names = set(chosen({row["object"] for row in rows}, requested, folder))
    for row in rows:
        if row["object"] not in names:
            continue
        image = _there(folder, row["image"])
        if row["split"] == "train":
            references.append(Reference(image, row["object"]))
        elif row["label"] == "normal":
            samples.append(Sample(image, row["object"], GOOD))
        else:
            mask = _there(folder, row["mask"]) if row["mask"] else None
            samples.append(Sample(image, row["object"], "bad", mask, numbered=True))
    return Dataset(
        "visa",
        folder,
        tuple(sorted(references, key=lambda reference: (reference.category, reference.path))),
        tuple(sorted(samples, key=lambda sample: (sample.category, sample.path))),
    )


def _rows(split: Path) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(split), newline=""))
        if reader.fieldnames == _COLUMNS:
            rows = list(reader)
            if cut := [index for index, row in enumerate(rows, start=2) if None in row.values()]:
                raise DatasetError(f"{split} is cut short in row {cut[0]}: unpack it again")
            return rows
    except TextRejected as refused:
        raise DatasetError(str(refused)) from None
    except csv.Error:
        pass
    raise DatasetError(f"{split} is not VisA's: its columns should be {', '.join(_COLUMNS)}")


def _there(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DatasetError(f"{_SPLIT} names {name}, which is not in {folder}: the data set is not completely unpacked")
    return path
