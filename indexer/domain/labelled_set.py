"""Labelled test sets: images of good and defective parts, and how each evaluation of them went."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from indexer.domain.json_types import JsonObject

REJECTING = ("anomalous", "unfamiliar")  # verdicts that take a part out of the line


@dataclass(frozen=True)
class LabelledImage:
    """An image of a test set. id: never used twice. mask_sha256, mask_suffix: of the image of its defect, if there is.

    width, height: px. added_at: UTC.
    """

    id: int
    category: str
    filename: str
    defective: bool
    image_sha256: str
    image_suffix: str
    width: int
    height: int
    added_at: datetime
    mask_sha256: str | None = None
    mask_suffix: str | None = None


@dataclass(frozen=True)
class LabelledResult:
    """What was detected in one image of a test set. score: None where it could not be inspected, for `error`.

    regions: `Region`s as JSON, in pixels of the image. mask_hit: whether a region touches the mask; None without one.
    """

    image_id: int
    score: float | None
    threshold: float | None
    p_value: float | None
    verdict: str | None
    regions: tuple[JsonObject, ...] = ()
    mask_hit: bool | None = None
    error: str | None = None


@dataclass(frozen=True)
class LabelledOutcome:
    """What counts of a `LabelledResult` when evaluations are summarised and compared. defective: the truth."""

    image_id: int
    defective: bool
    score: float | None
    verdict: str | None
    mask_hit: bool | None

    @property
    def rejected(self) -> bool | None:
        """Whether the part was taken out of the line; None without a verdict."""
        return None if self.verdict in (None, "uncalibrated") else self.verdict in REJECTING


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a category's test set. key: names what it was made with: references, settings, images.

    version: of the snapshot that it began on. settings: of the category, as JSON. images: how many there are to
    inspect; done: how many were. finished_at: None while it is under way. Times are UTC.
    """

    id: int
    category: str
    key: str
    version: int
    settings: JsonObject
    images: int
    done: int
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class RecallSummary:
    """How well a test set was told apart. Each figure is in [0, 1]; None where there is nothing to divide by.

    detected, missed: defective images rejected and passed. passed, rejected: good ones. undecided: without a verdict,
    or that could not be inspected. recall: of defective images, those rejected. precision: of the rejected, those
    defective. auroc: the probability that a defective image scores higher than a good one (ties count half), of all
    that have a score; None without one of each.
    masked: images with a mask; hits: those of them with a region that touches it.
    """

    detected: int
    missed: int
    passed: int
    rejected: int
    undecided: int
    recall: float | None
    precision: float | None
    auroc: float | None
    hits: int
    masked: int


@dataclass(frozen=True)
class RecallChange:
    """What became of the images that an evaluation shares with the one before. Ids of images, ascending.

    newly_missed, no_longer_missed: defective ones. newly_rejected, no_longer_rejected: good ones.
    """

    newly_missed: tuple[int, ...]
    no_longer_missed: tuple[int, ...]
    newly_rejected: tuple[int, ...]
    no_longer_rejected: tuple[int, ...]


def summarise(outcomes: Sequence[LabelledOutcome]) -> RecallSummary:
    """How an evaluation went."""
    counts = Counter((outcome.defective, outcome.rejected) for outcome in outcomes)
    detected, missed = counts[True, True], counts[True, False]
    rejected, passed = counts[False, True], counts[False, False]
    hits = [outcome.mask_hit for outcome in outcomes if outcome.mask_hit is not None]
    return RecallSummary(
        detected,
        missed,
        passed,
        rejected,
        counts[True, None] + counts[False, None],
        detected / (detected + missed) if detected + missed else None,
        detected / (detected + rejected) if detected + rejected else None,
        _auroc(outcomes),
        sum(hits),
        len(hits),
    )


def compare(before: Sequence[LabelledOutcome], after: Sequence[LabelledOutcome]) -> RecallChange:
    """What changed among the images of both evaluations."""
    was_wrong = {outcome.image_id: _wrong(outcome) for outcome in before}

    def which(*, defective: bool, wrong: bool) -> tuple[int, ...]:
        changed = (
            outcome.image_id
            for outcome in after
            if outcome.defective is defective
            and _wrong(outcome) is wrong
            and was_wrong.get(outcome.image_id, wrong) is not wrong
        )
        return tuple(sorted(changed))

    return RecallChange(
        which(defective=True, wrong=True),
        which(defective=True, wrong=False),
        which(defective=False, wrong=True),
        which(defective=False, wrong=False),
    )


def _wrong(outcome: LabelledOutcome) -> bool:
    return outcome.rejected is (not outcome.defective)


def _auroc(outcomes: Sequence[LabelledOutcome]) -> float | None:
    bad = [outcome.score for outcome in outcomes if outcome.score is not None and outcome.defective]
    good = sorted(outcome.score for outcome in outcomes if outcome.score is not None and not outcome.defective)
    if not bad or not good:
        return None
    ranks = sum(bisect_left(good, score) + bisect_right(good, score) for score in bad)
    return ranks / (2 * len(bad) * len(good))
