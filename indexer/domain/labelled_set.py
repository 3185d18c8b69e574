"""Labelled test sets: images of good and defective parts, and how each evaluation of them went."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
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


def summarise(results: Sequence[LabelledResult], defective: Mapping[int, bool]) -> RecallSummary:
    """How an evaluation went. defective: the truth, by image id."""
    decided = [result for result in results if result.verdict is not None and result.verdict != "uncalibrated"]
    counts = {(truth, reject): 0 for truth in (False, True) for reject in (False, True)}
    for result in decided:
        counts[defective[result.image_id], result.verdict in REJECTING] += 1
    detected, missed = counts[True, True], counts[True, False]
    rejected, passed = counts[False, True], counts[False, False]
    hits = [result.mask_hit for result in results if result.mask_hit is not None]
    return RecallSummary(
        detected,
        missed,
        passed,
        rejected,
        len(results) - len(decided),
        detected / (detected + missed) if detected + missed else None,
        detected / (detected + rejected) if detected + rejected else None,
        _auroc(results, defective),
        sum(hits),
        len(hits),
    )


def compare(
    before: Sequence[LabelledResult], after: Sequence[LabelledResult], defective: Mapping[int, bool]
) -> RecallChange:
    """What changed among the images of both evaluations. defective: the truth, by image id."""
    wrong_before, wrong_after = (
        {result.image_id for result in results if _wrong(result, defective)} for results in (before, after)
    )
    both = {result.image_id for result in before} & {result.image_id for result in after}

    def which(ids: set[int], *, truth: bool) -> tuple[int, ...]:
        return tuple(sorted(image_id for image_id in ids & both if defective[image_id] is truth))

    new, mended = wrong_after - wrong_before, wrong_before - wrong_after
    return RecallChange(
        which(new, truth=True), which(mended, truth=True), which(new, truth=False), which(mended, truth=False)
    )


def _wrong(result: LabelledResult, defective: Mapping[int, bool]) -> bool:
    if result.verdict is None or result.verdict == "uncalibrated":
        return False
    return defective[result.image_id] != (result.verdict in REJECTING)


def _auroc(results: Sequence[LabelledResult], defective: Mapping[int, bool]) -> float | None:
    scored = [(result.score, defective[result.image_id]) for result in results if result.score is not None]
    bad = [score for score, truth in scored if truth]
    good = sorted(score for score, truth in scored if not truth)
    if not bad or not good:
        return None
    ranks = sum(bisect_left(good, score) + bisect_right(good, score) for score in bad)
    return ranks / (2 * len(bad) * len(good))
