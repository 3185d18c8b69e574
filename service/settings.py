"""Every setting of the service, read from `TOUCHSTONE_*` environment variables."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationInfo, field_validator

from indexer.settings import DataSettings
from service.loopback import is_loopback

if TYPE_CHECKING:  # torch takes seconds to import, which a command's --help should not
    from indexer.domain.retention import RetentionLimits
    from indexer.history.policy import RetentionPolicy


class Settings(DataSettings):
    """The service's settings; each field is the variable `TOUCHSTONE_<NAME>`."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
        description="Path under which a reverse proxy shows the service, such as `/touchstone`; empty for none.",
    )

    access: Literal["keys", "open"] = Field(
        "keys", description="`keys` asks every client for an API key; `open` asks nobody, on a loopback address only."
    )
    requests_per_minute: int = Field(
        6000, ge=0, description="Most requests a minute with one key, unless it has a limit of its own; 0 for none."
    )

    confirm_role: Literal["engineer", "admin"] = Field(
        "engineer",
        description="Role that may confirm `good` where it would move a threshold far or looks wrong.",
    )

    preprocess_on_device: bool = Field(
        False, description="Resize images on the encoder's device, not on the threads that decode them."
    )
    device_memory_share: float = Field(
        0.5, gt=0, lt=1, description="Share of a CUDA card's memory for patches; what does not fit is sent each time."
    )

    min_free_bytes: int = Field(
        1 << 30,
        ge=0,
        description="With less left on the data folder's disk, inspections are answered but not kept. "
        "With less than twice that, the oldest images of good parts go.",
    )
    keep_inspections: int = Field(1_000_000, ge=0, description="Inspections kept of each category; 0 for any number.")
    keep_inspections_days: float = Field(365, ge=0, le=36_500, description="How long they are kept; 0 for ever.")
    keep_images: int = Field(
        10_000, ge=0, description="Images and maps of inspections kept of each category; 0 for any number."
    )
    keep_images_days: float = Field(30, ge=0, le=36_500, description="How long these are kept; 0 for ever.")
    keep_images_bytes: int = Field(20 << 30, ge=0, description="How many bytes these may have; 0 for any number.")
    keep_defects: int = Field(1_000_000, ge=0, description="Defects kept of each category; 0 for any number.")
    keep_defects_days: float = Field(1095, ge=0, le=36_500, description="How long defects are kept; 0 for ever.")
    keep_defect_images: int = Field(
        100_000, ge=0, description="Images and maps of defects kept of each category; 0 for any number."
    )
    keep_defect_images_days: float = Field(
        365, ge=0, le=36_500, description="How long those of defects are kept; 0 for ever."
    )
    keep_defect_images_bytes: int = Field(
        50 << 30, ge=0, description="How many bytes those of defects may have; 0 for any number."
    )
    prune_interval_seconds: float = Field(60, gt=0, description="How often what is beyond these limits is taken away.")

    batch_size: int = Field(8, ge=1, le=256, description="Most images encoded at once.")
    max_batch_delay_ms: float = Field(2.0, ge=0, le=1000, description="How long a lone image waits for company.")
    queue_size: int = Field(64, ge=1, le=100_000, description="Most images waiting; beyond it requests get 503.")
    onboarding_queue_size: int = Field(
        128,
        ge=1,
        le=100_000,
        description="Most images under way to become references, or of feedback or masks; beyond it 503.",
    )
    deadline_ms: float = Field(10_000, gt=0, description="A detection not begun after this long is dropped with 504.")
    refresh_interval_ms: float = Field(500, gt=0, description="How often changes by other processes are looked for.")

    log_format: Literal["json", "text"] = Field("json", description="Log lines as JSON objects, or as plain text.")
    metrics_max_categories: int = Field(
        200, ge=0, description="Most categories with metrics of their own; later ones are counted as `_other`."
    )
    traces_endpoint: str | None = Field(
        None, repr=False, description="URL that OpenTelemetry traces are sent to (OTLP/HTTP); none are sent when empty."
    )

    max_images: int = Field(64, ge=1, le=10_000, description="Most images in one request.")
    max_request_bytes: int = Field(512 << 20, ge=1, description="Largest request body with images, in bytes.")
    max_in_flight_bytes: int = Field(
        1 << 30,
        ge=1,
        description="Most bytes of image files held, of detections and of all else; beyond it 503.",
    )
    max_decoded_bytes: int = Field(
        2 << 30,
        ge=1,
        description="Most bytes of images about to be decoded, of detections and of all else; beyond it 503.",
    )
    max_json_bytes: int = Field(1 << 20, ge=1, description="Largest request body without images, in bytes.")
    body_timeout_seconds: float = Field(
        20.0, gt=0, description="Time for a request's body to come; what has come adds to it, see the next."
    )
    min_body_bytes_per_second: int = Field(
        4096, ge=1, description="A body gets one more second for every so many bytes of it that came."
    )
    max_headers: int = Field(100, ge=10, description="Most headers of one request.")
    max_header_bytes: int = Field(16 << 10, ge=1024, description="Most bytes of a request's headers and path.")
    header_timeout_seconds: float = Field(10.0, gt=0, description="Time for a request's headers to come.")
    keep_alive_timeout_seconds: float = Field(
        130.0, gt=0, description="How long a connection may wait for its next request; longer than a proxy keeps it."
    )
    write_timeout_seconds: float = Field(60.0, gt=0, description="How long a client may take nothing of its answer.")
    max_connections: int = Field(
        512,
        ge=1,
        description="Most connections; beyond it the longest idle one is closed, or the new one gets 503.",
    )

    @property
    def retention(self) -> RetentionPolicy:
        """What is kept of the history."""
        from indexer.history.policy import RetentionPolicy

        return RetentionPolicy(
            inspections=_bounds(self.keep_inspections, self.keep_inspections_days),
            images=_bounds(self.keep_images, self.keep_images_days, self.keep_images_bytes),
            defects=_bounds(self.keep_defects, self.keep_defects_days),
            defect_images=_bounds(self.keep_defect_images, self.keep_defect_images_days, self.keep_defect_images_bytes),
        )

    @field_validator("root_path")
    @classmethod
    def _without_a_slash_at_its_end(cls, root_path: str) -> str:
        return root_path.rstrip("/")

    @field_validator("access")
    @classmethod
    def _open_only_on_loopback(cls, access: str, given: ValidationInfo) -> str:
        host = given.data.get("host", "")
        if access == "open" and not is_loopback(host):
            raise ValueError(f"access is open only on a loopback address such as 127.0.0.1, not on {host!r}")
        return access


def _bounds(count: int, days: float, size: int = 0) -> RetentionLimits:
    from indexer.domain.retention import RetentionLimits

    return RetentionLimits(count or None, timedelta(days=days) if days else None, size or None)
