"""The one thread that owns the encoder and the search: work waits in line, in batches, detection first."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

import torch

from indexer.encoders import Encoder, Features
from indexer.memory import MemoryBank
from indexer.search import PatchSearchEngine, SearchCoroutine, run_batched
from service.observability.metrics import Metrics
from service.observability.tracing import Stage

T = TypeVar("T")


class Busy(RuntimeError):
    """The queue is full. `retry_after`: seconds after which there should be room."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("the queue is full")
        self.retry_after = retry_after


class DeadlineExceeded(RuntimeError):
    """The work was not begun in time, and has been dropped before it cost anything."""


class Stopped(RuntimeError):
    """The owner has been stopped and takes no more work."""


class Priority(IntEnum):
    """Who goes first: lines before engineers before housekeeping."""

    DETECT = 0
    ONBOARD = 1
    CALIBRATE = 2


@dataclass(frozen=True)
class Turn:
    """What a job is given when its turn comes.

    memory: the snapshot of its whole batch. features: of its picture, as a batch of one. Times in seconds,
    `encoding` its share of the batch's. together: pictures that are searched for in one search, this one among them.
    stages: when it waited, and when its batch was in the encoder.
    """

    memory: MemoryBank
    features: Features
    queued: float
    encoding: float
    together: int
    stages: tuple[Stage, ...]


@dataclass
class _Job:
    picture: torch.Tensor | None  # uint8 (3, crop, crop), or None for work that needs no encoding
    work: Callable[[Any], Any]
    deadline: float
    priority: Priority
    accepted: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)


