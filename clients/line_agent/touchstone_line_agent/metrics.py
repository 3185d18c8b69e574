"""What the agent counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """The counters of one agent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "touchstone_line_agent"
        self.taken = Counter(f"{prefix}_parts_taken", "Parts taken.", ["station"], registry=self.registry)
        self.done = Counter(
            f"{prefix}_parts_done", "Parts done, by what became of them.", ["station", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter(
            f"{prefix}_decisions", "Decisions, and why.", ["station", "decision", "because"], registry=self.registry
        )
        self.left = Gauge(
            f"{prefix}_parts_left", "Parts stored and still to be inspected.", ["station"], registry=self.registry
        )
        self.decision_seconds = Histogram(
            f"{prefix}_decision_seconds", "From the trigger to the decision.", ["station"], buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.sink_failures = Counter(
            f"{prefix}_sink_failures", "Times that a sink did not take something.", ["station", "sink"],
            registry=self.registry,
        )  # fmt: skip
        self.ignored = Gauge(
            f"{prefix}_files_passed_over", "Files in the watched folder that are not taken, by reason.",
            ["station", "why"], registry=self.registry,
        )  # fmt: skip
        self.not_sent = Counter(
            f"{prefix}_decisions_not_sent", "Decisions that a gate could not be told in time.", ["station", "sink"],
            registry=self.registry,
        )  # fmt: skip
        self.not_taken = Counter(
            f"{prefix}_records_not_sent", "Records that a sink refused for good.", ["station", "sink"],
            registry=self.registry,
        )  # fmt: skip
        self.unexpected = Counter(
            f"{prefix}_unexpected", "Failures that nobody expected, by task; it began again.", ["station", "task"],
            registry=self.registry,
        )  # fmt: skip
        self.delivered = Counter(
            f"{prefix}_records_delivered", "Records that a sink has.", ["station", "sink"], registry=self.registry
        )

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
