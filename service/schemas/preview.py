"""What other settings would make of a category's references and recent parts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from indexer.domain.verdict import Verdict
from service.schemas.base import ResponseModel
from service.schemas.categories import SettingsPatch


class PreviewRequest(SettingsPatch):
    """Settings to try; omitted ones are as stored.

    `refuse` and `bit_depth` have no effect on existing references and inspections.
    """


class JudgedScoreView(ResponseModel):
    """The judgement of an image with given settings."""

    score: float
    p_value: float | None
    verdict: Verdict


class PreviewedReference(ResponseModel):
    """A reference, scored against the others."""

    reference_id: int
    before: JudgedScoreView
    after: JudgedScoreView


class PreviewedInspection(ResponseModel):
    """A recent part. stale: its stored score was computed with other references or search settings than the present
    ones.
    """

    inspection_id: str
    at: datetime
    filename: str
    stale: bool
    before: JudgedScoreView
    after: JudgedScoreView


class PreviewSide(ResponseModel):
    """The thresholds with these settings, and the number of images per verdict."""

    threshold: float | None
    rate_supported: bool = Field(description="Whether there are enough references to guarantee `false_reject_rate`.")
    unfamiliar_threshold: float | None
    references: dict[Verdict, int]
    inspections: dict[Verdict, int]


class PreviewResponse(ResponseModel):
    """The effect that settings would have had on a category. Nothing was changed."""

    version: int
    basis: Literal["none", "stored", "measured", "estimated"] = Field(
        description="Source of the new threshold. none: not calibrated; stored: from the stored scores; measured: all "
        "references were scored again; estimated: `measured` references were, and the changes of the others were "
        "interpolated from those with similar scores."
    )
    measured: int
    current: bool = Field(description="False while the calibration is older than the references or the settings.")
    searched_again: bool = Field(
        description="True if recent parts were searched again, before and after, in the present references; otherwise "
        "both scores are the stored one."
    )
    before: PreviewSide
    after: PreviewSide
    changed_references: int
    changed_inspections: int
    references: tuple[PreviewedReference, ...] = Field(
        description="At most `limit` references, highest new score first; the counts include all."
    )
    inspections: tuple[PreviewedInspection, ...] = Field(
        description="Newest first; those of the latest `limit` whose image is stored."
    )
