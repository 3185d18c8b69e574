"""Orphans are deleted in steps: no named file is deleted, and additions wait only briefly."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from indexer.storage.image_store import ImageStore
from indexer.storage.lock import StoreLock
from indexer.storage.orphans import DeletionStep, OrphanDeleter


class Folder:
    """A folder of originals of which some are named, and what was asked about them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = StoreLock(root / "append.lock")
        self.originals = ImageStore(root / "originals", self.lock)
        self.named: set[str] = set()
        self.asked: list[str] = []
        self.sweeper = OrphanDeleter(root, self.lock, lambda _: self.named, self._needed)

    def write(self, data: bytes, *, named: bool) -> str:
        path = self.originals.path(self.originals.write(data, ".png"), ".png")
        relative = str(path.relative_to(self.root))
        if named:
            self.named.add(relative)
        return relative

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in (self.root / "originals").rglob("*") if path.is_file()}

    def sweep(self) -> list[DeletionStep]:
        return list(self.sweeper.orphans("originals"))

    def _needed(self, paths: Sequence[str]) -> set[str]:
        self.asked += paths
        return set(self.named)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_orphans_and_temporary_files_are_deleted_and_named_files_remain(folder: Folder) -> None:
    stored, orphan = folder.write(b"kept", named=True), folder.write(b"orphan", named=False)
    (folder.root / f"{orphan}.0.tmp").write_bytes(b"half")
    swept = folder.sweep()
    assert folder.files() == {stored}
    assert sum(sweep.deleted for sweep in swept) == 2
    assert sum(sweep.bytes for sweep in swept) == len(b"orphan" + b"half")
    assert sum(sweep.files for sweep in swept) == 3


def test_the_lock_is_not_taken_for_files_that_are_named(folder: Folder) -> None:
    for index in range(20):
        folder.write(b"%d" % index, named=True)
    with folder.lock.shared():
        assert sum(sweep.files for sweep in folder.sweep()) == 20
    assert folder.asked == []


def test_no_file_is_deleted_during_additions_and_named_files_remain(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.storage.orphans._PATIENCE", 0.02)
    with folder.lock.shared():
        fresh = folder.write(b"fresh", named=False)
        assert sum(sweep.files for sweep in folder.sweep()) == 0
        assert folder.asked == []
        folder.named.add(fresh)
    folder.sweep()
    assert folder.files() == {fresh}


def test_what_was_named_between_the_two_looks_stays(folder: Folder) -> None:
    fresh = folder.write(b"fresh", named=False)
    sweeper = OrphanDeleter(folder.root, folder.lock, lambda _: (), lambda _: {fresh})
    assert [orphan.deleted for orphan in sweeper.orphans("originals")] == [0, 0]
    assert folder.files() == {fresh}


def test_an_append_waits_for_a_step_which_sees_what_was_committed_before_it(folder: Folder) -> None:
    orphan, appended = folder.write(b"orphan", named=False), threading.Event()

    def append() -> None:
        with folder.lock.shared():
            folder.write(b"fresh", named=True)
            appended.set()

    thread = threading.Thread(target=append)

    def needed(_: Sequence[str]) -> set[str]:
        thread.start()
        assert not appended.wait(0.2)
        return set()

    for _ in OrphanDeleter(folder.root, folder.lock, lambda _: (), needed).delete([orphan]):
        pass
    thread.join()
    assert folder.files() == folder.named


@contextmanager
def unlinking(monkeypatch: pytest.MonkeyPatch, before: Callable[[Path], None]) -> Iterator[None]:
    """While open, something happens before each file is deleted."""
    unlink = Path.unlink

    def slow(path: Path, missing_ok: bool = False) -> None:
        before(path)
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", slow)
        yield


def test_a_file_that_cannot_be_deleted_is_reported_and_the_others_are_deleted(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, *_ = sorted(folder.write(b"%d" % index, named=False) for index in range(5))

    def refuse(path: Path) -> None:
        if path == folder.root / stuck:
            raise OSError(errno.EIO, "Input/output error")

    with unlinking(monkeypatch, refuse):
        swept = folder.sweep()
    assert folder.files() == {stuck}
    assert [line for sweep in swept for line in sweep.failed] == [f"{stuck} cannot be deleted: Input/output error"]


def test_adding_files_waits_for_few_deletions_only(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(150):
        folder.write(b"%d" % index, named=False)
    waits: list[float] = []
    over = threading.Event()

    def add() -> None:
        while not over.is_set():
            begun = time.monotonic()
            with folder.lock.shared():
                waits.append(time.monotonic() - begun)
            time.sleep(0.002)

    thread = threading.Thread(target=add)
    thread.start()
    begun = time.monotonic()
    with unlinking(monkeypatch, lambda _: time.sleep(0.01)):  # a slow disk
        folder.sweep()
    took = time.monotonic() - begun
    over.set()
    thread.join()
    assert folder.files() == set()
    assert took > 1.5
    assert max(waits) < took / 2
