"""One page of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows in order. next_cursor: give it back for the rows after these; None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None
