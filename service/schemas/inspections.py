"""Recorded inspections, their trend over time, and labels."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from indexer.domain.geometry import InputGeometry
from indexer.domain.inspection import DefectDetails, Inspection
from indexer.domain.review import ReviewReason
from indexer.domain.verdict import Verdict
from indexer.screening.effect import ConfirmationReason
from service.schemas.base import ResponseModel
from service.schemas.calibration import DriftView
from service.schemas.encoding import EncodingView, NoticeView, encoding_view
from service.schemas.geometry import InspectedView, inspected_view
from service.schemas.text import Comment, DefectClass

Label = Literal["good", "defect"]
ImageAvailability = Literal["original", "thumbnail", "none"]


class NearestPatchView(ResponseModel):
    """The nearest stored patch of the region's most anomalous cell, in the layer that contributed most."""

    reference_id: int
    cell: tuple[int, int] = Field(description="(row, column) of the stored patch in the grid.")
    box: tuple[float, float, float, float] | None = Field(
        None,
        description="Position of that patch in the reference's image: x, y, width, height in fractions of its width "
        "and height. Null in inspections older than this field.",
    )
    layer: str
    distance: float = Field(description="1 − cosine, 0 to 2.")


class NoveltyView(ResponseModel):
    """How much the image as a whole differs from the references. Beyond `threshold` the verdict is `unfamiliar`."""

    statistic: float | None = Field(
        description="Distance above the references' typical value, in units of their spread; null before calibration."
    )
    threshold: float | None = Field(description="Null with fewer than 8 references.")
    p_value: float | None = Field(description="Rank of the statistic among the references' own.")
    median_distance: float = Field(description="Median over the inspected patches of 1 − cosine.")
    scene_distance: float | None = Field(
        None, description="40th percentile of the same: of the image as a whole, whatever defect covers up to a fifth."
    )
    scene_p_value: float | None = Field(
        None, description="Rank of that among the references' medians: small when the scene has changed."
    )
    similarity: float = Field(description="Of the most similar reference, −1 to 1.")
    self_similarity: float = Field(
        description="Similarity of the image's own patches to each other; 1 for a blank frame."
    )


class AlternativeCategoryView(ResponseModel):
    """Another category that matches the image better than the requested one, by global descriptor and by patches."""

    category: str
    similarity: float = Field(description="Similarity of the other category's most similar reference.")
    own_similarity: float
    mean_distance: float = Field(description="Mean patch distance to the other category.")
    own_mean_distance: float
    score: float = Field(description="The score with that category.")
    p_value: float | None


class RegionView(ResponseModel):
    """A connected region of the anomaly map above the region threshold, in pixels of the uploaded image."""

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
    """The result for one image. `score` is not normalised; higher is more anomalous."""

    id: str
    at: datetime
    filename: str
    category: str = Field(
        description="The requested category, or the recognised one: that of the most similar reference."
    )
    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int = Field(description="Version of the index that this was computed with.")
    width: int
    height: int
    part_id: str | None = None
    station: str | None = None
    regions: tuple[RegionView, ...] = ()
    references: tuple[RetrievedReferenceView, ...] = ()
    novelty: NoveltyView | None = None
    alternative_category: AlternativeCategoryView | None = Field(
        None, description="If a category was requested: another one that matches better."
    )
    timings: Timings
    label: Label | None = None
    labelled_at: datetime | None = None
    promoted_reference_id: int | None = None
    defect_class: str | None = Field(None, description="Of a confirmed defect, where somebody named it.")
    comment: str | None = Field(None, description="On a confirmed defect.")
    review: ReviewReason | None = Field(
        None,
        description="Why the part is reviewed: its score is near the threshold, it is `unfamiliar`, or an operator "
        "labelled it good.",
    )
    reviewed_at: datetime | None = Field(None, description="When that was decided; null while the part waits.")
    image_availability: ImageAvailability = Field(
        "none", description="What is stored of the image; with `original` also its map."
    )
    encoding: EncodingView | None = Field(None, description="Null in inspections older than this field.")
    notices: tuple[NoticeView, ...] = Field((), description="Notices about how the image was read.")
    inspected: InspectedView | None = Field(
        None, description="The inspected part of the image. Null in inspections older than this field."
    )


