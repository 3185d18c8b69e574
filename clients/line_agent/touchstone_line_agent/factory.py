"""Creates the sources and sinks that the configuration describes."""

from __future__ import annotations

from touchstone_line_agent.config import (
    CameraSource,
    CsvSink,
    FolderSink,
    FolderSource,
    GenicamSource,
    ModbusSink,
    MqttSink,
    OpcuaSink,
    Sink,
    Source,
    VideoSource,
    WebhookSink,
)
from touchstone_line_agent.sinks import DecisionSink, RecordSink
from touchstone_line_agent.sinks.csv_file import CsvRecords
from touchstone_line_agent.sinks.folder import FolderRecords
from touchstone_line_agent.sinks.modbus import ModbusGate
from touchstone_line_agent.sinks.mqtt import MqttDecisions, MqttRecords
from touchstone_line_agent.sinks.opcua import OpcuaGate
from touchstone_line_agent.sinks.webhook import WebhookRecords
from touchstone_line_agent.sources import Camera, Feed
from touchstone_line_agent.sources.camera import OpencvCamera
from touchstone_line_agent.sources.folder import FolderFeed
from touchstone_line_agent.sources.genicam import GenicamCamera
from touchstone_line_agent.sources.video import VideoFeed


def create_source(config: Source) -> Feed | Camera:
    """The source that a table describes."""
    match config:
        case FolderSource():
            return FolderFeed(config)
        case VideoSource():
            return VideoFeed(config)
        case CameraSource():
            return OpencvCamera(config)
        case GenicamSource():
            return GenicamCamera(config)


def create_sinks(configs: tuple[Sink, ...]) -> tuple[list[DecisionSink], list[RecordSink]]:
    """The sinks that tables describe: of decisions, and of records."""
    decision_sinks: list[DecisionSink] = []
    record_sinks: list[RecordSink] = []
    for config in configs:
        match config:
            case MqttSink():
                if config.decision_topic is not None:
                    decision_sinks.append(MqttDecisions(config, config.decision_topic))
                if config.record_topic is not None:
                    record_sinks.append(MqttRecords(config, config.record_topic))
            case ModbusSink():
                decision_sinks.append(ModbusGate(config))
            case OpcuaSink():
                decision_sinks.append(OpcuaGate(config))
            case WebhookSink():
                record_sinks.append(WebhookRecords(config))
            case CsvSink():
                record_sinks.append(CsvRecords(config))
            case FolderSink():
                record_sinks.append(FolderRecords(config))
    return decision_sinks, record_sinks
