"""What is running, what it takes, and whether it can inspect."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.schemas.base import Answer


class EncoderView(Answer):
    """The encoder in use, plainly."""

    name: str
    note: str
    layers: tuple[str, ...]
    grid: tuple[int, int]
    dim: int
    resize: int
    crop: int
    unseen: float = Field(description="Share of a picture's area that is cut off as its border and not inspected.")
    device: str
    fingerprint: str


class UploadLimits(Answer):
    """What a client can know before it sends pictures; what is beyond is refused."""

    formats: tuple[str, ...] = Field(description="Picture formats that are read.")
    max_images: int = Field(description="Pictures in one request.")
    max_request_bytes: int = Field(description="Bytes of one request with pictures.")
    max_image_bytes: int = Field(description="Bytes of one picture's file.")
    max_pixels: int = Field(description="Pixels of one picture.")
    max_side: int = Field(description="Pixels of a picture's longest side.")
    min_side: int = Field(description="Pixels of a picture's shortest side.")


class VersionView(Answer):
    """What is running, and what it takes."""

    touchstone: str
    encoder: EncoderView
    engine: str
    codec: str
    snapshot: int
    references: int
    keeps_history: bool = Field(description="False when the disk is nearly full: detection goes on, unrecorded.")
    damaged_segments: tuple[str, ...]
    limits: UploadLimits


class Live(Answer):
    """The process answers."""

    status: Literal["live"] = "live"


class TaskView(Answer):
    """Background work that is not done as it should be; the log says more."""

    name: str
    state: Literal["working", "failing", "stalled", "ended"] = Field(
        description="`failing`: tried again after each failure. `stalled`: one round takes longer than it ever should."
    )
    since: datetime
    failures: int = Field(description="Rounds that failed one after the other.")
    error: str | None = Field(description="The kind of the last failure.")


class Ready(Answer):
    """Pictures go through the encoder and every stored segment passed its check."""

    status: Literal["ready"] = "ready"
    version: int
    references: int
    forward_ms: float = Field(description="What a picture last took in the encoder, in milliseconds.")
    keeps_history: bool = Field(description="False when the disk is nearly full: detection goes on, unrecorded.")
    failing: tuple[TaskView, ...] = Field(description="Background work that is not done as it should be.")
