"""The agent's metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_PREFIX = "touchstone_line_agent_"
_BUCKETS_S = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """The metrics of one agent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.captured = self._counter("parts_captured", "Parts captured.")
        self.completed = self._counter("parts_completed", "Parts with a result, by outcome.", "outcome")
        self.decisions = self._counter("decisions", "Decisions, by reason.", "decision", "reason")
        self.pending = self._gauge("parts_pending", "Stored parts without a result.")
        self.decision_seconds = Histogram(
            f"{_PREFIX}decision_seconds",
            "Latency from the trigger to the decision.",
            ["station"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.sink_failures = self._counter("sink_failures", "Failed attempts to send to a sink.", "sink")
        self.ignored = self._gauge("files_ignored", "Files in the watched folder that are ignored.", "reason")
        self.not_sent = self._counter("decisions_not_sent", "Decisions that a gate did not receive in time.", "sink")
        self.rejected = self._counter("records_rejected", "Records that a sink rejected for good.", "sink")
        self.unexpected = self._counter(
            "unexpected_errors", "Unexpected errors, each of which restarted a task.", "task"
        )
        self.report_failures = self._counter(
            "report_failures", "Reports of its state that the service did not receive."
        )
        self.frame_failures = self._counter(
            "frame_failures", "Images of the camera that the service did not receive while somebody watched."
        )
        self.delivered = self._counter("records_delivered", "Records that a sink has received.", "sink")

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}{name}", documentation, _labels(labels), registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"{_PREFIX}{name}", documentation, _labels(labels), registry=self.registry)


def _labels(labels: Sequence[str]) -> list[str]:
    return ["station", *labels]
