"""Readers of the published data set layouts, and detection of a folder's layout."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from indexer.evaluation.dataset import Dataset, DatasetError, Layout
from indexer.evaluation.readers import adam, mvtec, real_iad, visa

__all__ = ["LAYOUTS", "read_dataset"]

_READERS: dict[Layout, Callable[[Path, Collection[str]], Dataset]] = {
    "mvtec-ad": mvtec.read,
    "visa": visa.read,
    "real-iad": real_iad.read,
    "3d-adam": adam.read,
    "folder": mvtec.read_folder,
}
LAYOUTS: tuple[Layout, ...] = tuple(_READERS)


def read_dataset(folder: Path, layout: Layout | None = None, categories: Collection[str] = ()) -> Dataset:
    """Read a data set; None detects the layout from its folders and category names.

    categories: those to read, all if empty; the others are not checked. Every image and mask named exists as a file,
    and every category has references and samples. DatasetError, one line, when the folder is not such a data set or
    parts of it are missing.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder")
    dataset = _READERS[layout or _recognised(folder)](folder, categories)
    judged = {sample.category for sample in dataset.samples}
    for name in sorted(judged.symmetric_difference(dataset.categories)):
        lacks = "test images" if name in dataset.categories else "references"
        raise DatasetError(f"{name} in {folder} has no {lacks}: the data set is not completely unpacked")
    if not any(sample.defective for sample in dataset.samples):
        raise DatasetError(f"{folder} has no defective test image")
    return dataset


def _recognised(folder: Path) -> Layout:
    if real_iad.recognises(folder):
        return "real-iad"
    if adam.recognises(folder):
        return "3d-adam"
    if visa.recognises(folder):
        return "visa"
    return "mvtec-ad" if mvtec.recognises(folder) else "folder"
