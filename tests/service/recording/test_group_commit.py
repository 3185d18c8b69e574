"""What several threads bring while a transaction is under way is written together, and each gets its own outcome."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from indexer.domain.errors import CatalogueUnavailable, CommitUncertain
from service.recording.group_commit import GroupCommit


class Writer:
    """A transaction that lasts until it is told to end. written: the items of each."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.unavailable = False
        self.told_to_end = False

    def __call__(self, items: Sequence[int]) -> list[str | Exception]:
        self.written.append(sorted(items))
        self.begun.set()
        assert self.may_end.wait(30)
        if self.told_to_end and len(self.written) == 2:
            raise SystemExit
        if self.unavailable:
            raise CatalogueUnavailable("gone")
        if -1 in items:
            raise ValueError("no transaction has this")
        return [KeyError(item) if item == 13 else f"wrote {item}" for item in items]


def brought_meanwhile(writer: Writer, items: Sequence[int]) -> tuple[Future[str], list[Future[str]]]:
    """The outcome of 0, during whose transaction the others came, and theirs."""
    commit = GroupCommit[int, str](writer)
    with ThreadPoolExecutor(1 + len(items)) as pool:
        first = pool.submit(commit, 0)
        assert writer.begun.wait(30)
        others = [pool.submit(commit, item) for item in items]
        while len(commit._waiting) < len(items):
            assert not first.done()
        writer.may_end.set()
    return first, others


def test_what_comes_during_a_transaction_is_written_in_one() -> None:
    writer = Writer()
    first, others = brought_meanwhile(writer, [5, 1, 3])
    assert writer.written == [[0], [1, 3, 5]]
    assert first.result() == "wrote 0"
    assert [other.result() for other in others] == ["wrote 5", "wrote 1", "wrote 3"]


def test_what_is_refused_of_one_keeps_no_other_from_being_written() -> None:
    writer = Writer()
    _, others = brought_meanwhile(writer, [1, 13])
    assert others[0].result() == "wrote 1"
    with pytest.raises(KeyError):
        others[1].result()


def test_where_one_spoils_the_transaction_each_is_written_alone() -> None:
    writer = Writer()
    _, others = brought_meanwhile(writer, [1, -1, 2])
    assert writer.written[1] == [-1, 1, 2]
    assert sorted(writer.written[2:]) == [[-1], [1], [2]]
    assert (others[0].result(), others[2].result()) == ("wrote 1", "wrote 2")
    with pytest.raises(ValueError, match="no transaction"):
        others[1].result()


def test_a_database_that_does_not_answer_is_waited_for_once() -> None:
    writer = Writer()
    writer.unavailable = True
    first, others = brought_meanwhile(writer, [1, 2, 3])
    assert writer.written == [[0], [1, 2, 3]]
    for outcome in (first, *others):
        with pytest.raises(CatalogueUnavailable):
            outcome.result()


def test_where_the_thread_that_writes_is_told_to_end_the_others_hear_of_it_and_what_comes_later_is_written() -> None:
    writer = Writer()
    writer.told_to_end = True
    commit = GroupCommit[int, str](writer)
    ended: list[BaseException] = []

    def bring(item: int) -> None:
        try:
            commit(item)
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=bring, args=(item,), daemon=True) for item in range(4)]
    threads[0].start()
    assert writer.begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(commit._waiting) < 3:
        assert threads[0].is_alive()
    writer.may_end.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert writer.written == [[0], [1, 2, 3]]
    assert Counter(map(type, ended)) == {CommitUncertain: 2, SystemExit: 1}
    assert commit(4) == "wrote 4"
