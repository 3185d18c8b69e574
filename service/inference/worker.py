"""The inference worker: one thread, or several, run encoder and search in batches, taking jobs from priority queues."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

from indexer.encoders import Encoder, Features, PreparedImage
from indexer.encoders.encode_images import encode_images
from indexer.memory import MemoryBank
from indexer.search import PatchSearchEngine, SearchCoroutine, run_batched
from service.observability.metrics import Metrics
from service.observability.tracing import Stage

T = TypeVar("T")

_ONBOARDING_WAITS = 1.0  # seconds that detections may keep onboarding from the encoder
_ONBOARDING_SHARE = 0.25  # of the time of detections: what onboarding then takes, lest it waits for ever


class QueueFullError(RuntimeError):
    """The queue is full. retry_after: estimated seconds until there is free space."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the queue is full")
        self.retry_after = retry_after


class DeadlineExceededError(RuntimeError):
    """The job did not start before its deadline and was dropped unprocessed."""


class WorkerStoppedError(RuntimeError):
    """The worker has been stopped and accepts no more work."""


class Priority(IntEnum):
    """Order of the queues: detection first, then onboarding, then calibration."""

    DETECT = 0
    ONBOARD = 1
    CALIBRATE = 2


@dataclass(frozen=True)
class JobContext:
    """What a job runs with.

    memory: the snapshot that its batch searches. features: of its image, a batch of one. queue_seconds: waiting time.
    encode_seconds: its share of the batch's encoding time. search_batch_size: images searched together with this one,
    itself included. stages: intervals for traces.
    """

    memory: MemoryBank
    features: Features
    queue_seconds: float
    encode_seconds: float
    search_batch_size: int
    stages: tuple[Stage, ...]


@dataclass
class _Job:
    image: PreparedImage | None  # None for work that needs no encoding
    work: Callable[[Any], Any]
    deadline: float
    priority: Priority
    accepted: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)


