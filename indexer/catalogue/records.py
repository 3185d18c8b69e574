"""The values that the catalogue takes and gives; rows of the database never leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar

from indexer.depth import BIT_DEPTHS, BitDepth
from indexer.region_of_interest import RegionOfInterest
from indexer.scoring import ScoringSettings
from indexer.store import SegmentFile
from indexer.verdicts.calibration import Limits
from indexer.verdicts.drift import Drift
from indexer.verdicts.findings import FINDING_KINDS, FindingKind

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]
Judgement: TypeAlias = Literal["good", "defect"]
ChangeKind: TypeAlias = Literal["added", "removed", "switched", "compacted", "settings"]

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows in order. next_cursor: give it back for the rows after these; None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class MemoryRecord:
    """One encoding of all references. space_json: the feature space; fingerprint: its identity; codec: of the codes."""

    id: int
    fingerprint: str
    space_json: str
    codec: str
    created_at: datetime
    active: bool


@dataclass(frozen=True)
class CategorySettings:
    """How one category is inspected. ValueError when a value is out of range.

    k: retrieved references, ≥ 1. rho: neighbourhood radius in grid cells, ≥ 0. layer_weights: one weight ≥ 0 per
    layer, not all zero; None = as the references say, see `LeaveOneOut.balanced`. false_reject_rate: share of good
    parts that may be rejected, in (0, 1). threshold: manual score threshold ≥ 0 that overrides calibration; None =
    calibrated. unfamiliar_rate: share of good parts that may be called unfamiliar, in (0, 1). region_of_interest: what
    of the picture scores; None = all of it.
    refuse: findings for which a new reference is refused rather than reported. bit_depth: how many bits files of 16 a
    channel use, from the lowest; None = not decided, read as 16.
    """

    k: int = 150
    rho: int = 1
    layer_weights: tuple[float, ...] | None = None
    false_reject_rate: float = 0.01
    threshold: float | None = None
    unfamiliar_rate: float = 0.001
    region_of_interest: RegionOfInterest | None = None
    refuse: tuple[FindingKind, ...] = ()
    bit_depth: BitDepth | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k must be at least 1")
        if self.rho < 0:
            raise ValueError("rho must not be negative")
        if not 0 < self.false_reject_rate < 1:
            raise ValueError("false_reject_rate must lie between 0 and 1")
        weights = self.layer_weights
        if weights is not None and (not all(0 <= weight < float("inf") for weight in weights) or sum(weights) == 0):
            raise ValueError("layer_weights must not be negative, and not all zero")
        if self.threshold is not None and not 0 <= self.threshold < float("inf"):
            raise ValueError("threshold must not be negative")
        if not 0 < self.unfamiliar_rate < 1:
            raise ValueError("unfamiliar_rate must lie between 0 and 1")
        if not set(self.refuse) <= set(FINDING_KINDS):
            raise ValueError(f"refuse names findings: {', '.join(FINDING_KINDS)}")
        if self.bit_depth not in (None, *BIT_DEPTHS):
            raise ValueError(f"bit_depth is one of {', '.join(map(str, BIT_DEPTHS))}")

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> CategorySettings:
        """From what the catalogue keeps; settings that an older version did not know have their defaults."""
        values = dict(kept)
        if values.get("layer_weights") is not None:
            values["layer_weights"] = tuple(values["layer_weights"])
        if (region := values.get("region_of_interest")) is not None:
            polygons = tuple(tuple((x, y) for x, y in polygon) for polygon in region["polygons"])
            values["region_of_interest"] = RegionOfInterest(polygons, region["mask"])
        values["refuse"] = tuple(values.get("refuse", ()))
        return cls(**values)

    @property
    def scoring(self) -> ScoringSettings:
        """The part of the settings that scores depend on."""
        return ScoringSettings(self.k, self.rho, self.layer_weights, self.region_of_interest)

    @property
    def limits(self) -> Limits:
        """The part of the settings that verdicts depend on, once a score is known."""
        return Limits(self.false_reject_rate, self.unfamiliar_rate, self.threshold)


class SettingsChanges(TypedDict, total=False):
    """Some of the category settings, to be changed together; what is left out stays."""

    k: int
    rho: int
    layer_weights: tuple[float, ...] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float
    region_of_interest: RegionOfInterest | None
    refuse: tuple[FindingKind, ...]
    bit_depth: BitDepth | None


@dataclass(frozen=True)
class Category:
    """A category. references: how many live ones it has."""

    name: str
    settings: CategorySettings
    created_at: datetime
    references: int


@dataclass(frozen=True)
class RemovedCategory:
    """A category that was removed and can be restored. references: how many of those removed with it can be, too."""

    name: str
    removed_at: datetime
    references: int


@dataclass(frozen=True)
class NewReference:
    """An image about to become a reference. image_suffix: of the kept original, with its dot; width, height: px.

    appearance: its light and sharpness, when it was screened; findings: what screening found. image_bytes: its size.
    inspection_id: the inspection whose image it is, when feedback makes it one. encoding, reading: how it was stored
    and read, as `Encoding` and `Reading` in JSON.
    """

    image_sha256: str
    image_suffix: str
    filename: str
    width: int
    height: int
    appearance: JsonObject | None = None
    findings: tuple[JsonObject, ...] = ()
    image_bytes: int | None = None
    inspection_id: str | None = None
    encoding: str | None = None
    reading: str | None = None


@dataclass(frozen=True)
class Reference:
    """A reference, live while removed_at is None. Versions are those of the snapshots that gained and lost it.

    inspection_id: the inspection whose image feedback made it of, which need not be kept any more. encoding, reading:
    how it was stored and read; None of those added before that was noted.
    """

    id: int
    category: str
    image_sha256: str
    image_suffix: str
    filename: str
    width: int
    height: int
    added_at: datetime
    added_version: int
    removed_at: datetime | None
    removed_version: int | None
    appearance: JsonObject | None = None
    findings: tuple[JsonObject, ...] = ()
    inspection_id: str | None = None
    encoding: str | None = None
    reading: str | None = None


@dataclass(frozen=True)
class Appended:
    """What an append did.

    version: the snapshot that holds everything named here. reference_ids: for each reference given, in order, the id
    of its live row. duplicates: positions of those that were there already, or earlier in the same append; their
    rows of the segment belong to no reference.
    """

    version: int
    reference_ids: tuple[int, ...]
    duplicates: frozenset[int]

    @property
    def added(self) -> int:
        """How many references are new. With none, the segment was not recorded."""
        return len(self.reference_ids) - len(self.duplicates)


@dataclass(frozen=True)
class Removed:
    """What a removal did. version: a snapshot without them; reference_ids: those that were live until now."""

    version: int
    reference_ids: tuple[int, ...]


@dataclass(frozen=True)
class PlacedReference:
    """Where a live reference's codes lie: a row of a segment."""

    reference_id: int
    category: str
    row: int


