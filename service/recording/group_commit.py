"""Writes what several threads bring at the same time in one transaction: a disk or a network is waited for once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from indexer.domain.errors import CatalogueBusy, CatalogueUnavailable, CommitUncertain

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class _Entry(Generic[Item, Outcome]):
    item: Item
    outcome: Future[Outcome] = field(default_factory=Future)


class GroupCommit(Generic[Item, Outcome]):
    """While one transaction is under way, what others bring waits; the first of them then writes all of it together.

    Nothing waits for company: what comes alone is written at once.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Outcome | Exception]]) -> None:
        """write: one transaction with several items, all or none; what became of each, in order."""
        self._write = write
        self._changed = threading.Condition()
        self._writing = False
        self._waiting: list[_Entry[Item, Outcome]] = []

    def __call__(self, item: Item) -> Outcome:
        """What became of an item, once it is written, by this thread or another; raises what kept it from being."""
        entry = _Entry[Item, Outcome](item)
        with self._changed:
            self._waiting.append(entry)
            self._changed.wait_for(lambda: entry.outcome.done() or not self._writing)
            if entry.outcome.done():
                return entry.outcome.result()
            self._writing = True
            group, self._waiting = self._waiting, []
        ended = CommitUncertain("the thread that was writing has ended: what it wrote may be there or not")
        outcomes: Sequence[Outcome | Exception] = [ended] * len(group)
        try:
            outcomes = self._written([member.item for member in group])
        finally:  # also when this thread is told to end: the others wait for it
            with self._changed:
                self._writing = False
                for member, outcome in zip(group, outcomes, strict=True):
                    if isinstance(outcome, Exception):
                        member.outcome.set_exception(outcome)
                    else:
                        member.outcome.set_result(outcome)
                self._changed.notify_all()
        return entry.outcome.result()

    def _written(self, items: Sequence[Item]) -> Sequence[Outcome | Exception]:
        try:
            return self._write(items)
        except (CatalogueBusy, CatalogueUnavailable) as error:  # each alone would wait for the same database in vain
            return [error] * len(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
            return [outcome for item in items for outcome in self._written([item])]
