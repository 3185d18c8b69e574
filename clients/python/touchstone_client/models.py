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
ReviewReason = Literal["near_threshold", "unfamiliar", "feedback"]


class Box(NamedTuple):
    """A rectangle in image coordinates."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class NearestPatch:
    """The nearest stored patch of the region's most anomalous cell, in the layer that contributed most."""

    reference_id: int
    cell: tuple[int, int]
    """(row, column) of the stored patch in the grid."""

    box: Box | None = None
    """Position of that patch in the reference's image: x, y, width, height in fractions of its width and height. None
    in inspections older than this field.
    """

    layer: str
    distance: float
    """1 − cosine, 0 to 2."""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A connected region of the anomaly map above the region threshold, in pixels of the uploaded image."""

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
    """How much the image as a whole differs from the references. Beyond `threshold` the verdict is `unfamiliar`."""

    statistic: float | None
    """Distance above the references' typical value, in units of their spread; None before calibration."""

    threshold: float | None
    """None with fewer than 8 references."""

    p_value: float | None
    """Rank of the statistic among the references' own."""

    median_distance: float
    """Median over the inspected patches of 1 − cosine."""

    scene_distance: float | None = None
    """40th percentile of the same: of the image as a whole, whatever defect covers up to a fifth."""

    scene_p_value: float | None = None
    """Rank of that among the references' medians: small when the scene has changed."""

    similarity: float
    """Of the most similar reference, −1 to 1."""

    self_similarity: float
    """Similarity of the image's own patches to each other; 1 for a blank frame."""


@dataclass(frozen=True, kw_only=True)
class AlternativeCategory:
    """Another category that matches the image better than the requested one, by global descriptor and by patches."""

    category: str
    similarity: float
    """Similarity of the other category's most similar reference."""

    own_similarity: float
    mean_distance: float
    """Mean patch distance to the other category."""

    own_mean_distance: float
    score: float
    """The score with that category."""

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
    """How an image file is encoded, and how it was read."""

    format: str
    """JPEG, PNG, BMP, TIFF or WEBP."""

    lossy: bool
    bits: int
    """Bits per channel, as stored."""

    quality: int | None
    """JPEG quality, 1 to 100, estimated from the quantisation tables."""

    subsampling: str | None
    """Chroma subsampling of a colour JPEG, such as 4:2:0."""

    bit_depth: BitDepth | None
    """Number of the 16 bits per channel that were treated as used."""

    read_as: str | None
    """The encoding that was applied before inspection, because the references have it."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A notice about how an image was read; it does not change the verdict."""

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
    """A sentence for people, with a remedy if there is one."""


@dataclass(frozen=True, kw_only=True)
class RegionOfInterest:
    """A region of interest: what lies in `polygons`, or without any the whole image, except what lies in `ignored`.

    Corners (x, y) are in fractions of the image's width and height.
    """

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    ignored: tuple[tuple[tuple[float, float], ...], ...]
    mask: bool
    """A mask of an earlier version says it instead; `GET /categories/{name}/region-of-interest.png` returns that as an
    image.
    """


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """The inspected part of an image: what the geometry shows, within the region of interest."""

    fraction: float
    """Fraction of the image's area that is inspected, above 0 and up to 1."""

    polygon: tuple[tuple[float, float], ...]
    """What the geometry shows: corners (x, y) in fractions of the image's width and height, clockwise from the top
    left.
    """

    region: RegionOfInterest | None = None
    """The region of interest, which restricts it further; None: none."""


