"""Every setting of the service, read from `TOUCHSTONE_*` environment variables."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from indexer.settings import DataSettings


class Settings(DataSettings):
    """The service's settings; each field is the variable `TOUCHSTONE_<NAME>`."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    access: Literal["keys", "open"] = Field(
        "keys", description="`keys` asks every client for an API key; `open` asks nobody, on a loopback address only."
    )
    requests_per_minute: int = Field(
        6000, ge=0, description="Most requests a minute with one key, unless it has a limit of its own; 0 for none."
    )

    prepare_on_device: bool = Field(
        False, description="Resize pictures on the encoder's device, not on the threads that decode them."
    )
    device_memory_share: float = Field(
        0.5, gt=0, lt=1, description="Share of a CUDA card's memory for patches; what does not fit is sent each time."
    )

    min_free_bytes: int = Field(
        1 << 30, ge=0, description="With less left on the data folder's disk, inspections are answered but not kept."
    )

    batch_size: int = Field(8, ge=1, le=256, description="Most pictures encoded at once.")
    batch_wait_ms: float = Field(2.0, ge=0, le=1000, description="How long a lone picture waits for company.")
    queue_size: int = Field(64, ge=1, le=100_000, description="Most pictures waiting; beyond it requests get 503.")
    deadline_ms: float = Field(10_000, gt=0, description="A detection not begun after this long is dropped with 504.")
    refresh_ms: float = Field(500, gt=0, description="How often changes by other processes are looked for.")

    log_format: Literal["json", "text"] = Field("json", description="Log lines as JSON objects, or as plain text.")
    metrics_categories: int = Field(
        200, ge=0, description="Most categories with metrics of their own; later ones are counted as `_other`."
    )
    traces_endpoint: str | None = Field(
        None, description="URL that OpenTelemetry traces are sent to (OTLP/HTTP); none are sent when empty."
    )

    max_images: int = Field(64, ge=1, le=10_000, description="Most pictures in one request.")
    max_request_bytes: int = Field(512 << 20, ge=1, description="Largest request body, in bytes.")

    @field_validator("access")
    @classmethod
    def _open_only_on_loopback(cls, access: str, given: ValidationInfo) -> str:
        host = given.data.get("host", "")
        if access == "open" and not _is_loopback(host):
            raise ValueError(f"access is open only on a loopback address such as 127.0.0.1, not on {host!r}")
        return access


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
