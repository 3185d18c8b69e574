"""Where a category's threshold stands, what it rests on, and whether production still is like that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class UnfamiliarLevel:
    """Where a category's level for `unfamiliar` stands. reached: whether `unfamiliar_rate` can be promised."""

    level: float | None
    reached: bool
    references_needed: int


@dataclass(frozen=True)
class Calibration:
    """Where a category's threshold stands. progress: share done of what is being computed.

    references: how many scores it rests on; duplicates do not count. reached: whether `false_reject_rate` can be
    promised; until then the threshold is the most cautious one. region_level: what a pixel of a region exceeds.
    """

    state: Literal["ready", "pending", "none"]
    references: int
    references_needed: int
    threshold: float | None = None
    version: int | None = None
    progress: float | None = None
    region_level: float | None = None
    reached: bool | None = None
    duplicates: int = 0
    unfamiliar: UnfamiliarLevel | None = None


@dataclass(frozen=True)
class Drift:
    """Whether good production is still like the references. p_values: inspections by p-value, in ten bins.

    evidence: betting capital against `steady`, 1 at the start; highest: the most it was; alarm: where the flag goes up.
    """

    state: Literal["steady", "drifting"]
    inspections: int
    p_values: tuple[int, ...]
    evidence: float
    highest: float
    alarm: float
    since: datetime
    flagged_at: datetime | None


@dataclass(frozen=True)
class Scores:
    """Leave-one-out scores of a category's references, ascending, and which reference has each.

    version: of the memory they were computed on; None until there is a calibration.
    """

    version: int | None
    scores: tuple[float, ...]
    references: tuple[int, ...]