@dataclass(frozen=True, kw_only=True)
class AnomalyMap:
    """The anomaly map over the inspected window: 256 pixels for every 28 cells, at most 1024 a side."""

    format: Literal["png16", "npy"]
    data: str
    """Base64. png16: 16-bit grey, value / 65535 × scale. npy: float32."""

    scale: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The result for one image. `score` is not normalised; higher is more anomalous."""

    id: str
    at: datetime
    filename: str
    category: str
    """The requested category, or the recognised one: that of the most similar reference."""

    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int
    """Version of the index that this was computed with."""

    width: int
    height: int
    part_id: str | None = None
    station: str | None = None
    regions: tuple[Region, ...] = ()
    references: tuple[RetrievedReference, ...] = ()
    novelty: Novelty | None = None
    alternative_category: AlternativeCategory | None = None
    """If a category was requested: another one that matches better."""

    timings: Timings
    label: Label | None = None
    labelled_at: datetime | None = None
    promoted_reference_id: int | None = None
    defect_class: str | None = None
    """Of a confirmed defect, where somebody named it."""

    comment: str | None = None
    """On a confirmed defect."""

    review: ReviewReason | None = None
    """Why the part is reviewed: its score is near the threshold, it is `unfamiliar`, or an operator labelled it good.
    """

    reviewed_at: datetime | None = None
    """When that was decided; None while the part waits."""

    image_availability: Literal["original", "thumbnail", "none"] = "none"
    """What is stored of the image; with `original` also its map."""

    encoding: Encoding | None = None
    """None in inspections older than this field."""

    notices: tuple[Notice, ...] = ()
    """Notices about how the image was read."""

    inspected: Inspected | None = None
    """The inspected part of the image. None in inspections older than this field."""


@dataclass(frozen=True, kw_only=True)
class Detection(Inspection):
    """An inspection with the requested images."""

    map: AnomalyMap | None = None
    overlay: str | None = None
    """Base64 of a PNG: the image with the map and regions drawn in."""

    recorded: bool | None
    """Whether the history has this inspection: false when it had no room or the database did not answer; None when that
    is not known yet, because the request did not wait for it or the database's answer was lost, and `GET
    /inspections/{id}` will tell.
    """

    references_needed: int | None = None
    """With the verdict `uncalibrated`: how many references the category's false-reject rate needs."""

    advice: str | None = None
    """With the verdict `uncalibrated`: what to do to get verdicts."""


@dataclass(frozen=True, kw_only=True)
class RejectedImage:
    """One of several images that could not be inspected."""

    filename: str
    error: ProblemDetails


@dataclass(frozen=True, kw_only=True)
class DetectResponse:
    """One result per image, in order."""

    version: int
    results: tuple[Detection | RejectedImage, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of screening in an image, with its measurements."""

    kind: FindingKind
    detail: str
    value: float
    """The measured value."""

    typical: float | None = None
    """The typical value of the category's other images."""

    limit: float | None = None
    """Values beyond this limit are findings."""

    reference_id: int | None = None
    """The reference that the image was compared with."""

    image_index: int | None = None
    """Or the index, in the same request, of the image that it was compared with."""

    category: str | None = None
    """Category of that reference, if it is another."""


@dataclass(frozen=True, kw_only=True)
class ReferenceResult:
    """The result for one image. If screening refused it, the reason is the finding's kind."""

    filename: str
    status: Literal["added", "duplicate", "rejected"]
    reference_id: int | None = None
    reason: str | None = None
    detail: str | None = None
    findings: tuple[Finding, ...] = ()
    notices: tuple[Notice, ...] = ()
    """Notices about how the image was read."""


@dataclass(frozen=True, kw_only=True)
class UnfamiliarThreshold:
    """State of a category's threshold for `unfamiliar`."""

    threshold: float | None
    """None with fewer than 8 references."""

    rate_supported: bool
    """Whether there are enough references to guarantee `unfamiliar_rate`."""

    references_needed: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """State of a category's calibration and threshold."""

    state: Literal["ready", "pending", "none"]
    """pending: leave-one-out scores are being computed; none: fewer than two references."""

    progress: float
    """Progress of the computation, 0 to 1."""

    threshold: float | None = None
    """While `rate_supported` is false, the highest leave-one-out score."""

    region_threshold: float | None = None
    """Pixels of the anomaly map above this value form regions."""

    references: int
    """Number of leave-one-out scores that the threshold is computed from."""

    references_needed: int
    """Number of references that the false-reject rate needs."""

    rate_supported: bool
    """Whether there are enough references to guarantee `false_reject_rate`."""

    smallest_rate: float | None = None
    """The smallest `false_reject_rate` that the scores support; None without any."""

    advice: str | None = None
    """What to do while every verdict is `uncalibrated`."""

    duplicates: int
    """Near-duplicates of other references, which do not count."""

    unfamiliar: UnfamiliarThreshold
    layer_weights: tuple[float, ...] | None = None
    """Layer weights used for scoring, summing to 1; None while layers are weighted equally."""

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
    """Number of further images, in the same request or calibrated before, needed to check for outliers; 0 if outliers
    were checked; None if no image is new.
    """

    calibration: Calibration


@dataclass(frozen=True, kw_only=True)
class Reference:
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
    findings: tuple[Finding, ...] = ()
    """Findings of screening when it was added."""

    inspection_id: str | None = None
    """The inspection whose feedback added it; undoing that feedback removes it."""

    encoding: Encoding | None = None
    """None in references older than this field."""

    score: float | None = None
    """Its leave-one-out score: how unlike the others it is. None while its category is not calibrated, if it was
    removed, and in near-duplicates of others.
    """


@dataclass(frozen=True, kw_only=True)
class ReferencePage:
    """References; `next_cursor` continues."""

    references: tuple[Reference, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class RemovedMany:
    """The index version after a removal, and which ids were of references."""

    version: int
    removed: tuple[int, ...]
    """Removed by this request or before."""

    unknown: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """The index version after a removal."""

    version: int


@dataclass(frozen=True, kw_only=True)
class CategorySettings:
    """A category's settings."""

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
    defect_classes: tuple[str, ...]
    review_band: float
    review_feedback: bool


@dataclass(frozen=True, kw_only=True)
class Martingale:
    """A betting strategy against p-values that are uniform."""

    p_values: tuple[int, ...]
    """Inspections by p-value, in ten bins from 0 to 1; even when steady."""

    evidence: float
    """Betting capital against `steady`, 1 at the start."""

    max_evidence: float
    """The most the evidence has been."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Whether production is still like the references: tests on the p-values of inspections."""

    state: Literal["steady", "defects", "drifting"]
    """drifting: the scene has changed, images as a whole differ more from the references; defects: many parts are
    anomalous in places, in a scene as before.
    """

    inspections: int
    """Since the tests began, with this calibration."""

    scores: Martingale
    """Of the p-values of scores, which decides `defects`."""

    scene: Martingale
    """Of those of images as a whole, which decides `drifting`."""

    alarm: float
    """At this evidence a flag is raised."""

    since: datetime
    flagged_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The image is scaled to `resized`; `window` of it is inspected, in cells."""

    resized: tuple[int, int]
    """(width, height) in pixels."""

    window: tuple[int, int, int, int]
    """(left, top, width, height) in pixels of `resized`."""

    on_mismatch: OnMismatch
    """Treatment of an image whose aspect ratio differs by more than 5 %: `letterbox` keeps it, and cells outside the
    image are not scored; `refuse` returns `other-proportions`; `stretch` stretches it, as in the paper.
    """

    grid: tuple[int, int]
    """(rows, columns) of cells."""

    inspected: Inspected


@dataclass(frozen=True, kw_only=True)
class GeometryChange:
    """A geometry change in progress: it takes effect when all references are encoded; until then the present geometry
    is used.
    """

    geometry: Geometry
    encoded: int
    """References encoded so far."""

    references: int
    error: str | None
    """Why the change does not progress; None while it does."""


@dataclass(frozen=True, kw_only=True)
class CoresetTarget:
    """How large the coreset is to be; one of the two."""

    share: float | None
    bound: float | None


@dataclass(frozen=True, kw_only=True)
class Coreset:
    """A category's coreset: patches of its references that are searched instead of all of them.

    `references` to `bound` are of the finished one; None before one is made.
    """

    target: CoresetTarget
    state: Literal["requested", "in use", "not in use"]
    """`requested`: one is to be made, all references are searched meanwhile; `in use`: it is searched, also while
    another one is made; `not in use`: all references are searched, because references that it stands for are gone or
    its file is damaged.
    """

    error: str | None
    """Why the one that is asked for cannot be made; None while it can."""

    progress: float | None
    """0 to 1 while one is asked for or made; None otherwise."""

    references: int | None
    """References that it stands for."""

    patches: int | None
    """Its patches in each layer and cell."""

    bytes: int | None
    """Size of its file."""

    radii: Mapping[str, float] | None
    """By layer, the largest distance of a reference's patch to the nearest patch of the coreset in the same cell. No
    distance of an image's patch is larger than among all references by more.
    """

    bound: float | None
    """No image score is higher than among all references by more: the mean of `radii`, weighted as the layers are;
    their largest while those weights are not known.
    """

    beside: int
    """References that are searched beside it, because it was made without them."""


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
    """A geometry change in progress; None if there is none."""

    coreset: Coreset | None
    """What is searched instead of all references; None: nothing else."""


@dataclass(frozen=True, kw_only=True)
class RemovedCategory:
    """A removed category, which can be restored for 30 days."""

    name: str
    removed_at: datetime
    references: int
    """Number of references, removed with it, that can be restored."""


@dataclass(frozen=True, kw_only=True)
class Categories:
    """All categories by name, and removed ones that can be restored."""

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
    """False-reject rates at which the highest score, the second highest … is the threshold."""

    rate_index: int | None
    """Index of the rate that gives the category's own decisions; None without any."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Whether the parts of a category lie in the same place in all images."""

    references: int
    """How many were compared with each other; 0 where it cannot be said."""

    distance_left: float | None
    """What is left of the distance between good parts when their patches are compared with those of all places and not
    of the same one: near 1, parts lie alike; near 0, anywhere. None with fewer than 4 references, and for grids of
    more than 4,096 cells.
    """

    distance_in_place: float | None
    """The distance between good parts in the same place as a share of that between any two places, 0 to 1: near 0,
    references show the same in the same place. None where `distance_left` is.
    """

    advice: str | None
    """What to do about `rho`; None if nothing."""


@dataclass(frozen=True, kw_only=True)
class DriftParts:
    """The parts that moved a category's drift tests most."""

    drift: Drift | None
    """None before the first calibrated inspection."""

    parts: tuple[Inspection, ...]
    """Of the latest 500 since the tests began, those with the smallest p-values: of the image as a whole where the
    category is `drifting`, else of the score.
    """


@dataclass(frozen=True, kw_only=True)
class LostReference:
    """A reference that could not be restored, and why."""

    reference_id: int
    filename: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class RestoredCategory:
    """A restored category, with the references that this request restored; `next_cursor` restores more."""

    category: Category
    restored: int
    lost: tuple[LostReference, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """An image of a test set."""

    id: int
    filename: str
    defective: bool
    width: int
    height: int
    added_at: datetime
    mask: bool
    """Whether it is known where its defect is."""


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """A category's test set, in order of id."""

    images: tuple[LabelledImage, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledImageResult:
    """What became of one image."""

    filename: str
    status: Literal["added", "duplicate", "rejected"]
    id: int | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledImagesAdded:
    """One result per image, in order."""

    results: tuple[LabelledImageResult, ...]


@dataclass(frozen=True, kw_only=True)
class RecallSummary:
    """How well a test set was told apart, so far."""

    detected: int
    """Defective images that were rejected."""

    missed: int
    """Defective images that passed: escapes."""

    passed: int
    """Good images that passed."""

    rejected: int
    """Good images that were rejected: false rejects."""

    undecided: int
    """Images without a verdict, or that could not be inspected."""

    recall: float | None
    """Of defective images, those rejected."""

    precision: float | None
    """Of rejected images, those defective."""

    auroc: float | None
    """Probability that a defective image scores higher than a good one."""

    hits: int
    """Of the masked images, those with a region that touches the mask."""

    masked: int


@dataclass(frozen=True, kw_only=True)
class RecallChange:
    """Ids of images that changed since the evaluation before, of those in both."""

    newly_missed: tuple[int, ...]
    no_longer_missed: tuple[int, ...]
    newly_rejected: tuple[int, ...]
    no_longer_rejected: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation of a test set."""

    id: int
    version: int
    """The snapshot that it began on."""

    started_at: datetime
    finished_at: datetime | None
    """None while it is under way."""

    images: int
    done: int
    """Images inspected so far."""

    settings: Mapping[str, Any]
    """The category's, as they were."""

    summary: RecallSummary
    change: RecallChange | None
    """Against the evaluation before; None of the first."""


@dataclass(frozen=True, kw_only=True)
class Evaluations:
    """The evaluations of a category's test set, newest first."""

    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True, kw_only=True)
class EvaluatedImage:
    """What was detected in one image of a test set."""

    image: LabelledImage
    score: float | None
    threshold: float | None
    p_value: float | None
    verdict: Verdict | None
    """None where it could not be inspected, for `error`."""

    regions: tuple[Mapping[str, Any], ...]
    """`box` in pixels of the image, and `peak`."""

    mask_hit: bool | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class RocPoint:
    """What share of good and of defective images scores above a threshold."""

    threshold: float
    false_rejects: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class EvaluationDetail:
    """One evaluation with every image."""

    evaluation: Evaluation
    results: tuple[EvaluatedImage, ...]
    roc: tuple[RocPoint, ...]
    """From the highest score down; empty without both kinds."""


@dataclass(frozen=True, kw_only=True)
class ChangesSince:
    """What has changed in a category since an evaluation of its test set."""

    then: Mapping[str, Any]
    """Settings that differ now, as they were."""

    now: Mapping[str, Any]
    """The same settings as they are."""

    added: tuple[int, ...]
    """References whose images were none then."""

    removed: tuple[int, ...]
    """References of then whose images are none now."""

    encoder_changed: bool
    """Whether encoder or codec were changed: `touchstone rebuild` changes them back."""

    geometry_changed: bool
    """Whether the geometry was changed: set it again among the settings."""


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What this request rolled back; repeat it with `next_cursor` until that is None."""

    settings: tuple[str, ...]
    """Settings that have their earlier values again."""

    removed: int
    """References removed that were added since."""

    restored: int
    """References restored that were removed since."""

    lost: tuple[LostReference, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class TuningResult:
    """What cross-validation says: settings are chosen on a part of the images and judged on the others."""

    better: bool
    """Whether `changes` are recommended: `low` is above 0. Where no settings are better, this is true once in twenty
    times at most.
    """

    changes: Mapping[str, Any]
    """The settings that separate all images best, where they differ from the present ones; apply them with `PATCH
    /categories/{name}`.
    """

    auroc: float
    """Of the present settings."""

    gain: float
    """What choosing adds to the AUROC, on images that the choice was not made on."""

    low: float
    """Lower end of the 98 % interval of `gain`."""

    high: float
    agreement: float
    """Of the choices on parts of the images, the share that are `changes`."""

    good: int
    defective: int
    skipped: int
    """Images that could not be inspected."""

    candidates: int
    """Combinations of settings that were tried."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A tuning: requested, under way, finished, or ended by an error."""

    requested_at: datetime
    finished_at: datetime | None
    """None while it waits or is under way."""

    images: int
    done: int
    """Images scored so far."""

    settings: Mapping[str, Any]
    """As they were, with `geometry`; empty before it began."""

    outdated: bool
    """Whether references, settings or test images have changed since."""

    error: str | None
    result: TuningResult | None


@dataclass(frozen=True, kw_only=True)
class TuningStatus:
    """A category's latest tuning, and how many images one takes."""

    tuning: Tuning | None
    min_good: int
    min_defective: int


@dataclass(frozen=True, kw_only=True)
class PreviewSide:
    """The thresholds with these settings, and the number of images per verdict."""

    threshold: float | None
    rate_supported: bool
    """Whether there are enough references to guarantee `false_reject_rate`."""

    unfamiliar_threshold: float | None
    references: Mapping[Verdict, int]
    inspections: Mapping[Verdict, int]


@dataclass(frozen=True, kw_only=True)
class JudgedScore:
    """The judgement of an image with given settings."""

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
    """A recent part. stale: its stored score was computed with other references or search settings than the present
    ones.
    """

    inspection_id: str
    at: datetime
    filename: str
    stale: bool
    before: JudgedScore
    after: JudgedScore


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The effect that settings would have had on a category. Nothing was changed."""

    version: int
    basis: Literal["none", "stored", "measured", "estimated"]
    """Source of the new threshold. none: not calibrated; stored: from the stored scores; measured: all references were
    scored again; estimated: `measured` references were, and the changes of the others were interpolated from those
    with similar scores.
    """

    measured: int
    current: bool
    """False while the calibration is older than the references or the settings."""

    searched_again: bool
    """True if recent parts were searched again, before and after, in the present references; otherwise both scores are
    the stored one.
    """

    before: PreviewSide
    after: PreviewSide
    changed_references: int
    changed_inspections: int
    references: tuple[PreviewedReference, ...]
    """At most `limit` references, highest new score first; the counts include all."""

    inspections: tuple[PreviewedInspection, ...]
    """Newest first; those of the latest `limit` whose image is stored."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The resulting geometry and its estimated cost; no image was encoded."""

    geometry: Geometry
    cells: int
    smallest_defect: float
    """Half the length of a cell, in pixels of the uploaded image: the smallest defect that the geometry is for."""

    encode_ms: float
    """Encoding time per image."""

    search_ms: float
    """Search time per image, in `references` references, or K of them if that is less."""

    reference_bytes: int
    """Bytes per reference, in memory and on disk."""

    references: int
    memory_bytes: int
    """Bytes of all references."""


@dataclass(frozen=True, kw_only=True)
class InspectionPage:
    """Inspections, newest first; `next_cursor` continues."""

    inspections: tuple[Inspection, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class TrendPoint:
    """The inspections of one time bucket, which starts at `at`."""

    at: datetime
    count: int
    mean: float
    """Of the scores in the bucket."""

    max: float
    """Of the scores in the bucket."""

    threshold: float | None
    """The highest threshold in use."""

    mean_ratio: float | None
    """Of the scores in terms of their own thresholds; None where none had a threshold."""

    max_ratio: float | None
    """The highest of these."""

    verdicts: Mapping[Verdict, int]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Inspections over time, oldest first; empty buckets are omitted."""

    total: int
    categories: int
    """How many categories these inspections are of."""

    first: datetime | None
    last: datetime | None
    bucket_seconds: float
    points: tuple[TrendPoint, ...]


@dataclass(frozen=True, kw_only=True)
class ParetoBar:
    """The confirmed defects of one class."""

    defect_class: str | None
    """None: those without a class, which come last."""

    count: int
    share: float
    """Of all confirmed defects."""

    cumulative_share: float
    """With the bars before it."""


@dataclass(frozen=True, kw_only=True)
class Pareto:
    """Confirmed defects by class, the most frequent first."""

    total: int
    bars: tuple[ParetoBar, ...]


@dataclass(frozen=True, kw_only=True)
class ReviewPage:
    """Inspections that wait, newest first; `next_cursor` continues."""

    waiting: int
    """How many match, on all pages."""

    inspections: tuple[Inspection, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """What became of a decision on one inspection: the inspection as it is now, or the error."""

    inspection_id: str
    inspection: Inspection | None = None
    error: ProblemDetails | None = None


@dataclass(frozen=True, kw_only=True)
class ReviewResults:
    """One result per inspection, in order."""

    results: tuple[Reviewed, ...]


@dataclass(frozen=True, kw_only=True)
class StationPart:
    """A part that was decided on."""

    part_id: str
    captured_at: datetime
    decision: Literal["accept", "reject", "missed"]
    verdict: str | None
    """None where it was decided without one."""

    inspection_id: str | None
    """Its inspection, where there was one by then."""


@dataclass(frozen=True, kw_only=True)
class StationComponent:
    """A source, a gate, a sink of records, or another part of the agent that has had an error."""

    role: Literal["source", "gate", "sink", "agent"]
    name: str
    """Its kind and address, without what may be secret in it."""

    error: str | None
    """Why it does not work now; None: it works."""

    last_error: str | None
    """The last error since the agent started."""

    last_error_at: datetime | None
    count: int
    """Parts captured, decisions or records received, since the agent started."""

    last_at: datetime | None
    """When the last of these was."""


@dataclass(frozen=True, kw_only=True)
class Station:
    """A station as its agent last reported it."""

    name: str
    reported_at: datetime
    """When the last report came."""

    silent: bool
    """True once no report has come for 12 s: the rest is as it was then."""

    started_at: datetime
    parts: int
    last_part: StationPart | None
    components: tuple[StationComponent, ...]
    sends_frames: bool
    watched: bool
    """Whether its frame was requested within 10 s: the agent is to send frames."""


@dataclass(frozen=True, kw_only=True)
class Stations:
    """Every station that reported within 30 days, by name."""

    stations: tuple[Station, ...]


@dataclass(frozen=True, kw_only=True)
class StationWatch:
    """What became of a frame."""

    watched: bool
    """Whether somebody watches the station; if not, the frame was not stored."""


@dataclass(frozen=True, kw_only=True)
class ReferenceUsage:
    """Live references. Image bytes of references added by early versions are unknown and count 0."""

    count: int
    image_bytes: int
    code_bytes: int


@dataclass(frozen=True, kw_only=True)
class CountAndBytes:
    """A number of items, and their size in bytes."""

    count: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class GroupUsage:
    """Stored inspections of one group. `images` counts inspections with image and map; one file may serve several."""

    inspections: int
    oldest: datetime | None
    images: CountAndBytes
    thumbnail_bytes: int
    next_inspections: CountAndBytes
    """Inspections that the next pruning removes; bytes are those of thumbnails."""

    next_images: CountAndBytes
    """Images beyond the limits; they may belong to these inspections."""


@dataclass(frozen=True, kw_only=True)
class CategoryStorage:
    """Stored data of a category. `name` is None for inspections without one."""

    name: str | None
    references: ReferenceUsage
    defects: GroupUsage
    others: GroupUsage


@dataclass(frozen=True, kw_only=True)
class RetentionLimits:
    """Retention limits per category; None: unlimited. Each limit applies independently."""

    count: int | None
    days: float | None
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """The retention limits in force, from the settings. Defects are `anomalous` or `unfamiliar`, unless labelled
    otherwise.
    """

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
    """With less free space, the oldest images of good parts are pruned."""

    stop_recording_below_bytes: int
    """With less free space, inspections are answered but not recorded."""

    recording_enabled: bool


@dataclass(frozen=True, kw_only=True)
class MemoryUsage:
    """Bytes in memory: the references' codes; and GPU memory used by all processes, None without a GPU."""

    codes: int
    gpu_used: int | None
    gpu_size: int | None


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Stored data, retention limits, and free disk space."""

    categories: tuple[CategoryStorage, ...]
    limits: RetentionPolicy
    disk: DiskUsage
    memory: MemoryUsage
    pending_deletion: CountAndBytes
    """Files that are no longer needed and are not deleted yet."""

    pruned_at: datetime | None
    """When this process last pruned the history."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """The API key of a request. open: no keys are required, and every client has the role admin.

    subject: of a session, who has signed in.
    """

    access: Literal["keys", "open"]
    name: str
    key_id: str | None
    role: Role
    subject: str | None


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key, without its token. subject: of a session, who has signed in, as the identity provider knows them."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None
    subject: str | None


@dataclass(frozen=True, kw_only=True)
class ApiKeys:
    """Every key, oldest first."""

    keys: tuple[ApiKey, ...]


@dataclass(frozen=True, kw_only=True)
class NewApiKey(ApiKey):
    """A new key, with its token."""

    token: str = field(repr=False)
    """Sent by clients as `Authorization: Bearer …`. Shown only in this response."""


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
class Session:
    """A session: a key of somebody who signed in, until it expires or they sign out."""

    id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    requests_per_minute: int | None
    subject: str | None
    token: str = field(repr=False)
    """Sent by clients as `Authorization: Bearer …`. Shown only in this response."""

    end_session_url: str | None
    """Where the provider ends its own session; None: it does not say."""


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """The encoder in use."""

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
    """Limits of uploads; images and requests beyond them are rejected."""

    formats: tuple[str, ...]
    """Supported image formats."""

    max_images: int
    """Maximum number of images per request."""

    max_request_bytes: int
    """Maximum size of a request with images, in bytes."""

    max_image_bytes: int
    """Maximum size of an image file, in bytes."""

    max_pixels: int
    """Maximum number of pixels per image."""

    max_side: int
    """Maximum length of an image's longer side, in pixels."""

    min_side: int
    """Minimum length of an image's shorter side, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """Versions, and the limits of uploads."""

    touchstone: str
    encoder: Encoder
    engine: str
    codec: str
    version: int
    references: int
    recording_enabled: bool
    """False when the disk is nearly full or the service is read-only: inspections are not recorded."""

    read_only: bool
    """True if changes are refused and inspections are not recorded."""

    corrupt_segments: tuple[str, ...]
    limits: UploadLimits


@dataclass(frozen=True, kw_only=True)
class Live:
    """The process answers."""

    status: Literal["live"]


@dataclass(frozen=True, kw_only=True)
class BackgroundTask:
    """A background task that is failing or stalled; the log has the details."""

    name: str
    state: Literal["working", "failing", "stalled", "ended"]
    """`failing`: retried after each failure. `stalled`: one round takes longer than its time limit."""

    since: datetime
    failures: int
    """Number of consecutive failures."""

    error: str | None
    """Class of the last error."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The service is ready: the encoder works, and every stored segment passed its checksum."""

    status: Literal["ready"]
    version: int
    references: int
    forward_ms: float
    """Duration of the last self-check in the encoder, in milliseconds."""

    recording_enabled: bool
    """False when the disk is nearly full or the service is read-only: inspections are not recorded."""

    read_only: bool
    """True if changes are refused and inspections are not recorded."""

    failing: tuple[BackgroundTask, ...]
    """Background tasks that are failing or stalled."""


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """How people may sign in besides with an API key. provider: its name; None: in no other way."""

    provider: str | None


@dataclass(frozen=True, kw_only=True)
class SignInStart:
    """Where to sign in. What else it holds stays in the browser until the provider sends it back.

    `state` must then be that of the provider's answer; the others go into `POST /session`.
    """

    authorization_url: str
    state: str
    nonce: str
    code_verifier: str


class SettingsChanges(TypedDict, total=False):
    """Settings to change; omitted ones are unchanged.

    None resets `layer_weights`, `threshold`, `region_of_interest` and `bit_depth`. A new `geometry` takes effect
    when all references are encoded at it; until then the present one is used, and `geometry_change` shows the
    progress. Requesting the present geometry cancels the change.
    """

    k: int
    """References retrieved per image. 1 to 100000."""

    rho: int
    """Neighbourhood radius in grid cells, 0 to 16; 255: parts may lie anywhere. 0 to 255."""

    layer_weights: Sequence[float] | None
    """One weight per layer; None: computed from the references, so that layers in which good parts vary more weigh
    less.
    """

    false_reject_rate: float
    """Share of good parts that may be rejected. At least 1e-06, less than 1."""

    threshold: float | None
    """A manual threshold; None uses the calibrated one. 0 to 2."""

    unfamiliar_rate: float
    """Share of good parts that may be `unfamiliar`. At least 1e-06, less than 1."""

    region_of_interest: Polygons | None
    """The region of interest; None: the whole image. To set a mask image use its own route."""

    refuse: Sequence[FindingKind]
    """Kinds of findings for which new references are refused."""

    bit_depth: BitDepth | None
    """Number of bits used in 16-bit channels, from the lowest. By default the first such references decide it; it
    cannot be changed while references exist that were read differently.
    """

    pooled_share: float
    """The image score is the mean of this share of the anomaly map, its largest values."""

    review_band: float
    """Parts inspected from now on wait for review if their score differs from the threshold by at most this share of
    it. 0 to 1.
    """

    review_feedback: bool
    """An operator's `good` waits for review; false: it makes a reference at once, unless it needs confirmation."""

    geometry: GeometryChoice | None
    """The input geometry; None: unchanged."""

    defect_classes: Sequence[str]
    """Names that confirmed defects may be given. Inspections keep the names that are left out here."""


class PreviewedSettings(TypedDict, total=False):
    """Settings to try; omitted ones are as stored.

    `refuse` and `bit_depth` have no effect on existing references and inspections.
    """

    k: int
    """References retrieved per image. 1 to 100000."""

    rho: int
    """Neighbourhood radius in grid cells, 0 to 16; 255: parts may lie anywhere. 0 to 255."""

    layer_weights: Sequence[float] | None
    """One weight per layer; None: computed from the references, so that layers in which good parts vary more weigh
    less.
    """

    false_reject_rate: float
    """Share of good parts that may be rejected. At least 1e-06, less than 1."""

    threshold: float | None
    """A manual threshold; None uses the calibrated one. 0 to 2."""

    unfamiliar_rate: float
    """Share of good parts that may be `unfamiliar`. At least 1e-06, less than 1."""

    region_of_interest: Polygons | None
    """The region of interest; None: the whole image. To set a mask image use its own route."""

    refuse: Sequence[FindingKind]
    """Kinds of findings for which new references are refused."""

    bit_depth: BitDepth | None
    """Number of bits used in 16-bit channels, from the lowest. By default the first such references decide it; it
    cannot be changed while references exist that were read differently.
    """

    pooled_share: float
    """The image score is the mean of this share of the anomaly map, its largest values."""


class Polygons(TypedDict, total=False):
    """What lies in `polygons` is inspected, or without any the whole image, except what lies in `ignored`.

    Corners (x, y) are in fractions of the image's width and height. At most 4,096 corners together.
    """

    polygons: Sequence[Sequence[Sequence[float]]]
    ignored: Sequence[Sequence[Sequence[float]]]


class GeometryChoice(TypedDict, total=False):
    """A geometry: one of `cells`, `smallest_defect`, `size`, or `resized` with `window`.

    With none of these the grid is unchanged, and only `on_mismatch` is set.
    """

    cells: int | None
    """Inspect the whole image, on a grid of at most this many cells. 1 to 65536."""

    smallest_defect: float | None
    """Inspect the whole image, with cells twice as long as a defect of this many pixels of the uploaded image, or of
    this many millimetres if `millimetres_per_pixel` is given.
    """

    millimetres_per_pixel: float | None
    """Size of a pixel of the image."""

    size: Sequence[int] | None
    """Inspect the whole image, scaled to (width, height) pixels, rounded to whole cells."""

    resized: Sequence[int] | None
    """Scale the image to (width, height) pixels and inspect `window` of it."""

    window: Sequence[int] | None
    """(left, top, width, height) in pixels of `resized`; sides are whole cells."""

    on_mismatch: OnMismatch | None
    """How images with another aspect ratio are treated; None: unchanged."""
