"""Every setting of the service, read from `TOUCHSTONE_*` environment variables."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from indexer.settings import DataSettings
from service.loopback import is_loopback

if TYPE_CHECKING:  # torch takes seconds to import, which a command's --help should not
    from indexer.domain.retention import RetentionLimits
    from indexer.history.policy import RetentionPolicy


def _from_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class Settings(DataSettings):
    """The service's settings; each field is the variable `TOUCHSTONE_<NAME>`."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*/?$",
        description="Path under which a reverse proxy serves Touchstone, such as `/touchstone`; empty: none.",
    )

    access: Literal["keys", "open"] = Field(
        "keys",
        description="`keys`: every client needs an API key. `open`: no authentication, on a loopback address only.",
    )
    read_only: bool = Field(
        False,
        description="Detect only: inspections are not recorded, changes over HTTP are refused, nothing is pruned.",
    )
    requests_per_minute: int = Field(
        6000, ge=0, description="Default rate limit of an API key, in requests per minute; 0: unlimited."
    )

    oidc_issuer: str | None = Field(
        None,
        description="URL of an OpenID Connect provider at which people sign in to the console; empty: none.",
    )
    oidc_client_id: str | None = Field(None, description="Client id under which the provider knows Touchstone.")
    oidc_client_secret: str | None = Field(
        None, repr=False, description="Client secret for the provider; empty: a public client, by PKCE alone."
    )
    oidc_name: str | None = Field(
        None, description="Name of the provider on the console's button; empty: its host's name."
    )
    oidc_scope: str = Field("openid profile email", description="Scopes requested from the provider.")
    oidc_role_claim: str = Field(
        "groups",
        description="Claim with a person's groups, in the ID token or from the userinfo endpoint; dots lead into "
        "objects, as in `realm_access.roles`.",
    )
    oidc_roles: Annotated[
        dict[str, Literal["line", "operator", "engineer", "admin"]], NoDecode, BeforeValidator(_from_json)
    ] = Field(
        {},
        validate_default=True,
        description="Role of each group as a JSON object; of several the highest counts, and who has none cannot sign "
        "in.",
    )
    session_hours: float = Field(
        12, gt=0, le=8760, description="Time after which somebody has to sign in at the provider again, in hours."
    )

    confirm_role: Literal["engineer", "admin"] = Field(
        "engineer",
        description="Role that may confirm `good` where the new reference would move the threshold far or looks wrong.",
    )

    preprocess_on_device: bool = Field(
        False, description="Resize images on the encoder's device instead of on the decoding threads."
    )
    device_memory_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of a CUDA device's memory used to cache patch codes; references beyond it are copied for "
        "each search.",
    )

    min_free_bytes: int = Field(
        1 << 30,
        ge=0,
        description="Below this much free disk space, inspections are no longer recorded. Below twice this, the "
        "oldest images of good parts are pruned.",
    )
    keep_inspections: int = Field(
        1_000_000, ge=0, description="Maximum number of inspections stored per category; 0: unlimited."
    )
    keep_inspections_days: float = Field(
        365, ge=0, le=36_500, description="Maximum age of stored inspections, in days; 0: unlimited."
    )
    keep_images: int = Field(
        10_000,
        ge=0,
        description="Maximum number of inspected images (with their maps) stored per category; 0: unlimited.",
    )
    keep_images_days: float = Field(
        30, ge=0, le=36_500, description="Maximum age of these images, in days; 0: unlimited."
    )
    keep_images_bytes: int = Field(
        20 << 30, ge=0, description="Maximum total size of these images, in bytes; 0: unlimited."
    )
    keep_defects: int = Field(
        1_000_000, ge=0, description="Maximum number of defects stored per category; 0: unlimited."
    )
    keep_defects_days: float = Field(
        1095, ge=0, le=36_500, description="Maximum age of stored defects, in days; 0: unlimited."
    )
    keep_defect_images: int = Field(
        100_000,
        ge=0,
        description="Maximum number of images of defects (with their maps) stored per category; 0: unlimited.",
    )
    keep_defect_images_days: float = Field(
        365, ge=0, le=36_500, description="Maximum age of images of defects, in days; 0: unlimited."
    )
    keep_defect_images_bytes: int = Field(
        50 << 30, ge=0, description="Maximum total size of images of defects, in bytes; 0: unlimited."
    )
    prune_interval_seconds: float = Field(60, gt=0, description="Time between two prunings of the history, in seconds.")

    batch_size: int = Field(8, ge=1, le=256, description="Maximum number of images encoded in one batch.")
    max_batch_delay_ms: float = Field(
        2.0,
        ge=0,
        le=1000,
        description="Maximum batching delay: how long an image may wait for others that have arrived to share its "
        "batch; alone, it does not wait.",
    )
    queue_size: int = Field(
        64, ge=1, le=100_000, description="Maximum number of queued images; beyond it requests are answered with 503."
    )
    onboarding_queue_size: int = Field(
        128,
        ge=1,
        le=100_000,
        description="Maximum number of images in flight for onboarding, feedback and masks; beyond it requests are "
        "answered with 503.",
    )
    deadline_ms: float = Field(
        10_000,
        gt=0,
        description="Maximum time in the queue; a detection that has not started by then is answered with 504.",
    )
    refresh_interval_ms: float = Field(
        500, gt=0, description="Interval at which changes by other processes are polled."
    )

    ray_max_encoders: int = Field(
        8, ge=1, le=1000, description="Maximum number of replicas of `serve --ray` that encode."
    )
    ray_min_memories: int = Field(
        1,
        ge=1,
        le=1000,
        description="Minimum number of replicas of `serve --ray` that hold categories and search: enough to hold those "
        "in use.",
    )
    ray_max_memories: int = Field(
        8, ge=1, le=1000, description="Maximum number of these replicas, if more than the minimum."
    )
    ray_shards_per_replica: int = Field(
        8,
        ge=1,
        le=10_000,
        description="Maximum number of categories, or shards of one, that such a replica holds; beyond it the least "
        "recently used one is evicted.",
    )
    ray_shard_bytes: int = Field(
        16 << 30,
        ge=1,
        description="Maximum size of the codes of a category in one replica of `serve --ray`; a larger category is "
        "divided among several.",
    )

    log_format: Literal["json", "text"] = Field("json", description="Format of log lines: JSON objects or plain text.")
    metrics_max_categories: int = Field(
        200,
        ge=0,
        description="Maximum number of categories with time series of their own; others are counted as `_other`.",
    )
    traces_endpoint: str | None = Field(
        None, repr=False, description="URL of an OpenTelemetry collector (OTLP/HTTP) for traces; empty: tracing is off."
    )

    max_images: int = Field(64, ge=1, le=10_000, description="Maximum number of images in one request.")
    max_request_bytes: int = Field(512 << 20, ge=1, description="Maximum size of a request body with images, in bytes.")
    max_in_flight_bytes: int = Field(
        1 << 30,
        ge=1,
        description="Maximum total size of image files in memory, for detection and for everything else each; beyond "
        "it 503.",
    )
    max_decoded_bytes: int = Field(
        2 << 30,
        ge=1,
        description="Maximum total decoded size of images in flight, for detection and for everything else each; "
        "beyond it 503.",
    )
    max_json_bytes: int = Field(1 << 20, ge=1, description="Maximum size of a request body without images, in bytes.")
    body_timeout_seconds: float = Field(
        20.0, gt=0, description="Read timeout of a request body; extended as data arrives, see the next setting."
    )
    min_body_bytes_per_second: int = Field(
        4096,
        ge=1,
        description="Minimum transfer rate of a body: its timeout is extended by one second per this many bytes "
        "received.",
    )
    max_headers: int = Field(100, ge=10, description="Maximum number of headers of one request.")
    max_header_bytes: int = Field(
        16 << 10, ge=1024, description="Maximum total size of a request's headers and path, in bytes."
    )
    header_timeout_seconds: float = Field(10.0, gt=0, description="Read timeout of a request's headers.")
    keep_alive_timeout_seconds: float = Field(
        130.0, gt=0, description="Idle timeout of a connection; longer than that of a proxy in front."
    )
    write_timeout_seconds: float = Field(
        60.0, gt=0, description="Write timeout: how long a client may read nothing of its response."
    )
    max_connections: int = Field(
        512,
        ge=1,
        description="Maximum number of connections; beyond it the longest idle one is closed, or the new one is "
        "answered with 503.",
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
    def _open_only_on_loopback(cls, access: str, info: ValidationInfo) -> str:
        host = info.data.get("host", "")
        if access == "open" and not is_loopback(host):
            raise ValueError(f"access is open only on a loopback address such as 127.0.0.1, not on {host!r}")
        return access

    @field_validator("oidc_issuer")
    @classmethod
    def _provider_that_nobody_can_imitate(cls, issuer: str | None, info: ValidationInfo) -> str | None:
        if issuer is None:
            return None
        url = urlsplit(issuer)
        if not url.hostname or (url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname))):
            raise ValueError("the provider's URL begins with https://, or with http:// on a loopback address")
        if info.data.get("access") == "open":
            raise ValueError("with open access nobody signs in: set TOUCHSTONE_ACCESS=keys")
        return issuer

    @field_validator("oidc_roles")
    @classmethod
    def _complete(cls, roles: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if info.data.get("oidc_issuer") is not None:
            if info.data.get("oidc_client_id") is None:
                raise ValueError("the provider needs TOUCHSTONE_OIDC_CLIENT_ID, too")
            if not roles:
                raise ValueError('the provider needs the roles of groups, such as {"inspection": "operator"}')
        return roles


def _bounds(count: int, days: float, size: int = 0) -> RetentionLimits:
    from indexer.domain.retention import RetentionLimits

    return RetentionLimits(count or None, timedelta(days=days) if days else None, size or None)
