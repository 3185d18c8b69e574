"""The references of one data folder: files, catalogue and memory kept in step, in the order that survives a crash."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from indexer.catalogue import (
    Appended,
    Catalogue,
    CatalogueError,
    Changes,
    NewReference,
    SegmentRows,
    SegmentsChanged,
    SegmentUsage,
)
from indexer.encoders.base import FeatureSpace
from indexer.memory import EncodedReferences, Memory, join
from indexer.store import (
    OriginalStore,
    SegmentDamaged,
    SegmentFile,
    SegmentHeader,
    SegmentStore,
    StorageFull,
    StoreLock,
)
from indexer.verdicts.appearance import Appearance
from indexer.verdicts.findings import Finding

_LOAD_BATCH = 256  # references entered into the memory at once while loading
_FULL_SEGMENT = 256  # references; compaction leaves segments of this size alone while they are all alive
_MANY_SEGMENTS = 64  # worth compacting: then it is done


RESTORING = "restoring"  # a file in a data folder that a restore has not finished


class BeingRestored(OSError):
    """The data folder is not whole: a restore is under way or was cut off."""


class FeatureSpaceMismatch(RuntimeError):
    """The data folder holds features of another encoder or codec; they are never mixed."""


@dataclass(frozen=True)
class Original:
    """An uploaded picture: its bytes as they came, and what the decoder found. sha256: hex, of the bytes.

    appearance, findings: from screening, where it was screened.
    """

    filename: str
    data: bytes
    sha256: str
    suffix: str
    width: int
    height: int
    appearance: Appearance | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one picture: its own reference, or the one that already holds the same bytes."""

    filename: str
    status: Literal["added", "duplicate"]
    reference_id: int


@dataclass(frozen=True)
class Added:
    """A committed addition; `version` is the first snapshot that holds everything named here."""

    version: int
    outcomes: tuple[Outcome, ...]


