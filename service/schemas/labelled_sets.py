"""Labelled test sets, and how their evaluations went."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from indexer.domain.verdict import Verdict
from service.schemas.base import ResponseModel
from service.schemas.categories import LostReference


class LabelledImageView(ResponseModel):
    """An image of a test set."""

    id: int
    filename: str
    defective: bool
    width: int
    height: int
    added_at: datetime
    mask: bool = Field(description="Whether it is known where its defect is.")


class LabelledImagesResponse(ResponseModel):
    """A category's test set, in order of id."""

    images: tuple[LabelledImageView, ...]


class LabelledImageResult(ResponseModel):
    """What became of one image."""

    filename: str
    status: Literal["added", "duplicate", "rejected"]
    id: int | None = None
    reason: str | None = None
    detail: str | None = None


class LabelledImagesAdded(ResponseModel):
    """One result per image, in order."""

    results: tuple[LabelledImageResult, ...]


class RecallSummaryView(ResponseModel):
    """How well a test set was told apart, so far."""

    detected: int = Field(description="Defective images that were rejected.")
    missed: int = Field(description="Defective images that passed: escapes.")
    passed: int = Field(description="Good images that passed.")
    rejected: int = Field(description="Good images that were rejected: false rejects.")
    undecided: int = Field(description="Images without a verdict, or that could not be inspected.")
    recall: float | None = Field(description="Of defective images, those rejected.")
    precision: float | None = Field(description="Of rejected images, those defective.")
    auroc: float | None = Field(description="Probability that a defective image scores higher than a good one.")
    hits: int = Field(description="Of the masked images, those with a region that touches the mask.")
    masked: int


class RecallChangeView(ResponseModel):
    """Ids of images that changed since the evaluation before, of those in both."""

    newly_missed: tuple[int, ...]
    no_longer_missed: tuple[int, ...]
    newly_rejected: tuple[int, ...]
    no_longer_rejected: tuple[int, ...]


class EvaluationView(ResponseModel):
    """One evaluation of a test set."""

    id: int
    version: int = Field(description="The snapshot that it began on.")
    started_at: datetime
    finished_at: datetime | None = Field(description="Null while it is under way.")
    images: int
    done: int = Field(description="Images inspected so far.")
    settings: dict[str, Any] = Field(description="The category's, as they were.")
    summary: RecallSummaryView
    change: RecallChangeView | None = Field(description="Against the evaluation before; null of the first.")


class EvaluationsResponse(ResponseModel):
    """The evaluations of a category's test set, newest first."""

    evaluations: tuple[EvaluationView, ...]


class ChangesSinceView(ResponseModel):
    """What has changed in a category since an evaluation of its test set."""

    then: dict[str, Any] = Field(description="Settings that differ now, as they were.")
    now: dict[str, Any] = Field(description="The same settings as they are.")
    added: tuple[int, ...] = Field(description="References whose images were none then.")
    removed: tuple[int, ...] = Field(description="References of then whose images are none now.")
    encoder_changed: bool = Field(
        description="Whether encoder or codec were changed: `touchstone rebuild` changes them back."
    )
    geometry_changed: bool = Field(description="Whether the geometry was changed: set it again among the settings.")


class RolledBackView(ResponseModel):
    """What this request rolled back; repeat it with `next_cursor` until that is null."""

    settings: tuple[str, ...] = Field(description="Settings that have their earlier values again.")
    removed: int = Field(description="References removed that were added since.")
    restored: int = Field(description="References restored that were removed since.")
    lost: tuple[LostReference, ...]
    next_cursor: str | None


class EvaluatedImageView(ResponseModel):
    """What was detected in one image of a test set."""

    image: LabelledImageView
    score: float | None
    threshold: float | None
    p_value: float | None
    verdict: Verdict | None = Field(description="Null where it could not be inspected, for `error`.")
    regions: tuple[dict[str, Any], ...] = Field(description="`box` in pixels of the image, and `peak`.")
    mask_hit: bool | None
    error: str | None


class RocPoint(ResponseModel):
    """What share of good and of defective images scores above a threshold."""

    threshold: float
    false_rejects: float
    recall: float


class EvaluationDetail(ResponseModel):
    """One evaluation with every image."""

    evaluation: EvaluationView
    results: tuple[EvaluatedImageView, ...]
    roc: tuple[RocPoint, ...] = Field(description="From the highest score down; empty without both kinds.")
