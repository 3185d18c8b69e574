"""Tuning: choosing the settings that separate a test set's good and defective parts best, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from indexer.domain.json_types import JsonObject


@dataclass(frozen=True)
class TuningResult:
    """What cross-validation says of changing a category's settings.

    good, defective: images that were scored; skipped: those that could not be. candidates: scorings that were tried.
    auroc: of the present settings, in [0, 1]. gain: what choosing adds to it on images that the choice was not made
    on; low, high: its 98 % interval. agreement: the share of choices that were `changes`. changes: the settings that
    separate all images best, by name, where they differ from the present ones.
    """

    good: int
    defective: int
    skipped: int
    candidates: int
    auroc: float
    gain: float
    low: float
    high: float
    agreement: float
    changes: JsonObject

    @property
    def better(self) -> bool:
        """Whether the changes can be recommended: their gain is more than the uncertainty."""
        return bool(self.changes) and self.low > 0


@dataclass(frozen=True)
class Tuning:
    """A tuning of a category that somebody asked for; the latest one is kept.

    key: names the references, settings and images that it began with; None before it began. settings: of the category
    then, with its geometry, as JSON. images: how many there are to score; done: how many were. finished_at: None while
    it is under way. result: None until then, and where it failed, for `error`. Times are UTC.
    """

    id: int
    category: str
    key: str | None
    settings: JsonObject
    images: int
    done: int
    requested_at: datetime
    finished_at: datetime | None
    result: TuningResult | None
    error: str | None