class Library:
    """Durable references and the newest snapshot of their memory. Safe to use from several threads and processes.

    An addition is on the disk (segment, picture), then in the catalogue (one transaction), then in the snapshot, in
    that order, and acknowledged last. What other processes commit to the same folder arrives by `refresh`.
    """

    def __init__(self, data: Path, catalogue: Catalogue, memory: Memory, memory_id: int) -> None:
        self.catalogue = catalogue
        self.damaged: tuple[SegmentDamaged, ...] = ()
        self._memory = memory
        self._memory_id = memory_id
        self._files = StoreLock(data / "append.lock")
        self._segments = SegmentStore(data / "segments", self._files)
        self._originals = OriginalStore(data / "originals", self._files)
        self._publishing = threading.Lock()

    @classmethod
    def open(
        cls,
        data: Path,
        space: FeatureSpace,
        *,
        codec: str = "fp16",
        database_url: str | None = None,
        codes_on_disk: bool = False,
    ) -> Library:
        """Open or create a data folder, sweep what a crash left behind, and load and verify every segment.

        database_url: None keeps the catalogue in the folder, as SQLite. codes_on_disk: search patches in files of the
        folder, as much again as the segments, rather than in memory. Segments that fail their check are named in
        `damaged` and not served. FeatureSpaceMismatch when the folder was made with another encoder or codec;
        SchemaMismatch from the catalogue; BeingRestored.
        """
        data.mkdir(parents=True, exist_ok=True)
        if (data / RESTORING).exists():  # its files would be swept: not all of them are in the catalogue yet
            raise BeingRestored(f"{data} is not wholly restored: run `touchstone restore` to its end first")
        catalogue = Catalogue.open(catalogue_url(data, database_url))
        record = catalogue.memories.ensure(space.to_json(), space.fingerprint, codec)
        if record.fingerprint != space.fingerprint:
            held = FeatureSpace.from_json(record.space_json)
            raise FeatureSpaceMismatch(
                f"the memory in {data} was made by encoder {held.encoder} ({record.fingerprint[:12]}), not by "
                f"{space.encoder} ({space.fingerprint[:12]}): start with that encoder, or run `touchstone rebuild`"
            )
        if record.codec != codec:
            raise FeatureSpaceMismatch(
                f"the memory in {data} holds {record.codec} codes, not {codec}: "
                f"set the codec to {record.codec}, or run `touchstone rebuild`"
            )
        library = cls(data, catalogue, Memory.empty(space, codec, folder=data if codes_on_disk else None), record.id)
        library.sweep()
        library.refresh()
        return library

    def close(self) -> None:
        """Give back the database connections."""
        self.catalogue.close()

    @property
    def memory(self) -> Memory:
        """The newest snapshot this process knows."""
        return self._memory

    @property
    def memory_id(self) -> int:
        """The catalogue's number of the memory being served."""
        return self._memory_id

    def known(self, category: str, digests: Collection[str]) -> dict[str, int]:
        """Which of these pictures (sha256) are live references of the category already, with their ids."""
        return self.catalogue.references.live_digests(category, digests)

    def add(self, category: str, originals: Sequence[Original], encoded: Mapping[str, EncodedReferences]) -> Added:
        """Make pictures references of a category, together.

        encoded: by sha256, one reference each in the memory's codec; of a picture that is a live reference already
        (`known`) it may be left out. Returns after the commit, with the snapshot published. A picture that is known, or
        comes twice, is a duplicate: adding the same pictures again changes nothing. StorageFull when there is no room;
        then nothing was added.
        """
        known = self.known(category, [original.sha256 for original in originals])
        fresh = {each.sha256: each for each in originals if each.sha256 not in known}
        missing = fresh.keys() - encoded.keys()
        if missing:
            raise ValueError(f"{len(missing)} new pictures came without their features")
        ids, version, added = dict(known), self._memory.version, set[str]()
        if fresh:
            try:
                appended = self._commit(category, fresh, join([encoded[sha256] for sha256 in fresh]))
            except (StorageFull, CatalogueError):
                self.sweep()  # gives back what no committed row names
                raise
            ids |= dict(zip(fresh, appended.reference_ids, strict=True))
            # Another process may have added some of them since we asked.
            added = {sha256 for row, sha256 in enumerate(fresh) if row not in appended.duplicates}
            version = appended.version
            self.refresh()
        outcomes = []
        for original in originals:
            status: Literal["added", "duplicate"] = "added" if original.sha256 in added else "duplicate"
            added.discard(original.sha256)
            outcomes.append(Outcome(original.filename, status, ids[original.sha256]))
        return Added(version, tuple(outcomes))

    def remove(self, reference_ids: Collection[int]) -> int:
        """Take references back, durably; returns a version without them. Those not live are passed over."""
        version = self.catalogue.references.remove(reference_ids).version
        self.refresh()
        return version

    def remove_category(self, name: str) -> int:
        """Take back a category with all its references; returns a version without it. UnknownCategory."""
        version = self.catalogue.categories.remove(name).version
        self.refresh()
        return version

    def refresh(self) -> Memory:
        """Bring the snapshot up to what any process has committed, and return it.

        FeatureSpaceMismatch when another process has switched the folder to a memory of another encoder.
        """
        with self._publishing:
            changes = self._changes()
            if changes.version != self._memory.version:
                self._memory = self._entered(self._memory, changes.added, changes.version).removed(
                    changes.removed, changes.version
                )
                if self._memory.rows > 2 * len(self._memory) + _FULL_SEGMENT:
                    self._memory = self._without_removed(self._memory)
            return self._memory

    def keep_original(self, data: bytes, suffix: str) -> str:
        """Keep an inspected picture's bytes until nothing names them any more; returns their sha256 (hex).

        The next sweep takes them away unless an inspection or a reference names them by then: hold `appending()`.
        """
        return self._originals.write(data, suffix)

    def read_original(self, sha256: str, suffix: str) -> bytes:
        """The bytes of a kept picture. OriginalUnreadable when they are gone or changed."""
        return self._originals.read(sha256, suffix)

    @property
    def files(self) -> StoreLock:
        """The lock to hold (`appending()`) while files await the transaction that names them."""
        return self._files

    def sweep(self) -> int:
        """Remove files that no row of the catalogue names; returns how many. Waits for nobody: busy means 0."""
        segments = self._segments.sweep(self.catalogue.segments.known) or ()
        originals = self._originals.sweep(self.catalogue.references.known_originals) or ()
        return len(segments) + len(originals)

    def compact(self) -> int:
        """Rewrite small or partly removed segments into full ones; returns how many were replaced.

        Detection goes on: rows move on the disk only, and a crash leaves either the old segments or the new one.
        """
        replaced = 0
        with self._files.appending():
            usages = self.catalogue.segments.of(self._memory_id)
            waiting = [each for each in usages if _worth_compacting(each)]
            while waiting:
                group = [waiting.pop(0)]
                while waiting and sum(each.live for each in group) + waiting[0].live <= _FULL_SEGMENT:
                    group.append(waiting.pop(0))
                if len(group) == 1 and group[0].live == group[0].segment.count:
                    continue
                self._rewrite([each.segment for each in group])
                replaced += len(group)
        self.sweep()
        return replaced

    def tidy(self) -> int:
        """Compact once many segments are small or partly removed; returns how many were replaced, often none."""
        usages = self.catalogue.segments.of(self._memory_id)
        if sum(map(_worth_compacting, usages)) < _MANY_SEGMENTS:
            return 0
        try:
            return self.compact()
        except (SegmentDamaged, SegmentsChanged, StorageFull):
            return 0  # another time: nothing is lost by waiting

    def _commit(self, category: str, fresh: Mapping[str, Original], encoded: EncodedReferences) -> Appended:
        with self._files.appending():
            for original in fresh.values():
                self._originals.write(original.data, original.suffix)
            segment = self._write_segment(encoded)
            references = [
                NewReference(
                    sha256,
                    each.suffix,
                    each.filename,
                    each.width,
                    each.height,
                    None if each.appearance is None else asdict(each.appearance),
                    tuple(asdict(finding) for finding in each.findings),
                    len(each.data),
                )
                for sha256, each in fresh.items()
            ]
            return self.catalogue.references.append(category, segment, references, self._memory_id)

    def _rewrite(self, old: Sequence[SegmentFile]) -> None:
        names = {segment.name for segment in old}
        everything = self.catalogue.segments.changes_since(0, self._memory_id).added
        parts = [self._read(each) for each in everything if each.segment.name in names]
        ids = [row.reference_id for each in everything if each.segment.name in names for row in each.rows]
        segment = self._write_segment(join(parts)) if ids else None
        self.catalogue.segments.replace(
            self._memory_id, names, segment, {reference_id: row for row, reference_id in enumerate(ids)}
        )

    def _write_segment(self, encoded: EncodedReferences) -> SegmentFile:
        return write_segment(self._segments, encoded, self._memory.space, self._memory.codec.name)

    def _changes(self) -> Changes:
        changes = self.catalogue.segments.changes_since(self._memory.version, self._memory_id)
        if changes.active_memory_id != self._memory_id:
            raise FeatureSpaceMismatch("the data folder has been switched to another memory: restart with its encoder")
        return changes

    def _entered(self, memory: Memory, segments: Iterable[SegmentRows], version: int) -> Memory:
        """The snapshot with the rows of these segments; those that are damaged are noted and left out."""
        parts: list[EncodedReferences] = []
        ids: list[int] = []
        categories: list[str] = []
        damaged = {error.name: error for error in self.damaged}
        for each in segments:
            try:
                parts.append(self._read(each))
            except SegmentDamaged as error:
                # Another process may have compacted the segment since we asked where its rows are.
                moved = self._moved(each)
                if moved is None:
                    damaged[error.name] = error
                    continue
                parts.append(moved)
            ids += [row.reference_id for row in each.rows]
            categories += [row.category for row in each.rows]
            if len(ids) >= _LOAD_BATCH:
                memory = memory.added(ids, categories, join(parts), version)
                parts, ids, categories = [], [], []
        self.damaged = tuple(damaged.values())
        return memory.added(ids, categories, join(parts), version) if ids else memory

    def _read(self, rows: SegmentRows) -> EncodedReferences:
        segment = self._segments.read(rows.segment.name, rows.segment.sha256)
        space, codec = self._memory.space, self._memory.codec
        if (segment.header.fingerprint, segment.header.codec) != (space.fingerprint, codec.name):
            raise SegmentDamaged(rows.segment.name, "bad header")
        picked = [row.row for row in rows.rows]
        if picked == list(range(segment.header.count)):
            return EncodedReferences(segment.globals_, segment.codes)
        return EncodedReferences(segment.globals_[picked], segment.codes[picked])

    def _moved(self, missing: SegmentRows) -> EncodedReferences | None:
        """The same references' features from the segments they lie in now; None if they have not moved."""
        wanted = {row.reference_id: position for position, row in enumerate(missing.rows)}
        found: dict[int, EncodedReferences] = {}
        for each in self.catalogue.segments.changes_since(0, self._memory_id).added:
            rows = tuple(row for row in each.rows if row.reference_id in wanted)
            if not rows:
                continue
            if each.segment.name == missing.segment.name:
                return None
            encoded = self._read(SegmentRows(each.segment, rows))
            for number, row in enumerate(rows):
                found[wanted[row.reference_id]] = EncodedReferences(
                    encoded.globals_[number : number + 1], encoded.codes[number : number + 1]
                )
        return join([found[position] for position in range(len(wanted))]) if len(found) == len(wanted) else None

    def _without_removed(self, memory: Memory) -> Memory:
        """The same live references in a new arena, so that the memory of removed ones is given back."""
        fresh = Memory.empty(memory.space, memory.codec.name, folder=memory.arena.folder)
        rows = memory.rows_of()
        for start in range(0, len(rows), _LOAD_BATCH):
            part = rows[start : start + _LOAD_BATCH]
            encoded = EncodedReferences(
                np.stack([memory.globals_.descriptor(int(row)) for row in part]),
                torch.stack([memory.codes_of(int(row)) for row in part]).numpy(),
            )
            categories = [memory.category_of(int(row)) for row in part]
            fresh = fresh.added(memory.ids[part].tolist(), categories, encoded, memory.version)
        return fresh.at_version(memory.version)


def _worth_compacting(usage: SegmentUsage) -> bool:
    return usage.live < usage.segment.count or usage.live < _FULL_SEGMENT


def catalogue_url(data: Path, database_url: str | None) -> str:
    """The SQLAlchemy url of a data folder's catalogue: the one given, or SQLite inside the folder."""
    return database_url or f"sqlite:///{data / 'catalogue.sqlite'}"


def write_segment(store: SegmentStore, encoded: EncodedReferences, space: FeatureSpace, codec: str) -> SegmentFile:
    """Write references of a feature space as one durable segment. StorageFull when there is no room."""
    count, layers, cells, code_size = encoded.codes.shape
    header = SegmentHeader(space.fingerprint, codec, layers, cells, code_size, space.global_dim, count)
    return store.write(encoded.globals_, encoded.codes, header)
