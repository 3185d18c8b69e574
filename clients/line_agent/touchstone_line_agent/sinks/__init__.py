"""Sinks: gates, which act on decisions, and stores of records; a module per kind."""

from touchstone_line_agent.sinks.base import DecisionSink, RecordFailed, RecordRejected, RecordSink, SinkFailed

__all__ = ["DecisionSink", "RecordFailed", "RecordRejected", "RecordSink", "SinkFailed"]
