"""A second process that works on a data folder, for tests that kill it, race it or give it a full disk."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.errors import StorageFull
from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import Appended, NewReference
from indexer.domain.snapshot import MemoryRecord, SegmentFile
from indexer.storage.image_store import ImageStore
from indexer.storage.lock import StoreLock
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_format import SegmentHeader
from indexer.storage.segment_store import SegmentStore
from tests.helpers.forked import ForkedProcess

GEOMETRY = InputGeometry.paper().to_json()
LAYERS, CELLS, CODE_SIZE, GLOBAL_DIM = 2, 6, 16, 8


@dataclass(frozen=True)
class StoreParts:
    """The parts that `indexer.references.reference_store` joins, on one folder."""

    root: Path
    catalogue: Catalogue
    memory: MemoryRecord
    lock: StoreLock
    segments: SegmentStore
    originals: ImageStore

    @classmethod
    def open(cls, root: Path, database: str | None = None) -> StoreParts:
        catalogue = Catalogue.open(database or f"sqlite:///{root}/catalogue.sqlite")
        lock = StoreLock(root / "append.lock")
        return cls(
            root,
            catalogue,
            catalogue.memories.ensure("{}", "f" * 64, "fp16"),
            lock,
            SegmentStore(root / "segments", lock),
            ImageStore(root / "originals", lock),
        )

    def append(self, category: str, images: list[bytes]) -> Appended:
        """Make references of some bytes, durably, as the reference store does."""
        with self.lock.shared():
            references = [NewReference(self.originals.write(image, ".png"), ".png", "p.png", 4, 3) for image in images]
            return self.catalogue.references.append(
                category, write_segment(self.segments, images), references, self.memory.id, GEOMETRY
            )

    def sweep(self) -> None:
        """Delete what nothing refers to."""
        sweeper = OrphanDeleter(
            self.root, self.lock, self.catalogue.stored_files.named, self.catalogue.stored_files.needed
        )
        for _ in sweeper.orphans("segments", "originals"):
            pass


def arrays_of(images: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays that depend on the images' bytes alone, so that any process can check any row."""
    rows = [np.frombuffer(hashlib.sha256(image).digest(), np.uint8) for image in images]
    codes = np.stack([np.resize(row, (LAYERS, CELLS, CODE_SIZE)) for row in rows])
    return np.stack([row[:GLOBAL_DIM] for row in rows]).astype(np.float32), codes


def write_segment(store: SegmentStore, images: list[bytes]) -> SegmentFile:
    """A segment with one row an image."""
    header = SegmentHeader("f" * 64, "fp16", LAYERS, 1, CELLS, CODE_SIZE, GLOBAL_DIM, len(images))
    return store.write(*arrays_of(images), header)


class Appending:
    """A process that appends images numbered from `first`, two at a time, until it is killed or has appended all."""

    def __init__(self, root: Path, database: str, category: str, first: int, count: int) -> None:
        self._answers, answers = Pipe(duplex=False)
        self.process = ForkedProcess(
            _append_images, root, database, category, first, count, answers, environment=os.environ
        )
        answers.close()

    def answers(self) -> Iterator[tuple[int, int, int]]:
        """The version, reference's id and number of each image once it is acknowledged, until the process has ended."""
        with suppress(EOFError):
            while True:
                yield self._answers.recv()


def _append_images(root: Path, database: str, category: str, first: int, count: int, answers: Connection) -> None:
    folder = StoreParts.open(root, database)
    for start in range(first, first + count, 2):
        indices = (start, start + 1)
        appended = folder.append(category, [f"image {index}".encode() for index in indices])
        for index, reference_id in zip(indices, appended.reference_ids, strict=True):
            answers.send((appended.version, reference_id, index))


def fill_disk(root: Path) -> None:
    """Append until the disk is full; check that this failed those appends and nothing else."""
    folder = StoreParts.open(root)
    acknowledged: list[int] = []

    def append_until_full(size: int) -> int:
        for index in range(10_000):
            image = f"{size} {index} ".encode().ljust(size, b".")
            before = {path for path in root.rglob("*") if path.suffix == ".tmp"}
            try:
                acknowledged.extend(folder.append("bolt", [image]).reference_ids)
            except StorageFull:
                assert before == {path for path in root.rglob("*") if path.suffix == ".tmp"} == set()
                return index
        raise AssertionError("the disk never filled up")

    reserve = root / "reserve"  # what will be room again
    reserve.write_bytes(bytes(400_000))
    large, small = append_until_full(100_000), append_until_full(1)
    assert large > 2
    try:  # every byte that is left, so that SQL is what fails
        with (root / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"." * 512):
                pass
    except OSError:
        pass
    refused, stored = 0, folder.catalogue.categories.get("bolt").settings.k
    for index in range(10_000):
        try:
            stored = folder.catalogue.categories.update_settings("bolt", {"k": 1 + index}).settings.k
        except StorageFull:
            refused += 1
            break
    assert refused == 1
    assert folder.catalogue.categories.get("bolt").settings.k == stored
    assert [reference.id for reference in folder.catalogue.references.page(limit=10_000).items] == acknowledged
    (root / "ballast").unlink()
    reserve.unlink()
    folder.sweep()
    after = folder.append("bolt", [b"there is room again"])
    placed = folder.catalogue.segments.changes_since(0, folder.memory.id).added
    rows = [
        (entry.reference_id, folder.segments.read(segment.segment.name, segment.segment.sha256).codes[entry.row])
        for segment in placed
        for entry in segment.rows
    ]
    assert [reference_id for reference_id, _ in rows] == [*acknowledged, *after.reference_ids]
    for reference_id, codes in rows:
        original = folder.originals.read(folder.catalogue.references.get(reference_id).image_sha256, ".png")
        assert np.array_equal(arrays_of([original])[1][0], codes)
    print(f"{large} large and {small} small references before the disk was full")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fill", root]:
            fill_disk(Path(root))
