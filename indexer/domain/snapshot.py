"""What a snapshot of a memory is loaded from: segments, rows of live references, deltas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from indexer.domain.coreset import CoresetRecord


@dataclass(frozen=True)
class SegmentFile:
    """A segment on disk. name: file name within the store; sha256: of the whole file; size: bytes; count: rows."""

    name: str
    sha256: str
    size: int
    count: int


ChangeKind: TypeAlias = Literal["added", "removed", "switched", "compacted", "settings", "geometry", "condensed"]


@dataclass(frozen=True)
class MemoryRecord:
    """One encoding of all references. space_json: the feature space; fingerprint: its identity; codec: of the codes."""

    id: int
    fingerprint: str
    space_json: str
    codec: str
    created_at: datetime
    active: bool


@dataclass(frozen=True)
class GeometryRecord:
    """A geometry of a category in one memory. geometry_json: of `InputGeometry`.

    active: whether it is served; otherwise its references are still being encoded. error: why they cannot be.
    """

    id: int
    category: str
    geometry_json: str
    created_at: datetime
    active: bool
    error: str | None = None


@dataclass(frozen=True)
class GeometryChange:
    """A geometry that replaces a category's present one once all its references are encoded. encoded: how many are."""

    record: GeometryRecord
    encoded: int
    references: int


@dataclass(frozen=True)
class PlacedReference:
    """Where a live reference's codes lie: a row of a segment."""

    reference_id: int
    category: str
    row: int


@dataclass(frozen=True)
class SegmentRows:
    """The rows of one segment that belong to live references, by reference id."""

    segment: SegmentFile
    rows: tuple[PlacedReference, ...]


@dataclass(frozen=True)
class Shard:
    """References of one category, by the remainder of their ids: `number` of `count` parts. 0 of 1: all of them."""

    category: str
    number: int = 0
    count: int = 1


@dataclass(frozen=True)
class SnapshotDelta:
    """How to bring a memory's snapshot from one version to `version`.

    active: the memory being served at `version`; not the one asked for after a switch.
    added: live references gained since, in order of segment. removed: ids lost since that the snapshot may hold.
    geometries: the active geometry of every category, by name, as JSON; none where nothing has changed. reencoded: ids
    among `added` whose rows under an earlier geometry the snapshot may hold: they go as these come. coresets: the
    finished ones of all categories, also of those that hold other references now; none where nothing has changed.
    """

    version: int
    active: MemoryRecord | None
    added: tuple[SegmentRows, ...]
    removed: tuple[int, ...]
    geometries: Mapping[str, str] = field(default_factory=dict)
    reencoded: tuple[int, ...] = ()
    coresets: tuple[CoresetRecord, ...] = ()


@dataclass(frozen=True)
class SegmentUsage:
    """A segment in use, with how many of its rows still belong to live references."""

    segment: SegmentFile
    live: int
