"""The files of a data folder that the catalogue refers to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath

from sqlalchemy import ColumnElement, Connection, select

from indexer.catalogue.live_references import RESTORABLE
from indexer.catalogue.tables import CoresetRow, InspectionRow, LabelledImageRow, ReferenceRow, SegmentRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.stored_file import NamedFile, original_path, thumbnail_name

_LABELLED = (
    (LabelledImageRow.image_sha256, LabelledImageRow.image_suffix),
    (LabelledImageRow.mask_sha256, LabelledImageRow.mask_suffix),
)
HAS_IMAGE = InspectionRow.stored_bytes.is_not(None)


class StoredFiles:
    """Answers about segments, coresets, images, maps and thumbnails, as paths in the data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def named(self, paths: Collection[str]) -> frozenset[str]:
        """Those of some files that the catalogue names now. A commit under way is not seen."""
        with self._transactions.reading() as connection:
            return _named(connection, paths)

    def any_named(self) -> bool:
        """Whether the catalogue names any file."""
        with self._transactions.reading() as connection:
            return any(True for _ in named_files(connection))

    def needed(self, paths: Collection[str]) -> frozenset[str]:
        """Those of some files that the catalogue names, including commits of dead processes that are not visible yet.

        Called inside `StoreLock.exclusive()`; all other files may be deleted.
        """
        with self._transactions.reading_after_barrier() as connection:
            return _named(connection, paths)


def named_files(connection: Connection) -> Iterator[NamedFile]:
    """Every file that the catalogue needs: segments, coresets, images of references, inspections and test sets, maps,
    thumbnails.
    """
    used = select(SegmentRow.name, SegmentRow.sha256).where(SegmentRow.retired_at.is_(None))
    for row in connection.execute(used.order_by(SegmentRow.id)):
        yield NamedFile(f"segments/{row.name}", row.sha256)
    finished = select(CoresetRow.name, CoresetRow.sha256).where(CoresetRow.name.is_not(None)).order_by(CoresetRow.id)
    for coreset in connection.execute(finished):
        yield NamedFile(f"coresets/{coreset.name}", coreset.sha256)
    images: set[tuple[str, str]] = set()
    live = select(ReferenceRow.image_sha256, ReferenceRow.image_suffix).where(needs_image(ReferenceRow))
    images.update((row[0], row[1]) for row in connection.execute(live))
    for columns in _LABELLED:
        for sha256, suffix in connection.execute(select(*columns).where(needs_image(LabelledImageRow))):
            if sha256 is not None and suffix is not None:
                images.add((sha256, suffix))
    inspected = select(
        InspectionRow.image_sha256,
        InspectionRow.image_suffix,
        InspectionRow.stored_bytes,
        InspectionRow.map_name,
        InspectionRow.thumbnail_bytes,
        InspectionRow.id,
    )
    shown: list[str] = []
    for sha256, suffix, stored_bytes, map_name, thumbnail_bytes, key in connection.execute(inspected):
        if stored_bytes is not None and sha256 is not None and suffix is not None:
            images.add((sha256, suffix))
        if map_name is not None:
            shown.append(map_name)
        if thumbnail_bytes is not None:
            shown.append(thumbnail_name(key))
    for sha256, suffix in sorted(images):
        yield NamedFile(original_path(sha256, suffix), sha256)
    for name in sorted(shown):
        yield NamedFile(f"inspections/{name}", None)


def needs_image(table: type[ReferenceRow] | type[LabelledImageRow]) -> ColumnElement[bool]:
    """Whether the image of a reference or of a test set is needed: it is live, or may be restored."""
    return table.removed_at.is_(None) | (table.removed_at > datetime.now(UTC) - RESTORABLE)


def _named(connection: Connection, paths: Collection[str]) -> frozenset[str]:
    segments = [path.removeprefix("segments/") for path in paths if path.startswith("segments/")]
    coresets = [path.removeprefix("coresets/") for path in paths if path.startswith("coresets/")]
    digests = [PurePosixPath(path).stem for path in paths if path.startswith("originals/")]
    ids = [PurePosixPath(path).name.partition(".")[0] for path in paths if path.startswith("inspections/")]
    used = select(SegmentRow.name).where(SegmentRow.name.in_(segments), SegmentRow.retired_at.is_(None))
    named = {f"segments/{name}" for name in connection.scalars(used)}
    finished = select(CoresetRow.name).where(CoresetRow.name.in_(coresets))
    named |= {f"coresets/{name}" for name in connection.scalars(finished)}
    for table, needed in ((InspectionRow, HAS_IMAGE), (ReferenceRow, needs_image(ReferenceRow))):
        images = select(table.image_sha256, table.image_suffix).where(table.image_sha256.in_(digests), needed)
        for sha256, suffix in connection.execute(images):
            if sha256 is not None and suffix is not None:
                named.add(original_path(sha256, suffix))
    for columns in _LABELLED:
        for sha256, suffix in connection.execute(
            select(*columns).where(columns[0].in_(digests), needs_image(LabelledImageRow))
        ):
            if sha256 is not None and suffix is not None:
                named.add(original_path(sha256, suffix))
    shown = select(InspectionRow.id, InspectionRow.map_name, InspectionRow.thumbnail_bytes)
    for row in connection.execute(shown.where(InspectionRow.id.in_(ids))):
        if row.map_name is not None:
            named.add(f"inspections/{row.map_name}")
        if row.thumbnail_bytes is not None:
            named.add(f"inspections/{thumbnail_name(row.id)}")
    return frozenset(named)
