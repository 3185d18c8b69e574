"""The agent's one TOML file, as pydantic models: what it may say, and what is wrong with it, a line each."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from touchstone_client import BitDepth, Verdict
from touchstone_client.text import MAX_NAME_LENGTH, read_text, sanitize


class ConfigInvalid(ValueError):
    """The file cannot be used. lines: what is wrong, one line each, naming where."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Decision = Literal["accept", "reject"]


def _sendable(text: str) -> str:
    if sanitize(text, MAX_NAME_LENGTH) != unicodedata.normalize("NFC", text):
        raise ValueError(f"has control characters, or more than {MAX_NAME_LENGTH} characters")
    return sanitize(text, MAX_NAME_LENGTH)


CategoryName = Annotated[str, Field(pattern=r"^[^/\\]+$"), AfterValidator(_sendable)]
Topic = Annotated[str, Field(min_length=1, pattern=r"^[^#+\x00]+$")]  # to publish to: no wildcards


class Service(_Table):
    """Where the inspection service is. key_file: holds the access key, where one is needed."""

    url: Annotated[str, Field(pattern=r"^https?://[^/]")] = "http://127.0.0.1:8000"
    key_file: Path | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 30.0


class Queue(_Table):
    """The store on disk. Beyond either bound feeds wait, and a triggered part is not stored."""

    path: Path
    most_pictures: Annotated[int, Field(ge=1)] = 10_000
    most_bytes: Annotated[int, Field(ge=1)] = 10 << 30


class Health(_Table):
    """Where the agent answers /healthz, /metrics and HTTP triggers. port 0 picks a free one."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9110


class FolderSource(_Table):
    """Image files that appear in a folder; each is a part, named for its file. pattern: of names, whatever their case.

    mounted_at: a mount point without which the folder is not the one that is meant.
    """

    kind: Literal["folder"]
    path: Path
    pattern: Annotated[str, Field(min_length=1, pattern=r"^[^/\\]+$")] = "*"
    mounted_at: Path | None = None
    every_ms: Annotated[int, Field(ge=1)] = 100
    settle_ms: Annotated[int, Field(ge=0, description="unchanged for so long, a whole file is taken")] = 200
    incomplete_ms: Annotated[int, Field(ge=0, description="and one that is not whole, or cannot be read")] = 5000
    then: Literal["move", "delete"] = "move"


class VideoSource(_Table):
    """A video file; every nth frame is a part."""

    kind: Literal["video"]
    path: Path
    every: Annotated[int, Field(ge=1)] = 1
    interval_ms: Annotated[int, Field(ge=0)] = 0


class CameraSource(_Table):
    """A camera that OpenCV opens: a USB device by number, or a stream by URL. A trigger takes the next frame."""

    kind: Literal["camera"]
    device: Annotated[int, Field(ge=0)] | None = None
    url: str | None = None
    frame_timeout_ms: Annotated[int, Field(ge=1)] = 1000

    @model_validator(mode="after")
    def _one_of_them(self) -> CameraSource:
        if (self.device is None) == (self.url is None):
            raise ValueError("give either device or url")
        return self


class GenicamSource(_Table):
    """An industrial camera through its maker's GenTL producer. search: as harvesters takes it, e.g. a serial number."""

    kind: Literal["genicam"]
    producer: Path
    search: dict[str, str] = Field(default_factory=dict)
    frame_timeout_ms: Annotated[int, Field(ge=1)] = 1000


Source = Annotated[FolderSource | VideoSource | CameraSource | GenicamSource, Field(discriminator="kind")]


class MqttTrigger(_Table):
    """A message on a topic takes a picture; its payload, if any, is the part's id, or JSON with `part_id`."""

    kind: Literal["mqtt"]
    topic: Annotated[str, Field(min_length=1)]
    host: str = "127.0.0.1"
    port: Port = 1883


class HttpTrigger(_Table):
    """`POST /stations/NAME/trigger?part_id=…` on the health port takes a picture and answers the decision."""

    kind: Literal["http"]


class IntervalTrigger(_Table):
    """A picture every so often."""

    kind: Literal["interval"]
    ms: Annotated[int, Field(ge=1)]


Trigger = Annotated[MqttTrigger | HttpTrigger | IntervalTrigger, Field(discriminator="kind")]


