"""Loads committed changes into the published snapshot, each change whole or not at all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.category import CategorySettings
from indexer.domain.errors import CorruptSegmentError
from indexer.domain.geometry import InputGeometry
from indexer.domain.profile import Profile
from indexer.domain.snapshot import MemoryRecord, SegmentRows, SnapshotDelta
from indexer.encoders.base import FeatureSpace
from indexer.memory import EncodedReferences, MemoryBank, join
from indexer.storage.segment_store import SegmentStore

_LOAD_BATCH = 64  # references of small segments entered into the memory at once: larger copies cost twice the time
_MOST_REMOVED = 256  # rows of removed references that are left in memory, besides as many as there are live ones
_PATIENCE_SECONDS = 10.0  # for which a file may refuse to be read before the rest is published without it

log = logging.getLogger("touchstone")


@dataclass(frozen=True)
class PublishedState:
    """What detection reads, replaced as a whole.

    memory: the snapshot. memory_id: the catalogue's number of the memory it is of. settings: of every category, by
    name; profiles: how its references were stored, by category. version: of the catalogue that this follows; larger
    than the snapshot's only once the data folder has been switched to another memory. corrupt_segments: not
    served. superseded_by: the encoder of a newer memory that this process cannot serve.
    """

    memory: MemoryBank
    memory_id: int
    settings: Mapping[str, CategorySettings] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    version: int = 0
    corrupt_segments: tuple[CorruptSegmentError, ...] = ()
    superseded_by: str | None = None


class SnapshotLoader:
    """Holds the newest published state of one data folder; safe to use from several threads."""

    def __init__(self, catalogue: Catalogue, segments: SegmentStore, memory: MemoryBank, memory_id: int) -> None:
        self._catalogue = catalogue
        self._segments = segments
        self._published = PublishedState(memory, memory_id)
        self._failing_since: dict[str, float] = {}  # segment → when the system first refused to read it
        self._refreshing = threading.Lock()
        self._adopting = threading.Lock()

    @property
    def published(self) -> PublishedState:
        """The newest state this process knows."""
        return self._published

    def refresh(self, patience: float = _PATIENCE_SECONDS, *, adopt: bool = True) -> PublishedState:
        """Publish what any process has committed since the last refresh.

        After a switch to another memory, removals and settings are still followed. One of the same encoder, such as one
        of another codec, is adopted: loaded beside the present one, which goes on being followed meanwhile. adopt:
        False leaves that, which may take minutes, to another caller.

        Raises OSError when a segment cannot be read at the moment and CatalogueError when the catalogue cannot; then
        nothing has changed. After `patience` seconds of failing, the segment counts as damaged.
        """
        with self._refreshing:
            now = self._published
            changes = self._catalogue.segments.changes_since(now.memory.version, now.memory_id)
            active = changes.active
            if active is None or active.id == now.memory_id:
                if changes.version != now.memory.version:
                    self._publish(self._loaded(now, changes, patience))
                return self._published
            fits = active.fingerprint == now.memory.space.fingerprint
            if changes.version != now.version:
                self._publish(self._left_behind(now, changes, None if fits else _described(active)))
        if fits and adopt and self._adopting.acquire(blocking=False):
            try:
                self._adopt(active, patience)
            finally:
                self._adopting.release()
        return self._published

    def reload_damaged(self) -> None:
        """Read damaged segments again: what has been restored meanwhile is served from now on. Raises as `refresh`."""
        with self._refreshing:
            now = self._published
            if not now.corrupt_segments or now.superseded_by is not None:
                return
            delta = self._catalogue.segments.changes_since(0, now.memory_id)
            if delta.active is None or delta.active.id != now.memory_id:
                return
            loaded = set(now.memory.ids[now.memory.rows_of()].tolist())
            live = {row.reference_id for segment_rows in delta.added for row in segment_rows.rows}
            lacking = tuple(
                SegmentRows(segment_rows.segment, rows)
                for segment_rows in delta.added
                if (rows := tuple(row for row in segment_rows.rows if row.reference_id not in loaded))
            )
            changes = replace(delta, added=lacking, removed=tuple(loaded - live))
            self._publish(self._loaded(replace(now, corrupt_segments=()), changes, 0.0))

    def read(self, rows: SegmentRows, memory: MemoryBank) -> EncodedReferences:
        """See `read_rows`."""
        return read_rows(self._segments, rows, memory)

    def _publish(self, published: PublishedState) -> None:
        known_damage = {damage.name for damage in self._published.corrupt_segments}
        for damage in published.corrupt_segments:
            if damage.name not in known_damage:
                log.error("%s: its references are excluded from comparison", damage)
        if published.superseded_by not in (None, self._published.superseded_by):
            log.error(
                "the data folder has been switched to encoder %s: restart this process with it", published.superseded_by
            )
        self._published = published

    def _adopt(self, active: MemoryRecord, patience: float) -> None:
        """Load another memory of this encoder, and publish it."""
        now = self._published
        if now.memory_id == active.id:
            return
        log.info("the data folder was switched to %s codes; loading them", active.codec)
        empty = MemoryBank.empty(now.memory.space, active.codec, folder=now.memory.folder)
        delta = self._catalogue.segments.changes_since(0, active.id)
        if delta.active == active:  # else it was switched again: the next refresh looks anew
            adopted = self._loaded(PublishedState(empty, active.id), delta, patience)
            with self._refreshing:
                self._publish(adopted)

    def _left_behind(self, now: PublishedState, changes: SnapshotDelta, superseded_by: str | None) -> PublishedState:
        """What can still be followed once the references are in another memory: all but what was added."""
        return replace(
            now,
            memory=now.memory.without_references(changes.removed, now.memory.version),
            settings=self._catalogue.categories.settings(),
            profiles=self._catalogue.references.profiles(),
            version=changes.version,
            superseded_by=superseded_by,
        )

    def _loaded(self, now: PublishedState, changes: SnapshotDelta, patience: float) -> PublishedState:
        """`now` with these changes. Whatever is raised, `now` stays as it was and can be brought up again."""
        try:
            memory, damaged = self._entered(now, changes, patience)
            memory = memory.without_references(changes.removed, changes.version)
            settings = self._catalogue.categories.settings()
            profiles = self._catalogue.references.profiles()
        except BaseException:
            now.memory.discard_later()
            raise
        if memory.rows > 2 * len(memory) + _MOST_REMOVED:
            try:
                memory = _without_removed(memory)
            except (OSError, MemoryError) as error:  # it only costs room: the next change tries again
                log.warning("the memory of removed references is not freed: %s", error)
        return PublishedState(memory, now.memory_id, settings, profiles, changes.version, damaged)

    def _entered(
        self, now: PublishedState, changes: SnapshotDelta, patience: float
    ) -> tuple[MemoryBank, tuple[CorruptSegmentError, ...]]:
        """The snapshot with the rows that were added, and the segments, of before too, that are damaged."""
        # The same references come again under another geometry: their earlier rows go first.
        memory = now.memory.without_references(changes.reencoded, now.memory.version)
        geometries = {name: InputGeometry.from_json(text) for name, text in changes.geometries.items()}
        memory = memory.with_geometries(geometries)
        damaged = {error.name: error for error in now.corrupt_segments}
        parts: list[EncodedReferences] = []
        ids: list[int] = []
        categories: list[str] = []
        for segment_rows in changes.added:
            part = self._part(segment_rows, now, patience)
            if isinstance(part, CorruptSegmentError):
                damaged[part.name] = part
                continue
            if ids and (len(ids) >= _LOAD_BATCH or part.grid != parts[-1].grid):
                memory = memory.with_references(ids, categories, join(parts), changes.version)
                parts, ids, categories = [], [], []
            parts.append(part)
            ids += [row.reference_id for row in segment_rows.rows]
            categories += [row.category for row in segment_rows.rows]
        memory = memory.with_references(ids, categories, join(parts), changes.version) if ids else memory
        return memory, tuple(damaged.values())

    def _part(self, rows: SegmentRows, now: PublishedState, patience: float) -> EncodedReferences | CorruptSegmentError:
        """The features of some rows, or why they cannot be served."""
        name = rows.segment.name
        try:
            # Another process may have compacted the segment since we asked where its rows are.
            part = self._read_or_moved(rows, now)
        except CorruptSegmentError as damage:
            return damage
        except OSError:
            # A file system that is away for a moment is no damage; one bad file must not keep everything else out.
            since = self._failing_since.setdefault(name, time.monotonic())
            if time.monotonic() - since < patience:
                raise
            return CorruptSegmentError(name, "unreadable")
        self._failing_since.pop(name, None)
        return part

    def _read_or_moved(self, rows: SegmentRows, now: PublishedState) -> EncodedReferences:
        try:
            return self.read(rows, now.memory)
        except CorruptSegmentError:
            moved = self._moved(rows, now)
            if moved is None:
                raise
            return moved

    def _moved(self, missing: SegmentRows, now: PublishedState) -> EncodedReferences | None:
        """The same references' features from the segments they lie in now; None if they have not moved."""
        requested = {row.reference_id: position for position, row in enumerate(missing.rows)}
        rows_of_segments: dict[int, EncodedReferences] = {}
        for segment_rows in self._catalogue.segments.changes_since(0, now.memory_id).added:
            rows = tuple(row for row in segment_rows.rows if row.reference_id in requested)
            if not rows:
                continue
            if segment_rows.segment.name == missing.segment.name:
                return None
            encoded = self.read(SegmentRows(segment_rows.segment, rows), now.memory)
            for index, row in enumerate(rows):
                rows_of_segments[requested[row.reference_id]] = encoded.select([index])
        return (
            join([rows_of_segments[position] for position in range(len(requested))])
            if len(rows_of_segments) == len(requested)
            else None
        )


