"""Removes unusable files from a data set, so that one bad file does not stop the evaluation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from indexer.evaluation.dataset import Dataset, DatasetError, LeftOut
from indexer.imaging.decode import ImageRejected, read_image
from indexer.text import TextRejected, category_name

_KNOWN = "usable"  # the file that holds, a line each, what was found usable before


def drop_unusable(dataset: Dataset, cache: Path, advance: Callable[[int], None]) -> Dataset:
    """The data set without images that cannot be decoded and categories that cannot be named or have no reference.

    What is left out, and why, is in `left_out`. A defective sample whose mask cannot be decoded is kept without it.
    cache: a folder that remembers what was decoded; it is decoded again when its size or time has changed. advance:
    told how many more images were looked at. DatasetError when no category is left.
    """
    paths = [item.path for item in dataset.references] + [item.path for item in dataset.samples]
    paths += [sample.mask for sample in dataset.samples if sample.mask is not None]
    refused = _rejected(paths, cache, advance)
    misnamed = {name: reason for name in dataset.categories if (reason := _misnamed(name)) is not None}
    references = [
        reference
        for reference in dataset.references
        if reference.path not in refused and reference.category not in misnamed
    ]
    stored = {reference.category for reference in references}
    without = {name: misnamed.get(name, "None of its references can be used.") for name in dataset.categories}
    left_out = [LeftOut(dataset.folder / name, reason) for name, reason in without.items() if name not in stored]
    if not stored:
        first = next(iter(refused.items())) if refused else (left_out[0].path, left_out[0].detail)
        raise DatasetError(f"no category can be used, since of {first[0]}: {first[1]}")
    left_out += [LeftOut(path, detail) for path, detail in refused.items()]
    samples = [sample for sample in dataset.samples if sample.category in stored and sample.path not in refused]
    return replace(
        dataset,
        references=tuple(references),
        left_out=tuple(left_out),
        samples=tuple(replace(sample, mask=None) if sample.mask in refused else sample for sample in samples),
    )


def _rejected(paths: list[Path], cache: Path, advance: Callable[[int], None]) -> Mapping[Path, str]:
    """Why files cannot be used, by path, in their order."""
    cache.mkdir(parents=True, exist_ok=True)
    list_file = cache / _KNOWN
    decodable = set(list_file.read_text(encoding="ascii", errors="replace").split()) if list_file.is_file() else set()

    def look(path: Path) -> tuple[str, str | None]:
        """The file's mark, and why it cannot be used."""
        try:
            stat = path.stat()
            mark = hashlib.sha256(os.fsencode(path) + f" {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
            if mark not in decodable:
                read_image(path)
        except ImageRejected as error:
            return "", error.detail
        except OSError as error:
            return "", f"It cannot be read: {error.strerror}."
        return mark, None

    refused: dict[Path, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool, list_file.open("a", encoding="ascii") as file:
        for path, (mark, reason) in zip(paths, pool.map(look, paths), strict=True):
            if reason is not None:
                refused[path] = reason
            elif mark not in decodable:
                file.write(f"{mark}\n")
            advance(1)
    return refused


def _misnamed(category: str) -> str | None:
    try:
        category_name(category)
    except TextRejected as refused:
        return f"The category's name {refused}: rename it."
    return None
