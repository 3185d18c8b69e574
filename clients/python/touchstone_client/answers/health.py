"""What is running, and whether it can inspect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Encoder:
    """The encoder in use, plainly. unseen: share of a picture's area that is cut off and not inspected."""

    name: str
    note: str
    layers: tuple[str, ...]
    grid: tuple[int, int]
    dim: int
    resize: int
    crop: int
    device: str
    fingerprint: str
    unseen: float = 0.0


@dataclass(frozen=True)
class UploadLimits:
    """How large an upload may be: pictures and bytes of one request; bytes of one picture's file, and its pixels.

    formats: picture formats that are read.
    """

    formats: tuple[str, ...]
    max_images: int
    max_request_bytes: int
    max_image_bytes: int
    max_pixels: int
    max_side: int
    min_side: int


@dataclass(frozen=True)
class Version:
    """What is running, and what it takes."""

    touchstone: str
    encoder: Encoder
    engine: str
    codec: str
    snapshot: int
    references: int
    damaged_segments: tuple[str, ...]
    limits: UploadLimits
    keeps_history: bool = True


@dataclass(frozen=True)
class Live:
    """The process answers."""

    status: str


@dataclass(frozen=True)
class BackgroundTask:
    """Background work that is not done as it should be: `failing`, `stalled` or `ended`.

    failures: rounds that failed one after the other. error: the kind of the last failure.
    """

    name: str
    state: str
    since: datetime
    failures: int
    error: str | None = None


@dataclass(frozen=True)
class Ready:
    """Pictures go through the encoder and every stored segment passed its check.

    forward_ms: what a picture last took in the encoder. failing: background work that is not done as it should be.
    """

    status: str
    version: int
    references: int
    forward_ms: float
    keeps_history: bool = True
    failing: tuple[BackgroundTask, ...] = ()
