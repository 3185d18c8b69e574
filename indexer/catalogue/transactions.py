"""The two kinds of transaction on the catalogue: reading one state, and writing alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine

from indexer.catalogue import sqlite
from indexer.catalogue.database_errors import translate_errors
from indexer.catalogue.postgresql import lock_writers
from indexer.catalogue.timeouts import patience, within
from indexer.domain.errors import CatalogueBusy, CatalogueUnavailable, CommitUncertain, StorageFull

T = TypeVar("T")


class Transactions:
    """The two kinds of transaction on one database. Both may raise CatalogueBusy and CatalogueUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._sqlite = engine.dialect.name == "sqlite"
        self._answering = True
        self._reader = engine if self._sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = engine.execution_options(immediate=True)

    @property
    def answering(self) -> bool:
        """Whether the last query of any thread was answered."""
        return self._answering

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See one state of the database, whatever is committed meanwhile."""
        with (
            self._bounded(),
            translate_errors(),
            self._reader.connect() as connection,
            connection.begin() as transaction,
        ):
            yield connection
            with _discarding_on_error(connection):
                transaction.commit()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Be the only writer, of all threads and processes; durable when the block has ended. StorageFull.

        Raises CommitUncertain when the answer to the commit was lost: see `certainly`. With any other error nothing was
        written.
        """
        with (
            self._bounded(),
            translate_errors(),
            self._writer.connect() as connection,
            connection.begin() as transaction,
        ):
            if not self._sqlite:
                lock_writers(connection)
            yield connection
            try:
                with translate_errors(), _discarding_on_error(connection):
                    transaction.commit()
            except CatalogueUnavailable as error:
                raise CommitUncertain(str(error)) from error

    def certainly(self, write: Callable[[], T], find: Callable[[Connection], T | None]) -> T:
        """What `write`, one transaction, returns, also when the answer to its commit is lost.

        Then `find` looks for what it wrote in a settled state. With None it was not written: CatalogueUnavailable.
        CommitUncertain when the database cannot be asked either.
        """
        try:
            return write()
        except CommitUncertain as lost:
            try:
                with self.reading_after_barrier() as connection:
                    result = find(connection)
            except (CatalogueBusy, CatalogueUnavailable, StorageFull):
                raise lost from None
            if result is None:
                raise CatalogueUnavailable(f"{lost}; nothing was written") from lost
            return result

    @contextmanager
    def reading_after_barrier(self) -> Iterator[Connection]:
        """Read a state that a dead process can no longer change.

        PostgreSQL may still be about to commit what such a process sent last; its transaction holds the writers' lock
        until then. SQLite's log may contain a complete commit of a process that was killed before it became visible: it
        becomes visible when the database is next opened after all processes have ended. A commit of ours takes its
        place for good. Deleting files that no row names requires this; otherwise such a commit may name them a moment
        later. Raises StorageFull when a full disk leaves no room for that commit, and the log cannot be emptied
        instead.
        """
        if not self._sqlite:
            with self.writing() as connection:
                yield connection
            return
        try:
            with self.writing() as connection:
                sqlite.write_something(connection)
        except StorageFull:
            with translate_errors():
                emptied = sqlite.empty_log(self._reader)
            if not emptied:
                raise
        with self.reading() as connection:
            yield connection

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Bound how long the database may be silent, and note whether it answered."""
        try:
            with within(patience.get().answer):
                yield
        except CatalogueUnavailable:
            self._answering = False
            raise
        else:
            self._answering = True

    def close(self) -> None:
        """Close the connections."""
        self._reader.dispose()


@contextmanager
def _discarding_on_error(connection: Connection) -> Iterator[None]:
    """Close the database connection when its commit fails: SQLAlchemy returns it to the pool inside its transaction.

    There it would hold the writers' lock, and its next user could not begin.
    """
    try:
        yield
    except BaseException:
        connection.invalidate()
        raise
