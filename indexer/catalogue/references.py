"""The table of references: append, remove, look up."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, update

from indexer.catalogue.live_references import LIVE, added_again, live_digests, restorable
from indexer.catalogue.placements import encoded_in, placed
from indexer.catalogue.queries import FEW, batches, id_of_category, page_by_page, page_of
from indexer.catalogue.reference_changes import append_references, remove_references
from indexer.catalogue.tables import CategoryRow, ReferenceRow, SegmentRow
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.versions import version_of
from indexer.domain.encoding import Encoding
from indexer.domain.errors import InvalidCursor, ReferenceNotFound
from indexer.domain.page import Page
from indexer.domain.profile import EncodingGroup, Profile
from indexer.domain.reading import Reading
from indexer.domain.reference import Appended, NewReference, Reference, ReferenceChanges, ReferenceOrder, Removed
from indexer.domain.snapshot import SegmentFile

_MAX_ID_DIGITS = 18  # an id has 64 bits


class References:
    """The references of one data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def append(
        self,
        category: str,
        segment: SegmentFile,
        references: Sequence[NewReference],
        memory_id: int,
        geometry_json: str,
    ) -> Appended:
        """Add references, row i of the segment being references[i]; the category is created if it is new.

        The first references with 16 bits per channel decide how such files of the category are read, unless it was set.
        geometry_json: that they were encoded under; a new category has it from now on. When all of them are duplicates
        nothing is written, the segment stays unknown and the version is the current one. Raises ValueError when counts
        differ, MemoryInactive when this memory is not the one being served, and GeometryInactive when the category has
        another geometry.
        """

        def write() -> Appended:
            with self._transactions.writing() as connection:
                return append_references(connection, category, segment, references, memory_id, geometry_json)

        def find(connection: Connection) -> Appended | None:
            return _find_append(connection, category, segment, references)

        return self._transactions.certainly(write, find)

    def live_digests(self, category: str, digests: Collection[str]) -> dict[str, int]:
        """sha256 → reference id, for those of the digests that are live references of the category."""
        with self._transactions.reading() as connection:
            return live_digests(connection, category, digests)

    def digests(self, category: str) -> frozenset[str]:
        """The sha256 (hex) of every live reference of a category; none of one that there is not."""
        statement = select(ReferenceRow.image_sha256).join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
        with self._transactions.reading() as connection:
            return frozenset(connection.scalars(statement.where(CategoryRow.name == category, LIVE)))

    def profiles(self) -> dict[str, Profile]:
        """How the live references of each category were stored, by its name."""
        columns = (ReferenceRow.encoding, ReferenceRow.reading, ReferenceRow.width, ReferenceRow.height)
        statement = (
            select(CategoryRow.name, *columns, func.count().label("held"))
            .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
            .where(LIVE)
            .group_by(CategoryRow.name, *columns)
        )
        by_category: dict[str, list[EncodingGroup]] = {}
        with self._transactions.reading() as connection:
            for row in connection.execute(statement):
                encoding = None if row.encoding is None else Encoding.from_json(row.encoding)
                group = EncodingGroup(encoding, Reading.from_json(row.reading), row.width, row.height, row.held)
                by_category.setdefault(row.name, []).append(group)
        return {name: Profile(tuple(groups)) for name, groups in by_category.items()}

    def encodings(self) -> frozenset[str]:
        """Every way in which live references are stored, as `Encoding`s in JSON."""
        statement = select(ReferenceRow.encoding).where(LIVE, ReferenceRow.encoding.is_not(None)).distinct()
        with self._transactions.reading() as connection:
            return frozenset(text for text in connection.scalars(statement) if text is not None)

    def images_stored_as(self, encodings: Collection[str]) -> frozenset[tuple[str, str]]:
        """sha256 and suffix of the images of live references that are stored in one of these ways."""
        images = select(ReferenceRow.image_sha256, ReferenceRow.image_suffix).where(LIVE)
        with self._transactions.reading() as connection:
            return frozenset(
                (row[0], row[1])
                for some in batches(encodings)
                for row in connection.execute(images.where(ReferenceRow.encoding.in_(some)))
            )

    def correct_encodings(self, encodings: Mapping[str, str]) -> int:
        """Note anew how the images of references are stored, by sha256; returns how many references that concerns.

        For migrations: a service that runs does not notice.
        """
        with self._transactions.writing() as connection:
            return sum(
                connection.execute(
                    update(ReferenceRow).where(ReferenceRow.image_sha256 == sha256).values(encoding=encoding)
                ).rowcount
                for sha256, encoding in encodings.items()
            )

    def sizes(self, category: str) -> dict[tuple[int, int], int]:
        """(width, height) in pixels of a category's live references → how many have it."""
        statement = (
            select(ReferenceRow.width, ReferenceRow.height, func.count())
            .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
            .where(CategoryRow.name == category, LIVE)
            .group_by(ReferenceRow.width, ReferenceRow.height)
        )
        with self._transactions.reading() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(statement)}

    def appearances(self, category: str) -> list[dict[str, float]]:
        """How the live references of a category look as photographs, of those for which it was noted."""
        statement = (
            select(ReferenceRow.appearance)
            .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
            .where(CategoryRow.name == category, LIVE, ReferenceRow.appearance.is_not(None))
        )
        with self._transactions.reading() as connection:
            return [dict(appearance) for appearance in connection.scalars(statement) if appearance is not None]

    def remove(self, ids: Collection[int]) -> Removed:
        """Remove references. Unknown and removed ones are ignored; if none is left, there is no new version."""
        with self._transactions.writing() as connection:
            return remove_references(connection, ids)

    def existing(self, ids: Collection[int]) -> frozenset[int]:
        """Those of the ids that are of a reference, live or removed."""
        with self._transactions.reading() as connection:
            return frozenset(
                reference_id
                for batch in batches(set(ids))
                for reference_id in connection.scalars(select(ReferenceRow.id).where(ReferenceRow.id.in_(batch)))
            )

    def get(self, reference_id: int) -> Reference:
        """One reference, live or removed. Raises ReferenceNotFound."""
        with self._transactions.reading() as connection:
            row = connection.execute(_references().where(ReferenceRow.id == reference_id)).one_or_none()
        if row is None:
            raise ReferenceNotFound(f"there is no reference {reference_id}")
        return _reference(row)

    def page(
        self,
        category: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        *,
        removed: bool = False,
        from_feedback: bool = False,
        order: ReferenceOrder = "oldest",
        text: str | None = None,
        scores: Mapping[int, float] = MappingProxyType({}),
    ) -> Page[Reference]:
        """Live references, of one category or of all. Raises InvalidCursor.

        removed: instead the removed ones, each image once, without those that are live again. from_feedback: only those
        added by feedback. text: only those whose file name contains it, in capitals or not, or whose id it is.
        scores: by reference id, for the order `outliers`: the highest come first, those without a score last.
        """
        statement = _references().order_by(None)
        statement = statement.where(~LIVE & ~added_again() if removed else LIVE)
        if text is not None:
            named = ReferenceRow.filename.icontains(text, autoescape=True)
            is_id = text.isdecimal() and text.isascii() and len(text) <= _MAX_ID_DIGITS
            statement = statement.where(named | (ReferenceRow.id == int(text)) if is_id else named)
        if from_feedback:
            statement = statement.where(ReferenceRow.inspection_id.is_not(None))
        if category is not None:
            statement = statement.where(CategoryRow.name == category)
        if cursor is not None:
            if not cursor.isdecimal() or len(cursor) > _MAX_ID_DIGITS:
                raise InvalidCursor("not a cursor of references")
            last = int(cursor)
        with self._transactions.reading() as connection:
            if order == "outliers":
                return _ranked_page(connection, statement, scores, None if cursor is None else last, limit)
            orders = {
                "oldest": (ReferenceRow.id,),
                "newest": (ReferenceRow.id.desc(),),
                "name": (ReferenceRow.filename, ReferenceRow.id),
            }
            statement = statement.order_by(*orders[order])
            if cursor is not None and order == "name":
                name = connection.scalar(select(ReferenceRow.filename).where(ReferenceRow.id == last))
                if name is None:
                    raise InvalidCursor("the page before ended with a reference that is gone: begin again")
                same_name = (ReferenceRow.filename == name) & (ReferenceRow.id > last)
                statement = statement.where((ReferenceRow.filename > name) | same_name)
            elif cursor is not None:
                statement = statement.where(ReferenceRow.id > last if order == "oldest" else ReferenceRow.id < last)
            references = [_reference(row) for row in connection.execute(statement.limit(limit + 1))]
        return page_of(references, limit, lambda last: str(last.id))

    def iterate(self, category: str) -> Iterator[Reference]:
        """A category's live references by id, read page by page so that no transaction stays open."""
        return page_by_page(lambda cursor: self.page(category, cursor, FEW))

    def removed_with(self, category: str, after: int, limit: int) -> tuple[Reference, ...]:
        """References that were removed with their category last and can be restored, by id, beyond id `after`."""
        requested = (CategoryRow.name == category, *restorable(), ReferenceRow.id > after)
        with self._transactions.reading() as connection:
            return tuple(_reference(row) for row in connection.execute(_references().where(*requested).limit(limit)))

    def changed_since(self, category: str, version: int) -> ReferenceChanges:
        """How the references of a category differ from those of a version's snapshot. Raises CategoryNotFound."""
        later = (ReferenceRow.added_version > version) | (ReferenceRow.removed_version > version)
        with self._transactions.reading() as connection:
            category_id = id_of_category(connection, category)
            statement = _references().where(ReferenceRow.category_id == category_id, later)
            changed = [_reference(row) for row in connection.execute(statement)]
        new = {
            reference.image_sha256: reference.id
            for reference in changed
            if reference.added_version > version and reference.removed_at is None
        }
        gone = {reference.image_sha256: reference for reference in changed if reference.added_version <= version}
        # An image that was removed and added again is another row, and no change.
        return ReferenceChanges(
            tuple(reference_id for sha256, reference_id in new.items() if sha256 not in gone),
            tuple(reference for sha256, reference in gone.items() if sha256 not in new),
        )

    def not_encoded(self, category: str, geometry_id: int, limit: int = 1000, after: int = 0) -> tuple[Reference, ...]:
        """Live references of a category that are not encoded under a geometry, by id, beyond id `after`."""
        requested = (LIVE, CategoryRow.name == category, ~encoded_in(geometry_id), ReferenceRow.id > after)
        with self._transactions.reading() as connection:
            return tuple(_reference(row) for row in connection.execute(_references().where(*requested).limit(limit)))

    def count_unplaced(self, memory_id: int) -> int:
        """How many live references a memory does not hold."""
        with self._transactions.reading() as connection:
            return connection.scalars(
                select(func.count()).select_from(ReferenceRow).where(LIVE, ~placed(memory_id))
            ).one()


