"""Several images on their way through one patch search: each asks what it needs to know, all are answered together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from indexer.memory import MemoryBank
from indexer.search.engine import PatchMatches, PatchQuery, PatchSearchEngine

T = TypeVar("T")

# What one image does: it yields a question, is sent the answer, and in the end returns what it found.
SearchCoroutine = Generator[PatchQuery, PatchMatches, T]


def run_batched(
    engine: PatchSearchEngine, memory: MemoryBank, coroutines: Sequence[SearchCoroutine[T]]
) -> list[T | Exception]:
    """What each image found, or what it raised, in order; the questions that wait at the same time are searched as one.

    A search that fails for several images is tried again for each, so that an image fails for its own reason only.
    """
    found: dict[int, T | Exception] = {}
    waiting: dict[int, PatchQuery] = {}

    def go_on(number: int, answer: PatchMatches | None) -> None:
        try:
            waiting[number] = next(coroutines[number]) if answer is None else coroutines[number].send(answer)
        except StopIteration as end:
            found[number] = end.value
        except Exception as error:  # the image's own failure belongs to whoever asked
            found[number] = error

    for number in range(len(coroutines)):
        go_on(number, None)
    while waiting:
        asked, waiting = waiting, {}
        for number, answer in zip(asked, _search(engine, memory, list(asked.values())), strict=True):
            if isinstance(answer, PatchMatches):
                go_on(number, answer)
            else:
                found[number] = answer
    return [found[number] for number in range(len(coroutines))]


def _search(
    engine: PatchSearchEngine, memory: MemoryBank, questions: Sequence[PatchQuery]
) -> Sequence[PatchMatches | Exception]:
    try:
        return engine.search(memory, questions)
    except Exception as error:  # whatever it is, such as no room for so many: the images that it concerns are told
        if len(questions) == 1:
            return [error]
        return [each for question in questions for each in _search(engine, memory, [question])]
