"""Streams a body whose parts are made one after the other, each on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

T = TypeVar("T", str, bytes)


async def stream_parts(first: T, others: Iterator[T]) -> AsyncIterator[T]:
    """The first part, which was made before the response began, then the others; empty ones are left out."""
    yield first
    while (part := await asyncio.to_thread(next, others, None)) is not None:
        if part:
            yield part
