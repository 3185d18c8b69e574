"""What the service answers, as frozen dataclasses. Fields that a newer service adds are passed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchstone_client.errors import ProblemDetails

Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]
Judgement = Literal["good", "defect"]


@dataclass(frozen=True)
class Evidence:
    """The stored patch that a region's worst patch came nearest to. cell: (row, column). distance: 1 − cosine."""

    reference_id: int
    cell: tuple[int, int]
    layer: str
    distance: float


@dataclass(frozen=True)
class Region:
    """A region above the threshold, in pixels of the picture as sent. box: x, y, width, height."""

    box: tuple[float, float, float, float]
    area: float
    peak: float
    centroid: tuple[float, float]
    polygon: tuple[tuple[float, float], ...]
    evidence: Evidence


@dataclass(frozen=True)
class Neighbour:
    """One of the most similar references. similarity: −1 to 1."""

    reference_id: int
    category: str
    similarity: float


@dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float


@dataclass(frozen=True)
class AnomalyMap:
    """The map over the inspected crop; `touchstone_client.maps.array` makes numbers of it. data: base64."""

    format: Literal["png16", "npy"]
    data: str
    scale: float


@dataclass(frozen=True)
class Inspection:
    """One inspected picture. score: raw, higher is more anomalous. version: of the memory it was computed on."""

    id: str
    at: datetime
    filename: str
    category: str | None
    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int
    width: int
    height: int
    timings: Timings
    part_id: str | None = None
    station: str | None = None
    regions: tuple[Region, ...] = ()
    references: tuple[Neighbour, ...] = ()
    judgement: Judgement | None = None
    judged_at: datetime | None = None
    promoted_reference_id: int | None = None


@dataclass(frozen=True)
class Detection(Inspection):
    """An inspection as `detect` answers it. overlay: base64 of a PNG. recorded: False when the history had no room."""

    map: AnomalyMap | None = None
    overlay: str | None = None
    recorded: bool = True


@dataclass(frozen=True)
class Refused:
    """A picture of several that could not be inspected."""

    filename: str
    error: ProblemDetails


@dataclass(frozen=True)
class DetectAnswer:
    """One result per picture, in order."""

    version: int
    results: tuple[Detection | Refused, ...]


@dataclass(frozen=True)
class ReferenceResult:
    """What became of one picture that was to become a reference."""

    filename: str
    status: Literal["added", "duplicate", "refused"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Calibration:
    """Where a category's threshold stands. references: how many scores it rests on."""

    state: Literal["ready", "pending", "none"]
    references: int
    references_needed: int
    threshold: float | None = None
    version: int | None = None


@dataclass(frozen=True)
class ReferencesAnswer:
    """One result per picture, in order."""

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    refused: int
    calibration: Calibration


@dataclass(frozen=True)
class Reference:
    """A reference. removed_at is set once it has been taken back."""

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


@dataclass(frozen=True)
class ReferencePage:
    """Some references in order of id; next_cursor continues."""

    references: tuple[Reference, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class CategorySettings:
    """How a category is inspected."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None


@dataclass(frozen=True)
class Category:
    """A product."""

    name: str
    references: int
    created: datetime
    settings: CategorySettings
    calibration: Calibration


@dataclass(frozen=True)
class CategoriesAnswer:
    """All categories by name."""

    categories: tuple[Category, ...]


@dataclass(frozen=True)
class Removed:
    """A version of the memory without what was removed."""

    version: int


@dataclass(frozen=True)
class InspectionPage:
    """Some inspections, newest first; next_cursor continues."""

    inspections: tuple[Inspection, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Encoder:
    """The encoder in use, plainly."""

    name: str
    note: str
    layers: tuple[str, ...]
    grid: tuple[int, int]
    dim: int
    resize: int
    crop: int
    device: str
    fingerprint: str


@dataclass(frozen=True)
class Version:
    """What is running."""

    touchstone: str
    encoder: Encoder
    engine: str
    codec: str
    snapshot: int
    references: int
    damaged_segments: tuple[str, ...]


@dataclass(frozen=True)
class Live:
    """The process answers."""

    status: str


@dataclass(frozen=True)
class Ready:
    """A picture went through the encoder and every stored segment passed its check."""

    status: str
    version: int
    references: int
    forward_ms: float
