"""Arguments that several methods of the clients share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

from touchstone_client.models import Label, OnMismatch, StationComponent, StationPart, Verdict

MapFormat = Literal["none", "png", "raw"]
ReportFormat = Literal["pdf", "html"]
ReferenceOrder = Literal["oldest", "newest", "name", "outliers"]
ReviewDecision = Literal["good", "defect", "dismiss", "reopen"]

DECISIONS_PER_REQUEST = 20  # each `good` takes the service about as long as two inspections


@dataclass(frozen=True)
class InspectionFilter:
    """Which inspections to select; None matches all.

    since: inclusive. until: exclusive. text: contained in the file name, part id or station.
    """

    category: str | None = None
    verdict: Verdict | None = None
    station: str | None = None
    part_id: str | None = None
    label: Label | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    defect_class: str | None = None


class DefectDetails(TypedDict, total=False):
    """What is said of a confirmed defect: one of its category's `defect_classes`, and a remark. None removes it."""

    defect_class: str | None
    comment: str | None


@dataclass(frozen=True)
class Resolution:
    """How fine a new category is inspected; see `AsyncClient.onboard`."""

    cells: int | None = None
    smallest_defect: float | None = None
    millimetres_per_pixel: float | None = None
    on_mismatch: OnMismatch | None = None


@dataclass(frozen=True)
class StationReport:
    """The state of a station, as `AsyncClient.report_station` sends it.

    started_at: when the program that reports it started. parts: decided on since then. sends_frames: whether it can
    send images of its camera, with `AsyncClient.send_station_frame`.
    """

    started_at: datetime
    parts: int
    last_part: StationPart | None
    components: tuple[StationComponent, ...]
    sends_frames: bool = False
