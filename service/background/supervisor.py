"""Runs background tasks, one thread each; a failure is logged, counted, named in `/readyz` and retried."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from indexer.domain.errors import CatalogueError
from service.inference.worker import WorkerStoppedError
from service.observability.metrics import Metrics

log = logging.getLogger("touchstone")

_LOG_AGAIN_SECONDS = 60.0  # for which a task's failures of one kind are logged once

T = TypeVar("T")

Work = Callable[[threading.Event], object]


@dataclass(frozen=True)
class TaskState:
    """How a task is doing.

    state: `failing` while its rounds end with errors, `stalled` while one takes longer than it ever should, `ended`
    once its thread is gone. since: when that began (UTC). failures: rounds that failed one after the other. error: the
    class of the last one's exception.
    """

    name: str
    state: Literal["working", "failing", "stalled", "ended"]
    since: datetime
    failures: int = 0
    error: str | None = None


class RoundFailed(RuntimeError):
    """Some items of a round could not be dealt with; the others were."""


def for_each(work: Callable[[T], object], items: Mapping[str, T], stopping: threading.Event) -> None:
    """Do a round's work on every item, by name: one that fails keeps none of the others from it.

    Raises the error itself where one item failed, or the catalogue did not answer; else RoundFailed, with their names.
    Once the service stops, the rest is left.
    """
    failed: dict[str, Exception] = {}
    for name, item in items.items():
        if stopping.is_set():
            return
        try:
            work(item)
        except Exception as error:
            if stopping.is_set():  # the worker takes no more steps
                return
            failed[name] = error
    if failed:
        first = next(iter(failed.values()))
        if len(failed) == 1 or all(isinstance(error, CatalogueError) for error in failed.values()):
            raise first
        raise RoundFailed(f"{', '.join(failed)}: {first}") from first


class Task:
    """Work that is repeated in rounds until the service stops.

    It has its own thread, so that neither a blocked thread pool nor another task can delay it. work: one round; it is
    given an event that is set once the service stops. seconds: pause between rounds; failures double it, up to
    `max_seconds`. min_seconds: minimum pause before a requested round. stalls_after: seconds that no round should
    take; None where one may take any time.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        metrics: Metrics,
        *,
        seconds: float,
        max_seconds: float = 30.0,
        min_seconds: float = 0.05,
        stalls_after: float | None = None,
    ) -> None:
        self.name = name
        self._work = work
        self._metrics = metrics
        self._seconds = seconds
        self._max_seconds = max(seconds, max_seconds)
        self._min_seconds = min_seconds
        self._stalls_after = stalls_after
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._waiting: list[Future[None]] = []
        self._began: float | None = None  # the round under way
        self._ended = -min_seconds
        self._failures = 0
        self._error: str | None = None
        self._failing_since = datetime.now(UTC)
        self._logged: tuple[str, float] = ("", 0.0)  # the error logged last, and when
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        metrics.background_failures(name, 0)

    @property
    def state(self) -> TaskState:
        """How it is doing now."""
        began, now = self._began, time.monotonic()
        if not self._thread.is_alive():
            return TaskState(self.name, "ended", datetime.now(UTC), self._failures, self._error)
        if self._failures:
            return TaskState(self.name, "failing", self._failing_since, self._failures, self._error)
        if self._stalls_after is not None and began is not None and now - began > self._stalls_after:
            return TaskState(self.name, "stalled", datetime.now(UTC) - timedelta(seconds=now - began))
        return TaskState(self.name, "working", datetime.now(UTC))

    def soon(self) -> Future[None]:
        """Have a round begin from now on, one for all who ask before it begins; done, or failed, as that round ends."""
        future: Future[None] = Future()
        with self._changed:
            if self._stopping.is_set():
                future.set_exception(WorkerStoppedError("the service is stopping"))
            else:
                self._waiting.append(future)
                self._changed.notify()
        return future

    def start(self) -> None:
        """Begin the first round."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end; `join` waits until it has."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for its end, so long at most: what hangs in a system call is left to the process's end."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        pause = 0.0
        while (callers := self._turn(pause)) is not None:
            self._began = time.monotonic()
            error: Exception | None = None
            try:
                self._work(self._stopping)
            except Exception as raised:  # whatever it is: a task that ends is worse than one that fails again
                error = raised
            self._began, self._ended = None, time.monotonic()
            if not self._stopping.is_set():
                self._note(error)
            for future in callers:
                if not future.set_running_or_notify_cancel():
                    continue
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
            pause = min(self._max_seconds, self._seconds * 2 ** min(self._failures, 16))
        for future in self._waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(WorkerStoppedError("the service is stopping"))

    def _turn(self, pause: float) -> list[Future[None]] | None:
        """Wait until the next round is due or requested; returns the waiting futures, None once the service stops."""
        due = self._ended + max(pause, 0.0)
        with self._changed:
            while not self._stopping.is_set():
                left = (min(due, self._ended + self._min_seconds) if self._waiting else due) - time.monotonic()
                if left <= 0:
                    callers, self._waiting = self._waiting, []
                    return callers
                self._changed.wait(left)
        return None

    def _note(self, error: Exception | None) -> None:
        if error is None:
            if self._failures:
                log.info("%s works again after %d failures", self.name, self._failures)
            self._failures, self._error = 0, None
            return
        self._metrics.background_failures(self.name, 1)
        if not self._failures:
            self._failing_since = datetime.now(UTC)
        self._failures, self._error = self._failures + 1, type(error).__name__
        kind, at = self._logged
        if kind == self._error and time.monotonic() - at < _LOG_AGAIN_SECONDS:
            return
        self._logged = self._error, time.monotonic()
        # An outage is one line; what nobody expected comes with where it happened.
        expected = isinstance(error, (CatalogueError, OSError))
        log.error("%s failed and is retried: %s", self.name, error, exc_info=None if expected else error)


class Supervisor:
    """The tasks of one service, started and stopped together."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tuple(tasks)

    def start(self) -> None:
        """Start every task."""
        for task in self._tasks:
            task.start()

    def stop(self) -> None:
        """Ask every task to end."""
        for task in self._tasks:
            task.stop()

    def join(self, seconds: float) -> None:
        """Wait until every task has ended, so long at most."""
        end = time.monotonic() + seconds
        for task in self._tasks:
            task.join(max(0.0, end - time.monotonic()))

    def states(self) -> tuple[TaskState, ...]:
        """How each task is doing now."""
        return tuple(task.state for task in self._tasks)
