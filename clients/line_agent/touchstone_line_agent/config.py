"""The agent's TOML configuration as pydantic models, and its errors as one line each."""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from touchstone_client import BitDepth, Verdict
from touchstone_client.text import MAX_NAME_LENGTH, read_text, sanitize

T = TypeVar("T")


class InvalidConfig(ValueError):
    """The file cannot be used. lines: one per error, beginning with the setting."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Decision = Literal["accept", "reject"]


def _validate_text(text: str) -> str:
    if sanitize(text, MAX_NAME_LENGTH) != unicodedata.normalize("NFC", text):
        raise ValueError(f"has control characters, or more than {MAX_NAME_LENGTH} characters")
    return sanitize(text, MAX_NAME_LENGTH)


CategoryName = Annotated[str, Field(pattern=r"^[^/\\]+$"), AfterValidator(_validate_text)]
# Levels, each of which may be `+`; the last one may be `#`.
TopicFilter = Annotated[str, Field(min_length=1, pattern=r"^((\+|[^#+/\x00]*)(/(\+|[^#+/\x00]*))*(/#)?|#)$")]
Topic = Annotated[str, Field(min_length=1, pattern=r"^[^#+\x00]+$")]  # to publish to, hence without wildcards


class Service(_Table):
    """The inspection service. key_file: contains the API key, unless the service runs with open access."""

    url: Annotated[str, Field(pattern=r"^https?://[^/]")] = "http://127.0.0.1:8000"
    key_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 30.0


class Queue(_Table):
    """The store on disk. At either limit feeds wait, and images of triggered parts are not stored."""

    path: Path
    max_images: Annotated[int, Field(ge=1)] = 10_000
    max_bytes: Annotated[int, Field(ge=1)] = 10 << 30


class Health(_Table):
    """The address of /healthz, /metrics, the status page and HTTP triggers. port 0 selects a free one."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9110


class FolderSource(_Table):
    """Image files that appear in a folder; each is a part, with the file's name as its id.

    pattern: of file names, case-insensitive. mount_point: where the folder's share is mounted. settle_ms: how long a
    complete file must not have changed before it is read. incomplete_ms: and an incomplete or unreadable one.
    """

    kind: Literal["folder"]
    path: Path
    pattern: Annotated[str, Field(min_length=1, pattern=r"^[^/\\]+$")] = "*"
    mount_point: Path | None = None
    poll_interval_ms: Annotated[int, Field(ge=1)] = 100
    settle_ms: Annotated[int, Field(ge=0)] = 200
    incomplete_ms: Annotated[int, Field(ge=0)] = 5000
    after_read: Literal["move", "delete"] = "move"


class VideoSource(_Table):
    """A video file; every nth frame is a part."""

    kind: Literal["video"]
    path: Path
    frame_step: Annotated[int, Field(ge=1)] = 1
    interval_ms: Annotated[int, Field(ge=0)] = 0


class CameraSource(_Table):
    """A camera opened by OpenCV: a USB device by number, or a stream by URL. A trigger captures the next frame."""

    kind: Literal["camera"]
    device: Annotated[int, Field(ge=0, le=(1 << 31) - 1)] | None = None
    url: str | None = None
    frame_timeout_ms: Annotated[int, Field(ge=1)] = 1000

    @model_validator(mode="after")
    def _validate_address(self) -> CameraSource:
        if (self.device is None) == (self.url is None):
            raise ValueError("give either device or url")
        return self


class GenicamSource(_Table):
    """An industrial camera, through the manufacturer's GenTL producer. search: of harvesters, e.g. a serial number."""

    kind: Literal["genicam"]
    producer: Path
    search: dict[str, str] = Field(default_factory=dict)
    frame_timeout_ms: Annotated[int, Field(ge=1)] = 1000


Source = Annotated[FolderSource | VideoSource | CameraSource | GenicamSource, Field(discriminator="kind")]


class MqttTrigger(_Table):
    """A message on a topic triggers a capture; its payload, if any, is the part's id, or JSON with `part_id`."""

    kind: Literal["mqtt"]
    topic: TopicFilter
    host: str = "127.0.0.1"
    port: Port = 1883


class HttpTrigger(_Table):
    """`POST /stations/NAME/trigger?part_id=…` on the health port triggers a capture and returns the decision."""

    kind: Literal["http"]


class IntervalTrigger(_Table):
    """A capture at a fixed interval."""

    kind: Literal["interval"]
    interval_ms: Annotated[int, Field(ge=1)]


Trigger = Annotated[MqttTrigger | HttpTrigger | IntervalTrigger, Field(discriminator="kind")]


class MqttSink(_Table):
    """decision_topic: decisions, sent at once. record_topic: records, stored until the broker has confirmed them."""

    kind: Literal["mqtt"]
    decision_topic: Topic | None = None
    record_topic: Topic | None = None
    host: str = "127.0.0.1"
    port: Port = 1883

    @model_validator(mode="after")
    def _validate_topics(self) -> MqttSink:
        if self.decision_topic is None and self.record_topic is None:
            raise ValueError("give decision_topic, record_topic or both")
        return self


class WebhookSink(_Table):
    """Each record as JSON by POST, until the response is 2xx."""

    kind: Literal["webhook"]
    url: Annotated[str, Field(pattern=r"^https?://[^/]")]


