"""Deletes inspections or images beyond their limits, in short steps."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.pairing import check_pair
from indexer.domain.retention import CountAndBytes, PruneCutoff, RetentionGroup
from indexer.history.policy import RetentionPolicy
from indexer.storage.orphans import DeletionStep, OrphanDeleter

HISTORY = "inspections"  # the folder of maps and thumbnails within the data folder

_ROWS = 100  # inspections in one transaction: others wait for it to end
_FILES = 200  # files struck out in one transaction
_ABANDONED = 100_000  # paths remembered: 10 MB


@dataclass(frozen=True)
class PruneStep:
    """What one step removed. target: inspections, the images and maps of some, or files. reason: limits or disk space.

    Files go after what they belonged to; `reason` is None for them. failed: a line for each that cannot be deleted.
    """

    target: Literal["inspections", "images", "files"]
    reason: Literal["limits", "disk_space"] | None
    amount: CountAndBytes
    failed: tuple[str, ...] = ()


class Pruner:
    """Prunes one data folder. Any number of processes may do so at once.

    Its methods are generators of steps, each a short transaction or a few deleted files, to be run with pauses between
    them. They may raise CatalogueError, StorageFull and OSError; the next run continues.
    """

    def __init__(self, folder: DataFolder, catalogue: Catalogue, policy: RetentionPolicy, min_free_bytes: int) -> None:
        self._folder = folder
        self._catalogue = catalogue
        self._data = folder.root
        self._retention = catalogue.retention
        self._sweeper = OrphanDeleter(
            folder.root, folder.lock, catalogue.stored_files.named, catalogue.stored_files.needed
        )
        self._policy = policy
        self._min_free_bytes = min_free_bytes
        self._abandoned: deque[str] = deque(maxlen=_ABANDONED)

    def abandon(self, paths: Iterable[str]) -> None:
        """Have files (paths in the data folder) deleted that were written for a row that may not be there.

        Beyond the last 100,000 of them, and after the process has ended, they are left to `delete_orphans`.
        """
        self._abandoned.extend(paths)

    def delete_abandoned(self) -> Iterator[PruneStep]:
        """Delete what was abandoned, unless something names it."""
        while self._abandoned:
            batch = [self._abandoned.popleft() for _ in range(min(_FILES, len(self._abandoned)))]
            dealt = 0
            try:
                for swept in self._sweeper.delete(batch):
                    dealt += swept.files
                    yield _files_gone(swept)
            finally:
                self._abandoned.extend(batch[dealt:])
            if dealt < len(batch):
                return  # somebody is recording all the time

    def plan(self, kinds: Iterable[RetentionGroup]) -> Iterator[PruneCutoff]:
        """What is beyond the policy's bounds now."""
        now = datetime.now(UTC)
        for kind in kinds:
            for target in ("inspections", "images"):
                bounds = self._policy.limits(target, defect=kind.defect)
                cut = self._retention.plan(kind, target, bounds, now)
                if cut is not None:
                    yield cut

    def prune_beyond_limits(self, kinds: Iterable[RetentionGroup]) -> Iterator[PruneStep]:
        """Take away what is beyond the policy's bounds, oldest first, inspections before images."""
        yield from self._deleted()
        for cut in self.plan(kinds):
            yield from self._pruned(cut, "limits")

    def bytes_to_free(self) -> int:
        """How many bytes of images have to go so that twice the least that must be free is free; 0 for none.

        Twice: the oldest images go before it comes to refusing new history.
        """
        free = shutil.disk_usage(self._data).free
        if free >= 2 * self._min_free_bytes:
            return 0
        return max(0, 2 * self._min_free_bytes - free - self._retention.pending().bytes)

    def free_disk_space(self) -> Iterator[PruneStep]:
        """While the disk is low, take away the oldest images of any category; never those of defects."""
        if shutil.disk_usage(self._data).free < 2 * self._min_free_bytes:
            yield from self._deleted()
            if requested := self.bytes_to_free():
                for cut in self._retention.plan_to_free(requested):
                    yield from self._pruned(cut, "disk_space")

    def delete_orphans(self) -> Iterator[PruneStep]:
        """Delete files that nothing names, as crashes, compactions and old references leave them.

        CatalogueMismatch when another folder has been mounted in place of this one since it was opened.
        """
        check_pair(self._folder, self._catalogue)
        for swept in self._sweeper.orphans("segments", "coresets", "originals", HISTORY):
            yield _files_gone(swept)

    def _pruned(self, cut: PruneCutoff, why: Literal["limits", "disk_space"]) -> Iterator[PruneStep]:
        while (amount := self._retention.prune(cut, _ROWS)).count:
            yield PruneStep(cut.target, why, amount)
            yield from self._deleted()

    def _deleted(self) -> Iterator[PruneStep]:
        """Delete the files that are pending.

        A crash before they are struck out has them deleted again. If one of them is recorded and pruned anew just then,
        it is left to `delete_orphans`.
        """
        while paths := self._retention.pending_deletions(_FILES):
            dealt = 0
            for swept in self._sweeper.delete(paths):
                dealt += swept.files
                yield _files_gone(swept)
            # Also those that cannot be deleted: the others must not wait for them, and `delete_orphans` tries again.
            self._retention.confirm_deleted(paths[:dealt])
            if dealt < len(paths):
                return  # somebody is recording all the time


def _files_gone(swept: DeletionStep) -> PruneStep:
    return PruneStep("files", None, CountAndBytes(swept.deleted, swept.bytes), swept.failed)
