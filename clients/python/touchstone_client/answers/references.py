"""References, and what became of pictures that were to become some."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchstone_client.answers.calibration import Calibration
from touchstone_client.answers.encoding import Encoding, Notice

FindingKind = Literal[
    "near_duplicate", "outlier", "other_category", "too_dark", "too_bright", "blurred", "differently_framed"
]


@dataclass(frozen=True)
class Finding:
    """What screening found in a picture. detail: a sentence. value: as measured; usual: of the others; limit: passed.

    reference_id, picture: the reference, or the position in the same request, that it was compared with. category: of
    that reference, where it is another one.
    """

    kind: FindingKind
    detail: str
    value: float
    usual: float | None = None
    limit: float | None = None
    reference_id: int | None = None
    picture: int | None = None
    category: str | None = None


@dataclass(frozen=True)
class ReferenceResult:
    """What became of one picture that was to become a reference."""

    filename: str
    status: Literal["added", "duplicate", "refused"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[Finding, ...] = ()
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class ReferencesAnswer:
    """One result per picture, in order.

    outliers_need: how many more it takes to find outliers among them, 0 when outliers were looked for; None when none
    of the pictures is new.
    """

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    refused: int
    outliers_need: int | None
    calibration: Calibration


@dataclass(frozen=True)
class Reference:
    """A reference. removed_at is set once it has been taken back.

    inspection_id: the inspection that feedback made it from; taking that feedback back removes it.
    """

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
    findings: tuple[Finding, ...] = ()
    inspection_id: str | None = None
    encoding: Encoding | None = None


@dataclass(frozen=True)
class ReferencePage:
    """Some references in order of id; next_cursor continues."""

    references: tuple[Reference, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Removed:
    """A version of the memory without what was removed."""

    version: int
