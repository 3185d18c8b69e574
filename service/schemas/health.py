"""What is running, what it takes, and whether it can inspect."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.schemas.base import ResponseModel


class EncoderView(ResponseModel):
    """The encoder in use."""

    name: str
    note: str
    layers: tuple[str, ...]
    patch: int = Field(description="Pixels along the side of a cell.")
    dim: int
    device: str
    fingerprint: str


class UploadLimits(ResponseModel):
    """Limits of uploads; images and requests beyond them are rejected."""

    formats: tuple[str, ...] = Field(description="Supported image formats.")
    max_images: int = Field(description="Maximum number of images per request.")
    max_request_bytes: int = Field(description="Maximum size of a request with images, in bytes.")
    max_image_bytes: int = Field(description="Maximum size of an image file, in bytes.")
    max_pixels: int = Field(description="Maximum number of pixels per image.")
    max_side: int = Field(description="Maximum length of an image's longer side, in pixels.")
    min_side: int = Field(description="Minimum length of an image's shorter side, in pixels.")


class VersionView(ResponseModel):
    """Versions, and the limits of uploads."""

    touchstone: str
    encoder: EncoderView
    engine: str
    codec: str
    version: int
    references: int
    recording_enabled: bool = Field(
        description="False when the disk is nearly full or the service is read-only: inspections are not recorded."
    )
    read_only: bool = Field(description="True if changes are refused and inspections are not recorded.")
    corrupt_segments: tuple[str, ...]
    limits: UploadLimits


class Live(ResponseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class TaskView(ResponseModel):
    """A background task that is failing or stalled; the log has the details."""

    name: str
    state: Literal["working", "failing", "stalled", "ended"] = Field(
        description="`failing`: retried after each failure. `stalled`: one round takes longer than its time limit."
    )
    since: datetime
    failures: int = Field(description="Number of consecutive failures.")
    error: str | None = Field(description="Class of the last error.")


class Ready(ResponseModel):
    """The service is ready: the encoder works, and every stored segment passed its checksum."""

    status: Literal["ready"] = "ready"
    version: int
    references: int
    forward_ms: float = Field(description="Duration of the last self-check in the encoder, in milliseconds.")
    recording_enabled: bool = Field(
        description="False when the disk is nearly full or the service is read-only: inspections are not recorded."
    )
    read_only: bool = Field(description="True if changes are refused and inspections are not recorded.")
    failing: tuple[TaskView, ...] = Field(description="Background tasks that are failing or stalled.")
