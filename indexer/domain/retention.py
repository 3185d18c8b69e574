"""The limits of the history, its usage, what pruning removes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

PruneTarget = Literal["inspections", "images"]


@dataclass(frozen=True)
class RetentionLimits:
    """How many are kept, how old they may become, and how many bytes they may have; None is without a limit."""

    count: int | None = None
    age: timedelta | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class RetentionGroup:
    """What is limited together: a category's defects, or its other inspections. category: None for those without."""

    category: str | None
    defect: bool


@dataclass(frozen=True)
class GroupUsage:
    """What is kept of one kind. image_bytes: of images and maps, counted for each inspection that has them."""

    group: RetentionGroup
    inspections: int
    oldest: datetime
    thumbnail_bytes: int
    images: int
    image_bytes: int


@dataclass(frozen=True)
class PruneCutoff:
    """An inspection of a kind, with which and before which all go: themselves, or their images and maps."""

    group: RetentionGroup
    target: PruneTarget
    timestamp: datetime
    id: str


@dataclass(frozen=True)
class CountAndBytes:
    """So many inspections, images with maps, or files, and the bytes of theirs."""

    count: int
    bytes: int


@dataclass(frozen=True)
class ReferenceUsage:
    """What the live references of a category take. code_bytes: of their rows in segments of the memory being served."""

    category: str
    references: int
    image_bytes: int
    code_bytes: int
