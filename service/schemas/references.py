"""References, and what became of images that were to become some."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from indexer.domain.finding import FindingKind
from service.schemas.base import JSON_INTEGER, ResponseModel
from service.schemas.calibration import CalibrationView
from service.schemas.encoding import EncodingView, NoticeView


class FindingView(ResponseModel):
    """A finding of screening in an image, with its measurements."""

    kind: FindingKind
    detail: str
    value: float = Field(description="The measured value.")
    typical: float | None = Field(None, description="The typical value of the category's other images.")
    limit: float | None = Field(None, description="Values beyond this limit are findings.")
    reference_id: int | None = Field(None, description="The reference that the image was compared with.")
    image_index: int | None = Field(
        None, description="Or the index, in the same request, of the image that it was compared with."
    )
    category: str | None = Field(None, description="Category of that reference, if it is another.")


class ReferenceResult(ResponseModel):
    """The result for one image. If screening refused it, the reason is the finding's kind."""

    filename: str
    status: Literal["added", "duplicate", "rejected"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[FindingView, ...] = ()
    notices: tuple[NoticeView, ...] = Field((), description="Notices about how the image was read.")


class ReferencesResponse(ResponseModel):
    """One result per image, in order."""

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    rejected: int
    images_until_outlier_check: int | None = Field(
        description="Number of further images, in the same request or calibrated before, needed to check for outliers; "
        "0 if outliers were checked; null if no image is new."
    )
    calibration: CalibrationView


class ReferenceView(ResponseModel):
    """A reference. `removed_at` is set if it was removed."""

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
    findings: tuple[FindingView, ...] = Field((), description="Findings of screening when it was added.")
    inspection_id: str | None = Field(
        None, description="The inspection whose feedback added it; undoing that feedback removes it."
    )
    encoding: EncodingView | None = Field(None, description="Null in references older than this field.")
    score: float | None = Field(
        None,
        description="Its leave-one-out score: how unlike the others it is. Null while its category is not calibrated, "
        "if it was removed, and in near-duplicates of others.",
    )


class ReferencePage(ResponseModel):
    """References; `next_cursor` continues."""

    references: tuple[ReferenceView, ...]
    next_cursor: str | None


class Removed(ResponseModel):
    """The index version after a removal."""

    version: int


class ReferencesToRemove(BaseModel):
    """References to remove together."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reference_ids": [3, 7]}]})

    reference_ids: list[Annotated[int, Field(ge=0, le=2**53), JSON_INTEGER]] = Field(min_length=1, max_length=1000)


class RemovedMany(ResponseModel):
    """The index version after a removal, and which ids were of references."""

    version: int
    removed: tuple[int, ...] = Field(description="Removed by this request or before.")
    unknown: tuple[int, ...]
