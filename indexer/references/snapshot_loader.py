"""Loads committed changes into the published snapshot, each change whole or not at all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.category import CategorySettings
from indexer.domain.coreset import CoresetContent
from indexer.domain.errors import CorruptSegmentError
from indexer.domain.geometry import InputGeometry
from indexer.domain.profile import Profile
from indexer.domain.snapshot import MemoryRecord, PlacedReference, SegmentRows, Shard, SnapshotDelta
from indexer.encoders.base import FeatureSpace
from indexer.memory import EncodedReferences, MemoryBank, join
from indexer.memory.capacity import exceeds_memory
from indexer.storage.coreset_store import CoresetStore
from indexer.storage.segment_store import Segment, SegmentStore

_LOAD_BATCH = 64  # references of small segments entered into the memory at once: larger copies cost twice the time
_MAX_REMOVED = 256  # rows of removed references that are left in memory, besides as many as there are live ones
_PATIENCE_SECONDS = 10.0  # for which a file may refuse to be read before the rest is published without it

log = logging.getLogger("touchstone")

_Part = tuple[tuple[PlacedReference, ...], EncodedReferences]

T = TypeVar("T")


@dataclass(frozen=True)
class PublishedState:
    """What detection reads, replaced as a whole.

    memory: the snapshot. memory_id: the catalogue's number of the memory it is of. settings: of every category, by
    name; profiles: how its references were stored, by category. version: of the catalogue that this follows; larger
    than the snapshot's only once the data folder has been switched to another memory. corrupt_segments: not
    served. mapped: of the segments that are mapped, by name, whether their checksum has been verified. superseded_by:
    the encoder of a newer memory that this process cannot serve.
    """

    memory: MemoryBank
    memory_id: int
    settings: Mapping[str, CategorySettings] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    version: int = 0
    corrupt_segments: tuple[CorruptSegmentError, ...] = ()
    mapped: Mapping[str, bool] = field(default_factory=dict)
    superseded_by: str | None = None

    @property
    def unverified(self) -> tuple[str, ...]:
        """The names of mapped segments whose checksum has not been verified yet."""
        return tuple(name for name, verified in self.mapped.items() if not verified)


class SnapshotLoader:
    """Holds the newest published state of one data folder; safe to use from several threads.

    Codes are in memory, or in mapped segments: `mmap_codes` says which; None for memory until they take more than half
    of it. Segments that are mapped when a folder is opened are verified by `verify_mapped`, all others before they are
    published. After a compaction the memory is mapped anew, or the files that it replaced would take room on the disk.
    References that a coreset stands for are mapped in any case: only leave-one-out searches read them.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        segments: SegmentStore,
        coresets: CoresetStore,
        memory: MemoryBank,
        memory_id: int,
        mmap_codes: bool | None = None,
        shard: Shard | None = None,
    ) -> None:
        """shard: load its references only."""
        self._catalogue = catalogue
        self._segments = segments
        self._coresets = coresets
        self._unusable = set[int]()  # ids of coresets that cannot be searched: damaged, or references are gone
        self._mmap_codes = mmap_codes
        self._shard = shard
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
            changes = self._changes_since(now.memory.version, now.memory_id)
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
            delta = self._changes_since(0, now.memory_id)
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

    def verify_mapped(self, pause: Callable[[], object], patience: float = _PATIENCE_SECONDS) -> None:
        """Read mapped segments that have not been verified; one that is damaged is no longer served.

        pause: called after every few MB, so that detection has the disk and the processor. Raises as `refresh`.
        """
        names = set(self._published.unverified)
        usages = self._catalogue.segments.of(self._published.memory_id) if names else ()
        for segment in (usage.segment for usage in usages if usage.segment.name in names):
            read = partial(self._segments.verify, segment.name, segment.sha256, pause)
            damage = None
            try:
                self._with_patience(segment.name, patience, read)
            except CorruptSegmentError as error:
                damage = error
            with self._refreshing:
                if segment.name in self._published.mapped:
                    self._publish(self._verified(self._published, segment.name, damage))

    def read(self, rows: SegmentRows, memory: MemoryBank) -> EncodedReferences:
        """See `read_rows`."""
        return read_rows(self._segments, rows, memory)

    def _changes_since(self, version: int, memory_id: int) -> SnapshotDelta:
        return self._catalogue.segments.changes_since(version, memory_id, self._shard)

    def _verified(self, now: PublishedState, name: str, damage: CorruptSegmentError | None) -> PublishedState:
        if damage is None:
            return replace(now, mapped={**now.mapped, name: True})
        added = self._changes_since(0, now.memory_id).added
        lost = [row.reference_id for rows in added if rows.segment.name == name for row in rows.rows]
        if not lost:  # another process has compacted it: the next refresh maps the segment that replaced it
            return now
        return replace(
            now,
            memory=now.memory.without_references(lost, now.memory.version),
            mapped={other: verified for other, verified in now.mapped.items() if other != name},
            corrupt_segments=(*now.corrupt_segments, damage),
        )

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
        empty = MemoryBank.empty(now.memory.space, active.codec, mapped=bool(self._mmap_codes))
        delta = self._changes_since(0, active.id)
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
        mapped = now.memory.mapped or self._exceeds_memory(now, changes)
        if now.memory.rows and (mapped != now.memory.mapped or self._has_to_be_loaded_anew(now, changes)):
            whole = self._changes_since(0, now.memory_id)
            if whole.active == changes.active:  # else it was switched meanwhile: the next refresh looks anew
                now, changes = replace(now, memory=_emptied(now.memory, mapped), corrupt_segments=()), whole
        elif mapped != now.memory.mapped:
            now = replace(now, memory=_emptied(now.memory, mapped))
        opened = set[str]()
        if now.memory.version == 0:
            suspected = {damage.name for damage in self._published.corrupt_segments}
            opened = {rows.segment.name for rows in changes.added} - suspected
        coresets = {} if now.memory.rows else self._read_coresets(changes, patience)
        try:
            memory, damaged, files = self._entered(now, changes, patience, opened, coresets)
            memory = memory.without_references(changes.removed, changes.version)
            settings = self._catalogue.categories.settings()
            profiles = self._catalogue.references.profiles()
        except BaseException:
            now.memory.discard_later()
            raise
        memory = self._with_coresets(memory, changes, coresets)
        if not files and _holds_many_removed(memory):
            try:
                memory = _without_removed(memory)
            except (OSError, MemoryError) as error:  # it only costs room: the next change tries again
                log.warning("the memory of removed references is not freed: %s", error)
        return PublishedState(memory, now.memory_id, settings, profiles, changes.version, damaged, files)

    def _exceeds_memory(self, now: PublishedState, changes: SnapshotDelta) -> bool:
        """Whether the codes in memory are to be mapped from now on. Those that a coreset stands for are anyway."""
        if self._mmap_codes is not None:
            return False
        usable = {record.category: record for record in changes.coresets if record.id not in self._unusable}
        held, added = dict.fromkeys(usable, 0), 0
        for rows in changes.added:
            size = rows.segment.size // rows.segment.count
            for row in rows.rows:
                added += size
                if row.category in held:
                    held[row.category] += size
        for category, record in usable.items():
            result = record.result
            if result is not None:
                added += min(0, result.file.size - held[category])
        resident = now.memory.code_bytes
        return exceeds_memory(resident + added, resident)

    def _has_to_be_loaded_anew(self, now: PublishedState, changes: SnapshotDelta) -> bool:
        """Whether entering changes would keep what nobody needs: files that were replaced, codes of removed references
        beside mapped ones, or those that a new coreset stands for.
        """
        known = {coreset.id for coreset in now.memory.coresets.values()} | self._unusable
        if any(record.id not in known for record in changes.coresets):
            return True
        if not now.mapped:
            return False
        in_use = {usage.segment.name for usage in self._catalogue.segments.of(now.memory_id)}
        return _holds_many_removed(now.memory) or not now.mapped.keys() <= in_use

    def _read_coresets(self, changes: SnapshotDelta, patience: float) -> dict[str, tuple[int, CoresetContent]]:
        """The coresets that can be searched, by category, with their ids. OSError as `refresh`."""
        usable = {}
        live: dict[str, set[int]] = {}
        for segment_rows in changes.added:
            for row in segment_rows.rows:
                live.setdefault(row.category, set()).add(row.reference_id)
        for record in changes.coresets:
            if record.result is None or record.id in self._unusable:
                continue
            try:
                file = record.result.file
                content = self._with_patience(file.name, patience, partial(self._coresets.read, file))
            except CorruptSegmentError as error:
                log.error("the coreset of %s cannot be read, its references are searched: %s", record.category, error)
                self._unusable.add(record.id)
                continue
            of_part = self._shard is not None and self._shard.count > 1
            if of_part or live.get(record.category, set()).issuperset(content.references):
                usable[record.category] = record.id, content
        return usable

    def _with_coresets(
        self, memory: MemoryBank, changes: SnapshotDelta, coresets: Mapping[str, tuple[int, CoresetContent]]
    ) -> MemoryBank:
        """The snapshot with coresets that were read, and without those that were dropped."""
        for category, (coreset_id, content) in coresets.items():
            try:
                memory = memory.with_coreset(category, coreset_id, content, self._shard)
            except ValueError as error:  # references that cannot be served, for example
                log.error("%s: its references are searched", error)
        recorded = {record.id for record in changes.coresets}
        dropped = [category for category, coreset in memory.coresets.items() if coreset.id not in recorded]
        memory = memory.without_coresets(dropped)
        self._unusable = recorded - {coreset.id for coreset in memory.coresets.values()}
        return memory

    def _entered(
        self,
        now: PublishedState,
        changes: SnapshotDelta,
        patience: float,
        opened: Collection[str],
        coresets: Mapping[str, tuple[int, CoresetContent]],
    ) -> tuple[MemoryBank, tuple[CorruptSegmentError, ...], dict[str, bool]]:
        """The snapshot with the rows that were added; the segments, of before too, that are damaged; those mapped.

        opened: the names of segments that are mapped without being verified. coresets: their references are mapped.
        """
        # The same references come again under another geometry: their earlier rows go first.
        memory = now.memory.without_references(changes.reencoded, now.memory.version)
        geometries = {name: InputGeometry.from_json(text) for name, text in changes.geometries.items()}
        memory = memory.with_geometries(geometries)
        damaged = {error.name: error for error in now.corrupt_segments}
        mapped = dict(now.mapped) if now.memory.version else {}
        parts: list[EncodedReferences] = []
        ids: list[int] = []
        categories: list[str] = []

        def enter(in_place: bool) -> None:
            nonlocal memory, parts, ids, categories
            if ids:
                memory = memory.with_references(ids, categories, join(parts), changes.version, in_place=in_place)
            parts, ids, categories = [], [], []

        in_place = memory.mapped
        for segment_rows, map_rows in _split(changes.added, memory.mapped, coresets):
            name = segment_rows.segment.name
            loaded = self._parts(segment_rows, now, patience, mapped=map_rows, verify=name not in opened)
            if isinstance(loaded, CorruptSegmentError):
                damaged[name] = loaded
                continue
            if map_rows:
                mapped[name] = now.mapped.get(name, False) or name not in opened
            for rows, part in loaded:
                full = in_place or len(ids) >= _LOAD_BATCH
                if ids and (full or map_rows != in_place or part.grid != parts[-1].grid):
                    enter(in_place)
                in_place = map_rows
                parts.append(part)
                ids += [row.reference_id for row in rows]
                categories += [row.category for row in rows]
        enter(in_place)
        return memory, tuple(damaged.values()), mapped

    def _parts(
        self, rows: SegmentRows, now: PublishedState, patience: float, *, mapped: bool, verify: bool
    ) -> list[_Part] | CorruptSegmentError:
        """Some rows with their features, or why they cannot be served."""
        try:
            # Another process may have compacted the segment since we asked where its rows are.
            read = partial(self._loaded_or_moved, rows, now, mapped=mapped, verify=verify)
            return self._with_patience(rows.segment.name, patience, read)
        except CorruptSegmentError as damage:
            return damage

    def _with_patience(self, name: str, patience: float, read: Callable[[], T]) -> T:
        """What reading a segment gives. Raises CorruptSegmentError, also once the system has refused for so long."""
        try:
            result = read()
        except OSError:
            # A file system that is away for a moment is no damage; one bad file must not keep everything else out.
            since = self._failing_since.setdefault(name, time.monotonic())
            if time.monotonic() - since < patience:
                raise
            raise CorruptSegmentError(name, "unreadable") from None
        self._failing_since.pop(name, None)
        return result

    def _loaded_or_moved(self, rows: SegmentRows, now: PublishedState, *, mapped: bool, verify: bool) -> list[_Part]:
        try:
            if mapped:
                return list(self._mapped(rows, now.memory, verify=verify))
            return [(rows.rows, self.read(rows, now.memory))]
        except CorruptSegmentError:
            moved = self._moved(rows, now)
            if moved is None:
                raise
            return [(rows.rows, moved)]

    def _mapped(self, rows: SegmentRows, memory: MemoryBank, *, verify: bool) -> Iterator[_Part]:
        """Some rows of a segment where they lie, in runs of consecutive ones: a selection would be a copy."""
        if verify:
            self._segments.verify(rows.segment.name, rows.segment.sha256)
        encoded = _fitting(self._segments.map(rows.segment.name), rows.segment.name, memory)
        for _, run in groupby(enumerate(rows.rows), lambda pair: pair[1].row - pair[0]):
            placed = tuple(row for _, row in run)
            yield placed, encoded.run(placed[0].row, placed[-1].row)

    def _moved(self, missing: SegmentRows, now: PublishedState) -> EncodedReferences | None:
        """The same references' features from the segments they lie in now; None if they have not moved."""
        requested = {row.reference_id: position for position, row in enumerate(missing.rows)}
        rows_of_segments: dict[int, EncodedReferences] = {}
        for segment_rows in self._changes_since(0, now.memory_id).added:
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
    encoded = _fitting(segments.read(rows.segment.name, rows.segment.sha256), rows.segment.name, memory)
    picked = [row.row for row in rows.rows]
    return encoded if picked == list(range(len(encoded))) else encoded.select(picked)


