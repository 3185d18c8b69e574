"""Helpers of several queries: time, batches, pages, category ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Connection, select

from indexer.catalogue.tables import CategoryRow
from indexer.domain.errors import CategoryNotFound
from indexer.domain.page import Page

T = TypeVar("T")

FEW = 500  # values in one IN list, or rows of one page; databases limit the first


def now() -> datetime:
    return datetime.now(UTC)


def batches(values: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(itertools.islice(iterator, FEW)):
        yield batch


def page_of(rows: list[T], limit: int, cursor: Callable[[T], str]) -> Page[T]:
    items = tuple(rows[:limit])
    return Page(items, cursor(items[-1]) if len(rows) > limit else None)


def page_by_page(page_at: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """The rows of all pages in order. page_at: the page at a cursor; the first at None."""
    cursor: str | None = None
    while True:
        page = page_at(cursor)
        yield from page.items
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def id_of_category(connection: Connection, name: str) -> int:
    category_id = connection.scalar(
        select(CategoryRow.id).where(CategoryRow.name == name, CategoryRow.removed_at.is_(None))
    )
    if category_id is None:
        raise CategoryNotFound(f"there is no category {name!r}")
    return category_id
