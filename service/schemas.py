"""What the API answers, as pydantic models: these are the product's contract with its clients."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from indexer.catalogue import CATEGORY_NAME
from indexer.verdicts.findings import FindingKind
from service.problems import Problem

CategoryName = Annotated[str, Field(min_length=1, max_length=128, pattern=CATEGORY_NAME, examples=["bracket-a"])]
Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]
Judgement = Literal["good", "defect"]
PictureKept = Literal["whole", "thumbnail", "none"]


def _no_boolean(given: object) -> object:
    """JSON's false is no 0, although Python's is."""
    if isinstance(given, bool):
        raise ValueError("a number is needed, not true or false")
    return given


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class EvidenceView(_Answer):
    """The stored patch that the region's worst patch came nearest to, in the layer that contributed most."""

    reference_id: int
    cell: tuple[int, int] = Field(description="(row, column) of the stored patch in the grid.")
    box: tuple[float, float, float, float] | None = Field(
        None,
        description="Where that patch is in the reference's picture: x, y, width, height in fractions of its width and "
        "height. Null in inspections older than this field.",
    )
    layer: str
    distance: float = Field(description="1 − cosine, 0 to 2.")


class FamiliarityView(_Answer):
    """How like anything referenced the picture is. Beyond `level` the verdict is `unfamiliar`."""

    statistic: float | None = Field(description="Spreads beyond the references' usual; null before calibration.")
    level: float | None = Field(description="Null with fewer than 8 references.")
    p_value: float | None = Field(description="Rank of the statistic among the references' own.")
    median_distance: float = Field(description="Median over the inspected patches of 1 − cosine.")
    similarity: float = Field(description="Of the most similar reference, −1 to 1.")
    uniformity: float = Field(description="How alike the picture's own patches are; 1 of a frame that shows nothing.")


class BetterCategoryView(_Answer):
    """Another category that the picture fits better than the one asked for, as a whole and patch by patch."""

    category: str
    similarity: float = Field(description="Of the other category's most similar reference.")
    own_similarity: float
    median_distance: float = Field(description="Median patch distance to the other category.")
    own_median_distance: float
    score: float = Field(description="The score, had that category been asked for.")
    p_value: float | None


class RegionView(_Answer):
    """A connected region above the level that good parts stay under, in pixels of the picture as sent."""

    box: tuple[float, float, float, float] = Field(description="x, y, width, height.")
    area: float
    peak: float
    centroid: tuple[float, float]
    polygon: tuple[tuple[float, float], ...]
    evidence: EvidenceView


class NeighbourView(_Answer):
    """One of the most similar references."""

    reference_id: int
    category: str
    similarity: float = Field(description="Inner product of global descriptors, −1 to 1.")


class MapView(_Answer):
    """The anomaly map over the inspected crop, 256×256."""

    format: Literal["png16", "npy"]
    data: str = Field(description="Base64. png16: 16-bit grey, value / 65535 × scale. npy: float32.")
    scale: float


class Timings(_Answer):
    """Milliseconds."""

    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float


class InspectionView(_Answer):
    """The answer for one picture. `score` is raw; higher is more anomalous."""

    id: str
    at: datetime
    filename: str
    category: str = Field(description="As asked for, or recognised: that of the most similar reference.")
    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int = Field(description="The snapshot of the memory that this was computed on.")
    width: int
    height: int
    part_id: str | None = None
    station: str | None = None
    regions: tuple[RegionView, ...] = ()
    references: tuple[NeighbourView, ...] = ()
    familiarity: FamiliarityView | None = None
    better_category: BetterCategoryView | None = Field(
        None, description="With `category` given: another one that fits better."
    )
    timings: Timings
    judgement: Judgement | None = None
    judged_at: datetime | None = None
    promoted_reference_id: int | None = None
    picture: PictureKept = Field("none", description="What is kept of the picture; `whole` has its map, too.")


class DetectionView(InspectionView):
    """An inspection with the pictures that were asked for."""

    map: MapView | None = None
    overlay: str | None = Field(None, description="Base64 of a PNG: the picture with the map and regions drawn in.")
    recorded: bool = Field(description="False when the history had no room for this inspection.")


class RefusedView(_Answer):
    """A picture of several that could not be inspected."""

    filename: str
    error: Problem


class DetectAnswer(_Answer):
    """One result per picture, in order."""

    version: int
    results: tuple[DetectionView | RefusedView, ...]


class FindingView(_Answer):
    """What screening found in a picture, with the evidence."""

    kind: FindingKind
    detail: str
    value: float = Field(description="What was measured.")
    usual: float | None = Field(None, description="What the category's other pictures measure.")
    limit: float | None = Field(None, description="Where the finding begins.")
    reference_id: int | None = Field(None, description="The reference it was compared with.")
    picture: int | None = Field(None, description="Or the position in the same request.")
    category: str | None = Field(None, description="Of that reference, where it is another.")


