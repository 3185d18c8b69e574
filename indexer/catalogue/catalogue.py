"""The one place that speaks SQL: what exists, as transactions that either happened or did not."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.orm import aliased

from indexer.catalogue import schema
from indexer.catalogue.audit import AuditTrail, note
from indexer.catalogue.calibrations import Calibrations
from indexer.catalogue.database import Transactions, alone, connect
from indexer.catalogue.errors import (
    InvalidCursor,
    MemoryInactive,
    MemoryIncomplete,
    SegmentsChanged,
    UnknownCategory,
    UnknownMemory,
    UnknownReference,
)
from indexer.catalogue.inspections import Inspections
from indexer.catalogue.keys import Keys
from indexer.catalogue.models import (
    CalibrationRow,
    CategoryRow,
    ChangeRow,
    DriftRow,
    InspectionRow,
    MemoryRow,
    PlacementRow,
    ReferenceRow,
    SegmentRow,
)
from indexer.catalogue.queries import batches, now, page_of
from indexer.catalogue.records import (
    Appended,
    Category,
    CategorySettings,
    ChangeKind,
    Changes,
    MemoryRecord,
    NewReference,
    Page,
    PlacedReference,
    Reference,
    Removed,
    SegmentRows,
    SegmentUsage,
    SettingsChanges,
)
from indexer.catalogue.retention import Retention, needs_picture
from indexer.store import SegmentFile

T = TypeVar("T")

_LIVE = ReferenceRow.removed_at.is_(None)


class Catalogue:
    """The database of one data folder, safe for several threads and processes at once.

    Every method is one transaction. A write has happened, durably, when its method returns. Each commit that changes
    what detection sees gets the next version number, without gaps, in the order of commits.
    Any method may raise CatalogueBusy and CatalogueUnavailable, and any write StorageFull; none leaves a trace.
    """

    def __init__(self, engine: Engine) -> None:
        self._transactions = Transactions(engine)
        self.keys = Keys(self._transactions)
        self.audit = AuditTrail(self._transactions)
        self.calibrations = Calibrations(self._transactions)
        self.inspections = Inspections(self._transactions)
        self.retention = Retention(self._transactions)
        self._reading, self._writing = self._transactions.reading, self._transactions.writing

    @classmethod
    def open(cls, url: str) -> Catalogue:
        """Open the database at an SQLAlchemy url, creating a SQLite one that is not there yet.

        Raises SchemaMismatch when another version of Touchstone wrote it.
        """
        engine = connect(url)
        try:
            with alone(engine):
                if engine.dialect.name == "sqlite" and schema.is_empty(engine):
                    schema.upgrade(engine)
                schema.check(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @staticmethod
    def migrate(url: str) -> None:
        """Bring the database to this version's schema, from nothing or an older one. Raises SchemaMismatch if newer."""
        engine = connect(url)
        try:
            with alone(engine):
                schema.upgrade(engine)
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close the connections."""
        self._transactions.close()

    # Memories

    def active_memory(self) -> MemoryRecord | None:
        """The memory being served, None before the first."""
        with self._reading() as connection:
            return _active_memory(connection)

    def ensure_memory(self, space_json: str, fingerprint: str, codec: str) -> MemoryRecord:
        """The memory being served, whatever it is; created as given when there is none yet."""
        with self._writing() as connection:
            found = _active_memory(connection)
            if found is not None:
                return found
            created = _create_memory(connection, space_json, fingerprint, codec)
            connection.execute(update(MemoryRow).where(MemoryRow.id == created.id).values(active=True))
            _commit_version(connection, "switched", created.id)
            return replace(created, active=True)

    def prepare_memory(self, space_json: str, fingerprint: str, codec: str) -> MemoryRecord:
        """A memory of this space and codec that is not served, begun before or new: `place`, then `switch_memory`."""
        with self._writing() as connection:
            row = connection.execute(
                select(MemoryRow.__table__)
                .where(MemoryRow.fingerprint == fingerprint, MemoryRow.codec == codec, ~MemoryRow.active)
                .order_by(MemoryRow.id)
                .limit(1)
            ).one_or_none()
            return _memory_record(row) if row else _create_memory(connection, space_json, fingerprint, codec)

    def unplaced(self, memory_id: int, limit: int = 1000, after: int = 0) -> tuple[Reference, ...]:
        """Live references that a memory does not hold, by id, beyond id `after`: what is left to re-encode."""
        wanted = (_LIVE, ~_placed(memory_id), ReferenceRow.id > after)
        with self._reading() as connection:
            return tuple(_reference(row) for row in connection.execute(_references().where(*wanted).limit(limit)))

    def count_unplaced(self, memory_id: int) -> int:
        """How many live references a memory does not hold."""
        with self._reading() as connection:
            return connection.scalars(
                select(func.count()).select_from(ReferenceRow).where(_LIVE, ~_placed(memory_id))
            ).one()

    def place(self, memory_id: int, segment: SegmentFile, rows: Mapping[int, int]) -> int:
        """Record a segment of re-encoded references in a memory that is not served.

        rows: reference id → row of the segment. References removed meanwhile, or placed already, are passed over.
        Returns how many were placed; with none, the segment is not recorded. Raises UnknownMemory, and ValueError
        for the memory being served.
        """
        with self._writing() as connection:
            if _memory(connection, memory_id).active:
                raise ValueError("references enter the memory being served through append")
            wanted = _live_ids(connection, rows) - _placed_ids(connection, memory_id, rows)
            if wanted:
                _record_segment(connection, memory_id, segment, {key: rows[key] for key in sorted(wanted)})
            return len(wanted)

    def switch_memory(self, memory_id: int) -> int:
        """Serve another memory from the returned version on. Raises UnknownMemory, MemoryIncomplete."""
        with self._writing() as connection:
            _memory(connection, memory_id)
            missing = connection.scalars(
                select(ReferenceRow.id).where(_LIVE, ~_placed(memory_id)).order_by(ReferenceRow.id).limit(10)
            ).all()
            if missing:
                raise MemoryIncomplete(memory_id, missing)
            before = _active_memory(connection)
            connection.execute(update(MemoryRow).where(MemoryRow.active).values(active=False))
            connection.execute(update(MemoryRow).where(MemoryRow.id == memory_id).values(active=True))
            was = {"memory": before.id} if before else {}
            note(connection, "memory.switched", str(memory_id), was, {"memory": memory_id})
            return _commit_version(connection, "switched", memory_id)

    def retire_memory(self, memory_id: int) -> None:
        """Let go of the segments of a memory that is not served. Raises UnknownMemory; ValueError if it is served."""
        with self._writing() as connection:
            if _memory(connection, memory_id).active:
                raise ValueError("the memory being served cannot be retired")
            connection.execute(delete(PlacementRow).where(PlacementRow.memory_id == memory_id))
            connection.execute(delete(CalibrationRow).where(CalibrationRow.memory_id == memory_id))
            connection.execute(
                update(SegmentRow)
                .where(SegmentRow.memory_id == memory_id, SegmentRow.retired_at.is_(None))
                .values(retired_at=now())
            )

    # References

    def append(
        self, category: str, segment: SegmentFile, references: Sequence[NewReference], memory_id: int
    ) -> Appended:
        """Add references, row i of the segment being references[i]; the category is created if it is new.

        When all of them are duplicates nothing is written, the segment stays unknown and the version is the current
        one. Raises ValueError when counts differ, MemoryInactive when this memory is not the one being served.
        """
        if segment.count != len(references):
            raise ValueError(f"a segment of {segment.count} rows for {len(references)} references")
        with self._writing() as connection:
            active = _active_memory(connection)
            if active is None or active.id != memory_id:
                raise MemoryInactive("this data folder has switched to another memory: restart with its encoder")
            live = _live_digests(connection, category, {reference.image_sha256 for reference in references})
            duplicates: set[int] = set()
            fresh: dict[str, tuple[int, NewReference]] = {}  # digest → row of the segment, reference
            for row, reference in enumerate(references):
                if reference.image_sha256 in live or reference.image_sha256 in fresh:
                    duplicates.add(row)
                else:
                    fresh[reference.image_sha256] = (row, reference)
            if not fresh:
                version = _version(connection)
            else:
                version = _commit_version(connection, "added", memory_id, {"category": category, "count": len(fresh)})
                ids = connection.scalars(
                    insert(ReferenceRow).returning(ReferenceRow.id, sort_by_parameter_order=True),
                    _reference_values(_ensure_category(connection, category), version, fresh.values()),
                ).all()
                live |= dict(zip(fresh, ids, strict=True))
                rows = {key: row for key, (row, _) in zip(ids, fresh.values(), strict=True)}
                _record_segment(connection, memory_id, segment, rows)
                note(connection, "references.added", category, after={"references": list(ids), "version": version})
            return Appended(version, tuple(live[each.image_sha256] for each in references), frozenset(duplicates))

    def live_digests(self, category: str, digests: Collection[str]) -> dict[str, int]:
        """sha256 → reference id, for those of the digests that are live references of the category."""
        with self._reading() as connection:
            return _live_digests(connection, category, digests)

    def appearances(self, category: str) -> list[dict[str, float]]:
        """How the live references of a category look as photographs, of those for which it was noted."""
        statement = (
            select(ReferenceRow.appearance)
            .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
            .where(CategoryRow.name == category, _LIVE, ReferenceRow.appearance.is_not(None))
        )
        with self._reading() as connection:
            return [dict(found) for found in connection.scalars(statement) if found is not None]

    def remove_references(self, ids: Collection[int]) -> Removed:
        """Take references out. Those unknown or gone already are passed over; with none left, no new version."""
        with self._writing() as connection:
            live = tuple(sorted(_live_ids(connection, ids)))
            if not live:
                return Removed(_version(connection), ())
            version = _commit_version(connection, "removed", detail={"references": list(live)})
            for some in batches(live):
                _mark_removed(connection, version, ReferenceRow.id.in_(some))
            note(
                connection,
                "references.removed",
                ", ".join(map(str, live[:10])),
                {"references": list(live)},
                {"version": version},
            )
            return Removed(version, live)

    def reference(self, reference_id: int) -> Reference:
        """One reference, live or removed. Raises UnknownReference."""
        with self._reading() as connection:
            row = connection.execute(_references().where(ReferenceRow.id == reference_id)).one_or_none()
        if row is None:
            raise UnknownReference(f"there is no reference {reference_id}")
        return _reference(row)

    def references(
        self, category: str | None = None, cursor: str | None = None, limit: int = 100, *, removed: bool = False
    ) -> Page[Reference]:
        """Live references by id, of one category or of all. Raises InvalidCursor.

        removed: instead those that were taken back, each picture once, and none that is live again.
        """
        statement = _references().where(~_LIVE & ~_added_again() if removed else _LIVE)
        if category is not None:
            statement = statement.where(CategoryRow.name == category)
        if cursor is not None:
            if not cursor.isdecimal() or len(cursor) > 18:
                raise InvalidCursor("not a cursor of references")
            statement = statement.where(ReferenceRow.id > int(cursor))
        with self._reading() as connection:
            found = [_reference(row) for row in connection.execute(statement.limit(limit + 1))]
        return page_of(found, limit, lambda last: str(last.id))

    # Snapshots and segments

    def version(self) -> int:
        """The version of the newest snapshot; 0 before anything happened."""
        with self._reading() as connection:
            return _version(connection)

    def changes_since(self, version: int, memory_id: int) -> Changes:
        """What a snapshot of this memory at `version` lacks; from version 0, everything that is live.

        A compaction by another process may delete a segment between this answer and its reading: ask again then.
        """
        with self._reading() as connection:
            active = _active_memory(connection)
            added = connection.execute(
                select(
                    SegmentRow.name, SegmentRow.sha256, SegmentRow.size, SegmentRow.count,
                    ReferenceRow.id.label("reference_id"), CategoryRow.name.label("category"), PlacementRow.row,
                )
                .join(PlacementRow, PlacementRow.segment_id == SegmentRow.id)
                .join(ReferenceRow, ReferenceRow.id == PlacementRow.reference_id)
                .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
                .where(PlacementRow.memory_id == memory_id, _LIVE, ReferenceRow.added_version > version)
                .order_by(SegmentRow.id, PlacementRow.row)
            )  # fmt: skip
            segments = tuple(
                SegmentRows(
                    SegmentFile(*key),
                    tuple(PlacedReference(row.reference_id, row.category, row.row) for row in rows),
                )
                for key, rows in itertools.groupby(added, lambda row: cast(tuple[str, str, int, int], tuple(row[:4])))
            )
            removed = connection.scalars(
                select(ReferenceRow.id)
                .where(ReferenceRow.removed_version > version, ReferenceRow.added_version <= version)
                .order_by(ReferenceRow.id)
            ).all()
            return Changes(_version(connection), active.id if active else None, segments, tuple(removed))

    def segments(self, memory_id: int) -> tuple[SegmentUsage, ...]:
        """The segments in use by a memory, oldest first, with what is still alive in each."""
        live = func.count(ReferenceRow.id)
        with self._reading() as connection:
            rows = connection.execute(
                select(SegmentRow.name, SegmentRow.sha256, SegmentRow.size, SegmentRow.count, live)
                .outerjoin(PlacementRow, PlacementRow.segment_id == SegmentRow.id)
                .outerjoin(ReferenceRow, (ReferenceRow.id == PlacementRow.reference_id) & _LIVE)
                .where(SegmentRow.memory_id == memory_id, SegmentRow.retired_at.is_(None))
                .group_by(SegmentRow.id, SegmentRow.name, SegmentRow.sha256, SegmentRow.size, SegmentRow.count)
                .order_by(SegmentRow.id)
            )
            return tuple(SegmentUsage(SegmentFile(*row[:4]), row[4]) for row in rows)

    def replace_segments(
        self, memory_id: int, old: Collection[str], segment: SegmentFile | None, rows: Mapping[int, int]
    ) -> int:
        """Put one segment in the place of others; returns the version.

        rows: reference id → row of the new segment; must name every live reference of the old ones, and may name ones
        removed meanwhile. segment: None when there is no such reference. The old files may be deleted afterwards.
        Raises SegmentsChanged when the old segments are no longer in use or hold a live reference that rows lacks.
        """
        with self._writing() as connection:
            old_ids = connection.scalars(
                select(SegmentRow.id).where(
                    SegmentRow.memory_id == memory_id, SegmentRow.retired_at.is_(None), SegmentRow.name.in_(old)
                )
            ).all()
            if len(old_ids) != len(set(old)):
                raise SegmentsChanged("the segments to compact are no longer in use")
            live = set(
                connection.scalars(
                    select(ReferenceRow.id)
                    .join(PlacementRow, PlacementRow.reference_id == ReferenceRow.id)
                    .where(PlacementRow.segment_id.in_(old_ids), _LIVE)
                )
            )
            if not live <= (rows.keys() if segment else set()):
                raise SegmentsChanged("the new segment lacks live references of the ones it replaces")
            connection.execute(delete(PlacementRow).where(PlacementRow.segment_id.in_(old_ids)))
            connection.execute(update(SegmentRow).where(SegmentRow.id.in_(old_ids)).values(retired_at=now()))
            if live and segment:
                _record_segment(connection, memory_id, segment, {key: rows[key] for key in sorted(live)})
            return _commit_version(connection, "compacted", memory_id, {"segments": len(old_ids)})

    def known_segments(self) -> frozenset[str]:
        """Names of the segment files in use, of all memories."""
        with self._transactions.settled() as connection:
            return frozenset(connection.scalars(select(SegmentRow.name).where(SegmentRow.retired_at.is_(None))))

    def known_originals(self) -> frozenset[str]:
        """sha256 of the images to keep: of live references, of those that can be restored, and of inspections."""
        with self._transactions.settled() as connection:
            live = connection.scalars(select(ReferenceRow.image_sha256).where(needs_picture(now()))).all()
            kept = select(InspectionRow.image_sha256).where(InspectionRow.kept_bytes.is_not(None))
            return frozenset(live) | {digest for digest in connection.scalars(kept) if digest is not None}

    # Categories

    def categories(self) -> tuple[Category, ...]:
        """All categories by name."""
        with self._reading() as connection:
            return tuple(_category(row) for row in connection.execute(_categories()))

    def category(self, name: str) -> Category:
        """One category. Raises UnknownCategory."""
        with self._reading() as connection:
            return _find_category(connection, name)

    def update_settings(self, name: str, changes: SettingsChanges) -> Category:
        """Change some settings of a category. Raises UnknownCategory, and ValueError for values out of range."""
        with self._writing() as connection:
            found = _find_category(connection, name)
            settings = replace(found.settings, **changes)
            if settings != found.settings:
                connection.execute(
                    update(CategoryRow).where(CategoryRow.name == name).values(settings=asdict(settings))
                )
                version = _commit_version(connection, "settings", detail={"category": name, "changed": sorted(changes)})
                before, after = asdict(found.settings), asdict(settings)
                different = [key for key in after if before[key] != after[key]]
                note(
                    connection, "settings.changed", name, {key: before[key] for key in different},
                    {**{key: after[key] for key in different}, "version": version},
                )  # fmt: skip
            return replace(found, settings=settings)

    def remove_category(self, name: str) -> Removed:
        """Take a category out with all its references. Raises UnknownCategory."""
        with self._writing() as connection:
            _find_category(connection, name)
            category = select(CategoryRow.id).where(CategoryRow.name == name).scalar_subquery()
            inside = ReferenceRow.category_id == category
            ids = tuple(connection.scalars(select(ReferenceRow.id).where(inside, _LIVE).order_by(ReferenceRow.id)))
            version = _commit_version(connection, "removed", detail={"category": name, "references": list(ids)})
            _mark_removed(connection, version, inside)
            connection.execute(delete(CalibrationRow).where(CalibrationRow.category_id == category))
            connection.execute(delete(DriftRow).where(DriftRow.category_id == category))
            connection.execute(update(CategoryRow).where(CategoryRow.name == name).values(removed_at=now()))
            note(connection, "category.removed", name, {"references": list(ids)}, {"version": version})
            return Removed(version, ids)


def _version(connection: Connection) -> int:
    return connection.scalar(select(func.max(ChangeRow.version))) or 0


def _commit_version(
    connection: Connection, kind: ChangeKind, memory_id: int | None = None, detail: dict[str, Any] | None = None
) -> int:
    """Take the next version number: writers are in line, so counting leaves no gaps where a sequence would."""
    version = _version(connection) + 1
    connection.execute(
        insert(ChangeRow).values(version=version, at=now(), kind=kind, memory_id=memory_id, detail=detail or {})
    )
    return version


def _memory_record(row: Row[Any]) -> MemoryRecord:
    return MemoryRecord(row.id, row.fingerprint, row.space_json, row.codec, row.created_at, row.active)


def _active_memory(connection: Connection) -> MemoryRecord | None:
    row = connection.execute(select(MemoryRow.__table__).where(MemoryRow.active)).one_or_none()
    return None if row is None else _memory_record(row)


def _memory(connection: Connection, memory_id: int) -> MemoryRecord:
    row = connection.execute(select(MemoryRow.__table__).where(MemoryRow.id == memory_id)).one_or_none()
    if row is None:
        raise UnknownMemory(f"there is no memory {memory_id}")
    return _memory_record(row)


def _create_memory(connection: Connection, space_json: str, fingerprint: str, codec: str) -> MemoryRecord:
    values = {"fingerprint": fingerprint, "space_json": space_json, "codec": codec, "created_at": now()}
    row = connection.execute(insert(MemoryRow).values(**values, active=False).returning(MemoryRow.__table__)).one()
    return _memory_record(row)


def _record_segment(connection: Connection, memory_id: int, segment: SegmentFile, rows: Mapping[int, int]) -> None:
    segment_id = connection.scalar(
        insert(SegmentRow).values(**asdict(segment), memory_id=memory_id, created_at=now()).returning(SegmentRow.id)
    )
    connection.execute(
        insert(PlacementRow),
        [
            {"reference_id": key, "memory_id": memory_id, "segment_id": segment_id, "row": row}
            for key, row in rows.items()
        ],
    )


def _placed(memory_id: int) -> ColumnElement[bool]:
    return exists().where(PlacementRow.reference_id == ReferenceRow.id, PlacementRow.memory_id == memory_id)


def _placed_ids(connection: Connection, memory_id: int, ids: Iterable[int]) -> set[int]:
    statement = select(PlacementRow.reference_id).where(PlacementRow.memory_id == memory_id)
    return {
        found
        for some in batches(ids)
        for found in connection.scalars(statement.where(PlacementRow.reference_id.in_(some)))
    }


def _live_ids(connection: Connection, ids: Iterable[int]) -> set[int]:
    return {
        found
        for some in batches(ids)
        for found in connection.scalars(select(ReferenceRow.id).where(ReferenceRow.id.in_(some), _LIVE))
    }


def _live_digests(connection: Connection, category: str, digests: Iterable[str]) -> dict[str, int]:
    statement = (
        select(ReferenceRow.image_sha256, ReferenceRow.id)
        .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
        .where(CategoryRow.name == category, _LIVE)
    )
    return {
        digest: found
        for some in batches(digests)
        for digest, found in connection.execute(statement.where(ReferenceRow.image_sha256.in_(some)))
    }


def _mark_removed(connection: Connection, version: int, which: ColumnElement[bool]) -> None:
    connection.execute(update(ReferenceRow).where(which, _LIVE).values(removed_at=now(), removed_version=version))


def _references() -> Select[Any]:
    return (
        select(ReferenceRow.__table__, CategoryRow.name.label("category"))
        .join(CategoryRow, CategoryRow.id == ReferenceRow.category_id)
        .order_by(ReferenceRow.id)
    )


def _added_again() -> ColumnElement[bool]:
    later = aliased(ReferenceRow)
    return exists().where(
        later.category_id == ReferenceRow.category_id,
        later.image_sha256 == ReferenceRow.image_sha256,
        later.id > ReferenceRow.id,
    )


def _reference(row: Row[Any]) -> Reference:
    values = {field.name: getattr(row, field.name) for field in fields(Reference)}
    return Reference(**{**values, "findings": tuple(row.findings)})


def _reference_values(
    category_id: int, version: int, fresh: Iterable[tuple[int, NewReference]]
) -> list[dict[str, Any]]:
    at = now()
    return [
        {**asdict(reference), "category_id": category_id, "added_at": at, "added_version": version}
        for _, reference in fresh
    ]


def _categories() -> Select[Any]:
    live = (
        select(func.count())
        .where(ReferenceRow.category_id == CategoryRow.id, _LIVE)
        .correlate(CategoryRow)
        .scalar_subquery()
    )
    return (
        select(CategoryRow.__table__, live.label("references"))
        .where(CategoryRow.removed_at.is_(None))
        .order_by(CategoryRow.name)
    )


def _category(row: Row[Any]) -> Category:
    return Category(row.name, CategorySettings.from_json(row.settings), row.created_at, row.references)


def _find_category(connection: Connection, name: str) -> Category:
    row = connection.execute(_categories().where(CategoryRow.name == name)).one_or_none()
    if row is None:
        raise UnknownCategory(f"there is no category {name!r}")
    return _category(row)


def _ensure_category(connection: Connection, name: str) -> int:
    """The id of a category; one that is new, or was removed, starts with the default settings."""
    found = connection.execute(
        select(CategoryRow.id, CategoryRow.removed_at).where(CategoryRow.name == name)
    ).one_or_none()
    fresh = {"settings": asdict(CategorySettings()), "created_at": now(), "removed_at": None}
    if found is None:
        return connection.execute(insert(CategoryRow).values(name=name, **fresh).returning(CategoryRow.id)).scalar_one()
    if found.removed_at is not None:
        connection.execute(update(CategoryRow).where(CategoryRow.id == found.id).values(**fresh))
    return cast(int, found.id)
