"""From the file's tables to the sources and sinks that they describe."""

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
from touchstone_line_agent.sinks.csv_file import CsvFile
from touchstone_line_agent.sinks.folder import FolderOfRecords
from touchstone_line_agent.sinks.modbus import ModbusGate
from touchstone_line_agent.sinks.mqtt import MqttDecisions, MqttRecords
from touchstone_line_agent.sinks.opcua import OpcuaGate
from touchstone_line_agent.sinks.webhook import Webhook
from touchstone_line_agent.sources import Camera, Feed
from touchstone_line_agent.sources.camera import OpencvCamera
from touchstone_line_agent.sources.folder import Folder
from touchstone_line_agent.sources.genicam import GenicamCamera
from touchstone_line_agent.sources.video import Video


def build_source(config: Source) -> Feed | Camera:
    """The source that a table describes."""
    match config:
        case FolderSource():
            return Folder(config)
        case VideoSource():
            return Video(config)
        case CameraSource():
            return OpencvCamera(config)
        case GenicamSource():
            return GenicamCamera(config)


def build_sinks(config: tuple[Sink, ...]) -> tuple[list[DecisionSink], list[RecordSink]]:
    """The sinks that tables describe: those that act, and those that keep."""
    acting: list[DecisionSink] = []
    keeping: list[RecordSink] = []
    for each in config:
        match each:
            case MqttSink():
                if each.decision_topic is not None:
                    acting.append(MqttDecisions(each, each.decision_topic))
                if each.record_topic is not None:
                    keeping.append(MqttRecords(each, each.record_topic))
            case ModbusSink():
                acting.append(ModbusGate(each))
            case OpcuaSink():
                acting.append(OpcuaGate(each))
            case WebhookSink():
                keeping.append(Webhook(each))
            case CsvSink():
                keeping.append(CsvFile(each))
            case FolderSink():
                keeping.append(FolderOfRecords(each))
    return acting, keeping
