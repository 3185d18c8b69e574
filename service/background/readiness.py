"""Checks every few seconds that the service can inspect; a probe only reads the last result."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path

import torch

from indexer.encoders import Encoder
from indexer.memory import MemoryBank
from indexer.references.reference_store import ReferenceStore
from indexer.storage.disk_space import has_free_space
from service.inference.worker import InferenceWorker

log = logging.getLogger("touchstone")

CHECK_SECONDS = 2.0
_FRESH_SECONDS = 3.0  # for which images that went through the encoder show that it works
_ROUND_SECONDS = 1.0  # that a round waits for the encoder; the next one checks what takes longer
_STUCK_SECONDS = 30.0  # without anything finished, while something waits
_STALE_SECONDS = 60.0  # after which a check is too old to count


@dataclass(frozen=True)
class SelfCheckResult:
    """What a check saw, at `at` (monotonic seconds). error: why the encoder does not work; None when it does.

    forward_ms: what an image last took in the encoder. recording_enabled: whether the disk has room for inspections.
    """

    at: float
    error: str | None
    forward_ms: float
    recording_enabled: bool


class Readiness:
    """Checks that images go through the encoder, and holds the last check's result.

    While detections or new references go through it, these show that it works. Otherwise a blank image is encoded, at
    the lowest priority: it delays nothing, is accepted by a full queue, and is not counted in metrics.
    """

    def __init__(
        self,
        encoder: Encoder,
        worker: InferenceWorker,
        reference_store: ReferenceStore,
        data: Path,
        min_free_bytes: int,
    ) -> None:
        self._encoder = encoder
        self._worker = worker
        self._reference_store = reference_store
        self._data = data
        self._min_free_bytes = min_free_bytes
        self._seen = SelfCheckResult(-_STALE_SECONDS, None, 0.0, recording_enabled=False)
        self._blank: tuple[Future[float], float] | None = None  # on its way, and since when
        self._blank_error: tuple[BaseException, float] | None = None  # how the last one failed, and when
        self._encoded = (0.0, 0.0)  # when something last went through the encoder, and the seconds that it took

    @property
    def seen(self) -> SelfCheckResult:
        """The last check."""
        return self._seen

    @property
    def reason(self) -> str | None:
        """Why the service is not ready, in one line; None when it is."""
        published, last_seen = self._reference_store.published, self._seen
        if published.superseded_by is not None:
            return f"The references are held by encoder {published.superseded_by} now: restart the service with it."
        if damaged := len(published.corrupt_segments):
            return f"{damaged} damaged segment(s) are not served: restore them, or run `touchstone rebuild --damaged`."
        if last_seen.error is None and (age := time.monotonic() - last_seen.at) > _STALE_SECONDS:
            return f"Whether the encoder works has not been checked for {age:.0f} s."
        return last_seen.error

    def round(self, _: threading.Event | None = None, patience: float = _ROUND_SECONDS) -> None:
        """See `Task`. patience: seconds to wait for the encoder."""
        self._seen = SelfCheckResult(
            time.monotonic(),
            self._look(patience),
            self._encoded[1] * 1000,
            has_free_space(self._data, self._min_free_bytes),
        )

    def _look(self, patience: float) -> str | None:
        """Why the encoder does not work; None when it does."""
        self._encoded = max(self._encoded, self._worker.encoded)
        if self._blank is None and time.monotonic() - self._encoded[0] > _FRESH_SECONDS:
            self._blank = self._worker.submit_calibration(self._forward), time.monotonic()
        if self._blank is not None:
            future, since = self._blank
            wait([future], patience)
            if future.done():
                self._blank = None
                if (error := future.exception()) is None:
                    self._encoded = time.monotonic(), future.result()
                    self._blank_error = None
                else:
                    if self._blank_error is None:
                        log.error("the self-check failed: the encoder cannot encode an image", exc_info=error)
                    self._blank_error = error, time.monotonic()
            elif (stuck := time.monotonic() - max(since, self._worker.finished)) > _STUCK_SECONDS:
                return f"Nothing has come out of the encoder or the search for {stuck:.0f} s."
        if self._blank_error is not None and self._blank_error[1] > self._encoded[0]:
            return f"No image goes through the encoder: {type(self._blank_error[0]).__name__}, see the log."
        return None

    def _forward(self, _: MemoryBank) -> float:
        """Encode a blank image; returns the seconds it took."""
        begun = time.monotonic()
        width, height = self._encoder.space.global_geometry.size
        self._encoder.encode(torch.zeros((1, 3, height, width), dtype=torch.uint8)).global_descriptors.cpu()
        return time.monotonic() - begun
