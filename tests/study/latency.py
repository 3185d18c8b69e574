"""Latency of detection during calibration, and without it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from indexer.calibration.leave_one_out import leave_one_out
from indexer.encoders import Encoder, prepare
from indexer.memory import MemoryBank
from indexer.scoring.scoring import score_steps
from indexer.search import PatchSearchEngine
from indexer.search.batched_search import SearchCoroutine
from service.inference.worker import InferenceWorker, JobContext
from service.observability.metrics import Metrics
from tests.study.onboarded import SCORING, memory_of
from tests.study.products import Product

_DETECTIONS = 40
_PAUSE = 0.1  # seconds between detections, in which the owner is free to calibrate


def beside_calibration(encoder: Encoder, engine: PatchSearchEngine, product: Product) -> Iterator[str]:
    """A table of a detection's seconds, queue to score: the owner idle, and while it calibrates all the references."""
    memory = memory_of(encoder, {"product": product.references}, {"product": product.geometry})
    worker = InferenceWorker(
        encoder,
        engine,
        lambda: memory,
        Metrics(0),
        batch_size=8,
        max_batch_delay=0.0,
        queue_size=64,
        under_way=lambda: 1,
    )
    width, height = product.geometry.size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image = prepare(noise, product.geometry, encoder.space.global_geometry)

    def detected() -> float:
        def score(turn: JobContext) -> SearchCoroutine[float]:
            scored = yield from score_steps(turn.memory, engine, turn.features, SCORING, "product")
            return scored.score

        time.sleep(_PAUSE)
        begun = time.perf_counter()
        worker.submit_detections([(image, score)], 600)[0].result()
        return time.perf_counter() - begun

    stop = threading.Event()
    done = list[float]()

    def calibrate() -> None:
        while not stop.is_set():
            steps = leave_one_out(memory, engine, "product", SCORING.k, SCORING.rho)
            while not stop.is_set() and (share := worker.submit_calibration(_one(steps)).result()) is not None:
                done.append(share)

    try:
        detected()
        idle = [detected() for _ in range(_DETECTIONS)]
        beside = threading.Thread(target=calibrate)
        beside.start()
        busy = [detected() for _ in range(_DETECTIONS)]
        stop.set()
        beside.join()
    finally:
        worker.stop()
    yield f"A detection beside calibration, {len(memory)} references, {len(done)} steps taken meanwhile:\n"
    yield "| Owner | Median | 90 % | Longest |"
    yield "|---|---|---|---|"
    for name, seconds in (("idle", idle), ("calibrating", busy)):
        middle, most, longest = np.quantile(seconds, [0.5, 0.9, 1.0]) * 1000
        yield f"| {name} | {middle:.0f} ms | {most:.0f} ms | {longest:.0f} ms |"
    yield ""


def _one(steps: Iterator[float]) -> Callable[[MemoryBank], float | None]:
    """One step as the owner takes it; None at the end."""
    return lambda _: next(steps, None)
