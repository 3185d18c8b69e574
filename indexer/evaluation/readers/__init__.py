"""Readers of the published layouts, and which of them a folder is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from indexer.evaluation.dataset import Dataset, DatasetError, Layout
from indexer.evaluation.readers import adam, mvtec, real_iad, visa

__all__ = ["LAYOUTS", "read_dataset"]

_READERS: dict[Layout, Callable[[Path], Dataset]] = {
    "mvtec-ad": mvtec.read,
    "visa": visa.read,
    "real-iad": real_iad.read,
    "3d-adam": adam.read,
    "folder": mvtec.read_folder,
}
LAYOUTS: tuple[Layout, ...] = tuple(_READERS)


def read_dataset(folder: Path, layout: Layout | None = None) -> Dataset:
    """Read a data set; None finds out which it is from its folders and the names of its categories.

    Every picture and mask named exists as a file. DatasetError, one line, when the folder is not such a data set or
    parts of it are missing.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder")
    dataset = _READERS[layout or _recognised(folder)](folder)
    if not any(sample.defective for sample in dataset.samples):
        raise DatasetError(f"{folder} has no defective test picture: there is nothing to tell apart")
    return dataset


def _recognised(folder: Path) -> Layout:
    if real_iad.recognises(folder):
        return "real-iad"
    if adam.recognises(folder):
        return "3d-adam"
    if visa.recognises(folder):
        return "visa"
    return "mvtec-ad" if mvtec.recognises(folder) else "folder"