def _find_append(
    connection: Connection, category: str, segment: SegmentFile, references: Sequence[NewReference]
) -> Appended | None:
    """What an append whose answer was lost did; None when nothing."""
    digests = [reference.image_sha256 for reference in references]
    live = live_digests(connection, category, set(digests))
    if not live.keys() >= set(digests):
        return None
    ids = tuple(live[digest] for digest in digests)
    if connection.scalar(select(SegmentRow.id).where(SegmentRow.name == segment.name)) is None:
        return Appended(version_of(connection), ids, frozenset(range(len(ids))))
    # All that were new have one version, and whatever was there before has an older one.
    added_version = select(ReferenceRow.id, ReferenceRow.added_version)
    versions = {
        reference_id: version
        for batch in batches(set(ids))
        for reference_id, version in connection.execute(added_version.where(ReferenceRow.id.in_(batch)))
    }
    version = max(versions.values())
    first = {reference_id: row for row, reference_id in reversed(list(enumerate(ids)))}
    duplicates = {row for row, id_of_row in enumerate(ids) if versions[id_of_row] < version or first[id_of_row] != row}
    return Appended(version, ids, frozenset(duplicates))


def _references() -> Select[Any]:
    return (
        select(ReferenceRow.__table__, CategoryRow.name.label("category"))
        .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
        .order_by(ReferenceRow.id)
    )


def _ranked_page(
    connection: Connection, statement: Select[Any], scores: Mapping[int, float], last: int | None, limit: int
) -> Page[Reference]:
    """Those of a statement's references that follow `last`, by falling score; those without a score by id."""

    def rank(reference_id: int) -> tuple[float, int]:
        return (-scores.get(reference_id, -math.inf), reference_id)

    ids = connection.scalars(statement.with_only_columns(ReferenceRow.id))
    following = ids if last is None else (reference_id for reference_id in ids if rank(reference_id) > rank(last))
    page_ids = heapq.nsmallest(limit + 1, following, key=rank)
    rows = connection.execute(_references().where(ReferenceRow.id.in_(page_ids)))
    references = sorted(map(_reference, rows), key=lambda reference: rank(reference.id))
    return page_of(references, limit, lambda reference: str(reference.id))


def _reference(row: Row[Any]) -> Reference:
    values = {field.name: getattr(row, field.name) for field in fields(Reference)}
    return Reference(**{**values, "findings": tuple(row.findings)})
