"""References, and what became of pictures that were to become some."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from indexer.domain.finding import FindingKind
from service.schemas.base import Answer
from service.schemas.calibration import CalibrationView
from service.schemas.encoding import EncodingView, NoticeView


class FindingView(Answer):
    """What screening found in a picture, with the evidence."""

    kind: FindingKind
    detail: str
    value: float = Field(description="What was measured.")
    usual: float | None = Field(None, description="What the category's other pictures measure.")
    limit: float | None = Field(None, description="Where the finding begins.")
    reference_id: int | None = Field(None, description="The reference it was compared with.")
    picture: int | None = Field(None, description="Or the position in the same request.")
    category: str | None = Field(None, description="Of that reference, where it is another.")


class ReferenceResult(Answer):
    """What became of one picture. One refused by screening has the finding's kind as its reason."""

    filename: str
    status: Literal["added", "duplicate", "refused"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[FindingView, ...] = ()
    notices: tuple[NoticeView, ...] = Field((), description="What to know of how the picture was read.")


class ReferencesAnswer(Answer):
    """One result per picture, in order."""

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    refused: int
    outliers_need: int | None = Field(
        description="How many more pictures, of the same request or calibrated already, it takes to find outliers "
        "among them; 0 when outliers were looked for; null when none of the pictures is new."
    )
    calibration: CalibrationView


class ReferenceView(Answer):
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


class ReferencePage(Answer):
    """References in order of id; `next_cursor` continues."""

    references: tuple[ReferenceView, ...]
    next_cursor: str | None


class Removed(Answer):
    """A version of the memory without what was removed."""

    version: int
