"""The settings of whatever opens a data folder, read from `TOUCHSTONE_*` environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from indexer.text import read_text

if TYPE_CHECKING:  # torch takes seconds to import, which a command's --help should not
    from indexer.domain.geometry_choice import GeometryPolicy
    from indexer.encoders import EncoderSettings
    from indexer.imaging.decode import ImageLimits


_CONVERTED = "converted"  # folder in a data folder: encoders as another runtime than torch takes them
_SECRETS = Path("/run/secrets")  # where containers find theirs, as files


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",")] if value.strip() else None


def _unset(value: object) -> object:
    return None if value == "" else value


class _Secrets(SecretsSettingsSource):
    """Settings from files as any editor writes them: the original would take a byte order mark for a character."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        """The text of the field's file, None if there is none; its key, and whether it has to be decoded further."""
        for key, name, is_complex in self._extract_field_info(field, field_name):
            for folder in self.secrets_paths:
                path = self.find_case_path(folder, name, self.case_sensitive)
                if path is not None and path.is_file():
                    return read_text(path).strip(), key, is_complex
        return None, field_name, False


class DataSettings(BaseSettings):
    """Which data, which encoder, and which images are accepted; each field is the variable `TOUCHSTONE_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="TOUCHSTONE_",
        env_ignore_empty=True,
        frozen=True,
        secrets_dir=_SECRETS if _SECRETS.is_dir() else None,
    )

    data: Path = Field(Path("touchstone-data"), description="Folder of references, their images and inspections.")
    database_url: str | None = Field(
        None, repr=False, description="SQLAlchemy URL of the catalogue; empty: SQLite inside the data folder."
    )

    encoder: str = Field(
        "builtin",
        description="`builtin`, `builtin-fine`, `filterbank`, `timm:` and a timm model, a Hugging Face hub id, "
        "a local folder, or a checkpoint file.",
    )
    layers: Annotated[tuple[int, ...] | None, NoDecode, BeforeValidator(_split)] = Field(
        None, description="1-based transformer layers, comma separated; empty: four, evenly spaced (4,7,10,12 of 12)."
    )
    resize: int = Field(
        448,
        ge=16,
        le=4096,
        description="Stretch every image to a square with this side in pixels, as in the paper, instead of inspecting "
        "it in its own aspect ratio; applies if this or the next setting is set. An existing memory keeps its size.",
    )
    crop: int = Field(
        448,
        ge=16,
        le=4096,
        description="Side in pixels of the centre square that is inspected after resizing; if it is smaller than the "
        "resize, defects in the border are not detected.",
    )
    cells: int = Field(
        784,
        ge=1,
        le=65_536,
        description="Maximum number of cells of a new category's grid; the whole image is inspected, in its own aspect "
        "ratio. Ignored if one of the two settings above is set.",
    )
    device: str = Field(
        "auto",
        description="`auto` (CUDA if available), `cpu`, `cuda` or `cuda:N`; with the runtime `openvino` also an "
        "OpenVINO device, such as `GPU`.",
    )
    runtime: Literal["torch", "openvino", "onnxruntime"] = Field(
        "torch",
        description="Runtime for a transformer's blocks: `torch`, or `openvino` or `onnxruntime`, which are faster "
        "on a CPU.",
    )
    dtype: Literal["float32", "bfloat16", "float16", "int8"] = Field(
        "float32",
        description="Precision of a transformer: `float32`, `bfloat16`, `float16` (torch) or `int8` (other runtimes).",
    )
    compile_encoder: bool = Field(
        False, description="Compile a transformer for each batch size (1, 2, 4, …): slower start, faster inference."
    )
    mmap_codes: Annotated[bool | None, BeforeValidator(_unset)] = Field(
        None,
        description="Memory-map the segment files instead of loading patch codes: for more references than RAM holds; "
        "empty: where codes take more than half of it.",
    )
    codec: Annotated[Literal["fp32", "fp16", "bf16", "int8", "int4"] | None, BeforeValidator(_unset)] = Field(
        None,
        description="Storage precision of patches: `fp32`, `fp16`, `bf16`, `int8` or `int4`; empty: that of the data "
        "folder, `fp16` for a new one.",
    )

    decode_threads: int = Field(2, ge=1, le=64, description="Number of threads that decode images.")
    max_image_bytes: int = Field(64 << 20, ge=1, description="Maximum size of one image file, in bytes.")
    max_pixels: int = Field(64_000_000, ge=256, description="Maximum number of pixels of one image.")
    max_side: int = Field(16_384, ge=16, description="Maximum width or height of one image, in pixels.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line, the environment, secrets."""
        assert isinstance(file_secret_settings, SecretsSettingsSource)
        return init_settings, env_settings, _Secrets(settings_cls, file_secret_settings.secrets_dir)

    @property
    def sized(self) -> bool:
        """Whether resize or crop was set."""
        return not self.model_fields_set.isdisjoint({"resize", "crop"})

    @property
    def geometry_policy(self) -> GeometryPolicy:
        """How new categories are inspected."""
        from indexer.domain.geometry import InputGeometry
        from indexer.domain.geometry_choice import GeometryPolicy

        preset = InputGeometry.paper(self.resize, self.crop) if self.sized else None
        return GeometryPolicy(self.cells, preset)

    @property
    def encoder_settings(self) -> EncoderSettings:
        """What `load_encoder` takes."""
        from indexer.encoders import EncoderSettings

        return EncoderSettings(
            self.encoder,
            self.layers,
            self.resize,
            self.crop,
            self.device,
            self.dtype,
            self.compile_encoder,
            self.runtime,
            self.data / _CONVERTED,
        )

    @property
    def image_limits(self) -> ImageLimits:
        """What `decode_image` takes."""
        from indexer.imaging.decode import ImageLimits

        return ImageLimits(max_bytes=self.max_image_bytes, max_pixels=self.max_pixels, max_side=self.max_side)
