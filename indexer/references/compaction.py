"""Rewrites small or partly removed segments into full ones."""

from __future__ import annotations

from collections.abc import Sequence

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.errors import (
    CorruptSegmentError,
    SegmentsChanged,
    StorageFull,
)
from indexer.domain.snapshot import SegmentFile, SegmentUsage
from indexer.memory import join
from indexer.references.segment_writer import write_segment
from indexer.references.snapshot_loader import PublishedState, SnapshotLoader
from indexer.storage.lock import StoreLock
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_store import SegmentStore

_FULL_SEGMENT = 256  # references; compaction leaves segments of this size alone while they are all alive

_FULL_BYTES = 2 << 30  # a rewrite holds so much in memory; references of large grids fill it sooner

_MANY_SEGMENTS = 64  # worth compacting: then it is done


def _worth_compacting(usage: SegmentUsage) -> bool:
    small = usage.live < _FULL_SEGMENT and _live_bytes(usage) < _FULL_BYTES // 2
    return usage.live < usage.segment.count or small


def _fit(group: Sequence[SegmentUsage]) -> bool:
    """Whether these make one segment at most."""
    return sum(usage.live for usage in group) <= _FULL_SEGMENT and sum(map(_live_bytes, group)) <= _FULL_BYTES


def _live_bytes(usage: SegmentUsage) -> int:
    return usage.segment.size * usage.live // max(1, usage.segment.count)


class Compactor:
    """Compacts the segments of the memory being served. Any number of processes may do so at once."""

    def __init__(
        self,
        catalogue: Catalogue,
        segments: SegmentStore,
        loader: SnapshotLoader,
        lock: StoreLock,
        orphans: OrphanDeleter,
    ) -> None:
        self._catalogue = catalogue
        self._segments = segments
        self._loader = loader
        self._lock = lock
        self._orphans = orphans

    def compact(self) -> int:
        """Rewrite small or partly removed segments into full ones; returns how many were replaced.

        Detection goes on: rows move on the disk only, and a crash leaves either the old segments or the new one.
        Raises CorruptSegmentError, StorageFull, and SegmentsChanged when another process compacts meanwhile.
        """
        replaced: list[str] = []
        with self._lock.shared():
            published = self._loader.published
            usages = self._catalogue.segments.of(published.memory_id)
            damaged = {damage.name for damage in published.corrupt_segments}
            by_grid: dict[tuple[int, int], list[SegmentUsage]] = {}
            for usage in usages:
                if _worth_compacting(usage) and usage.segment.name not in damaged:
                    by_grid.setdefault(self._segments.grid_of(usage.segment.name), []).append(usage)
            for waiting in by_grid.values():
                while waiting:
                    group = [waiting.pop(0)]
                    while waiting and _fit([*group, waiting[0]]):
                        group.append(waiting.pop(0))
                    if len(group) == 1 and group[0].live == group[0].segment.count:
                        continue
                    self._rewrite(published, [usage.segment for usage in group])
                    replaced += (usage.segment.name for usage in group)
        self._orphans.delete_if_possible([f"segments/{name}" for name in replaced])
        return len(replaced)

    def compact_if_needed(self) -> int:
        """Compact once many segments are small or partly removed; returns how many were replaced, often none."""
        usages = self._catalogue.segments.of(self._loader.published.memory_id)
        if sum(map(_worth_compacting, usages)) < _MANY_SEGMENTS:
            return 0
        try:
            return self.compact()
        except (CorruptSegmentError, SegmentsChanged, StorageFull):
            return 0  # another time: nothing is lost by waiting

    def _rewrite(self, published: PublishedState, old: Sequence[SegmentFile]) -> None:
        names = {segment.name for segment in old}
        segments = self._catalogue.segments.changes_since(0, published.memory_id).added
        parts = [
            self._loader.read(segment_rows, published.memory)
            for segment_rows in segments
            if segment_rows.segment.name in names
        ]
        ids = [
            row.reference_id
            for segment_rows in segments
            if segment_rows.segment.name in names
            for row in segment_rows.rows
        ]
        segment = write_segment(self._segments, join(parts), published.memory.space) if ids else None
        self._catalogue.segments.replace(
            published.memory_id, names, segment, {reference_id: row for row, reference_id in enumerate(ids)}
        )