def read_rows(segments: SegmentStore, rows: SegmentRows, memory: MemoryBank) -> EncodedReferences:
    """Some rows of a segment. Raises CorruptSegmentError, and OSError when the file cannot be read now."""
    segment = segments.read(rows.segment.name, rows.segment.sha256)
    header = segment.header
    if (header.fingerprint, header.codec) != (memory.space.fingerprint, memory.codec.name):
        raise CorruptSegmentError(rows.segment.name, "bad header")
    encoded = EncodedReferences(segment.global_descriptors, segment.codes, memory.codec.name, header.grid)
    picked = [row.row for row in rows.rows]
    return encoded if picked == list(range(header.count)) else encoded.select(picked)


def _described(memory: MemoryRecord) -> str:
    space = FeatureSpace.from_json(memory.space_json)
    return f"{space.encoder} ({space.global_geometry.described}, {space.fingerprint[:12]})"


def _without_removed(memory: MemoryBank) -> MemoryBank:
    """The same live references in a new arena, so that the memory of removed ones is given back."""
    fresh = MemoryBank.empty(memory.space, memory.codec.name, folder=memory.folder).with_geometries(memory.geometries)
    rows = memory.rows_of()
    for index, table in enumerate(memory.tables):
        of_grid = rows[memory.table_numbers[rows] == index]
        for start in range(0, len(of_grid), _LOAD_BATCH):
            part = of_grid[start : start + _LOAD_BATCH]
            encoded = EncodedReferences(
                np.stack([memory.global_index.descriptor(int(row)) for row in part]),
                torch.stack([memory.codes_of(int(row)) for row in part]).numpy(),
                memory.codec.name,
                table.grid,
            )
            categories = [memory.category_of(int(row)) for row in part]
            fresh = fresh.with_references(memory.ids[part].tolist(), categories, encoded, memory.version)
    return fresh.with_version(memory.version)
