"""What both clients take besides pictures, as types: which inspections are meant, settings to change, formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict

from touchstone_client.answers import BitDepth, FindingKind, Judgement, Verdict

MapFormat = Literal["none", "png", "raw"]


@dataclass(frozen=True)
class InspectionQuery:
    """Which inspections are meant; None matches all. since is inclusive, until is not.

    text: contained in the file name, part id or station.
    """

    category: str | None = None
    verdict: Verdict | None = None
    station: str | None = None
    part_id: str | None = None
    judgement: Judgement | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


class Polygons(TypedDict):
    """Polygons of corners (x, y) in fractions of the picture's width and height; inside any of them is inspected."""

    polygons: Sequence[Sequence[Sequence[float]]]


class SettingsChanges(TypedDict, total=False):
    """A category's settings to change, or to try; what is left out stays.

    None resets `layer_weights`, `threshold`, `region_of_interest` and `bit_depth`. refuse: findings for which new
    references are refused. bit_depth: how many bits files of 16 a channel use.
    """

    k: int
    rho: int
    layer_weights: Sequence[float] | None
    false_reject_rate: float
    threshold: float | None
    unfamiliar_rate: float
    region_of_interest: Polygons | None
    refuse: Sequence[FindingKind]
    bit_depth: BitDepth | None