class InferenceWorker:
    """Runs queued jobs batch by batch, on one thread unless encoder and engine work on several batches at once.

    A batch holds jobs of one priority. If encoding a batch fails, its images are encoded one by one, so that only the
    image at fault fails. `snapshot` returns the memory bank to search, once per batch. The searches of a batch's
    detections are batched, up to the engine's limit. Whatever is submitted after `stop` raises WorkerStoppedError.
    """

    def __init__(
        self,
        encoder: Encoder,
        engine: PatchSearchEngine,
        snapshot: Callable[[], MemoryBank],
        metrics: Metrics,
        *,
        batch_size: int,
        max_batch_delay: float,
        queue_size: int,
        under_way: Callable[[], int],
        threads: int = 1,
    ) -> None:
        """under_way: how many images of detections there are in the service, from their arrival to their answer.

        threads: batches to work on at once, which encoder and engine must allow.
        """
        self._encoder = encoder
        self._engine = engine
        self._snapshot = snapshot
        self._metrics = metrics
        self._batch_size = batch_size
        self._max_batch_delay = max_batch_delay
        self._queue_size = queue_size
        self._under_way = under_way
        self._queues: dict[Priority, deque[_Job]] = {priority: deque() for priority in Priority}
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds_per_image = 0.1  # running estimate, for Retry-After
        self.encoded = (0.0, 0.0)  # when images last went through the encoder (monotonic), and the seconds of each
        self.finished = time.monotonic()  # when a batch or a step was last finished
        self._onboarded = (0.0, 0.0)  # when an onboarding job last ended (monotonic), and the seconds that it took
        self._threads = [
            threading.Thread(target=self._run, name="inference-worker", daemon=True) for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit_detections(
        self, images: Sequence[tuple[PreparedImage, Callable[[JobContext], SearchCoroutine[T]]]], deadline: float
    ) -> list[Future[T]]:
        """Queue the images of one request, all or none, each with the search to run on the worker thread.

        deadline: seconds from now within which each must start. Raises QueueFullError when they do not fit; a request
        larger than the whole queue is accepted when the queue is empty.
        """
        with self._changed:  # held throughout: another request, or the end of the worker, comes before or after
            waiting = len(self._queues[Priority.DETECT])
            if waiting and waiting + len(images) > self._queue_size:
                raise QueueFullError(self.retry_after)
            return [self._enqueue(Priority.DETECT, image, work, deadline) for image, work in images]

    def submit_onboarding(self, image: PreparedImage, work: Callable[[JobContext], T]) -> Future[T]:
        """Queue an image to encode for onboarding; runs after detections, see `_onboarding_is_due`."""
        return self._enqueue(Priority.ONBOARD, image, work, float("inf"))

    def submit_screening(self, work: Callable[[MemoryBank], T]) -> Future[T]:
        """Queue an onboarding step without encoding; runs after detections, see `_onboarding_is_due`."""
        return self._enqueue(Priority.ONBOARD, None, work, float("inf"))

    def submit_calibration(self, work: Callable[[MemoryBank], T]) -> Future[T]:
        """Queue a step on the memory bank; runs after all other work."""
        return self._enqueue(Priority.CALIBRATE, None, work, float("inf"))

    @property
    def retry_after(self) -> int:
        """Estimated seconds until the queued detections are done."""
        return max(1, round(self.waiting * self._seconds_per_image))

    @property
    def waiting(self) -> int:
        """Detections in the queue."""
        return len(self._queues[Priority.DETECT])

    def queue_stats(self) -> dict[str, tuple[int, float | None]]:
        """Per queue: its length, and when its first job was queued (monotonic seconds)."""
        with self._changed:
            return {
                priority.name.lower(): (len(queue), queue[0].accepted if queue else None)
                for priority, queue in self._queues.items()
            }

    def stop(self) -> None:
        """Finish accepted jobs, cancel calibration steps, end the threads."""
        with self._changed:
            self._stopping = True
            for job in self._queues[Priority.CALIBRATE]:
                job.future.cancel()
            self._queues[Priority.CALIBRATE].clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(
        self, priority: Priority, image: PreparedImage | None, work: Callable[[Any], Any], deadline: float
    ) -> Future[Any]:
        job = _Job(image, work, time.monotonic() + deadline, priority)
        with self._changed:
            if self._stopping:
                raise WorkerStoppedError("the service is stopping")
            self._queues[priority].append(job)
            self._changed.notify_all()
        return job.future

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            started = time.monotonic()
            self._run_batch(batch)
            self.finished = time.monotonic()
            if batch and batch[0].priority is Priority.ONBOARD:
                self._onboarded = self.finished, self.finished - started

    def _next_batch(self) -> list[_Job] | None:
        """Wait for the next batch of the most urgent queue; None when stopped and drained."""
        with self._changed:
            while True:
                if (queue := self._next_queue()) is not None:
                    self._wait_until_complete(queue)
                    if queue:
                        break  # else other threads have taken all of it meanwhile
                elif self._stopping:
                    return None
                else:
                    self._changed.wait()
            # Work without an image is taken singly, so that a detection waits for one step of it at most; so is an
            # image that is onboarded while detections wait.
            singly = queue[0].image is None or (queue[0].priority is not Priority.DETECT and self.waiting)
            size = 1 if singly else self._batch_size
            batch = [queue.popleft()]
            while queue and len(batch) < size and queue[0].image is not None:
                batch.append(queue.popleft())
        return [job for job in batch if self._should_run(job)]

    def _wait_until_complete(self, queue: deque[_Job]) -> None:
        """Until a batch of a queue is complete or has waited long enough."""
        if queue is self._queues[Priority.DETECT] and len(queue) < self._batch_size:
            self._changed.wait_for(lambda: self._stopping or self._complete(queue), self._max_batch_delay)

    def _complete(self, queue: deque[_Job]) -> bool:
        """Whether a batch of detections has nothing to wait for: it is full, or no other image is on its way."""
        return len(queue) >= min(self._batch_size, self._under_way())

    def _next_queue(self) -> deque[_Job] | None:
        if self._onboarding_is_due():
            return self._queues[Priority.ONBOARD]
        return next((queue for queue in self._queues.values() if queue), None)

    def _onboarding_is_due(self) -> bool:
        """Whether onboarding goes before detections: they have kept it waiting, and it has had less than its share."""
        queue, now = self._queues[Priority.ONBOARD], time.monotonic()
        if not queue or now - queue[0].accepted < _ONBOARDING_WAITS:
            return False
        ended, seconds = self._onboarded
        return (now - ended) * _ONBOARDING_SHARE >= seconds

    @staticmethod
    def _should_run(job: _Job) -> bool:
        """Whether a job was neither cancelled nor past its deadline, which fails it."""
        if not job.future.set_running_or_notify_cancel():
            return False
        if time.monotonic() > job.deadline:
            job.future.set_exception(DeadlineExceededError("the image waited longer than the deadline"))
            return False
        return True

    def _run_batch(self, batch: list[_Job]) -> None:
        memory = self._snapshot()
        started = time.monotonic()
        images = [job for job in batch if job.image is not None]
        for job in batch:
            if job.image is None:
                _run_job(job, memory)
        if not images:
            return
        try:
            features = encode_images(self._encoder, [job.image for job in images if job.image is not None])
        except Exception as error:  # whatever an encoder does with an image, the thread lives on
            if len(images) == 1:
                images[0].future.set_exception(error)
                return
            for job in images:
                self._run_batch([job])
            return
        encoded = time.monotonic()
        encode_seconds, priority = (encoded - started) / len(images), images[0].priority
        self.encoded = encoded, encode_seconds
        self._metrics.batch(priority.name.lower(), len(images))
        max_queries = self._engine.max_queries if priority is Priority.DETECT else 1
        for start in range(0, len(images), max_queries):
            jobs = images[start : start + max_queries]
            contexts = [
                JobContext(
                    memory,
                    features[start + index],
                    started - job.accepted,
                    encode_seconds,
                    len(jobs),
                    (Stage("queue", job.accepted, started), Stage("encode", started, encoded, len(images))),
                )
                for index, job in enumerate(jobs)
            ]
            if priority is Priority.DETECT:
                self._search(memory, jobs, contexts)
            else:
                _run_job(jobs[0], contexts[0])
        spent = (time.monotonic() - started) / len(images) / len(self._threads)
        self._seconds_per_image += 0.2 * (spent - self._seconds_per_image)

    def _search(self, memory: MemoryBank, jobs: Sequence[_Job], contexts: Sequence[JobContext]) -> None:
        """Batch the searches of several detections, and set each job's result."""
        coroutines = [job.work(context) for job, context in zip(jobs, contexts, strict=True)]
        for job, result in zip(jobs, run_batched(self._engine, memory, coroutines), strict=True):
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)


def _run_job(job: _Job, argument: MemoryBank | JobContext) -> None:
    try:
        result = job.work(argument)
    except Exception as error:  # the job's own failure belongs to whoever waits for it
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
