"""Several images on their way through one patch search: each asks what it needs to know, all are answered together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from indexer.memory import Memory
from indexer.search.engine import Answer, Engine, Question

T = TypeVar("T")

# What one image does: it yields a question, is sent the answer, and in the end returns what it found.
Asking = Generator[Question, Answer, T]


def answered(engine: Engine, memory: Memory, askings: Sequence[Asking[T]]) -> list[T | Exception]:
    """What each image found, or what it raised, in order; the questions that wait at the same time are searched as one.

    A search that fails for several images is tried again for each, so that an image fails for its own reason only.
    """
    found: dict[int, T | Exception] = {}
    waiting: dict[int, Question] = {}

    def go_on(number: int, answer: Answer | None) -> None:
        try:
            waiting[number] = next(askings[number]) if answer is None else askings[number].send(answer)
        except StopIteration as end:
            found[number] = end.value
        except Exception as error:  # the image's own failure belongs to whoever asked
            found[number] = error

    for number in range(len(askings)):
        go_on(number, None)
    while waiting:
        asked, waiting = waiting, {}
        for number, answer in zip(asked, _search(engine, memory, list(asked.values())), strict=True):
            if isinstance(answer, Answer):
                go_on(number, answer)
            else:
                found[number] = answer
    return [found[number] for number in range(len(askings))]


def _search(engine: Engine, memory: Memory, questions: Sequence[Question]) -> Sequence[Answer | Exception]:
    try:
        return engine.answers(memory, questions)
    except Exception as error:  # whatever it is, such as no room for so many: the images that it concerns are told
        if len(questions) == 1:
            return [error]
        return [each for question in questions for each in _search(engine, memory, [question])]