class InspectionPage(ResponseModel):
    """Inspections, newest first; `next_cursor` continues."""

    inspections: tuple[InspectionView, ...]
    next_cursor: str | None


class DriftPartsView(ResponseModel):
    """The parts that moved a category's drift tests most."""

    drift: DriftView | None = Field(description="Null before the first calibrated inspection.")
    parts: tuple[InspectionView, ...] = Field(
        description="Of the latest 500 since the tests began, those with the smallest p-values: of the image "
        "as a whole where the category is `drifting`, else of the score."
    )


class TrendPointView(ResponseModel):
    """The inspections of one time bucket, which starts at `at`."""

    at: datetime
    count: int
    mean: float = Field(description="Of the scores in the bucket.")
    max: float = Field(description="Of the scores in the bucket.")
    threshold: float | None = Field(description="The highest threshold in use.")
    mean_ratio: float | None = Field(
        description="Of the scores in terms of their own thresholds; null where none had a threshold."
    )
    max_ratio: float | None = Field(description="The highest of these.")
    verdicts: dict[Verdict, int]


class TrendView(ResponseModel):
    """Inspections over time, oldest first; empty buckets are omitted."""

    total: int
    categories: int = Field(description="How many categories these inspections are of.")
    first: datetime | None
    last: datetime | None
    bucket_seconds: float
    points: tuple[TrendPointView, ...]


class ParetoBarView(ResponseModel):
    """The confirmed defects of one class."""

    defect_class: str | None = Field(description="Null: those without a class, which come last.")
    count: int
    share: float = Field(description="Of all confirmed defects.")
    cumulative_share: float = Field(description="With the bars before it.")


class ParetoView(ResponseModel):
    """Confirmed defects by class, the most frequent first."""

    total: int
    bars: tuple[ParetoBarView, ...]


class FeedbackRequest(BaseModel):
    """A label: `good` adds the image as a reference, `none` removes the label and that reference.

    `defect` may name its class and carry a comment; sending it again changes them.
    """

    model_config = ConfigDict(extra="forbid")

    label: Literal["good", "defect", "none"]
    confirm: bool = Field(False, strict=True, description="Confirm after the response `confirmation-needed`.")
    defect_class: DefectClass | None = Field(
        None, description="With `defect`: one of the category's `defect_classes`; null removes it, omitted: unchanged."
    )
    comment: Comment | None = Field(
        None,
        description="With `defect`: a remark; null removes it, omitted: unchanged. Surrounding spaces are removed.",
    )

    @model_validator(mode="after")
    def _said_of_defects_only(self) -> FeedbackRequest:
        if self.label != "defect" and self.details:
            raise ValueError("defect_class and comment are said of defects: label it `defect`")
        return self

    @property
    def details(self) -> DefectDetails:
        """What is said of the defect, of what the request names."""
        details: DefectDetails = {}
        if "defect_class" in self.model_fields_set:
            details["defect_class"] = self.defect_class
        if "comment" in self.model_fields_set:
            details["comment"] = self.comment
        return details


class ReasonView(ResponseModel):
    """Why an image needs confirmation before it becomes a reference. category: another one that matches better."""

    reason: ConfirmationReason
    detail: str
    category: str | None = None


class EffectView(ResponseModel):
    """The effect of an image as a reference: `effect` of a `confirmation-needed` problem."""

    score: float | None = Field(description="Score against the present references; null without any.")
    threshold_before: float | None = Field(description="The calibrated threshold; null before calibration.")
    threshold_after: float | None = Field(description="Upper bound of the threshold with this reference.")
    outlier_limit: float | None = Field(description="Scores above this limit are outliers to screening.")
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
            else inspected_view(InputGeometry.from_json(inspection.geometry), size, inspection.region),
        }
    )


def image_availability(inspection: Inspection) -> ImageAvailability:
    """What is left of its image."""
    if inspection.stored_bytes is not None:
        return "original"
    return "none" if inspection.thumbnail_bytes is None else "thumbnail"