class ReferenceResult(_Answer):
    """What became of one picture. One refused by screening has the finding's kind as its reason."""

    filename: str
    status: Literal["added", "duplicate", "refused"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[FindingView, ...] = ()


class UnfamiliarView(_Answer):
    """Where a category's level for `unfamiliar` stands."""

    level: float | None = Field(description="Null with fewer than 8 references.")
    reached: bool = Field(description="Whether there are enough references to promise `unfamiliar_rate`.")
    references_needed: int


class CalibrationView(_Answer):
    """Where a category's threshold stands."""

    state: Literal["ready", "pending", "none"] = Field(
        description="pending: leave-one-out scores are being computed; none: fewer than two references."
    )
    progress: float = Field(description="Share done of what is being computed, 0 to 1.")
    threshold: float | None = Field(None, description="The most cautious one while `reached` is false.")
    region_level: float | None = Field(None, description="What a pixel of the map must exceed to be in a region.")
    references: int = Field(description="How many leave-one-out scores the threshold rests on.")
    references_needed: int = Field(description="How many the false-reject rate needs.")
    reached: bool = Field(description="Whether there are enough references to promise `false_reject_rate`.")
    duplicates: int = Field(description="References that show a part again and do not count.")
    unfamiliar: UnfamiliarView
    version: int | None = None


class DriftView(_Answer):
    """Whether good production is still like the references: a test on the p-values of inspections."""

    state: Literal["steady", "drifting"]
    inspections: int = Field(description="Since the test began, with this calibration.")
    p_values: tuple[int, ...] = Field(description="Inspections by p-value, in ten bins from 0 to 1; even when steady.")
    evidence: float = Field(description="Betting capital against `steady`, 1 at the start.")
    highest: float = Field(description="The most the evidence has been.")
    alarm: float = Field(description="At this evidence the flag is raised.")
    since: datetime
    flagged_at: datetime | None


class ReferencesAnswer(_Answer):
    """One result per picture, in order."""

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    refused: int
    calibration: CalibrationView


class ReferenceView(_Answer):
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


class ReferencePage(_Answer):
    """References in order of id; `next_cursor` continues."""

    references: tuple[ReferenceView, ...]
    next_cursor: str | None


class RegionOfInterestView(_Answer):
    """Where pictures are inspected: the polygons, or a mask to be had as a picture."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    mask: bool


class SettingsView(_Answer):
    """How a category is inspected."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float
    region_of_interest: RegionOfInterestView | None
    refuse: tuple[FindingKind, ...]


_Fraction = Annotated[float, Field(ge=0, le=1)]


class PolygonsBody(BaseModel):
    """Polygons whose corners are (x, y) in fractions of the picture's width and height; inside any is inspected."""

    model_config = ConfigDict(extra="forbid")

    polygons: list[Annotated[list[tuple[_Fraction, _Fraction]], Field(min_length=3, max_length=1024)]] = Field(
        min_length=1, max_length=64, examples=[[[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]]]
    )


class SettingsPatch(BaseModel):
    """Settings to change; what is left out stays.

    null resets `layer_weights`, `threshold` and `region_of_interest`.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"false_reject_rate": 0.02}]})

    k: int = Field(150, ge=1, le=100_000, description="References retrieved per picture.")
    rho: int = Field(1, ge=0, le=16, description="Neighbourhood radius in grid cells.")
    layer_weights: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = Field(
        None, description="One weight per layer; null weighs them alike."
    )
    false_reject_rate: float = Field(0.01, ge=1e-6, lt=1, description="Share of good parts that may be rejected.")
    threshold: float | None = Field(None, ge=0, le=2, description="A manual threshold; null uses the calibrated one.")
    unfamiliar_rate: float = Field(0.001, ge=1e-6, lt=1, description="Share of good parts that may be `unfamiliar`.")
    region_of_interest: PolygonsBody | None = Field(
        None, description="Where pictures are inspected; null is everywhere. A mask picture is set by its own route."
    )
    refuse: tuple[FindingKind, ...] = Field((), description="Findings for which new references are refused.")


class PreviewBody(SettingsPatch):
    """Settings to try; what is left out is as it is. `refuse` makes no difference to what is a reference already."""


class HeldView(_Answer):
    """A picture held against one group of settings."""

    score: float
    p_value: float | None
    verdict: Verdict


class PreviewedReference(_Answer):
    """A reference, scored against the others."""

    reference_id: int
    before: HeldView
    after: HeldView


class PreviewedInspection(_Answer):
    """A recent part. stale: its kept score was measured with other references or search settings than there are now."""

    inspection_id: str
    at: datetime
    filename: str
    stale: bool
    before: HeldView
    after: HeldView


class PreviewSide(_Answer):
    """What pictures are held against, and how many come to which verdict."""

    threshold: float | None
    reached: bool = Field(description="Whether there are enough references to promise `false_reject_rate`.")
    unfamiliar_level: float | None
    references: dict[Verdict, int]
    inspections: dict[Verdict, int]


class PreviewAnswer(_Answer):
    """What settings would change, had a category had them. Nothing was changed."""

    version: int
    basis: Literal["none", "kept", "measured", "estimated"] = Field(
        description="Where the threshold afterwards comes from. none: nothing is calibrated; kept: from the scores "
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
        description="Newest first; those of the latest `limit` whose picture is kept."
    )


class CategoryView(_Answer):
    """A product."""

    name: str
    references: int
    created: datetime
    settings: SettingsView
    calibration: CalibrationView
    drift: DriftView | None = Field(description="Null before the first calibrated inspection.")


class CategoriesAnswer(_Answer):
    """All categories by name."""

    categories: tuple[CategoryView, ...]


class ScoresAnswer(_Answer):
    """Leave-one-out scores of a category's references. version: the snapshot they were computed on."""

    version: int | None
    scores: tuple[float, ...]
    references: tuple[int, ...] = Field(description="The reference that has each score, in the same order.")


class Removed(_Answer):
    """A version of the memory without what was removed."""

    version: int


class InspectionPage(_Answer):
    """Inspections, newest first; `next_cursor` continues."""

    inspections: tuple[InspectionView, ...]
    next_cursor: str | None


class TrendPointView(_Answer):
    """The inspections of one stretch of time from `at` on."""

    at: datetime
    count: int
    mean: float = Field(description="Of the scores.")
    highest: float = Field(description="Of the scores.")
    threshold: float | None = Field(description="The highest one that they were held against.")
    verdicts: dict[Verdict, int]


class TrendView(_Answer):
    """Inspections over time, oldest first; stretches without any are left out."""

    total: int
    first: datetime | None
    last: datetime | None
    stretch_seconds: float
    points: tuple[TrendPointView, ...]


class FeedbackBody(BaseModel):
    """What a person says: `good` makes the picture a reference, `none` takes the judgement and that reference back."""

    model_config = ConfigDict(extra="forbid")

    judgement: Literal["good", "defect", "none"]


class EncoderView(_Answer):
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


class UploadLimits(_Answer):
    """What a client can know before it sends pictures; what is beyond is refused."""

    formats: tuple[str, ...] = Field(description="Picture formats that are read.")
    max_images: int = Field(description="Pictures in one request.")
    max_request_bytes: int = Field(description="Bytes of one request with pictures.")
    max_image_bytes: int = Field(description="Bytes of one picture's file.")
    max_pixels: int = Field(description="Pixels of one picture.")
    max_side: int = Field(description="Pixels of a picture's longest side.")
    min_side: int = Field(description="Pixels of a picture's shortest side.")


class VersionView(_Answer):
    """What is running, and what it takes."""

    touchstone: str
    encoder: EncoderView
    engine: str
    codec: str
    snapshot: int
    references: int
    keeps_history: bool = Field(description="False when the disk is nearly full: detection goes on, unrecorded.")
    damaged_segments: tuple[str, ...]
    limits: UploadLimits


class Live(_Answer):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(_Answer):
    """A picture went through the encoder and every stored segment passed its check."""

    status: Literal["ready"] = "ready"
    version: int
    references: int
    forward_ms: float
    keeps_history: bool = Field(description="False when the disk is nearly full: detection goes on, unrecorded.")


KeyRole = Literal["line", "engineer", "admin"]


class AccessView(_Answer):
    """Who is asking. open: nobody is asked for a key, and everybody is an admin."""

    access: Literal["keys", "open"]
    name: str
    key_id: str | None
    role: KeyRole


class KeyBody(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "press-4", "role": "line"}]})

    name: str = Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")
    role: KeyRole
    expires_in_days: Annotated[float | None, BeforeValidator(_no_boolean)] = Field(
        None, gt=0, le=36_500, description="null: it does not expire."
    )
    requests_per_minute: Annotated[int | None, BeforeValidator(_no_boolean)] = Field(
        None, ge=0, le=10_000_000, description="Its own limit; null for the service's, 0 for none."
    )


class KeyView(_Answer):
    """A key, without its secret."""

    id: str
    name: str
    role: KeyRole
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None


class NewKeyView(KeyView):
    """A key that was just made."""

    token: str = Field(description="What clients send as `Authorization: Bearer …`. Shown this once.")


class KeysAnswer(_Answer):
    """Every key, oldest first."""

    keys: tuple[KeyView, ...]


class AuditEntryView(_Answer):
    """One change. `before` and `after` hold what was different."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    request_id: str | None
    action: str
    target: str
    before: dict[str, Any]
    after: dict[str, Any]


class AuditPage(_Answer):
    """Changes, newest first; `next_cursor` continues."""

    entries: tuple[AuditEntryView, ...]
    next_cursor: str | None
