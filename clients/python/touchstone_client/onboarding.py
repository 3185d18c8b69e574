"""A long upload of references as a series of calls, whoever sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from touchstone_client import calls
from touchstone_client.answers import BitDepth, Calibration, FindingKind, ReferenceResult, ReferencesAnswer
from touchstone_client.calls import Call
from touchstone_client.errors import InternalError, PictureRefused, Problem, TooLarge
from touchstone_client.pictures import Batch, Picture, PictureLike, batches


@dataclass(frozen=True)
class Progress:
    """How far an upload has come, in pictures, after each request. of: how many there are, when that is known."""

    done: int
    of: int | None
    added: int
    duplicates: int
    refused: int


@dataclass(frozen=True)
class Onboarded:
    """What became of every picture, in order. version, calibration: as last answered; None when all were refused."""

    category: str
    results: tuple[ReferenceResult, ...]
    version: int | None
    calibration: Calibration | None

    @property
    def added(self) -> int:
        """How many became references."""
        return _count(self.results, "added")

    @property
    def duplicates(self) -> int:
        """How many were references already."""
        return _count(self.results, "duplicate")

    @property
    def refused(self) -> int:
        """How many cannot be used."""
        return _count(self.results, "refused")


_MOST_FAILURES = 3  # in a row, on one picture each

Steps: TypeAlias = Generator[Call[ReferencesAnswer], ReferencesAnswer, Onboarded]


def onboarding(
    category: str, pictures: Iterable[PictureLike], refuse: Sequence[FindingKind] | None,
    bit_depth: BitDepth | None, batch: Batch, progress: Callable[[Progress], None] | None,
) -> Steps:  # fmt: skip
    """Yields calls, to be sent their answers or thrown their problems; returns what became of the pictures.

    A request that is too large for the service is halved. When a service refuses a whole request it says why for its
    first picture only, so its pictures are then sent one by one; so are those of a request that it fails on, and of one
    with a file that cannot be read. It is the service that is broken, and not a picture, when it fails on several in a
    row: then its failure is raised.
    """
    total = len(pictures) if isinstance(pictures, Sequence) else None
    done = Onboarded(category, (), None, None)
    waiting: Iterator[tuple[Picture, ...]] = batches(pictures, batch)
    again: deque[tuple[Picture, ...]] = deque()
    failures = 0
    while group := again.popleft() if again else next(waiting, None):
        try:
            answer = yield calls.add_references(category, group, refuse, bit_depth)
        except (TooLarge, PictureRefused, InternalError, OSError) as error:
            if len(group) > 1:
                again.extendleft(reversed(_smaller(group, error)))
                continue
            failures = failures + 1 if isinstance(error, InternalError) else 0
            if failures == _MOST_FAILURES:
                raise
            done = replace(done, results=(*done.results, _refused(group[0], error)))
        else:
            failures = 0
            results = (*done.results, *answer.results)
            done = Onboarded(category, results, answer.version, answer.calibration)
        if progress is not None:
            progress(Progress(len(done.results), total, done.added, done.duplicates, done.refused))
    return done


def _smaller(group: tuple[Picture, ...], error: Problem | OSError) -> list[tuple[Picture, ...]]:
    if isinstance(error, TooLarge):
        return [group[: len(group) // 2], group[len(group) // 2 :]]
    return [(each,) for each in group]


def _refused(picture: Picture, error: Problem | OSError) -> ReferenceResult:
    if isinstance(error, OSError):
        return ReferenceResult(picture.name, "refused", None, "unreadable", error.strerror or str(error))
    reason = error.details.reason or error.details.type.rpartition("/")[2]
    return ReferenceResult(picture.name, "refused", None, reason, error.details.detail)


def _count(results: Iterable[ReferenceResult], status: str) -> int:
    return sum(result.status == status for result in results)
