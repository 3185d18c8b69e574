"""Inspections: each inspected image with its result and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias, TypedDict

from indexer.domain.json_types import JsonObject
from indexer.domain.review import ReviewReason
from indexer.domain.roi import RegionOfInterest

Label: TypeAlias = Literal["good", "defect"]


class DefectDetails(TypedDict, total=False):
    """What is said of a confirmed defect, to be changed together; what is left out stays, None removes it."""

    defect_class: str | None
    comment: str | None


@dataclass(frozen=True)
class Inspection:
    """One inspected image, as it was answered.

    at: UTC. score, threshold: mean of the map's top pixels. version: the snapshot it was computed on. width, height:
    px of the original. regions, references, timings: as answered. image_sha256, image_suffix: of the image as it was
    sent. map_name: the map's file. stored_bytes: of image and map on the disk, None when they are not kept (any more);
    thumbnail_bytes: of the image made small, None without one.
    label: what a person said; promoted_reference_id: the reference it became. defect_class, comment: what else a person
    said of a confirmed defect.
    review: why an engineer reviews it; reviewed_at: when it was decided, None while it waits.
    calibration_key, calibration_size: which calibration decided, and how many references it counts.
    novelty: how like anything referenced it is; alternative_category: another category that it fits better.
    encoding, reading, notices: how the image was stored and read, as `Encoding`, `Reading` and `Notice`s in JSON.
    geometry: what of it was inspected, as `InputGeometry` in JSON; None of what was recorded before it was kept.
    region_of_interest: what of that, as `RegionOfInterest` in JSON; None where that was all of it, or was not kept.
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
    label: Label | None = None
    labelled_at: datetime | None = None
    promoted_reference_id: int | None = None
    defect_class: str | None = None
    comment: str | None = None
    review: ReviewReason | None = None
    reviewed_at: datetime | None = None
    calibration_key: str | None = None
    calibration_size: int | None = None
    novelty: JsonObject | None = None
    alternative_category: JsonObject | None = None
    stored_bytes: int | None = None
    thumbnail_bytes: int | None = None
    encoding: str | None = None
    reading: str | None = None
    notices: tuple[JsonObject, ...] = ()
    geometry: str | None = None
    region_of_interest: JsonObject | None = None
    request_key: str | None = None
    request_digest: str | None = None

    @property
    def region(self) -> RegionOfInterest | None:
        """The region of interest that it was inspected in."""
        return None if self.region_of_interest is None else RegionOfInterest.from_json(self.region_of_interest)

    @property
    def waits(self) -> bool:
        """Whether it is in the review queue."""
        return self.review is not None and self.reviewed_at is None

    @property
    def defect(self) -> bool:
        """Whether retention counts it as a defect: by its label, otherwise by its verdict.

        An operator's `good` that waits for review does not count yet: the image is still needed.
        """
        label = None if self.waits else self.label
        return label == "defect" or (label is None and self.verdict in ("anomalous", "unfamiliar"))


@dataclass(frozen=True)
class InspectionFilter:
    """Which inspections are meant; None matches all. since is inclusive, until is not; both tz-aware.

    text: contained in the file name, part id or station, in capitals or not.
    """

    category: str | None = None
    verdict: str | None = None
    station: str | None = None
    part_id: str | None = None
    label: Label | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    defect_class: str | None = None

    def matches(self, inspection: Inspection) -> bool:
        """Whether it matches the filter, as in the catalogue."""
        for name in ("category", "verdict", "station", "part_id", "label", "defect_class"):
            if getattr(self, name) not in (None, getattr(inspection, name)):
                return False
        if (self.since is not None and inspection.at < self.since) or (
            self.until is not None and inspection.at >= self.until
        ):
            return False
        named = (inspection.filename, inspection.part_id, inspection.station)
        return self.text is None or any(self.text.lower() in (field or "").lower() for field in named)
