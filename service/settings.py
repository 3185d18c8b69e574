"""Every setting of the service, read from `TOUCHSTONE_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from indexer.encoders import EncoderSettings
from indexer.images import ImageLimits


class Settings(BaseSettings):
    """The service's settings; each field is the variable `TOUCHSTONE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TOUCHSTONE_", frozen=True)

    data: Path = Field(Path("touchstone-data"), description="Folder of references, their pictures and inspections.")
    database_url: str | None = Field(
        None, description="SQLAlchemy URL of the catalogue; SQLite inside the data folder when empty."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    encoder: str = Field(
        "builtin",
        description="`builtin`, a Hugging Face hub id, a local folder, or a path to one of Meta's DINOv3 .pth files.",
    )
    layers: Annotated[tuple[int, ...] | None, NoDecode] = Field(
        None, description="1-based transformer layers, comma separated; empty spreads four evenly (4,7,10,12 of 12)."
    )
    resize: int = Field(512, ge=16, le=4096, description="Side in pixels of the square a picture is resized to.")
    crop: int = Field(448, ge=16, le=4096, description="Side in pixels of the centre square that is inspected.")
    device: str = Field("auto", description="`auto` (CUDA when there is one), `cpu`, `cuda` or `cuda:N`.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Precision of the encoder.")
    codec: Literal["fp32", "fp16", "int8"] = Field("fp16", description="How a new memory stores patches.")

    batch_size: int = Field(8, ge=1, le=256, description="Most pictures encoded at once.")
    batch_wait_ms: float = Field(2.0, ge=0, le=1000, description="How long a lone picture waits for company.")
    queue_size: int = Field(64, ge=1, le=100_000, description="Most pictures waiting; beyond it requests get 503.")
    deadline_ms: float = Field(10_000, gt=0, description="A detection not begun after this long is dropped with 504.")
    decode_threads: int = Field(2, ge=1, le=64, description="Pictures decoded side by side.")
    refresh_ms: float = Field(500, gt=0, description="How often changes by other processes are looked for.")

    log_format: Literal["json", "text"] = Field("json", description="Log lines as JSON objects, or as plain text.")
    metrics_categories: int = Field(
        200, ge=0, description="Most categories with metrics of their own; later ones are counted as `_other`."
    )
    traces_endpoint: str | None = Field(
        None, description="URL that OpenTelemetry traces are sent to (OTLP/HTTP); none are sent when empty."
    )

    max_images: int = Field(64, ge=1, le=10_000, description="Most pictures in one request.")
    max_image_bytes: int = Field(64 << 20, ge=1, description="Largest picture file, in bytes.")
    max_request_bytes: int = Field(512 << 20, ge=1, description="Largest request body, in bytes.")
    max_pixels: int = Field(64_000_000, ge=256, description="Most pixels of one picture.")
    max_side: int = Field(16_384, ge=16, description="Longest side of one picture, in pixels.")

    @property
    def encoder_settings(self) -> EncoderSettings:
        """What `load_encoder` takes."""
        return EncoderSettings(self.encoder, self.layers, self.resize, self.crop, self.device, self.dtype)

    @property
    def image_limits(self) -> ImageLimits:
        """What `decode_image` takes."""
        return ImageLimits(max_bytes=self.max_image_bytes, max_pixels=self.max_pixels, max_side=self.max_side)
