"""Each category's geometry in the catalogue: stored, replaced atomically, and part of every snapshot."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import create_engine, text

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.engine import connect
from indexer.domain.errors import CategoryNotFound, GeometryInactive, GeometryNotFound, MemoryIncomplete
from indexer.domain.geometry import InputGeometry, choose_geometry
from tests.helpers.catalogue_rows import GEOMETRY, add, images, segment

WIDE = choose_geometry(640 / 360).to_json()
FINE = choose_geometry(640 / 360, 3136).to_json()


def add_under(catalogue: Catalogue, memory_id: int, geometry: str, category: str, *names: str) -> tuple[int, ...]:
    file = segment(len(names))
    return catalogue.references.append(category, file, images(*names), memory_id, geometry).reference_ids


def rows(catalogue: Catalogue, memory_id: int, since: int = 0) -> dict[int, str]:
    """Reference → segment, of what a snapshot of that version lacks."""
    added = catalogue.segments.changes_since(since, memory_id).added
    return {row.reference_id: segment.segment.name for segment in added for row in segment.rows}


def test_a_category_has_the_geometry_of_its_first_references_and_refuses_others(
    catalogue: Catalogue, memory_id: int
) -> None:
    add(catalogue, memory_id, "bolt", "a")
    add_under(catalogue, memory_id, WIDE, "plate", "b")
    assert catalogue.geometries.active(memory_id) == {"bolt": GEOMETRY, "plate": WIDE}
    version = catalogue.version()
    with pytest.raises(GeometryInactive, match="'plate'"):
        add(catalogue, memory_id, "plate", "c")
    assert catalogue.version() == version
    assert catalogue.segments.changes_since(version - 1, memory_id).geometries == {"bolt": GEOMETRY, "plate": WIDE}


def test_a_geometry_takes_over_once_every_live_reference_is_encoded_under_it(
    catalogue: Catalogue, memory_id: int
) -> None:
    a, b, gone = add_under(catalogue, memory_id, WIDE, "plate", "a", "b", "c")
    (other,) = add_under(catalogue, memory_id, WIDE, "nut", "d")
    catalogue.references.remove([gone])
    before = catalogue.version()
    change = catalogue.geometries.prepare(memory_id, "plate", FINE)
    assert change is not None
    assert not change.active
    assert catalogue.geometries.prepare(memory_id, "plate", FINE) == change  # taken up again
    fine = segment(2)
    assert catalogue.geometries.place(change.id, fine, {a: 0, gone: 1}) == 1
    [seen] = catalogue.geometries.changes(memory_id)
    assert (seen.encoded, seen.references) == (1, 2)
    # Nothing is seen of it yet, and compaction leaves its segments alone.
    assert rows(catalogue, memory_id, before) == {}
    assert set(rows(catalogue, memory_id)) == {a, b, other}
    assert fine.name not in {segment.segment.name for segment in catalogue.segments.of(memory_id)}
    with pytest.raises(MemoryIncomplete, match=f"example {b}"):
        catalogue.geometries.activate(change.id)
    # One that is added meanwhile is encoded under the geometry being served, and holds the switch up, too.
    (late,) = add_under(catalogue, memory_id, WIDE, "plate", "e")
    before = catalogue.version()
    assert [reference.id for reference in catalogue.references.not_encoded("plate", change.id)] == [b, late]
    rest = segment(2)
    catalogue.geometries.place(change.id, rest, {b: 0, late: 1})
    version = catalogue.geometries.activate(change.id)
    assert version == before + 1 == catalogue.geometries.activate(change.id)
    assert catalogue.geometries.place(change.id, segment(2), {b: 0, late: 1}) == 0, "a slower process changes nothing"
    delta = catalogue.segments.changes_since(before, memory_id)
    assert delta.reencoded == (a, b, late)
    assert delta.removed == ()
    assert delta.geometries == {"plate": FINE, "nut": WIDE}
    assert rows(catalogue, memory_id, before) == {a: fine.name, b: rest.name, late: rest.name}
    assert set(rows(catalogue, memory_id)) == {a, b, late, other}
    assert catalogue.geometries.changes(memory_id) == ()
    # The segments of the earlier geometry belong to nobody; the category's audit trail has both.
    assert {segment.segment.name for segment in catalogue.segments.of(memory_id)} == set(
        rows(catalogue, memory_id).values()
    )
    assert next(entry.action for entry in catalogue.audit.entries(target="plate").items) == "geometry.changed"
    with catalogue.dump.state() as state:
        assert state.faults() == ()


def test_a_change_is_given_up_for_another_or_for_the_present_geometry(catalogue: Catalogue, memory_id: int) -> None:
    (a,) = add_under(catalogue, memory_id, WIDE, "plate", "a")
    first = catalogue.geometries.prepare(memory_id, "plate", FINE)
    assert first is not None
    catalogue.geometries.place(first.id, segment(1), {a: 0})
    second = catalogue.geometries.prepare(memory_id, "plate", GEOMETRY)
    assert second is not None
    [change] = catalogue.geometries.changes(memory_id)
    assert (change.record.geometry_json, change.encoded) == (GEOMETRY, 0)
    with pytest.raises(GeometryNotFound):
        catalogue.geometries.activate(first.id)
    assert catalogue.geometries.prepare(memory_id, "plate", WIDE) is None
    assert catalogue.geometries.changes(memory_id) == ()
    assert catalogue.geometries.active(memory_id) == {"plate": WIDE}
    with pytest.raises(CategoryNotFound):
        catalogue.geometries.prepare(memory_id, "washer", WIDE)


def test_a_geometry_can_go_back_to_one_of_before(catalogue: Catalogue, memory_id: int) -> None:
    (a,) = add_under(catalogue, memory_id, WIDE, "plate", "a")
    for geometry in (FINE, WIDE, FINE):
        change = catalogue.geometries.prepare(memory_id, "plate", geometry)
        assert change is not None
        catalogue.geometries.place(change.id, segment(1), {a: 0})
        catalogue.geometries.activate(change.id)
        assert catalogue.geometries.active(memory_id) == {"plate": geometry}
    assert len(catalogue.segments.of(memory_id)) == 1


def test_a_category_begun_anew_chooses_its_geometry_anew_and_a_restored_one_keeps_it(
    catalogue: Catalogue, memory_id: int
) -> None:
    add_under(catalogue, memory_id, WIDE, "plate", "a")
    catalogue.categories.remove("plate")
    assert catalogue.geometries.active(memory_id) == {}
    catalogue.categories.restore("plate")
    assert catalogue.geometries.active(memory_id) == {"plate": WIDE}
    catalogue.categories.remove("plate")
    add_under(catalogue, memory_id, FINE, "plate", "a")
    assert catalogue.geometries.active(memory_id) == {"plate": FINE}


def test_compaction_and_repair_keep_references_under_their_geometry(catalogue: Catalogue, memory_id: int) -> None:
    (a,) = add_under(catalogue, memory_id, WIDE, "plate", "a")
    (b,) = add_under(catalogue, memory_id, WIDE, "nut", "b")
    names = [segment.segment.name for segment in catalogue.segments.of(memory_id)]
    catalogue.segments.replace(memory_id, names, segment(2), {a: 0, b: 1})
    catalogue.segments.move(memory_id, segment(1), {b: 0})
    change = catalogue.geometries.prepare(memory_id, "plate", FINE)
    assert change is not None
    catalogue.geometries.place(change.id, segment(1), {a: 0})
    catalogue.geometries.activate(change.id)
    assert set(rows(catalogue, memory_id)) == {a, b}
    assert catalogue.geometries.active(memory_id) == {"plate": FINE, "nut": WIDE}


def test_categories_of_before_keep_the_resize_and_the_crop_of_their_memory(database: str) -> None:
    opened = Catalogue.open(database)
    space = json.dumps({"encoder": "test", "geometry": {"resize": 512, "crop": 448}})
    memory = opened.memories.ensure(space, "f" * 64, "fp16").id
    a, b = add(opened, memory, "bolt", "a", "b")
    add(opened, memory, "nut", "c")
    opened.categories.remove("nut")
    before = rows(opened, memory)
    opened.close()
    engine = connect(database)
    migrations.downgrade(engine, "0009")
    migrations.upgrade(engine)
    engine.dispose()
    opened = Catalogue.open(database)
    assert rows(opened, memory) == before
    assert set(before) == {a, b}
    assert opened.geometries.active(memory) == {"bolt": InputGeometry.paper(512, 448).to_json()}
    opened.categories.restore("nut")
    assert set(opened.geometries.active(memory)) == {"bolt", "nut"}
    add(opened, memory, "nut", "d")
    opened.close()
    raw = create_engine(database)
    with raw.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM placement")) == 4
    raw.dispose()
