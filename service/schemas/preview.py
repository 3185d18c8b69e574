"""What other settings would make of a category's references and recent parts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from indexer.domain.verdict import Verdict
from service.schemas.base import ResponseModel
from service.schemas.categories import SettingsPatch


class PreviewRequest(SettingsPatch):
    """Settings to try; what is left out is as it is.

    `refuse` and `bit_depth` make no difference to what is a reference or was inspected already.
    """


class JudgedScoreView(ResponseModel):
    """An image held against one group of settings."""

    score: float
    p_value: float | None
    verdict: Verdict


class PreviewedReference(ResponseModel):
    """A reference, scored against the others."""

    reference_id: int
    before: JudgedScoreView
    after: JudgedScoreView


class PreviewedInspection(ResponseModel):
    """A recent part. stale: its kept score was measured with other references or search settings than there are now."""

    inspection_id: str
    at: datetime
    filename: str
    stale: bool
    before: JudgedScoreView
    after: JudgedScoreView


class PreviewSide(ResponseModel):
    """What images are held against, and how many come to which verdict."""

    threshold: float | None
    rate_supported: bool = Field(description="Whether there are enough references to promise `false_reject_rate`.")
    unfamiliar_threshold: float | None
    references: dict[Verdict, int]
    inspections: dict[Verdict, int]


class PreviewResponse(ResponseModel):
    """What settings would change, had a category had them. Nothing was changed."""

    version: int
    basis: Literal["none", "stored", "measured", "estimated"] = Field(
        description="Where the threshold afterwards comes from. none: nothing is calibrated; stored: from the scores "
        "there are; measured: every reference was scored anew; estimated: `measured` of them were, and the others are "
        "taken to change like those that scored alike."
    )
    measured: int
    current: bool = Field(description="False while the calibration lags behind the references or the settings.")
    searched_again: bool = Field(
        description="Whether recent parts were searched again, both times against the references of now; else both "
        "scores are the one that was kept."
    )
    before: PreviewSide
    after: PreviewSide
    changed_references: int
    changed_inspections: int
    references: tuple[PreviewedReference, ...] = Field(
        description="Highest score afterwards first, at most `limit`; the counts are of all."
    )
    inspections: tuple[PreviewedInspection, ...] = Field(
        description="Newest first; those of the latest `limit` whose image is kept."
    )