def _fitting(segment: Segment, name: str, memory: MemoryBank) -> EncodedReferences:
    """What a segment holds. CorruptSegmentError unless it is of this memory's encoder and codec."""
    header = segment.header
    if (header.fingerprint, header.codec) != (memory.space.fingerprint, memory.codec.name):
        raise CorruptSegmentError(name, "bad header")
    return EncodedReferences(segment.global_descriptors, segment.codes, memory.codec.name, header.grid)


def _split(
    added: Sequence[SegmentRows], mapped: bool, coresets: Mapping[str, tuple[int, CoresetContent]]
) -> Iterator[tuple[SegmentRows, bool]]:
    """The rows of every segment, with whether they are mapped: all, or those that a coreset stands for."""
    covered = {name: set(content.references.tolist()) for name, (_, content) in coresets.items()}
    for segment_rows in added:
        parts: dict[bool, list[PlacedReference]] = {False: [], True: []}
        for row in segment_rows.rows:
            parts[mapped or row.reference_id in covered.get(row.category, ())].append(row)
        for in_place, rows in parts.items():
            if rows:
                yield SegmentRows(segment_rows.segment, tuple(rows)), in_place


def _emptied(memory: MemoryBank, mapped: bool) -> MemoryBank:
    return MemoryBank.empty(memory.space, memory.codec.name, mapped=mapped)


def _holds_many_removed(memory: MemoryBank) -> bool:
    """Whether rows that nothing reads any more are worth being freed."""
    return memory.removed > len(memory) + _MAX_REMOVED


def _described(memory: MemoryRecord) -> str:
    space = FeatureSpace.from_json(memory.space_json)
    return f"{space.encoder} ({space.global_geometry.described}, {space.fingerprint[:12]})"


def _without_removed(memory: MemoryBank) -> MemoryBank:
    """The same live references in a new arena, so that the memory of removed ones is given back."""
    fresh = MemoryBank.empty(memory.space, memory.codec.name).with_geometries(memory.geometries)
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
