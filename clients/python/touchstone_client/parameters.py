"""Arguments that several methods of the clients share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchstone_client.models import Label, Verdict

MapFormat = Literal["none", "png", "raw"]


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
