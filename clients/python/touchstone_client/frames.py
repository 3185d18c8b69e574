"""An image of a station's camera, as the service returns it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StationFrame:
    """data: a JPEG. age_s: whole seconds since it was taken."""

    data: bytes
    age_s: int
