"""Inspections as they are answered at once, with the pictures that were asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from touchstone_client.answers.inspections import Inspection
from touchstone_client.errors import ProblemDetails


@dataclass(frozen=True)
class AnomalyMap:
    """The map over the inspected crop; `touchstone_client.maps.array` makes numbers of it. data: base64."""

    format: Literal["png16", "npy"]
    data: str
    scale: float


@dataclass(frozen=True)
class Detection(Inspection):
    """An inspection as `detect` answers it.

    overlay: base64 of a PNG. recorded: False when the history had no room or the database was away, None when nobody
    can say until the database is back. references_needed: with the verdict `uncalibrated`, how many references the
    category's false-reject rate needs.
    """

    map: AnomalyMap | None = None
    overlay: str | None = None
    recorded: bool | None = True
    references_needed: int | None = None


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
