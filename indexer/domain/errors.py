"""The errors that cross packages.

CatalogueError                  anything between the product and its database
├── SchemaMismatch              another version of Touchstone wrote it
├── CatalogueBusy               locked by another process for too long
├── CatalogueUnavailable        the database does not respond
│   └── CommitUncertain         the response to a commit was lost
├── UnsupportedDatabase         (ValueError) neither SQLite nor PostgreSQL
├── DatabaseNotEmpty            restore into a database that holds something
├── CatalogueMismatch           the catalogue of another data folder
├── NotFound                    (LookupError) CategoryNotFound, ReferenceNotFound, InspectionNotFound, ApiKeyNotFound,
│                               MemoryNotFound, GeometryNotFound, CoresetNotFound, LabelledImageNotFound,
│                               EvaluationNotFound
├── InvalidCursor               (ValueError) a page cursor that the catalogue did not return
├── RequestKeyReused            the idempotency key of a request with other content
├── MemoryInactive              an append to a memory that is not served any more
├── GeometryInactive            an append to a category that has got another geometry
├── MemoryIncomplete            a switch to a memory that lacks references
└── SegmentsChanged             another process compacted first
CorruptSegmentError             a segment file that must not be served
NoReferencesError               (LookupError) nothing to compare an image with
OriginalUnreadable              a stored image that is missing or changed
FeatureSpaceMismatch            (RuntimeError) features of another encoder or codec
GeometryError                   (ValueError) an input geometry that cannot be
EncoderError                    (ValueError) an encoder that cannot be loaded or fetched as asked
└── ImageNotEncodable           an image for which an encoder returns values that are not finite
ClusterError                    a Ray cluster that cannot be reached or used
ReferencesMoved                 (LookupError) codes that a process of a cluster does not hold as requested
ObjectStorageError              a bucket that cannot be used
OtherProportions                (ValueError) an image that does not fit its category's geometry
NothingInspected                (ValueError) an image of which nothing would be scored
NotEncoded                      (ValueError) an addition of images whose features have to be computed first
OSError
├── StorageFull                 no space left on the disk
├── NoDataFolder                there is none
└── BeingRestored               a restore has not finished
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


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


class CatalogueMismatch(CatalogueError):
    """A catalogue for a data folder that is another's, whose files it would have deleted as orphans."""


class NotFound(CatalogueError, LookupError):
    """No such row."""


class CategoryNotFound(NotFound):
    """No such category."""


class LabelledImageNotFound(NotFound):
    """No such image in a labelled test set."""


class EvaluationNotFound(NotFound):
    """No such evaluation of a labelled test set."""


class ReferenceNotFound(NotFound):
    """No such reference."""


class InspectionNotFound(NotFound):
    """No such inspection."""


class ApiKeyNotFound(NotFound):
    """No such API key."""


class MemoryNotFound(NotFound):
    """No such memory."""


class GeometryNotFound(NotFound):
    """No such geometry of a category."""


class CoresetNotFound(NotFound):
    """No such coreset is asked for any more."""


class InvalidCursor(CatalogueError, ValueError):
    """A page cursor that this catalogue did not hand out."""


class RequestKeyReused(CatalogueError):
    """Inspections under the key of a request with other content."""


class MemoryInactive(CatalogueError):
    """An append to a memory that is not the one being served: the data folder has switched to another encoder."""


class GeometryInactive(CatalogueError):
    """An append under a geometry that is not the category's active one: it was changed meanwhile."""


class MemoryIncomplete(CatalogueError):
    """A switch to a memory that lacks live references. missing: some of their ids."""

    def __init__(self, memory_id: int, missing: Sequence[int]) -> None:
        super().__init__(f"memory {memory_id} does not hold every live reference yet, for example {missing[0]}")
        self.missing = tuple(missing)


class SegmentsChanged(CatalogueError):
    """A compaction of segments that another process has replaced meanwhile."""


SegmentFault = Literal["missing", "truncated", "checksum", "bad header", "unreadable"]


class StorageFull(OSError):
    """The disk or quota is full; nothing of what was being written is left behind."""


class CorruptSegmentError(Exception):
    """A segment that must not be served. name: its file; reason: which check failed."""

    def __init__(self, name: str, reason: SegmentFault) -> None:
        super().__init__(f"segment {name} is damaged: {reason}")
        self.name = name
        self.reason = reason


class NoReferencesError(LookupError):
    """There is nothing to compare an image with."""


class OriginalUnreadable(Exception):
    """A kept original image that is missing or no longer has its digest."""

    def __init__(self, sha256: str, reason: Literal["missing", "checksum"]) -> None:
        super().__init__(f"original image {sha256} is unreadable: {reason}")
        self.sha256 = sha256
        self.reason = reason


class NoDataFolder(OSError):
    """There is no data folder of that name, or the folder holds no catalogue."""


class BeingRestored(OSError):
    """The data folder is not whole: a restore is under way or was cut off."""


class FeatureSpaceMismatch(RuntimeError):
    """The data folder holds features of another encoder or codec; they are never mixed."""


class GeometryError(ValueError):
    """An input geometry that cannot be; the message is one line that names what would fit."""


class ClusterError(Exception):
    """A Ray cluster cannot be reached, or fails for good."""


class ReferencesMoved(LookupError):
    """A process does not hold the references that another one asks for, coded as that one's snapshot has them."""


class ObjectStorageError(Exception):
    """A bucket cannot be used; the message is one line for a person."""


class OtherProportions(ValueError):
    """An image of other proportions than its category inspects. image_size, expected: (width, height)."""

    def __init__(self, image_size: tuple[int, int], expected: tuple[int, int]) -> None:
        super().__init__(
            f"an image of {image_size[0]} × {image_size[1]} pixels does not have the proportions of "
            f"{expected[0]} × {expected[1]}"
        )
        self.image_size = image_size
        self.expected = expected


class NothingInspected(ValueError):
    """An image, or a region of interest, that covers half of no grid cell: there is nothing to score."""


class NotEncoded(ValueError):
    """Images that were references a moment ago, and were not encoded for that, are none any more."""


class EncoderError(ValueError):
    """An encoder cannot be loaded as requested; the message is one line that says what to do."""


class ImageNotEncodable(EncoderError):
    """An encoder returns values for an image that are not finite, as a network in float16 may."""

    def __init__(self, encoder: str) -> None:
        super().__init__(f"{encoder} returns values that are not finite for an image: use float32, or check its file")