class MqttSink(_Table):
    """decision_topic: the decision, at once. record_topic: the whole record, stored until the broker has it."""

    kind: Literal["mqtt"]
    decision_topic: Topic | None = None
    record_topic: Topic | None = None
    host: str = "127.0.0.1"
    port: Port = 1883

    @model_validator(mode="after")
    def _some_topic(self) -> MqttSink:
        if self.decision_topic is None and self.record_topic is None:
            raise ValueError("give decision_topic, record_topic or both")
        return self


class WebhookSink(_Table):
    """Each record as JSON by POST, until it is answered 2xx."""

    kind: Literal["webhook"]
    url: Annotated[str, Field(pattern=r"^https?://[^/]")]


class ModbusSink(_Table):
    """A reject gate on Modbus/TCP. Addresses as on the wire, from 0; docs/plc.md tells the PLC's side."""

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
    """Each record as a JSON file, with its picture beside it."""

    kind: Literal["folder"]
    path: Path
    pictures: Literal["all", "rejected", "none"] = "rejected"


Sink = Annotated[
    MqttSink | WebhookSink | ModbusSink | OpcuaSink | CsvSink | FolderSink, Field(discriminator="kind")
]  # fmt: skip


class Station(_Table):
    """One place on the line. accept: verdicts that let a part pass. deadline_ms: from the picture to the decision.

    bit_depth: bits that the camera puts into files of 16 a channel; left out, the category's own.
    """

    name: Name
    category: CategoryName | None = None
    bit_depth: BitDepth | None = None
    source: Source
    trigger: Trigger | None = None
    sink: tuple[Sink, ...] = ()
    accept: tuple[Verdict, ...] = ("normal",)
    deadline_ms: Annotated[int, Field(ge=1)] = 1000
    on_no_verdict: Decision = "reject"
    at_once: Annotated[int, Field(ge=1, le=64, description="parts inspected side by side")] = 2

    @model_validator(mode="after")
    def _trigger_where_needed(self) -> Station:
        if self.source.kind in ("camera", "genicam") and self.trigger is None:
            raise ValueError(f"a {self.source.kind} source needs a trigger")
        if self.source.kind in ("folder", "video") and self.trigger is not None:
            raise ValueError(f"a {self.source.kind} source takes no trigger")
        return self


class Config(_Table):
    """The whole file."""

    service: Service = Service()
    queue: Queue
    health: Health = Health()
    station: tuple[Station, ...]

    @model_validator(mode="after")
    def _names_once(self) -> Config:
        names = [each.name for each in self.station]
        if not names:
            raise ValueError("there is no station")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"station {name!r} is there more than once")
        files = [sink.path for each in self.station for sink in each.sink if sink.kind == "csv"]
        for file in files:
            if files.count(file) > 1:
                raise ValueError(f"csv file {file} is written by more than one sink")
        watched = [each.source.path.resolve() for each in self.station if each.source.kind == "folder"]
        for folder in watched:
            if watched.count(folder) > 1:
                raise ValueError(f"folder {folder} is the source of more than one station")
        for sink in (sink for each in self.station for sink in each.sink if sink.kind == "folder"):
            if sink.path.resolve() in watched:
                raise ValueError(f"folder {sink.path} is a source: what a sink writes there would be parts again")
        return self


def load(path: Path) -> Config:
    """Read and check a file. ConfigInvalid."""
    try:
        data = tomllib.loads(read_text(path))
    except OSError as error:
        raise ConfigInvalid([f"{path}: {error.strerror}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid([f"{path}: {error}"]) from None
    except ValueError as error:
        raise ConfigInvalid([str(error)]) from None
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigInvalid([f"{path}: {_line(each['loc'], each['msg'])}" for each in error.errors()]) from None


_KINDS = {"folder", "video", "camera", "genicam", "mqtt", "http", "interval", "webhook", "modbus", "opcua", "csv"}


def _line(location: tuple[int | str, ...], message: str) -> str:
    where = ""
    for before, each in zip(("", *location), location, strict=False):
        if isinstance(each, int):
            where += f"[{each + 1}]"  # as a person counts the tables in the file
        elif not (before in ("source", "trigger") or isinstance(before, int)) or each not in _KINDS:
            where += f".{each}" if where else each  # pydantic also names the kind of a table, which the file does not
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message.removeprefix("Value error, ")
