"""Gauges of `/metrics`, read from the service's state at each scrape."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from importlib.metadata import version

import torch
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from indexer.domain.retention import GroupUsage
from service.state import AppState

log = logging.getLogger("touchstone")


class GaugeCollector(Collector):
    """What the service holds now: its queues, its memory, its disk and its GPU."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        """Nothing: the names are known from the collection itself."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every gauge with its present value; unavailable values, for example of an unmounted disk, are omitted."""
        for part in (self._queues, self._memory, self._disk, self._history, self._background, self._gpu):
            try:
                metrics = list(part())
            except Exception as error:  # one part must not cost the others
                log.error("metrics of the %s are not available: %s", part.__name__.strip("_"), error)
            else:
                yield from metrics

    def _queues(self) -> Iterator[Metric]:
        depth = _gauge("queue_depth", "Jobs in the queue.", "queue")
        age = _gauge("queue_age_seconds", "Age of the oldest queued job.", "queue")
        now = time.monotonic()
        for queue, (waiting, oldest) in self._state.worker.queue_stats().items():
            depth.add_metric([queue], waiting)
            age.add_metric([queue], 0.0 if oldest is None else now - oldest)
        yield depth
        yield age
        images = _gauge("images_in_flight", "Images of requests in flight.", "queue")
        decoded = _gauge("decoded_bytes_in_flight", "Decoded size of images in flight.", "queue")
        uploads = _gauge(
            "file_bytes_in_flight", "Size of image files in memory: request bodies and stored images.", "queue"
        )
        for queue, limits in (("detect", self._state.detecting), ("onboard", self._state.onboarding)):
            images.add_metric([queue], limits.images.used)
            decoded.add_metric([queue], limits.decoded_bytes.used)
            uploads.add_metric([queue], limits.held_bytes.used)
        yield images
        yield decoded
        yield uploads

    def _memory(self) -> Iterator[Metric]:
        state = self._state
        memory, space = state.reference_store.memory, state.encoder.space
        yield _single("index_version", "Index version that serves requests.", memory.version)
        yield _single("references", "Live references in that version.", len(memory))
        yield _single("memory_bytes", "Bytes of its patch codes.", memory.code_bytes)
        yield _single(
            "corrupt_segments",
            "Segment files that are missing or damaged, and not served.",
            len(state.reference_store.corrupt_segments),
        )
        yield _single(
            "unverified_segments",
            "Memory-mapped segment files whose checksum is yet to be verified.",
            len(state.reference_store.published.unverified),
        )
        yield _single(
            "not_ready",
            "1 while the service is not ready; `/readyz` has the reason.",
            float(state.not_ready_reason is not None),
        )
        build = _gauge(
            "build_info", "Always 1; the labels carry the versions.", "version", "encoder", "engine", "codec"
        )
        build.add_metric([version("touchstone"), space.encoder, state.engine.name, memory.codec.name], 1)
        yield build

    def _disk(self) -> Iterator[Metric]:
        usage = os.statvfs(self._state.settings.data)
        yield _single("disk_free_bytes", "Free space on the data folder's disk.", usage.f_bavail * usage.f_frsize)
        yield _single("disk_size_bytes", "Size of that disk.", usage.f_blocks * usage.f_frsize)

    def _history(self) -> Iterator[Metric]:
        stored = _gauge("history_inspections", "Stored inspections, as of the last pruning.", "category")
        with_images = _gauge("history_images", "Stored inspections that still have their image and map.", "category")
        size = _gauge("history_image_bytes", "Bytes of these images and maps.", "category")
        pruning = self._state.pruning
        by_label: dict[str, list[GroupUsage]] = {}
        for holding in pruning.holdings:
            by_label.setdefault(self._state.metrics.label(holding.group.category or ""), []).append(holding)
        for label, holdings in by_label.items():
            stored.add_metric([label], sum(holding.inspections for holding in holdings))
            with_images.add_metric([label], sum(holding.images for holding in holdings))
            size.add_metric([label], sum(holding.image_bytes for holding in holdings))
        yield from (stored, with_images, size)
        yield _single(
            "history_pruned_timestamp_seconds",
            "Time of the last completed pruning; 0 before the first.",
            pruning.finished or 0.0,
        )

    def _background(self) -> Iterator[Metric]:
        failing = _gauge("background_failing", "1 while a background task is failing, stalled or ended.", "task")
        for task in self._state.background.supervisor.states():
            failing.add_metric([task.name], float(task.state != "working"))
        yield failing

    def _gpu(self) -> Iterator[Metric]:
        used = _gauge("gpu_memory_used_bytes", "Memory used on the service's GPU, by all processes.", "device")
        size = _gauge("gpu_memory_size_bytes", "Memory of that GPU.", "device")
        busy = _gauge("gpu_utilization_ratio", "GPU utilization over the last second.", "device")
        device = self._state.encoder.device
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            used.add_metric([str(device)], total - free)
            size.add_metric([str(device)], total)
            busy.add_metric([str(device)], torch.cuda.utilization(device) / 100)
        yield used
        yield size
        yield busy
        stats = self._state.engine.codes.stats
        metric = _counter(
            "device_cache_lookups", "Retrieved references by whether their codes were cached on the GPU.", "result"
        )
        metric.add_metric(["hit"], stats.hits)
        metric.add_metric(["miss"], stats.misses)
        yield metric
        yield CounterMetricFamily(
            "touchstone_device_cache_copied_bytes", "Bytes of codes copied to the GPU.", value=stats.bytes_copied
        )
        yield _single("device_cache_bytes", "GPU memory reserved for the cache of codes.", stats.resident_bytes)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"touchstone_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"touchstone_{name}", text, labels=labels)


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"touchstone_{name}", text, value=value)
