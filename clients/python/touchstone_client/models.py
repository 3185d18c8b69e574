"""What the service returns. Generated from its OpenAPI document by `make clients`: do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

from touchstone_client.errors import ProblemDetails

Verdict = Literal["normal", "anomalous", "unfamiliar", "uncalibrated"]
Label = Literal["good", "defect"]
FindingKind = Literal["near_duplicate", "outlier", "other_category", "too_dark", "too_bright", "blurred", "framing"]
Role = Literal["line", "operator", "engineer", "admin"]
BitDepth = Literal[10, 12, 14, 16]
OnMismatch = Literal["stretch", "letterbox", "refuse"]


class Box(NamedTuple):
    """A rectangle in image coordinates."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class NearestPatch:
    """The stored patch that the region's worst patch came nearest to, in the layer that contributed most."""

    reference_id: int
    cell: tuple[int, int]
    """(row, column) of the stored patch in the grid."""

    box: Box | None = None
    """Where that patch is in the reference's image: x, y, width, height in fractions of its width and height. None in
    inspections older than this field.
    """

    layer: str
    distance: float
    """1 − cosine, 0 to 2."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A connected region above the level that good parts stay under, in pixels of the image as sent."""

    box: Box
    """x, y, width, height."""

    area: float
    peak: float
    centroid: tuple[float, float]
    polygon: tuple[tuple[float, float], ...]
    nearest_patch: NearestPatch


@dataclass(frozen=True, kw_only=True)
class RetrievedReference:
    """One of the most similar references."""

    reference_id: int
    category: str
    similarity: float
    """Inner product of global descriptors, −1 to 1."""


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """How like anything referenced the image is. Beyond `threshold` the verdict is `unfamiliar`."""

    statistic: float | None
    """Spreads beyond the references' usual; None before calibration."""

    threshold: float | None
    """None with fewer than 8 references."""

    p_value: float | None
    """Rank of the statistic among the references' own."""

    median_distance: float
    """Median over the inspected patches of 1 − cosine."""

    similarity: float
    """Of the most similar reference, −1 to 1."""

    self_similarity: float
    """How alike the image's own patches are; 1 of a frame that shows nothing."""


@dataclass(frozen=True, kw_only=True)
class AlternativeCategory:
    """Another category that the image fits better than the one asked for, as a whole and patch by patch."""

    category: str
    similarity: float
    """Of the other category's most similar reference."""

    own_similarity: float
    mean_distance: float
    """Mean patch distance to the other category."""

    own_mean_distance: float
    score: float
    """The score, had that category been asked for."""

    p_value: float | None


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Milliseconds."""

    queue_ms: float
    encode_ms: float
    search_ms: float
    total_ms: float


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How an image was stored, and what was made of that when it was read."""

    format: str
    """JPEG, PNG, BMP, TIFF or WEBP."""

    lossy: bool
    bits: int
    """A channel, as stored."""

    quality: int | None
    """Of a JPEG, 1 to 100, told from its tables."""

    subsampling: str | None
    """Of a colour JPEG, such as 4:2:0."""

    bit_depth: BitDepth | None
    """Of 16 bits a channel, as many as were taken for used."""

    read_as: str | None
    """What it was stored as in between, since the references are."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something to know of how an image was read, beside what was found in it."""

    kind: Literal[
        "narrow_range",
        "bit_depth_inferred",
        "encoding_mismatch",
        "reencoded_as_references",
        "size_mismatch",
        "border_not_inspected",
        "other_proportions",
    ]
    detail: str
    """A sentence for people, which says what to do where something can be done."""


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What of an image is inspected; a region of interest can only make it less."""

    fraction: float
    """Of the image's area, above 0 and up to 1."""

    polygon: tuple[tuple[float, float], ...]
    """Its corners (x, y) in fractions of the image's width and height, clockwise from the top left."""


