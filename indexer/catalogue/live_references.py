"""SQL conditions for live, removed or restorable references."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, exists, select, update
from sqlalchemy.orm import aliased

from indexer.catalogue.queries import batches, now
from indexer.catalogue.tables import CategoryRow, ReferenceRow

LIVE = ReferenceRow.removed_at.is_(None)
RESTORABLE = timedelta(days=30)  # after its removal a reference's image is kept so long, and can be restored


def live_ids(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Those of the ids that are live."""
    return {
        reference_id
        for batch in batches(ids)
        for reference_id in connection.scalars(select(ReferenceRow.id).where(ReferenceRow.id.in_(batch), LIVE))
    }


def live_digests(connection: Connection, category: str, digests: Iterable[str]) -> dict[str, int]:
    """sha256 → reference id, for those of the digests that are live references of the category."""
    statement = (
        select(ReferenceRow.image_sha256, ReferenceRow.id)
        .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
        .where(CategoryRow.name == category, LIVE)
    )
    return {
        digest: reference_id
        for batch in batches(digests)
        for digest, reference_id in connection.execute(statement.where(ReferenceRow.image_sha256.in_(batch)))
    }


def restorable() -> tuple[ColumnElement[bool], ...]:
    """Of references: removed together with their category, which is joined; their images are kept, none is live."""
    removed_with_category = ReferenceRow.removed_version == CategoryRow.removed_version
    return removed_with_category, ReferenceRow.removed_at > now() - RESTORABLE, ~added_again()


def added_again() -> ColumnElement[bool]:
    """Of a reference: the same image became one of its category once more."""
    later = aliased(ReferenceRow)
    return exists().where(
        later.category_id == ReferenceRow.category_id,
        later.image_sha256 == ReferenceRow.image_sha256,
        later.id > ReferenceRow.id,
    )


def mark_removed(connection: Connection, version: int, which: ColumnElement[bool]) -> None:
    """Let those that are live and fit be live no longer, from this version on."""
    connection.execute(update(ReferenceRow).where(which, LIVE).values(removed_at=now(), removed_version=version))
