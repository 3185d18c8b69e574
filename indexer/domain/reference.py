"""References: new ones, stored ones, and the results of adding or removing some."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from indexer.domain.json_types import JsonObject

ReferenceOrder: TypeAlias = Literal["oldest", "newest", "name", "outliers"]


@dataclass(frozen=True)
class NewReference:
    """An image about to become a reference. image_suffix: of the kept original, with its dot; width, height: px.

    appearance: its light and sharpness, when it was screened; findings: what screening found. image_bytes: its size.
    inspection_id: the inspection whose image it is, when feedback makes it one. encoding, reading: how it was stored
    and read, as `Encoding` and `Reading` in JSON.
    """

    image_sha256: str
    image_suffix: str
    filename: str
    width: int
    height: int
    appearance: JsonObject | None = None
    findings: tuple[JsonObject, ...] = ()
    image_bytes: int | None = None
    inspection_id: str | None = None
    encoding: str | None = None
    reading: str | None = None


@dataclass(frozen=True)
class Reference:
    """A reference, live while removed_at is None. Versions are those of the snapshots that gained and lost it.

    inspection_id: the inspection whose image feedback made it of, which need not be kept any more. encoding, reading:
    how it was stored and read; None of those added before that was noted.
    """

    id: int
    category: str
    image_sha256: str
    image_suffix: str
    filename: str
    width: int
    height: int
    added_at: datetime
    added_version: int
    removed_at: datetime | None
    removed_version: int | None
    appearance: JsonObject | None = None
    findings: tuple[JsonObject, ...] = ()
    inspection_id: str | None = None
    encoding: str | None = None
    reading: str | None = None


@dataclass(frozen=True)
class ReferenceChanges:
    """How a category's references differ from those of an earlier snapshot.

    added: ids of live references whose images were none then. removed: references of then whose images are none now.
    """

    added: tuple[int, ...]
    removed: tuple[Reference, ...]


@dataclass(frozen=True)
class Appended:
    """What an append did.

    version: the snapshot that holds everything named here. reference_ids: for each reference given, in order, the id
    of its live row. duplicates: positions of those that were there already, or earlier in the same append; their
    rows of the segment belong to no reference.
    """

    version: int
    reference_ids: tuple[int, ...]
    duplicates: frozenset[int]

    @property
    def added(self) -> int:
        """How many references are new. With none, the segment was not recorded."""
        return len(self.reference_ids) - len(self.duplicates)


@dataclass(frozen=True)
class Removed:
    """What a removal did. version: a snapshot without them; reference_ids: those that were live until now."""

    version: int
    reference_ids: tuple[int, ...]