class ModbusSink(_Table):
    """A reject gate on Modbus/TCP. Addresses are those on the wire, from 0; docs/plc.md describes the PLC's side."""

    kind: Literal["modbus"]
    host: str
    port: Port = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    reject_coil: Annotated[int, Field(ge=0, le=65535)]
    sequence_register: Annotated[int, Field(ge=0, le=65535)] | None = None
    heartbeat_register: Annotated[int, Field(ge=0, le=65535)] | None = None


class OpcuaSink(_Table):
    """OPC UA variables: reject_node is Boolean, part_node a String with the part's key."""

    kind: Literal["opcua"]
    url: Annotated[str, Field(pattern=r"^opc\.tcp://")]
    reject_node: str
    part_node: str | None = None


class CsvSink(_Table):
    """Each record as a line of a CSV file."""

    kind: Literal["csv"]
    path: Path


class FolderSink(_Table):
    """Each record as a JSON file, with its image."""

    kind: Literal["folder"]
    path: Path
    images: Literal["all", "rejected", "none"] = "rejected"


Sink = Annotated[MqttSink | WebhookSink | ModbusSink | OpcuaSink | CsvSink | FolderSink, Field(discriminator="kind")]


class Station(_Table):
    """One camera or folder, with its gates and record sinks.

    accept: verdicts with which a part passes. deadline_ms: from the capture to the decision. fail_safe: the decision
    without a verdict. max_concurrency: parts inspected concurrently. bit_depth: how many bits the camera uses in files
    of 16 bits per channel; by default the category's setting. wait_for_recording: false has the service answer
    before it has recorded a part, as long as the part's deadline has not passed. live_view: whether images of the
    camera are sent to the service while somebody watches the station.
    """

    name: Name
    category: CategoryName | None = None
    bit_depth: BitDepth | None = None
    source: Source
    trigger: Trigger | None = None
    sink: tuple[Sink, ...] = ()
    accept: tuple[Verdict, ...] = ("normal",)
    deadline_ms: Annotated[int, Field(ge=1)] = 1000
    fail_safe: Decision = "reject"
    max_concurrency: Annotated[int, Field(ge=1, le=64)] = 2
    wait_for_recording: bool = True
    live_view: bool = True

    @model_validator(mode="after")
    def _validate_trigger(self) -> Station:
        if self.source.kind in ("camera", "genicam") and self.trigger is None:
            raise ValueError(f"a {self.source.kind} source needs a trigger")
        if self.source.kind in ("folder", "video") and self.trigger is not None:
            raise ValueError(f"a {self.source.kind} source needs no trigger")
        return self


class Config(_Table):
    """A configuration file."""

    service: Service = Service()
    queue: Queue
    health: Health = Health()
    station: tuple[Station, ...]

    @model_validator(mode="after")
    def _validate_uniqueness(self) -> Config:
        if not self.station:
            raise ValueError("there is no station")
        sinks = [sink for station in self.station for sink in station.sink]
        watched = [station.source.path.resolve() for station in self.station if station.source.kind == "folder"]
        if name := _first_duplicate([station.name for station in self.station]):
            raise ValueError(f"more than one station is named {name!r}")
        if file := _first_duplicate([sink.path for sink in sinks if sink.kind == "csv"]):
            raise ValueError(f"csv file {file} is written by more than one sink")
        if folder := _first_duplicate(watched):
            raise ValueError(f"folder {folder} is the source of more than one station")
        for sink in sinks:
            if sink.kind == "folder" and sink.path.resolve() in watched:
                raise ValueError(f"folder {sink.path} is a source: what a sink writes there would be inspected")
        return self


def _first_duplicate(values: Sequence[T]) -> T | None:
    return next((value for value in values if values.count(value) > 1), None)


def load(path: Path) -> Config:
    """Read and validate a file. InvalidConfig."""
    try:
        data = tomllib.loads(read_text(path))
    except OSError as error:
        raise InvalidConfig([f"{path}: {error.strerror}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig([f"{path}: {error}"]) from None
    except ValueError as error:
        raise InvalidConfig([str(error)]) from None
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        details = error.errors()
        lines = [_line(detail["loc"], _MESSAGES.get(detail["type"], detail["msg"])) for detail in details]
        raise InvalidConfig([f"{path}: {line}" for line in lines]) from None


# In the words of the file, in the place of pydantic's, by its type of error.
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "there is no such setting",
    "tuple_type": "write [[…]] instead of […]: there can be several",
    "model_type": "is no table",
    "model_attributes_type": "is no table",
    "union_tag_not_found": "kind is missing",
}
_KINDS = {"folder", "video", "camera", "genicam", "mqtt", "http", "interval", "webhook", "modbus", "opcua", "csv"}


def _line(location: tuple[int | str, ...], message: str) -> str:
    setting = ""
    for parent, key in zip(("", *location), location, strict=False):
        if isinstance(key, int):
            setting += f"[{key + 1}]"  # counted from 1, as a reader of the file would
        elif not (parent in ("source", "trigger") or isinstance(parent, int)) or key not in _KINDS:
            setting += f".{key}" if setting else key  # pydantic also names a table's kind, which is no key of the file
    message = message.removeprefix("Value error, ")
    return f"{setting}: {message}" if setting else message
