"""A long upload of references as a series of calls, whoever sends them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from touchstone_client import calls
from touchstone_client.answers import Calibration, FindingKind, ReferenceResult, ReferencesAnswer
from touchstone_client.calls import Call
from touchstone_client.errors import PictureRefused, Problem, TooLarge
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


Steps: TypeAlias = Generator[Call[ReferencesAnswer], ReferencesAnswer, Onboarded]


def onboarding(
    category: str, pictures: Iterable[PictureLike], refuse: Sequence[FindingKind] | None, batch: Batch,
    progress: Callable[[Progress], None] | None,
) -> Steps:  # fmt: skip
    """Yields calls, to be sent their answers or thrown their problems; returns what became of the pictures.

    A request that is too large for the service is halved. When a service refuses a whole request it says why for its
    first picture only, so its pictures are then sent one by one.
    """
    total = len(pictures) if isinstance(pictures, Sequence) else None
    done = Onboarded(category, (), None, None)
    waiting: Iterator[tuple[Picture, ...]] = batches(pictures, batch)
    again: deque[tuple[Picture, ...]] = deque()
    while group := again.popleft() if again else next(waiting, None):
        try:
            answer = yield calls.add_references(category, group, refuse)
        except (TooLarge, PictureRefused) as problem:
            if len(group) > 1:
                again.extendleft(reversed(_smaller(group, problem)))
                continue
            done = replace(done, results=(*done.results, _refused(group[0], problem)))
        else:
            results = (*done.results, *answer.results)
            done = Onboarded(category, results, answer.version, answer.calibration)
        if progress is not None:
            progress(Progress(len(done.results), total, done.added, done.duplicates, done.refused))
    return done


def _smaller(group: tuple[Picture, ...], problem: Problem) -> list[tuple[Picture, ...]]:
    if isinstance(problem, TooLarge):
        return [group[: len(group) // 2], group[len(group) // 2 :]]
    return [(each,) for each in group]


def _refused(picture: Picture, problem: Problem) -> ReferenceResult:
    reason = problem.details.reason or problem.details.type.rpartition("/")[2]
    return ReferenceResult(picture.name, "refused", None, reason, problem.details.detail)


def _count(results: Iterable[ReferenceResult], status: str) -> int:
    return sum(result.status == status for result in results)