class Owner:
    """Runs jobs one batch at a time on one thread.

    A batch holds jobs of one priority. A picture that makes its batch fail is found by encoding the batch's pictures
    singly, and fails alone. `snapshot` gives the memory to search, once per batch. Detections of a batch put their
    questions to `engine` together, as many as it gains by.
    """

    def __init__(
        self, encoder: Encoder, engine: PatchSearchEngine, snapshot: Callable[[], MemoryBank], metrics: Metrics, *,
        batch_size: int, batch_wait: float, queue_size: int,
    ) -> None:  # fmt: skip
        self._encoder = encoder
        self._engine = engine
        self._snapshot = snapshot
        self._metrics = metrics
        self._batch_size = batch_size
        self._batch_wait = batch_wait
        self._queue_size = queue_size
        self._lines: dict[Priority, deque[_Job]] = {priority: deque() for priority in Priority}
        self._changed = threading.Condition()
        self._stopping = False
        self._seconds_a_picture = 0.1  # running estimate, for Retry-After
        self.encoded = (0.0, 0.0)  # when pictures last went through the encoder (monotonic), and the seconds of each
        self.finished = time.monotonic()  # when a batch or a step was last finished
        self._thread = threading.Thread(target=self._run, name="owner", daemon=True)
        self._thread.start()

    def detect(
        self, pictures: Sequence[tuple[torch.Tensor, Callable[[Turn], SearchCoroutine[T]]]], deadline: float
    ) -> list[Future[T]]:
        """Queue the pictures of one request, all or none, each with what it asks in its turn on the owner thread.

        deadline: seconds from now in which each has to begin. Busy when they do not fit; a request larger than the
        whole queue is taken when nothing else waits.
        """
        with self._changed:  # held throughout: another request, or the end of the owner, comes before or after
            waiting = len(self._lines[Priority.DETECT])
            if waiting and waiting + len(pictures) > self._queue_size:
                raise Busy(self.retry_after)
            return [self._put(Priority.DETECT, picture, work, deadline) for picture, work in pictures]

    def onboard(self, picture: torch.Tensor, work: Callable[[Turn], T]) -> Future[T]:
        """Queue a picture whose features are wanted, behind every detection."""
        return self._put(Priority.ONBOARD, picture, work, float("inf"))

    def screen(self, work: Callable[[MemoryBank], T]) -> Future[T]:
        """Queue a step of onboarding that needs no encoding, behind every detection."""
        return self._put(Priority.ONBOARD, None, work, float("inf"))

    def calibrate(self, work: Callable[[MemoryBank], T]) -> Future[T]:
        """Queue a step that needs the memory only, behind everything else."""
        return self._put(Priority.CALIBRATE, None, work, float("inf"))

    @property
    def retry_after(self) -> int:
        """Seconds after which what waits now should be done."""
        return max(1, round(self.waiting * self._seconds_a_picture))

    @property
    def waiting(self) -> int:
        """Detections in the queue."""
        return len(self._lines[Priority.DETECT])

    def lines(self) -> dict[str, tuple[int, float | None]]:
        """How many jobs wait in each line, and since when (monotonic seconds) the first of them."""
        with self._changed:
            return {
                priority.name.lower(): (len(line), line[0].accepted if line else None)
                for priority, line in self._lines.items()
            }

    def stop(self) -> None:
        """Finish what was accepted, drop calibration steps, and end the thread."""
        with self._changed:
            self._stopping = True
            for job in self._lines[Priority.CALIBRATE]:
                job.future.cancel()
            self._lines[Priority.CALIBRATE].clear()
            self._changed.notify_all()
        self._thread.join()

    def _put(
        self, priority: Priority, picture: torch.Tensor | None, work: Callable[[Any], Any], deadline: float
    ) -> Future[Any]:
        job = _Job(picture, work, time.monotonic() + deadline, priority)
        with self._changed:
            if self._stopping:
                raise Stopped("the service is stopping")
            self._lines[priority].append(job)
            self._changed.notify_all()
        return job.future

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._serve(batch)
            self.finished = time.monotonic()

    def _next_batch(self) -> list[_Job] | None:
        """The next jobs of the most urgent line, waiting for some; None when stopped and done."""
        with self._changed:
            while not (line := self._most_urgent()):
                if self._stopping:
                    return None
                self._changed.wait()
            if line is self._lines[Priority.DETECT] and len(line) < self._batch_size:
                self._changed.wait_for(lambda: len(line) >= self._batch_size or self._stopping, self._batch_wait)
            # Work without a picture is taken singly, so that a detection waits for one step of it at most.
            size = 1 if line[0].picture is None else self._batch_size
            taken = [line.popleft()]
            while line and len(taken) < size and line[0].picture is not None:
                taken.append(line.popleft())
        return [job for job in taken if self._begins(job)]

    def _most_urgent(self) -> deque[_Job] | None:
        return next((line for line in self._lines.values() if line), None)

    @staticmethod
    def _begins(job: _Job) -> bool:
        """Whether a job is still wanted; one whose deadline has passed fails here."""
        if not job.future.set_running_or_notify_cancel():
            return False
        if time.monotonic() > job.deadline:
            job.future.set_exception(DeadlineExceeded("the picture waited longer than the deadline"))
            return False
        return True

    def _serve(self, batch: list[_Job]) -> None:
        memory = self._snapshot()
        started = time.monotonic()
        pictures = [job for job in batch if job.picture is not None]
        for job in batch:
            if job.picture is None:
                _settle(job, memory)
        if not pictures:
            return
        try:
            features = self._encoder.encode(torch.stack([job.picture for job in pictures if job.picture is not None]))
        except Exception as error:  # whatever an encoder does with a picture, the thread lives on
            if len(pictures) == 1:
                pictures[0].future.set_exception(error)
                return
            for job in pictures:
                self._serve([job])
            return
        encoded = time.monotonic()
        encoding, priority = (encoded - started) / len(pictures), pictures[0].priority
        self.encoded = encoded, encoding
        self._metrics.batch(priority.name.lower(), len(pictures))
        max_queries = self._engine.max_queries if priority is Priority.DETECT else 1
        for start in range(0, len(pictures), max_queries):
            jobs = pictures[start : start + max_queries]
            turns = [
                Turn(
                    memory,
                    features.of(start + number),
                    started - job.accepted,
                    encoding,
                    len(jobs),
                    (Stage("queue", job.accepted, started), Stage("encode", started, encoded)),
                )
                for number, job in enumerate(jobs)
            ]
            if priority is Priority.DETECT:
                self._search(memory, jobs, turns)
            else:
                _settle(jobs[0], turns[0])
        spent = (time.monotonic() - started) / len(pictures)
        self._seconds_a_picture += 0.2 * (spent - self._seconds_a_picture)

    def _search(self, memory: MemoryBank, jobs: Sequence[_Job], turns: Sequence[Turn]) -> None:
        """Let detections ask their questions together, and tell each what it found."""
        coroutines = [job.work(turn) for job, turn in zip(jobs, turns, strict=True)]
        for job, found in zip(jobs, run_batched(self._engine, memory, coroutines), strict=True):
            if isinstance(found, Exception):
                job.future.set_exception(found)
            else:
                job.future.set_result(found)


def _settle(job: _Job, given: MemoryBank | Turn) -> None:
    try:
        result = job.work(given)
    except Exception as error:  # the job's own failure belongs to whoever waits for it
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
