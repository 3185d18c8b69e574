"""What other settings would make of a category's references and recent parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from touchstone_client.answers.inspections import Verdict


@dataclass(frozen=True)
class Held:
    """A picture held against one group of settings."""

    score: float
    p_value: float | None
    verdict: Verdict


@dataclass(frozen=True)
class PreviewedReference:
    """A reference, scored against the others."""

    reference_id: int
    before: Held
    after: Held


@dataclass(frozen=True)
class PreviewedInspection:
    """A recent part. stale: its kept score was measured with other references or search settings than there are now."""

    inspection_id: str
    at: datetime
    filename: str
    stale: bool
    before: Held
    after: Held


@dataclass(frozen=True)
class PreviewSide:
    """What pictures are held against, and how many come to which verdict. reached: the rate can be promised."""

    threshold: float | None
    reached: bool
    unfamiliar_level: float | None
    references: Mapping[Verdict, int]
    inspections: Mapping[Verdict, int]


@dataclass(frozen=True)
class Preview:
    """What settings would change, had a category had them. Nothing was changed.

    basis: where the threshold afterwards comes from: `none`, nothing is calibrated; `kept`, from the scores there are;
    `measured`, every reference was scored anew; `estimated`, `measured` of them were. current: False while the
    calibration lags behind. searched_again: recent parts were searched again; else their scores are the kept ones.
    references: highest score afterwards first. inspections: newest first.
    """

    version: int
    basis: Literal["none", "kept", "measured", "estimated"]
    measured: int
    current: bool
    searched_again: bool
    before: PreviewSide
    after: PreviewSide
    changed_references: int
    changed_inspections: int
    references: tuple[PreviewedReference, ...]
    inspections: tuple[PreviewedInspection, ...]