@dataclass(frozen=True, kw_only=True)
class AnomalyMap:
    """The anomaly map over the inspected crop, 256×256."""

    format: Literal["png16", "npy"]
    data: str
    """Base64. png16: 16-bit grey, value / 65535 × scale. npy: float32."""

    scale: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The answer for one image. `score` is raw; higher is more anomalous."""

    id: str
    at: datetime
    filename: str
    category: str
    """As asked for, or recognised: that of the most similar reference."""

    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int
    """The snapshot of the memory that this was computed on."""

    width: int
    height: int
    part_id: str | None = None
    station: str | None = None
    regions: tuple[Region, ...] = ()
    references: tuple[RetrievedReference, ...] = ()
    novelty: Novelty | None = None
    alternative_category: AlternativeCategory | None = None
    """With `category` given: another one that fits better."""

    timings: Timings
    label: Label | None = None
    labelled_at: datetime | None = None
    promoted_reference_id: int | None = None
    image_availability: Literal["original", "thumbnail", "none"] = "none"
    """What is kept of the image; `original` has its map, too."""

    encoding: Encoding | None = None
    """None of inspections from before it was noted."""

    notices: tuple[Notice, ...] = ()
    """What to know of how the image was read."""

    inspected: Inspected | None = None
    """What of the image was looked at. None of inspections from before it was kept."""


@dataclass(frozen=True, kw_only=True)
class Detection(Inspection):
    """An inspection with the images that were asked for."""

    map: AnomalyMap | None = None
    overlay: str | None = None
    """Base64 of a PNG: the image with the map and regions drawn in."""

    recorded: bool | None
    """Whether the history has this inspection: false when it had no room or the database did not answer; None when the
    database's answer was lost, and `GET /inspections/{id}` will tell.
    """

    references_needed: int | None = None
    """With the verdict `uncalibrated`: how many references the category's false-reject rate needs."""

    advice: str | None = None
    """With the verdict `uncalibrated`: what to do to get verdicts."""


@dataclass(frozen=True, kw_only=True)
class RejectedImage:
    """An image of several that could not be inspected."""

    filename: str
    error: ProblemDetails


