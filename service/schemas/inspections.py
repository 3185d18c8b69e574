"""Inspections, as the history keeps them and as they add up over time; and what a person says of one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.geometry import InputGeometry
from indexer.domain.inspection import Inspection
from indexer.domain.verdict import Verdict
from indexer.screening.effect import ConfirmationReason
from service.schemas.base import ResponseModel
from service.schemas.encoding import EncodingView, NoticeView, encoding_view
from service.schemas.geometry import InspectedView, inspected_view

Label = Literal["good", "defect"]
ImageAvailability = Literal["original", "thumbnail", "none"]


class NearestPatchView(ResponseModel):
    """The stored patch that the region's worst patch came nearest to, in the layer that contributed most."""

    reference_id: int
    cell: tuple[int, int] = Field(description="(row, column) of the stored patch in the grid.")
    box: tuple[float, float, float, float] | None = Field(
        None,
        description="Where that patch is in the reference's image: x, y, width, height in fractions of its width and "
        "height. Null in inspections older than this field.",
    )
    layer: str
    distance: float = Field(description="1 − cosine, 0 to 2.")


class NoveltyView(ResponseModel):
    """How like anything referenced the image is. Beyond `threshold` the verdict is `unfamiliar`."""

    statistic: float | None = Field(description="Spreads beyond the references' usual; null before calibration.")
    threshold: float | None = Field(description="Null with fewer than 8 references.")
    p_value: float | None = Field(description="Rank of the statistic among the references' own.")
    median_distance: float = Field(description="Median over the inspected patches of 1 − cosine.")
    similarity: float = Field(description="Of the most similar reference, −1 to 1.")
    self_similarity: float = Field(
        description="How alike the image's own patches are; 1 of a frame that shows nothing."
    )


class AlternativeCategoryView(ResponseModel):
    """Another category that the image fits better than the one asked for, as a whole and patch by patch."""

    category: str
    similarity: float = Field(description="Of the other category's most similar reference.")
    own_similarity: float
    mean_distance: float = Field(description="Mean patch distance to the other category.")
    own_mean_distance: float
    score: float = Field(description="The score, had that category been asked for.")
    p_value: float | None


class RegionView(ResponseModel):
    """A connected region above the level that good parts stay under, in pixels of the image as sent."""

    box: tuple[float, float, float, float] = Field(description="x, y, width, height.")
    area: float
    peak: float
    centroid: tuple[float, float]
    polygon: tuple[tuple[float, float], ...]
    nearest_patch: NearestPatchView


class RetrievedReferenceView(ResponseModel):
    """One of the most similar references."""

    reference_id: int
    category: str
    similarity: float = Field(description="Inner product of global descriptors, −1 to 1.")


class Timings(ResponseModel):
    """Milliseconds."""

    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float


class InspectionView(ResponseModel):
    """The answer for one image. `score` is raw; higher is more anomalous."""

    id: str
    at: datetime
    filename: str
    category: str = Field(description="As asked for, or recognised: that of the most similar reference.")
    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int = Field(description="The snapshot of the memory that this was computed on.")
    width: int
    height: int
    part_id: str | None = None
    station: str | None = None
    regions: tuple[RegionView, ...] = ()
    references: tuple[RetrievedReferenceView, ...] = ()
    novelty: NoveltyView | None = None
    alternative_category: AlternativeCategoryView | None = Field(
        None, description="With `category` given: another one that fits better."
    )
    timings: Timings
    label: Label | None = None
    labelled_at: datetime | None = None
    promoted_reference_id: int | None = None
    image_availability: ImageAvailability = Field(
        "none", description="What is kept of the image; `original` has its map, too."
    )
    encoding: EncodingView | None = Field(None, description="Null of inspections from before it was noted.")
    notices: tuple[NoticeView, ...] = Field((), description="What to know of how the image was read.")
    inspected: InspectedView | None = Field(
        None, description="What of the image was looked at. Null of inspections from before it was kept."
    )


class InspectionPage(ResponseModel):
    """Inspections, newest first; `next_cursor` continues."""

    inspections: tuple[InspectionView, ...]
    next_cursor: str | None


class TrendPointView(ResponseModel):
    """The inspections of one stretch of time from `at` on."""

    at: datetime
    count: int
    mean: float = Field(description="Of the scores.")
    max: float = Field(description="Of the scores.")
    threshold: float | None = Field(description="The highest one that they were held against.")
    verdicts: dict[Verdict, int]


class TrendView(ResponseModel):
    """Inspections over time, oldest first; stretches without any are left out."""

    total: int
    first: datetime | None
    last: datetime | None
    bucket_seconds: float
    points: tuple[TrendPointView, ...]


class FeedbackRequest(BaseModel):
    """What a person says: `good` makes the image a reference, `none` takes the label and that reference back."""

    model_config = ConfigDict(extra="forbid")

    label: Literal["good", "defect", "none"]
    confirm: bool = Field(
        False, strict=True, description="Make it a reference although `confirmation-needed` was answered."
    )


class ReasonView(ResponseModel):
    """Why an image should be confirmed before it becomes a reference. category: the other one that it fits better."""

    reason: ConfirmationReason
    detail: str
    category: str | None = None


class EffectView(ResponseModel):
    """What an image would do as a reference: `effect` of a `confirmation-needed`."""

    score: float | None = Field(description="Against the references there are; null without any.")
    threshold_before: float | None = Field(description="The calibrated one; null before calibration.")
    threshold_after: float | None = Field(description="With this reference, at most.")
    outlier_limit: float | None = Field(description="Beyond it screening calls a score an outlier.")
    reasons: tuple[ReasonView, ...]


def inspection_view(inspection: Inspection) -> InspectionView:
    """An inspection as the API shows it."""
    encoding = encoding_view(inspection.encoding, inspection.reading)
    size = inspection.width, inspection.height
    return InspectionView.model_validate(
        {
            **asdict(inspection),
            "image_availability": image_availability(inspection),
            "encoding": encoding,
            "inspected": None
            if inspection.geometry is None
            else inspected_view(InputGeometry.from_json(inspection.geometry), size),
        }
    )


def image_availability(inspection: Inspection) -> ImageAvailability:
    """What is left of its image."""
    if inspection.stored_bytes is not None:
        return "original"
    return "none" if inspection.thumbnail_bytes is None else "thumbnail"