@dataclass(frozen=True)
class SegmentRows:
    """The rows of one segment that belong to live references, by reference id."""

    segment: SegmentFile
    rows: tuple[PlacedReference, ...]


@dataclass(frozen=True)
class Changes:
    """How to bring a memory's snapshot from one version to `version`.

    active: the memory being served at `version`; not the one asked for after a switch.
    added: live references gained since, in order of segment. removed: ids lost since that the snapshot may hold.
    """

    version: int
    active: MemoryRecord | None
    added: tuple[SegmentRows, ...]
    removed: tuple[int, ...]


@dataclass(frozen=True)
class SegmentUsage:
    """A segment in use, with how many of its rows still belong to live references."""

    segment: SegmentFile
    live: int


@dataclass(frozen=True)
class Inspection:
    """One inspected image, as it was answered.

    at: UTC. score, threshold: mean of the map's top pixels. version: the snapshot it was computed on. width, height:
    px of the original. regions, references, timings: as answered. image_sha256, image_suffix: of the image as it was
    sent. map_name: the map's file. kept_bytes: of image and map on the disk, None when they are not kept (any more);
    thumbnail_bytes: of the image made small, None without one.
    judgement: what a person said; promoted_reference_id: the reference it became.
    calibration_key, calibration_size: which calibration decided, and how many references it counts.
    familiarity: how like anything referenced it is; better_category: another category that it fits better.
    encoding, reading, notices: how the image was stored and read, as `Encoding`, `Reading` and `Notice`s in JSON.
    request_key, request_digest: which request it answers and what that held, where the request can be sent again.
    """

    id: str
    at: datetime
    filename: str
    verdict: str
    score: float
    version: int
    width: int
    height: int
    category: str | None = None
    part_id: str | None = None
    station: str | None = None
    threshold: float | None = None
    p_value: float | None = None
    regions: tuple[JsonObject, ...] = ()
    references: tuple[JsonObject, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    image_sha256: str | None = None
    image_suffix: str | None = None
    map_name: str | None = None
    judgement: Judgement | None = None
    judged_at: datetime | None = None
    promoted_reference_id: int | None = None
    calibration_key: str | None = None
    calibration_size: int | None = None
    familiarity: JsonObject | None = None
    better_category: JsonObject | None = None
    kept_bytes: int | None = None
    thumbnail_bytes: int | None = None
    encoding: str | None = None
    reading: str | None = None
    notices: tuple[JsonObject, ...] = ()
    request_key: str | None = None
    request_digest: str | None = None

    @property
    def defect(self) -> bool:
        """Whether retention counts it as a defect: what a person said of it, else its verdict."""
        return self.judgement == "defect" or (self.judgement is None and self.verdict in ("anomalous", "unfamiliar"))


@dataclass(frozen=True)
class KeptReference:
    """One reference's leave-one-out results as they are kept: a reference of `LeaveOneOut`, without padding.

    nearest: None without any other. candidates, peers: int64; best, apart: float32; all little endian.
    """

    reference_id: int
    group_id: int
    nearest: float | None
    candidates: bytes
    best: bytes
    peers: bytes
    apart: bytes


@dataclass(frozen=True)
class KeptCalibration:
    """A category's leave-one-out results as they are kept. version: the snapshot they are of, under this K and ρ.

    references: ascending by id.
    """

    version: int
    k: int
    rho: int
    references: tuple[KeptReference, ...]


@dataclass(frozen=True)
class KeptDrift:
    """A category's drift test. calibration_key: of the calibration its p-values come from. Times are UTC.

    version: the snapshot of the inspection it began with. flagged_at: when the flag was raised, None while it is not.
    """

    calibration_key: str
    version: int
    started_at: datetime
    flagged_at: datetime | None
    drift: Drift


@dataclass(frozen=True)
class InspectionFilter:
    """Which inspections are meant; None matches all. since is inclusive, until is not; both tz-aware.

    text: contained in the file name, part id or station, in capitals or not.
    """

    category: str | None = None
    verdict: str | None = None
    station: str | None = None
    part_id: str | None = None
    judgement: Judgement | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None

    def matches(self, inspection: Inspection) -> bool:
        """Whether it is meant, as the catalogue would say."""
        for name in ("category", "verdict", "station", "part_id", "judgement"):
            if getattr(self, name) not in (None, getattr(inspection, name)):
                return False
        if (self.since is not None and inspection.at < self.since) or (
            self.until is not None and inspection.at >= self.until
        ):
            return False
        named = (inspection.filename, inspection.part_id, inspection.station)
        return self.text is None or any(self.text.lower() in (each or "").lower() for each in named)


@dataclass(frozen=True)
class TrendPoint:
    """The inspections of one stretch of time from `at` on.

    mean, highest: of their scores. threshold: the highest one they were held against. verdicts: how many had each.
    """

    at: datetime
    count: int
    mean: float
    highest: float
    threshold: float | None
    verdicts: Mapping[str, int]


@dataclass(frozen=True)
class Trend:
    """How inspections went over time, oldest first; stretches without any are left out.

    total: how many inspections. first, last: when; None without any. stretch: the time that one point covers.
    """

    total: int
    first: datetime | None
    last: datetime | None
    stretch: timedelta
    points: tuple[TrendPoint, ...]
