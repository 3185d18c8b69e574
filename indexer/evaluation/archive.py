"""Writes labelled images as a ZIP archive in MVTec-AD's layout, in parts: it is never in memory as a whole."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import IO, Literal, cast

from indexer.evaluation.dataset import GOOD
from indexer.evaluation.folder_names import FolderNames
from indexer.evaluation.readers.masks import UNMASKED

MANIFEST = "manifest.jsonl"
_UNNAMED = "defect"  # the folder of defects that have no class
_MANIFEST_PART = 1 << 16  # bytes


@dataclass(frozen=True)
class ArchivedImage:
    """An image as the manifest names it. source, id: what it is, and which. at: when it was inspected or added, UTC."""

    source: Literal["reference", "inspection", "test image"]
    id: str
    category: str
    filename: str
    at: datetime
    defective: bool = False
    defect_class: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class ImageBytes:
    """An encoded image file. suffix: with its dot."""

    data: bytes
    suffix: str


class DatasetArchive:
    """A ZIP archive that `touchstone evaluate` reads once it is unpacked.

    Every image that it was told of is a line of `manifest.jsonl`, whether it is in the archive or was left out. Memory
    grows with the number of files, by about a kilobyte each, not with their size.
    """

    @classmethod
    @contextmanager
    def begin(cls) -> Iterator[DatasetArchive]:
        """An empty archive, whose manifest is in a temporary file until it is finished."""
        with tempfile.TemporaryFile() as manifest:
            yield cls(manifest)

    def __init__(self, manifest: IO[bytes]) -> None:
        self._parts = _Parts()
        self._archive = zipfile.ZipFile(cast(IO[bytes], self._parts), "w", zipfile.ZIP_STORED)  # images are compressed
        self._manifest = manifest
        self._categories = FolderNames()
        self._classes: dict[str, FolderNames] = {}
        self._unmasked: dict[str, list[str]] = {}

    def add_reference(self, image: ArchivedImage, file: ImageBytes) -> None:
        """Add an image to `train/good`."""
        path = f"{self._category(image)}/train/{GOOD}/{image.id}{file.suffix}"
        self._archive.writestr(path, file.data)
        self._note(image, path=path)

    def add_sample(self, image: ArchivedImage, file: ImageBytes, mask: ImageBytes | None = None) -> None:
        """Add a labelled image to `test`: to `good`, or to its class, with the mask of its defect if there is one."""
        category, folder, mask_path = self._category(image), GOOD, None
        if image.defective:
            classes = self._classes.setdefault(category, FolderNames(GOOD))
            folder = classes.folder_of(image.defect_class or _UNNAMED)
        name = f"{image.id}{file.suffix}"
        path = f"{category}/test/{folder}/{name}"
        self._archive.writestr(path, file.data)
        if image.defective:
            masks = f"{category}/ground_truth/{folder}"
            unmasked = self._unmasked.setdefault(masks, [])
            if mask is None:
                unmasked.append(name)
            else:
                mask_path = f"{masks}/{image.id}_mask{mask.suffix}"
                self._archive.writestr(mask_path, mask.data)
        self._note(image, path=path, mask=mask_path)

    def leave_out(self, image: ArchivedImage, reason: str) -> None:
        """Name an image that is not in the archive. reason: a sentence."""
        self._note(image, left_out=reason)

    def take(self) -> bytes:
        """What has been written since the last call."""
        return self._parts.take()

    def finish(self) -> Iterator[bytes]:
        """Write the manifest and the archive's directory; the last parts of the archive."""
        for folder, names in self._unmasked.items():
            if names:
                self._archive.writestr(f"{folder}/{UNMASKED}", "".join(f"{name}\n" for name in names))
        self._manifest.seek(0)
        with self._archive.open(MANIFEST, "w", force_zip64=True) as member:
            while part := self._manifest.read(_MANIFEST_PART):
                member.write(part)
                yield self.take()
        self._archive.close()
        yield self.take()

    def _category(self, image: ArchivedImage) -> str:
        return self._categories.folder_of(image.category)

    def _note(
        self, image: ArchivedImage, path: str | None = None, mask: str | None = None, left_out: str | None = None
    ) -> None:
        line = {"path": path, "mask": mask, **asdict(image), "at": image.at.isoformat(), "left_out": left_out}
        self._manifest.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


class _Parts:
    """A file that is read while it is written, front to back."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._written.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        """What was written since the last call."""
        content = b"".join(self._written)
        self._written.clear()
        return content
