"""What the service answers, as frozen dataclasses. Fields that a newer service adds are passed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchstone_client.errors import ProblemDetails

Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]
Judgement = Literal["good", "defect"]
FindingKind = Literal[
    "near_duplicate", "outlier", "other_category", "too_dark", "too_bright", "blurred", "differently_framed"
]


@dataclass(frozen=True)
class Evidence:
    """The stored patch that a region's worst patch came nearest to. cell: (row, column). distance: 1 − cosine.

    box: where that is in the reference's picture: x, y, width, height in fractions of its width and height.
    """

    reference_id: int
    cell: tuple[int, int]
    layer: str
    distance: float
    box: tuple[float, float, float, float] | None = None


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
class Familiarity:
    """How like anything referenced a picture is. Beyond `level` the verdict is `unfamiliar`.

    statistic: spreads beyond the references' usual. level: None with fewer than 8 references. p_value: the statistic's
    rank. median_distance: of the patches. similarity: of the most similar reference, −1 to 1. uniformity: how alike
    the picture's own patches are, 1 of a frame that shows nothing.
    """

    statistic: float | None
    level: float | None
    p_value: float | None
    median_distance: float
    similarity: float
    uniformity: float


@dataclass(frozen=True)
class BetterCategory:
    """Another category that a picture fits better than the one asked for. score, p_value: had that one been asked."""

    category: str
    similarity: float
    own_similarity: float
    median_distance: float
    own_median_distance: float
    score: float
    p_value: float | None


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
    familiarity: Familiarity | None = None
    better_category: BetterCategory | None = None
    judgement: Judgement | None = None
    judged_at: datetime | None = None
    promoted_reference_id: int | None = None
    picture: Literal["whole", "thumbnail", "none"] = "none"


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


@dataclass(frozen=True)
class UnfamiliarLevel:
    """Where a category's level for `unfamiliar` stands. reached: whether `unfamiliar_rate` can be promised."""

    level: float | None
    reached: bool
    references_needed: int


@dataclass(frozen=True)
class Calibration:
    """Where a category's threshold stands. progress: share done of what is being computed.

    references: how many scores it rests on; duplicates do not count. reached: whether `false_reject_rate` can be
    promised; until then the threshold is the most cautious one. region_level: what a pixel of a region exceeds.
    """

    state: Literal["ready", "pending", "none"]
    references: int
    references_needed: int
    threshold: float | None = None
    version: int | None = None
    progress: float | None = None
    region_level: float | None = None
    reached: bool | None = None
    duplicates: int = 0
    unfamiliar: UnfamiliarLevel | None = None


@dataclass(frozen=True)
class Drift:
    """Whether good production is still like the references. p_values: inspections by p-value, in ten bins.

    evidence: betting capital against `steady`, 1 at the start; highest: the most it was; alarm: where the flag goes up.
    """

    state: Literal["steady", "drifting"]
    inspections: int
    p_values: tuple[int, ...]
    evidence: float
    highest: float
    alarm: float
    since: datetime
    flagged_at: datetime | None


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
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ReferencePage:
    """Some references in order of id; next_cursor continues."""

    references: tuple[Reference, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class RegionOfInterest:
    """Where pictures are inspected: polygons of (x, y) in fractions of width and height, or a mask picture."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    mask: bool


@dataclass(frozen=True)
class CategorySettings:
    """How a category is inspected. refuse: findings for which new references are refused."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float | None = None
    region_of_interest: RegionOfInterest | None = None
    refuse: tuple[FindingKind, ...] = ()


@dataclass(frozen=True)
class Category:
    """A product."""

    name: str
    references: int
    created: datetime
    settings: CategorySettings
    calibration: Calibration
    drift: Drift | None = None


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
    keeps_history: bool = True


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
    keeps_history: bool = True
