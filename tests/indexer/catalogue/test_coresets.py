"""Coresets in the catalogue: asked for, finished, forgotten, and part of every snapshot."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.tables import CoresetRow
from indexer.domain.coreset import CoresetFile, CoresetRecord, CoresetResult, CoresetTarget
from indexer.domain.errors import CategoryNotFound, CoresetNotFound, MemoryInactive
from indexer.domain.geometry import choose_geometry
from indexer.domain.snapshot import Shard
from tests.helpers.catalogue_rows import add, segment

TENTH = CoresetTarget(share=0.1)
CLOSE = CoresetTarget(bound=0.05)
WIDE = choose_geometry(640 / 360).to_json()


def result(number: int, references: int = 3) -> CoresetResult:
    file = CoresetFile(f"{number:032x}.coreset", f"{number:064x}", 1 << 33)
    return CoresetResult(file, references, 2, (0.25, 1 / 3))


def finish(catalogue: Catalogue, memory_id: int, category: str, number: int) -> int:
    asked = catalogue.coresets.request(category, TENTH)
    return catalogue.coresets.finish(asked.id, memory_id, result(number))


def files(records: tuple[CoresetRecord, ...]) -> list[str | None]:
    return [record.result.file.name if record.result else None for record in records]


def named(catalogue: Catalogue) -> list[str]:
    with catalogue.dump.state() as state:
        return [file.path for file in state.files() if file.path.startswith("coresets/")]


def actions(catalogue: Catalogue, category: str) -> list[str]:
    return [entry.action for entry in catalogue.audit.entries(target=category).items]


def test_a_coreset_that_was_asked_for_is_finished_in_one_step(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a", "b", "c")
    before = catalogue.version()
    asked = catalogue.coresets.request("bolt", CLOSE)
    assert (asked.category, asked.target, asked.memory_id, asked.result, asked.error) == (
        "bolt",
        CLOSE,
        None,
        None,
        None,
    )
    assert catalogue.coresets.requested() == catalogue.coresets.of("bolt") == (asked,)
    assert catalogue.coresets.finished(memory_id) == ()
    assert catalogue.version() == before, "detection sees nothing of it yet"
    assert catalogue.coresets.finish(asked.id, memory_id, result(1)) == before + 1 == catalogue.version()
    finished = CoresetRecord(asked.id, "bolt", CLOSE, asked.requested_at, memory_id, result(1))
    assert catalogue.coresets.finished(memory_id) == catalogue.coresets.of("bolt") == (finished,)
    assert catalogue.coresets.requested() == ()
    assert catalogue.coresets.finished(memory_id + 1) == ()
    assert named(catalogue) == [f"coresets/{result(1).file.name}"]
    with pytest.raises(CoresetNotFound):  # by a process that was slower
        catalogue.coresets.finish(asked.id, memory_id, result(2))
    assert catalogue.coresets.finished(memory_id) == (finished,)


def test_a_request_replaces_the_earlier_one_and_keeps_the_finished_coreset(
    catalogue: Catalogue, memory_id: int
) -> None:
    add(catalogue, memory_id, "bolt", "a", "b")
    finish(catalogue, memory_id, "bolt", 1)
    first = catalogue.coresets.request("bolt", TENTH)
    catalogue.coresets.note_error(first.id, "no space")
    assert [record.error for record in catalogue.coresets.of("bolt")] == [None, "no space"]
    second = catalogue.coresets.request("bolt", CLOSE)
    assert second.id > first.id
    assert catalogue.coresets.requested() == (second,)
    assert files(catalogue.coresets.of("bolt")) == [result(1).file.name, None]
    with pytest.raises(CoresetNotFound, match=str(first.id)):
        catalogue.coresets.finish(first.id, memory_id, result(2))
    catalogue.coresets.note_error(first.id, "too late")
    catalogue.coresets.finish(second.id, memory_id, result(3))
    assert files(catalogue.coresets.of("bolt")) == [result(3).file.name]
    assert named(catalogue) == [f"coresets/{result(3).file.name}"], "the earlier file is an orphan"
    entry = catalogue.audit.entries(target="bolt").items[0]
    assert (entry.action, entry.before, entry.after) == ("coreset.requested", {"share": 0.1}, {"bound": 0.05})


def test_a_finished_coreset_is_asked_for_again_once_and_only_while_it_is_there(
    catalogue: Catalogue, memory_id: int
) -> None:
    add(catalogue, memory_id, "bolt", "a", "b")
    version = finish(catalogue, memory_id, "bolt", 1)
    [finished] = catalogue.coresets.finished(memory_id)
    asked = catalogue.coresets.renew(finished.id)
    assert asked is not None
    assert (asked.target, asked.result, catalogue.version()) == (TENTH, None, version)
    assert catalogue.coresets.of("bolt") == (finished, asked)
    assert catalogue.coresets.renew(finished.id) is None, "one is asked for"
    assert catalogue.coresets.renew(asked.id) is None, "it is not finished"
    catalogue.coresets.drop("bolt")
    assert catalogue.coresets.renew(finished.id) is None
    assert catalogue.coresets.of("bolt") == ()


def test_requests_come_oldest_first_and_only_of_categories_that_exist(catalogue: Catalogue, memory_id: int) -> None:
    for category in ("bolt", "nut", "plate"):
        add(catalogue, memory_id, category, category)
        catalogue.coresets.request(category, TENTH)
    catalogue.coresets.request("bolt", TENTH)
    assert [record.category for record in catalogue.coresets.requested()] == ["nut", "plate", "bolt"]
    with pytest.raises(CategoryNotFound):
        catalogue.coresets.request("washer", TENTH)
    assert catalogue.coresets.of("washer") == ()


def test_a_category_has_one_finished_coreset_and_one_request_at_most(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    finish(catalogue, memory_id, "bolt", 1)
    asked = catalogue.coresets.request("bolt", TENTH)
    with catalogue._transactions.reading() as connection:
        category_id = connection.scalar(CoresetRow.__table__.select().with_only_columns(CoresetRow.category_id))
    for name in ("another.coreset", None):
        values = {"category_id": category_id, "share": 0.5, "requested_at": asked.requested_at, "name": name}
        with pytest.raises(IntegrityError), catalogue._transactions.writing() as connection:
            connection.execute(insert(CoresetRow).values(**values))


def test_dropping_a_coreset_cancels_the_request_too(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a", "b")
    before = catalogue.version()
    assert catalogue.coresets.drop("bolt") is None
    asked = catalogue.coresets.request("bolt", TENTH)
    assert catalogue.coresets.drop("bolt") is None
    assert catalogue.version() == before
    with pytest.raises(CoresetNotFound):
        catalogue.coresets.finish(asked.id, memory_id, result(1))
    finish(catalogue, memory_id, "bolt", 2)
    catalogue.coresets.request("bolt", CLOSE)
    version = catalogue.version()
    assert catalogue.coresets.drop("bolt") == version + 1 == catalogue.version()
    assert catalogue.coresets.of("bolt") == ()
    assert named(catalogue) == []
    assert catalogue.segments.changes_since(version, memory_id).coresets == ()
    assert actions(catalogue, "bolt").count("coreset.dropped") == 2
    with pytest.raises(CategoryNotFound):
        catalogue.coresets.drop("washer")


def test_a_snapshot_learns_of_every_finished_coreset_whenever_anything_changes(
    catalogue: Catalogue, memory_id: int
) -> None:
    add(catalogue, memory_id, "bolt", "a", "b")
    add(catalogue, memory_id, "nut", "c", "d")
    before = catalogue.version()
    finish(catalogue, memory_id, "bolt", 1)
    version = finish(catalogue, memory_id, "nut", 2)
    delta = catalogue.segments.changes_since(before, memory_id)
    assert (delta.version, delta.added, files(delta.coresets)) == (
        version,
        (),
        [result(1).file.name, result(2).file.name],
    )
    assert delta.coresets == catalogue.coresets.finished(memory_id)
    assert catalogue.segments.changes_since(version, memory_id).coresets == (), "nothing has changed"
    add(catalogue, memory_id, "nut", "e")
    assert len(catalogue.segments.changes_since(version, memory_id).coresets) == 2
    assert files(catalogue.segments.changes_since(0, memory_id, Shard("nut", 1, 2)).coresets) == [result(2).file.name]
    assert catalogue.segments.changes_since(0, memory_id + 1).coresets == ()


def test_another_memory_knows_no_coresets_and_none_is_finished_of_the_one_before(
    catalogue: Catalogue, memory_id: int
) -> None:
    (a,) = add(catalogue, memory_id, "bolt", "a")
    finish(catalogue, memory_id, "bolt", 1)
    asked = catalogue.coresets.request("bolt", TENTH)
    other = catalogue.memories.prepare('{"encoder": "other"}', "e" * 64, "fp16")
    geometry = catalogue.geometries.ensure(other.id, "bolt", WIDE)
    catalogue.geometries.place(geometry.id, segment(1), {a: 0})
    with pytest.raises(MemoryInactive):
        catalogue.coresets.finish(asked.id, other.id, result(2))
    assert len(catalogue.coresets.of("bolt")) == 2
    catalogue.memories.switch(other.id)
    assert catalogue.coresets.of("bolt") == ()
    assert named(catalogue) == []
    with pytest.raises(MemoryInactive):
        catalogue.coresets.finish(asked.id, memory_id, result(3))
    finish(catalogue, other.id, "bolt", 4)
    catalogue.memories.switch(other.id)  # again, as after a lost answer
    assert files(catalogue.coresets.of("bolt")) == [result(4).file.name]


def test_a_removed_category_has_no_coreset_even_when_it_is_restored(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    finish(catalogue, memory_id, "bolt", 1)
    asked = catalogue.coresets.request("bolt", TENTH)
    catalogue.categories.remove("bolt")
    assert catalogue.coresets.requested() == catalogue.coresets.finished(memory_id) == catalogue.coresets.of("bolt")
    assert named(catalogue) == []
    with pytest.raises(CoresetNotFound):
        catalogue.coresets.finish(asked.id, memory_id, result(2))
    catalogue.categories.restore("bolt")
    assert catalogue.coresets.of("bolt") == ()


@pytest.mark.parametrize("asked_anew", [False, True])
def test_another_geometry_has_the_coreset_made_anew(catalogue: Catalogue, memory_id: int, asked_anew: bool) -> None:
    (a,) = add(catalogue, memory_id, "bolt", "a")
    add(catalogue, memory_id, "nut", "b")
    finish(catalogue, memory_id, "bolt", 1)
    finish(catalogue, memory_id, "nut", 2)
    begun = catalogue.coresets.request("bolt", CLOSE) if asked_anew else catalogue.coresets.of("bolt")[0]
    change = catalogue.geometries.prepare(memory_id, "bolt", WIDE)
    assert change is not None
    catalogue.geometries.place(change.id, segment(1), {a: 0})
    before = catalogue.version()
    assert catalogue.geometries.activate(change.id) == before + 1
    [asked] = catalogue.coresets.of("bolt")
    assert (asked.target, asked.requested_at, asked.result) == (begun.target, begun.requested_at, None)
    assert catalogue.coresets.requested() == (asked,)
    with pytest.raises(CoresetNotFound):  # by a process that has read codes of the earlier geometry
        catalogue.coresets.finish(begun.id, memory_id, result(3))
    assert files(catalogue.segments.changes_since(before, memory_id).coresets) == [result(2).file.name]


def test_coresets_whose_files_are_lost_are_asked_for_again(catalogue: Catalogue, memory_id: int) -> None:
    for index, category in enumerate(("bolt", "nut", "plate")):
        add(catalogue, memory_id, category, category)
        finish(catalogue, memory_id, category, index)
    catalogue.coresets.request("nut", CLOSE)
    before = catalogue.version()
    lost = [result(index).file.name for index in (0, 1)]
    assert catalogue.coresets.request_again([*lost, "unknown.coreset"]) == 2
    assert catalogue.version() == before + 2
    assert [(record.category, record.target) for record in catalogue.coresets.requested()] == [
        ("bolt", TENTH),
        ("nut", CLOSE),
    ]
    assert [record.category for record in catalogue.coresets.finished(memory_id)] == ["plate"]
    assert catalogue.coresets.request_again(lost) == 0


def test_finished_coresets_are_files_that_orphan_deletion_spares(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    finish(catalogue, memory_id, "bolt", 1)
    path, other = (f"coresets/{result(number).file.name}" for number in (1, 2))
    assert catalogue.stored_files.named([path, other]) == {path} == catalogue.stored_files.needed([path, other])
    catalogue.coresets.drop("bolt")
    assert catalogue.stored_files.needed([path, other]) == frozenset()


def test_a_coreset_survives_a_dump(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    finish(catalogue, memory_id, "bolt", 1)
    with catalogue.dump.state() as state:
        [row] = [json.loads(json.dumps(row))["row"] for row in state.rows() if row.get("table") == "coreset"]
    assert (row["radii"], row["size"], row["made_version"]) == ([0.25, 1 / 3], 1 << 33, catalogue.version())
