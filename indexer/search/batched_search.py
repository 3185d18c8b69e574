"""Batches the patch searches of several images: each image is a coroutine that yields its queries."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from indexer.memory import MemoryBank
from indexer.search.engine import PatchMatches, PatchQuery, PatchSearchEngine

T = TypeVar("T")

# One image's work: yields a query, is sent its matches, and in the end returns its result.
SearchCoroutine = Generator[PatchQuery, PatchMatches, T]


def run_batched(
    engine: PatchSearchEngine, memory: MemoryBank, coroutines: Sequence[SearchCoroutine[T]]
) -> list[T | Exception]:
    """Run the coroutines to their ends and search all pending queries in one call each round.

    Returns each coroutine's result, or the exception it raised, in order. A search that fails for several images is
    retried for each alone, so that an image fails for its own reason only.
    """
    results: dict[int, T | Exception] = {}
    pending: dict[int, PatchQuery] = {}

    def advance(index: int, matches: PatchMatches | None) -> None:
        try:
            pending[index] = next(coroutines[index]) if matches is None else coroutines[index].send(matches)
        except StopIteration as end:
            results[index] = end.value
        except Exception as error:  # the image's own failure belongs to its caller
            results[index] = error

    for index in range(len(coroutines)):
        advance(index, None)
    while pending:
        batch, pending = pending, {}
        for index, matches in zip(batch, _search(engine, memory, list(batch.values())), strict=True):
            if isinstance(matches, PatchMatches):
                advance(index, matches)
            else:
                results[index] = matches
    return [results[index] for index in range(len(coroutines))]


def _search(
    engine: PatchSearchEngine, memory: MemoryBank, queries: Sequence[PatchQuery]
) -> Sequence[PatchMatches | Exception]:
    try:
        return engine.search(memory, queries)
    except Exception as error:  # whatever it is, such as too little memory for the batch: reported per image
        if len(queries) == 1:
            return [error]
        return [result for query in queries for result in _search(engine, memory, [query])]