@dataclass(frozen=True, kw_only=True)
class DetectResponse:
    """One result per image, in order."""

    version: int
    results: tuple[Detection | RejectedImage, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What screening found in an image, with the evidence."""

    kind: FindingKind
    detail: str
    value: float
    """What was measured."""

    typical: float | None = None
    """What the category's other images measure."""

    limit: float | None = None
    """Where the finding begins."""

    reference_id: int | None = None
    """The reference it was compared with."""

    image_index: int | None = None
    """Or the position in the same request."""

    category: str | None = None
    """Of that reference, where it is another."""


@dataclass(frozen=True, kw_only=True)
class ReferenceResult:
    """What became of one image. One refused by screening has the finding's kind as its reason."""

    filename: str
    status: Literal["added", "duplicate", "rejected"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[Finding, ...] = ()
    notices: tuple[Notice, ...] = ()
    """What to know of how the image was read."""


@dataclass(frozen=True, kw_only=True)
class UnfamiliarThreshold:
    """Where a category's level for `unfamiliar` stands."""

    threshold: float | None
    """None with fewer than 8 references."""

    rate_supported: bool
    """Whether there are enough references to promise `unfamiliar_rate`."""

    references_needed: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where a category's threshold stands."""

    state: Literal["ready", "pending", "none"]
    """pending: leave-one-out scores are being computed; none: fewer than two references."""

    progress: float
    """Share done of what is being computed, 0 to 1."""

    threshold: float | None = None
    """The most cautious one while `rate_supported` is false."""

    region_threshold: float | None = None
    """What a pixel of the map must exceed to be in a region."""

    references: int
    """How many leave-one-out scores the threshold rests on."""

    references_needed: int
    """How many the false-reject rate needs."""

    rate_supported: bool
    """Whether there are enough references to promise `false_reject_rate`."""

    smallest_rate: float | None = None
    """The smallest `false_reject_rate` that the scores support; None without any."""

    advice: str | None = None
    """What to do while every verdict is `uncalibrated`."""

    duplicates: int
    """References that show a part again and do not count."""

    unfamiliar: UnfamiliarThreshold
    layer_weights: tuple[float, ...] | None = None
    """Those that images are scored with, summing to 1; None while layers weigh alike."""

    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class ReferencesResponse:
    """One result per image, in order."""

    category: str
    version: int
    results: tuple[ReferenceResult, ...]
    added: int
    duplicates: int
    rejected: int
    images_until_outlier_check: int | None
    """How many more images, of the same request or calibrated already, it takes to find outliers among them; 0 when
    outliers were looked for; None when none of the images is new.
    """

    calibration: Calibration


@dataclass(frozen=True, kw_only=True)
class Reference:
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
    findings: tuple[Finding, ...] = ()
    """What screening found when it was added."""

    inspection_id: str | None = None
    """The inspection that feedback made it from; taking that feedback back removes it."""

    encoding: Encoding | None = None
    """None of references from before it was noted."""


@dataclass(frozen=True, kw_only=True)
class ReferencePage:
    """References in order of id; `next_cursor` continues."""

    references: tuple[Reference, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A version of the memory without what was removed."""

    version: int


@dataclass(frozen=True, kw_only=True)
class RegionOfInterest:
    """Where images are inspected: the polygons, or a mask to be had as an image."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    mask: bool


@dataclass(frozen=True, kw_only=True)
class CategorySettings:
    """How a category is inspected."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float
    region_of_interest: RegionOfInterest | None
    refuse: tuple[FindingKind, ...]
    bit_depth: BitDepth | None
    pooled_share: float


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Whether good production is still like the references: a test on the p-values of inspections."""

    state: Literal["steady", "drifting"]
    inspections: int
    """Since the test began, with this calibration."""

    p_values: tuple[int, ...]
    """Inspections by p-value, in ten bins from 0 to 1; even when steady."""

    evidence: float
    """Betting capital against `steady`, 1 at the start."""

    max_evidence: float
    """The most the evidence has been."""

    alarm: float
    """At this evidence the flag is raised."""

    since: datetime
    flagged_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The whole image is scaled to `resized`; of that `window` is inspected, in cells."""

    resized: tuple[int, int]
    """(width, height) in pixels."""

    window: tuple[int, int, int, int]
    """(left, top, width, height) in pixels of `resized`."""

    on_mismatch: OnMismatch
    """An image whose proportions differ by more than 5 %: `letterbox` keeps them, and what is left over is not scored;
    `refuse` answers `other-proportions`; `stretch` squashes it, as the paper does.
    """

    grid: tuple[int, int]
    """(rows, columns) of cells."""

    inspected: Inspected


@dataclass(frozen=True, kw_only=True)
class GeometryChange:
    """A geometry that takes over once every reference is encoded under it; the present one serves until then."""

    geometry: Geometry
    encoded: int
    """References encoded so far."""

    references: int
    error: str | None
    """Why it does not go on; None while it does."""


@dataclass(frozen=True, kw_only=True)
class Category:
    """A product."""

    name: str
    references: int
    created: datetime
    settings: CategorySettings
    calibration: Calibration
    drift: Drift | None
    """None before the first calibrated inspection."""

    geometry: Geometry
    geometry_change: GeometryChange | None
    """The geometry that it is about to get; None when none is under way."""


@dataclass(frozen=True, kw_only=True)
class RemovedCategory:
    """A category that was removed, and can be restored for 30 days."""

    name: str
    removed_at: datetime
    references: int
    """How many of the references removed with it can be restored."""


@dataclass(frozen=True, kw_only=True)
class Categories:
    """All categories by name, and those that can be restored."""

    categories: tuple[Category, ...]
    removed: tuple[RemovedCategory, ...]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Leave-one-out scores of a category's references. version: the snapshot they were computed on."""

    version: int | None
    scores: tuple[float, ...]
    references: tuple[int, ...]
    """The reference that has each score, in the same order."""

    rates: tuple[float, ...]
    """The false-reject rates at which the highest score, the second highest … is the threshold."""

    rate_index: int | None
    """Which of `rates` decides as the category's own does; None without any."""


@dataclass(frozen=True, kw_only=True)
class LostReference:
    """A reference that could not be restored, and why."""

    reference_id: int
    filename: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class RestoredCategory:
    """A category that is one again, with the references that one request restored; `next_cursor` restores more."""

    category: Category
    restored: int
    lost: tuple[LostReference, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class PreviewSide:
    """What images are held against, and how many come to which verdict."""

    threshold: float | None
    rate_supported: bool
    """Whether there are enough references to promise `false_reject_rate`."""

    unfamiliar_threshold: float | None
    references: Mapping[Verdict, int]
    inspections: Mapping[Verdict, int]


@dataclass(frozen=True, kw_only=True)
class JudgedScore:
    """An image held against one group of settings."""

    score: float
    p_value: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class PreviewedReference:
    """A reference, scored against the others."""

    reference_id: int
    before: JudgedScore
    after: JudgedScore


@dataclass(frozen=True, kw_only=True)
class PreviewedInspection:
    """A recent part. stale: its kept score was measured with other references or search settings than there are now."""

    inspection_id: str
    at: datetime
    filename: str
    stale: bool
    before: JudgedScore
    after: JudgedScore


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What settings would change, had a category had them. Nothing was changed."""

    version: int
    basis: Literal["none", "stored", "measured", "estimated"]
    """Where the threshold afterwards comes from. none: nothing is calibrated; stored: from the scores there are;
    measured: every reference was scored anew; estimated: `measured` of them were, and the others are taken to change
    like those that scored alike.
    """

    measured: int
    current: bool
    """False while the calibration lags behind the references or the settings."""

    searched_again: bool
    """Whether recent parts were searched again, both times against the references of now; else both scores are the one
    that was kept.
    """

    before: PreviewSide
    after: PreviewSide
    changed_references: int
    changed_inspections: int
    references: tuple[PreviewedReference, ...]
    """Highest score afterwards first, at most `limit`; the counts are of all."""

    inspections: tuple[PreviewedInspection, ...]
    """Newest first; those of the latest `limit` whose image is kept."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The geometry that a request comes to, and what it costs; nothing was encoded. Times are estimates."""

    geometry: Geometry
    cells: int
    smallest_defect: float
    """The smallest defect that is found, in pixels of the image as sent."""

    encode_ms: float
    """Of one image."""

    search_ms: float
    """Of one image, among `references`, or the category's K if that is less."""

    reference_bytes: int
    """Of one reference, in memory and on the disk."""

    references: int
    memory_bytes: int
    """Of all of them."""


@dataclass(frozen=True, kw_only=True)
class InspectionPage:
    """Inspections, newest first; `next_cursor` continues."""

    inspections: tuple[Inspection, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class TrendPoint:
    """The inspections of one stretch of time from `at` on."""

    at: datetime
    count: int
    mean: float
    """Of the scores."""

    max: float
    """Of the scores."""

    threshold: float | None
    """The highest one that they were held against."""

    verdicts: Mapping[Verdict, int]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Inspections over time, oldest first; stretches without any are left out."""

    total: int
    first: datetime | None
    last: datetime | None
    bucket_seconds: float
    points: tuple[TrendPoint, ...]


@dataclass(frozen=True, kw_only=True)
class ReferenceUsage:
    """Live references. Those added before their images' bytes were noted count none."""

    count: int
    image_bytes: int
    code_bytes: int


@dataclass(frozen=True, kw_only=True)
class CountAndBytes:
    """So many, and their bytes."""

    count: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class GroupUsage:
    """Inspections of one kind. `images` are counted with their maps, for each inspection that has them."""

    inspections: int
    oldest: datetime | None
    images: CountAndBytes
    thumbnail_bytes: int
    next_inspections: CountAndBytes
    """What the next pruning takes away; bytes are of thumbnails."""

    next_images: CountAndBytes
    """Beyond the limits now; they may belong to those inspections."""


@dataclass(frozen=True, kw_only=True)
class CategoryStorage:
    """A category. `name` is None for inspections without one."""

    name: str | None
    references: ReferenceUsage
    defects: GroupUsage
    others: GroupUsage


@dataclass(frozen=True, kw_only=True)
class RetentionLimits:
    """What is kept of each category; None is without a limit. Each limit holds by itself."""

    count: int | None
    days: float | None
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """The limits in force, which settings give. A defect is `anomalous` or `unfamiliar`, unless a person says other."""

    inspections: RetentionLimits
    images: RetentionLimits
    defects: RetentionLimits
    defect_images: RetentionLimits


@dataclass(frozen=True, kw_only=True)
class DiskUsage:
    """The disk of the data folder."""

    free: int
    size: int
    prune_images_below_bytes: int
    """With less free, the oldest images of what is no defect go."""

    stop_recording_below_bytes: int
    """With less free, inspections are answered but not kept."""

    recording_enabled: bool


@dataclass(frozen=True, kw_only=True)
class MemoryUsage:
    """Bytes held in memory: the references' codes; and what anyone uses of the GPU, None where there is none."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What is kept."""

    categories: tuple[CategoryStorage, ...]
    limits: RetentionPolicy
    disk: DiskUsage
    memory: MemoryUsage
    pending_deletion: CountAndBytes
    """Files that nothing needs and that are not yet deleted."""

    pruned_at: datetime | None
    """When this process last brought the history within its limits."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who is asking. open: nobody is asked for a key, and everybody is an admin."""

    access: Literal["keys", "open"]
    name: str
    key_id: str | None
    role: Role


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key, without its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None


@dataclass(frozen=True, kw_only=True)
class ApiKeys:
    """Every key, oldest first."""

    keys: tuple[ApiKey, ...]


@dataclass(frozen=True, kw_only=True)
class NewApiKey(ApiKey):
    """A key that was just made."""

    token: str = field(repr=False)
    """What clients send as `Authorization: Bearer …`. Shown this once."""


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One change. `before` and `after` hold what was different."""

    id: int
    at: datetime
    actor: str
    key_id: str | None
    request_id: str | None
    action: str
    target: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Changes, newest first; `next_cursor` continues."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The encoder in use, plainly."""

    name: str
    note: str
    layers: tuple[str, ...]
    patch: int
    """Pixels along the side of a cell."""

    dim: int
    device: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class UploadLimits:
    """What a client can know before it sends images; what is beyond is refused."""

    formats: tuple[str, ...]
    """Image formats that are read."""

    max_images: int
    """Images in one request."""

    max_request_bytes: int
    """Bytes of one request with images."""

    max_image_bytes: int
    """Bytes of one image's file."""

    max_pixels: int
    """Pixels of one image."""

    max_side: int
    """Pixels of an image's longest side."""

    min_side: int
    """Pixels of an image's shortest side."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What is running, and what it takes."""

    touchstone: str
    encoder: Encoder
    engine: str
    codec: str
    version: int
    references: int
    recording_enabled: bool
    """False when the disk is nearly full: detection goes on, unrecorded."""

    corrupt_segments: tuple[str, ...]
    limits: UploadLimits


@dataclass(frozen=True, kw_only=True)
class Live:
    """The process answers."""

    status: Literal["live"]


@dataclass(frozen=True, kw_only=True)
class BackgroundTask:
    """Background work that is not done as it should be; the log says more."""

    name: str
    state: Literal["working", "failing", "stalled", "ended"]
    """`failing`: tried again after each failure. `stalled`: one round takes longer than it ever should."""

    since: datetime
    failures: int
    """Rounds that failed one after the other."""

    error: str | None
    """The kind of the last failure."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Images go through the encoder and every stored segment passed its check."""

    status: Literal["ready"]
    version: int
    references: int
    forward_ms: float
    """What an image last took in the encoder, in milliseconds."""

    recording_enabled: bool
    """False when the disk is nearly full: detection goes on, unrecorded."""

    failing: tuple[BackgroundTask, ...]
    """Background work that is not done as it should be."""


class SettingsChanges(TypedDict, total=False):
    """Settings to change, and how fine the category is inspected; what is left out stays.

    None resets `layer_weights`, `threshold`, `region_of_interest` and `bit_depth`. A new `geometry` takes effect
    once every reference is encoded under it; until then the present one serves, and `geometry_change` shows how far
    that is. The present one again cancels that.
    """

    k: int
    """References retrieved per image. 1 to 100000."""

    rho: int
    """Neighbourhood radius in grid cells. 0 to 16."""

    layer_weights: Sequence[float] | None
    """One weight per layer; None takes them from the references: a layer in which good parts differ much weighs less.
    """

    false_reject_rate: float
    """Share of good parts that may be rejected. At least 1e-06, less than 1."""

    threshold: float | None
    """A manual threshold; None uses the calibrated one. 0 to 2."""

    unfamiliar_rate: float
    """Share of good parts that may be `unfamiliar`. At least 1e-06, less than 1."""

    region_of_interest: Polygons | None
    """Where images are inspected; None is everywhere. A mask image is set by its own route."""

    refuse: Sequence[FindingKind]
    """Findings for which new references are refused."""

    bit_depth: BitDepth | None
    """How many bits files of 16 a channel use, from the lowest. The first such references decide it, unless it is set
    before; it cannot change while there are references that were read otherwise.
    """

    pooled_share: float
    """Share of the anomaly map whose largest values an image's score is the mean of."""

    geometry: GeometryChoice | None
    """How fine images are inspected; None as it is."""


class PreviewedSettings(TypedDict, total=False):
    """Settings to try; what is left out is as it is.

    `refuse` and `bit_depth` make no difference to what is a reference or was inspected already.
    """

    k: int
    """References retrieved per image. 1 to 100000."""

    rho: int
    """Neighbourhood radius in grid cells. 0 to 16."""

    layer_weights: Sequence[float] | None
    """One weight per layer; None takes them from the references: a layer in which good parts differ much weighs less.
    """

    false_reject_rate: float
    """Share of good parts that may be rejected. At least 1e-06, less than 1."""

    threshold: float | None
    """A manual threshold; None uses the calibrated one. 0 to 2."""

    unfamiliar_rate: float
    """Share of good parts that may be `unfamiliar`. At least 1e-06, less than 1."""

    region_of_interest: Polygons | None
    """Where images are inspected; None is everywhere. A mask image is set by its own route."""

    refuse: Sequence[FindingKind]
    """Findings for which new references are refused."""

    bit_depth: BitDepth | None
    """How many bits files of 16 a channel use, from the lowest. The first such references decide it, unless it is set
    before; it cannot change while there are references that were read otherwise.
    """

    pooled_share: float
    """Share of the anomaly map whose largest values an image's score is the mean of."""


class Polygons(TypedDict):
    """Polygons whose corners are (x, y) in fractions of the image's width and height; inside any is inspected."""

    polygons: Sequence[Sequence[Sequence[float]]]


class GeometryChoice(TypedDict, total=False):
    """A way to inspect: one of `cells`, `smallest_defect`, `size`, or `resized` with `window`.

    With none of them the grid stays, and `on_mismatch` changes alone.
    """

    cells: int | None
    """The whole image on a grid of at most so many cells. 1 to 65536."""

    smallest_defect: float | None
    """The whole image, as fine as it takes to find a defect of so many pixels of the image as sent; of millimetres with
    `millimetres_per_pixel`.
    """

    millimetres_per_pixel: float | None
    """How large a pixel of the image is."""

    size: Sequence[int] | None
    """The whole image at (width, height) pixels, rounded to whole cells."""

    resized: Sequence[int] | None
    """The whole image is scaled to (width, height) pixels, of which `window` is inspected."""

    window: Sequence[int] | None
    """(left, top, width, height) in pixels of `resized`; sides are whole cells."""

    on_mismatch: OnMismatch | None
    """For images of other proportions; None as it is."""
