"""What is running, what it takes, and whether it can inspect."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from service.schemas.base import ResponseModel


class EncoderView(ResponseModel):
    """The encoder in use, plainly."""

    name: str
    note: str
    layers: tuple[str, ...]
    patch: int = Field(description="Pixels along the side of a cell.")
    dim: int
    device: str
    fingerprint: str


class UploadLimits(ResponseModel):
    """What a client can know before it sends images; what is beyond is refused."""

    formats: tuple[str, ...] = Field(description="Image formats that are read.")
    max_images: int = Field(description="Images in one request.")
    max_request_bytes: int = Field(description="Bytes of one request with images.")
    max_image_bytes: int = Field(description="Bytes of one image's file.")
    max_pixels: int = Field(description="Pixels of one image.")
    max_side: int = Field(description="Pixels of an image's longest side.")
    min_side: int = Field(description="Pixels of an image's shortest side.")


class VersionView(ResponseModel):
    """What is running, and what it takes."""

    touchstone: str
    encoder: EncoderView
    engine: str
    codec: str
    version: int
    references: int
    recording_enabled: bool = Field(description="False when the disk is nearly full: detection goes on, unrecorded.")
    corrupt_segments: tuple[str, ...]
    limits: UploadLimits


class Live(ResponseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class TaskView(ResponseModel):
    """Background work that is not done as it should be; the log says more."""

    name: str
    state: Literal["working", "failing", "stalled", "ended"] = Field(
        description="`failing`: tried again after each failure. `stalled`: one round takes longer than it ever should."
    )
    since: datetime
    failures: int = Field(description="Rounds that failed one after the other.")
    error: str | None = Field(description="The kind of the last failure.")


class Ready(ResponseModel):
    """Images go through the encoder and every stored segment passed its check."""

    status: Literal["ready"] = "ready"
    version: int
    references: int
    forward_ms: float = Field(description="What an image last took in the encoder, in milliseconds.")
    recording_enabled: bool = Field(description="False when the disk is nearly full: detection goes on, unrecorded.")
    failing: tuple[TaskView, ...] = Field(description="Background work that is not done as it should be.")
