"""References, and what became of images that were to become some."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from indexer.domain.finding import FindingKind
from service.schemas.base import ResponseModel
from service.schemas.calibration import CalibrationView
from service.schemas.encoding import EncodingView, NoticeView


class FindingView(ResponseModel):
    """What screening found in an image, with the evidence."""

    kind: FindingKind
    detail: str
    value: float = Field(description="What was measured.")
    typical: float | None = Field(None, description="What the category's other images measure.")
    limit: float | None = Field(None, description="Where the finding begins.")
    reference_id: int | None = Field(None, description="The reference it was compared with.")
    image_index: int | None = Field(None, description="Or the position in the same request.")
    category: str | None = Field(None, description="Of that reference, where it is another.")


class ReferenceResult(ResponseModel):
    """What became of one image. One refused by screening has the finding's kind as its reason."""

    filename: str
    status: Literal["added", "duplicate", "rejected"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[FindingView, ...] = ()
    notices: tuple[NoticeView, ...] = Field((), description="What to know of how the image was read.")


class ReferencesResponse(ResponseModel):
    """One result per image, in order."""

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    rejected: int
    images_until_outlier_check: int | None = Field(
        description="How many more images, of the same request or calibrated already, it takes to find outliers "
        "among them; 0 when outliers were looked for; null when none of the images is new."
    )
    calibration: CalibrationView


class ReferenceView(ResponseModel):
    """A reference. `removed_at` is set once it has been taken back."""

    id: int
    category: str
    filename: str
    sha256: str
    width: int
    height: int
    added_at: datetime
    added_version: int
    removed_at: datetime | None = None
    removed_version: int | None = None
    findings: tuple[FindingView, ...] = Field((), description="What screening found when it was added.")
    inspection_id: str | None = Field(
        None, description="The inspection that feedback made it from; taking that feedback back removes it."
    )
    encoding: EncodingView | None = Field(None, description="Null of references from before it was noted.")


class ReferencePage(ResponseModel):
    """References in order of id; `next_cursor` continues."""

    references: tuple[ReferenceView, ...]
    next_cursor: str | None


class Removed(ResponseModel):
    """A version of the memory without what was removed."""

    version: int
