"""The review queue: inspections that wait for a decision, and what became of decisions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.review import ReviewDecision
from service.schemas.base import ResponseModel
from service.schemas.inspections import InspectionView
from service.schemas.problem import Problem
from service.schemas.text import Text

MAX_DECISIONS = 100  # of one request


class ReviewPage(ResponseModel):
    """Inspections that wait, newest first; `next_cursor` continues."""

    waiting: int = Field(description="How many match, on all pages.")
    inspections: tuple[InspectionView, ...]
    next_cursor: str | None


class ReviewRequest(BaseModel):
    """One decision on some inspections."""

    model_config = ConfigDict(extra="forbid")

    inspections: Annotated[list[Text], Field(min_length=1, max_length=MAX_DECISIONS)] = Field(
        description="Ids, at most 100."
    )
    decision: ReviewDecision = Field(
        description="good: the image becomes a reference; defect: the label; dismiss: neither, an operator's label "
        "stays; reopen: take the decision back, so that the part waits again."
    )
    confirm: bool = Field(
        False, strict=True, description="Confirm `good` where the response was `confirmation-needed`."
    )


class ReviewedView(ResponseModel):
    """What became of a decision on one inspection: the inspection as it is now, or the error."""

    inspection_id: str
    inspection: InspectionView | None = None
    error: Problem | None = None


class ReviewResults(ResponseModel):
    """One result per inspection, in order."""

    results: tuple[ReviewedView, ...]
