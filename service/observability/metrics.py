"""Counters, histograms of `/metrics`; docs/metrics.md explains each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

OTHER = "_other"  # stands for every category beyond the most that get a label of their own

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_P_VALUES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1)


class Metrics:
    """Counts and times what happens. One per running service; safe to use from several threads.

    max_categories: how many categories get time series of their own; later ones are counted together as `_other`, so
    that the number of series stays bounded however many products there are.
    """

    def __init__(self, max_categories: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._max_categories = max_categories
        self._labelled: set[str] = set()
        self._requests = self._counter("requests", "Requests answered.", "method", "route", "status")
        self._request_seconds = self._histogram(
            "request_seconds", "Time from a request's first byte to its answer's last.", _SECONDS, "method", "route"
        )
        self._problems = self._counter(
            "problems", "Problem responses, including those for one image of several.", "type"
        )
        self._refused = self._counter("rejected_images", "Images rejected by the decoder.", "reason")
        self._batches = self._histogram(
            "batch_images", "Batch size: images encoded in one forward pass.", _IMAGES, "queue"
        )
        self._stages = self._histogram("stage_seconds", "Latency of one image per stage.", _SECONDS, "stage")
        self._verdicts = self._counter("verdicts", "Inspections per verdict.", "category", "verdict")
        self._p_values = self._histogram(
            "p_value",
            "Conformal p-values of inspections; uniformly distributed without drift.",
            _P_VALUES,
            "category",
        )
        self._onboarded = self._counter("onboarded_images", "Images sent to be added as references.", "outcome")
        self._unrecorded = self._counter(
            "unrecorded_inspections", "Inspections that were answered but could not be recorded."
        )
        self._pruned = self._counter(
            "history_pruned", "Inspections, or their images, pruned from the history.", "target", "reason"
        )
        self._deleted = self._counter("history_deleted_files", "Files of the history that were deleted.")
        self._deleted_bytes = self._counter("history_deleted_bytes", "Bytes freed by deleting them.")
        self._background_failures = self._counter(
            "background_failures", "Failed runs of a background task; each is retried.", "task"
        )

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered. route: the template of its path, not the path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_seconds.labels(method, route).observe(seconds)

    def problem(self, kind: str) -> None:
        """A problem of this type was answered."""
        self._problems.labels(kind).inc()

    def refused(self, reason: str) -> None:
        """The decoder refused an image."""
        self._refused.labels(reason).inc()

    def batch(self, queue: str, images: int) -> None:
        """Images of one queue went through the encoder together."""
        self._batches.labels(queue).observe(images)

    def stage(self, stage: str, seconds: float) -> None:
        """One image spent this long in a stage."""
        self._stages.labels(stage).observe(seconds)

    def inspected(self, category: str, verdict: str, p_value: float | None) -> None:
        """An image was inspected."""
        label = self.label(category)
        self._verdicts.labels(label, verdict).inc()
        if p_value is not None:
            self._p_values.labels(label).observe(p_value)

    def onboarded(self, outcome: str) -> None:
        """An image became a reference, was one already, or was refused."""
        self._onboarded.labels(outcome).inc()

    def unrecorded(self, inspections: int) -> None:
        """Inspections were answered but could not be kept."""
        self._unrecorded.inc(inspections)

    def background_failures(self, task: str, count: int) -> None:
        """So many more rounds of a background task failed; with 0 it is counted from now on."""
        self._background_failures.labels(task).inc(count)

    def pruned(self, target: str, reason: str | None, count: int, size: int) -> None:
        """Inspections or images were taken out of the history, because of bounds or for room; or files deleted."""
        if reason is not None:
            self._pruned.labels(target, reason).inc(count)
        else:
            self._deleted.inc(count)
            self._deleted_bytes.inc(size)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def label(self, category: str) -> str:
        """What stands for a category: itself, or `_other` beyond the most that get a label."""
        if category in self._labelled:
            return category
        if len(self._labelled) >= self._max_categories:
            return OTHER
        self._labelled.add(category)
        return category

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"touchstone_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"touchstone_{name}", text, labels, buckets=buckets, registry=self.registry)
