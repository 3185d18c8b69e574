"""What is kept, by which limits, and how much room is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Amount:
    """So many, and their bytes."""

    count: int
    bytes: int


@dataclass(frozen=True)
class Bounds:
    """What is kept of each category; None is without a limit."""

    count: int | None
    days: float | None
    bytes: int | None


@dataclass(frozen=True)
class RetentionLimits:
    """The limits in force. A defect is `anomalous` or `unfamiliar`, unless a person says other."""

    inspections: Bounds
    pictures: Bounds
    defects: Bounds
    defect_pictures: Bounds


@dataclass(frozen=True)
class Kept:
    """Inspections of one kind. next_inspections, next_pictures: what the next pruning takes."""

    inspections: int
    oldest: datetime | None
    pictures: Amount
    thumbnail_bytes: int
    next_inspections: Amount
    next_pictures: Amount


@dataclass(frozen=True)
class ReferencesKept:
    """Live references."""

    count: int
    picture_bytes: int
    code_bytes: int


@dataclass(frozen=True)
class CategoryStorage:
    """A category. name: None for inspections without one."""

    name: str | None
    references: ReferencesKept
    defects: Kept
    others: Kept


@dataclass(frozen=True)
class Disk:
    """The disk of the data folder, in bytes. Below the marks, first pictures of good parts go, then history stops."""

    free: int
    size: int
    pictures_go_below: int
    history_stops_below: int
    keeps_history: bool


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of the references' codes; and what anyone uses of the GPU, None where there is none."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


@dataclass(frozen=True)
class Storage:
    """What is kept. awaiting_deletion: files that nothing needs. pruned_at: when the answering process last pruned."""

    categories: tuple[CategoryStorage, ...]
    limits: RetentionLimits
    disk: Disk
    memory: MemoryUse
    awaiting_deletion: Amount
    pruned_at: datetime | None
