"""Progress of long work: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich import progress as bars
from rich.console import Console

_SECONDS = 5.0  # between two lines
_WINDOW = 600.0  # seconds that the rate is taken over: a batch's items are done all at once, after a minute of nothing


class Progress:
    """What one command reports on standard error, of one task after another or of several at once."""

    def __init__(self, bar: bars.Progress) -> None:
        self._bar = bar
        self._printed = time.monotonic()
        self._begun: set[bars.TaskID] = set()  # tasks of which a line was printed, and not yet the last

    def task(self, what: str, total: int | None = None) -> Task:
        """Begin a task of `total` items; None while it is not known how many there are."""
        return Task(self, self._bar, self._bar.add_task(what, total=total))

    def print_if_due(self, task: bars.Task) -> None:
        """Print a task's progress, without a terminal: a line now and then, and the end of what was begun."""
        now = time.monotonic()
        due = now >= self._printed + _SECONDS or (task.finished and task.id in self._begun)
        if not (self._bar.disable and due):
            return
        self._printed = now
        (self._begun.discard if task.finished else self._begun.add)(task.id)
        print(line_of(task), file=sys.stderr, flush=True)


class Task:
    """Something that is done to so many items."""

    def __init__(self, progress: Progress, bar: bars.Progress, task_id: bars.TaskID) -> None:
        self._progress, self._bar, self._task_id = progress, bar, task_id

    def advance(self, count: int = 1, what: str | None = None) -> None:
        """So many more items are done. what: what is being done from now on."""
        self._bar.update(self._task_id, advance=count, description=what)
        self._report()

    def reach(self, done: int, total: int) -> None:
        """So many of so many items are done."""
        self._bar.update(self._task_id, completed=done, total=total)
        self._report()

    def _report(self) -> None:
        self._progress.print_if_due(next(task for task in self._bar.tasks if task.id == self._task_id))


def line_of(task: bars.Task) -> str:
    """A task's name, progress, rate and remaining time."""
    line = f"{task.description}: {task.completed:.0f}"
    if task.total is not None:
        line += f" of {task.total:.0f}"
    if task.speed:
        line += f", {task.speed:.1f} a second"
    if task.time_remaining is not None and not task.finished:
        line += f", {timedelta(seconds=round(task.time_remaining))} left"
    return line


@contextmanager
def progress() -> Iterator[Progress]:
    """Report while the block runs."""
    console = Console(stderr=True)
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, speed_estimate_period=_WINDOW
    ) as bar:
        yield Progress(bar)
