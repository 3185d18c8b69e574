"""What can go wrong between the product and its database, as one tree."""

from __future__ import annotations

from collections.abc import Sequence


class CatalogueError(Exception):
    """Base of everything the catalogue raises on purpose; the message is one line for a person."""


class SchemaMismatch(CatalogueError):
    """The database was written by another version of Touchstone."""


class CatalogueBusy(CatalogueError):
    """Another process held the database for longer than the catalogue waits."""


class CatalogueUnavailable(CatalogueError):
    """The database does not answer; it may be back later."""


class CommitUncertain(CatalogueUnavailable):
    """The answer to a commit was lost, and the database cannot be asked: it may have happened or not."""


class UnsupportedDatabase(CatalogueError, ValueError):
    """A url of a database that the catalogue cannot be kept in."""


class DatabaseNotEmpty(CatalogueError):
    """A restore into a database that holds something."""


class Unknown(CatalogueError, LookupError):
    """No such row."""


class UnknownCategory(Unknown):
    """No such category."""


class UnknownReference(Unknown):
    """No such reference."""


class UnknownInspection(Unknown):
    """No such inspection."""


class UnknownKey(Unknown):
    """No such API key."""


class UnknownMemory(Unknown):
    """No such memory."""


class InvalidCursor(CatalogueError, ValueError):
    """A page cursor that this catalogue did not hand out."""


class RequestKeyReused(CatalogueError):
    """Inspections under the key of a request with other content."""


class MemoryInactive(CatalogueError):
    """An append to a memory that is not the one being served: the data folder has switched to another encoder."""


class MemoryIncomplete(CatalogueError):
    """A switch to a memory that lacks live references. missing: some of their ids."""

    def __init__(self, memory_id: int, missing: Sequence[int]) -> None:
        super().__init__(f"memory {memory_id} does not hold every live reference yet, for example {missing[0]}")
        self.missing = tuple(missing)


class SegmentsChanged(CatalogueError):
    """A compaction of segments that another process has replaced meanwhile."""
