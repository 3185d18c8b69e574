"""Adds or removes references inside a transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, insert

from indexer.catalogue.audit import note
from indexer.catalogue.categories import decide_depth, ensure_category
from indexer.catalogue.geometries import ensure_geometry, geometry_of
from indexer.catalogue.live_references import live_digests, live_ids, mark_removed
from indexer.catalogue.memories import active_memory
from indexer.catalogue.placements import record_segment
from indexer.catalogue.queries import batches, now
from indexer.catalogue.tables import ReferenceRow
from indexer.catalogue.versions import commit_version, version_of
from indexer.domain.errors import GeometryInactive, MemoryInactive
from indexer.domain.reference import Appended, NewReference, Removed
from indexer.domain.snapshot import SegmentFile


def append_references(
    connection: Connection,
    category: str,
    segment: SegmentFile,
    references: Sequence[NewReference],
    memory_id: int,
    geometry_json: str,
) -> Appended:
    """See `References.append`."""
    if segment.count != len(references):
        raise ValueError(f"a segment of {segment.count} rows for {len(references)} references")
    active = active_memory(connection)
    if active is None or active.id != memory_id:
        raise MemoryInactive("this data folder has switched to another memory: restart with its encoder")
    live = live_digests(connection, category, {reference.image_sha256 for reference in references})
    duplicates: set[int] = set()
    fresh: dict[str, tuple[int, NewReference]] = {}  # digest → row of the segment, reference
    for row, reference in enumerate(references):
        if reference.image_sha256 in live or reference.image_sha256 in fresh:
            duplicates.add(row)
        else:
            fresh[reference.image_sha256] = (row, reference)
    if not fresh:
        version = version_of(connection)
    else:
        version = commit_version(connection, "added", memory_id, {"category": category, "count": len(fresh)})
        category_id = ensure_category(connection, category)
        geometry_id = ensure_geometry(connection, memory_id, category_id, geometry_json, version)
        if (present := geometry_of(connection, geometry_id)) != geometry_json:
            raise GeometryInactive(f"images of {category!r} are encoded under another geometry now ({present})")
        ids = connection.scalars(
            insert(ReferenceRow).returning(ReferenceRow.id, sort_by_parameter_order=True),
            _values(category_id, version, fresh.values()),
        ).all()
        decided = decide_depth(connection, category_id, [reference for _, reference in fresh.values()])
        live |= dict(zip(fresh, ids, strict=True))
        rows = {key: (geometry_id, row) for key, (row, _) in zip(ids, fresh.values(), strict=True)}
        record_segment(connection, memory_id, segment, rows)
        after = {"references": list(ids), "version": version, **decided}
        note(connection, "references.added", category, after=after)
    return Appended(
        version, tuple(live[new_reference.image_sha256] for new_reference in references), frozenset(duplicates)
    )


def remove_references(connection: Connection, ids: Collection[int]) -> Removed:
    """See `References.remove`."""
    live = tuple(sorted(live_ids(connection, ids)))
    if not live:
        return Removed(version_of(connection), ())
    version = commit_version(connection, "removed", detail={"references": list(live)})
    for batch in batches(live):
        mark_removed(connection, version, ReferenceRow.id.in_(batch))
    note(
        connection,
        "references.removed",
        ", ".join(map(str, live[:10])),
        {"references": list(live)},
        {"version": version},
    )
    return Removed(version, live)


def _values(category_id: int, version: int, fresh: Iterable[tuple[int, NewReference]]) -> list[dict[str, Any]]:
    at = now()
    return [
        {**asdict(reference), "category_id": category_id, "added_at": at, "added_version": version}
        for _, reference in fresh
    ]
