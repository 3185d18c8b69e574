"""The catalogue's guarantees: atomic transactions, versions without gaps, durability in a crash."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import create_engine, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.engine import connect
from indexer.catalogue.tables import DriftRow, ReferenceRow
from indexer.domain.category import Category, CategorySettings
from indexer.domain.drift import DriftMartingale
from indexer.domain.encoding import Encoding
from indexer.domain.errors import (
    CategoryNotFound,
    InspectionNotFound,
    InvalidCursor,
    MemoryInactive,
    MemoryIncomplete,
    MemoryNotFound,
    ReferenceNotFound,
    RequestKeyReused,
    SegmentsChanged,
)
from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.domain.reference import ReferenceOrder
from indexer.domain.snapshot import PlacedReference, SegmentRows, SegmentUsage
from indexer.domain.stored_file import original_path
from tests.helpers.catalogue_rows import GEOMETRY, SPACE, add, images, segment
from tests.helpers.data_folder_process import Appending, StoreParts, arrays_of
from tests.helpers.postgres_server import PostgresServer

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/catalogue.sqlite"


def changes(database: str) -> Sequence[tuple[int, str]]:
    engine = create_engine(database)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text("SELECT version, kind FROM change ORDER BY version"))]
    engine.dispose()
    return found


# Memories


def test_concurrent_first_callers_create_one_memory(catalogue: Catalogue) -> None:
    assert catalogue.memories.active() is None
    made = catalogue.memories.ensure(*SPACE)
    assert (made.space_json, made.fingerprint, made.codec, made.active) == (*SPACE, True)
    assert catalogue.memories.ensure("{}", "0" * 64, "int8") == made == catalogue.memories.active()
    assert catalogue.version() == 1


def test_the_database_itself_refuses_a_second_active_memory(catalogue: Catalogue, memory_id: int) -> None:
    with pytest.raises(IntegrityError), catalogue._transactions.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO memory (fingerprint, space_json, codec, created_at, active) "
            "VALUES ('', '', '', '2026-01-01', true)"
        )


def test_a_rebuilt_memory_takes_over_only_once_it_holds_every_live_reference(
    catalogue: Catalogue, memory_id: int
) -> None:
    stored, gone = add(catalogue, memory_id, "bolt", "a", "b")
    catalogue.references.remove([gone])
    (late,) = add(catalogue, memory_id, "nut", "c")
    rebuilt = catalogue.memories.prepare("{}", "0" * 64, "fp16")
    assert not rebuilt.active
    assert catalogue.references.count_unplaced(rebuilt.id) == 2
    bolt, nut = (catalogue.geometries.ensure(rebuilt.id, name, GEOMETRY).id for name in ("bolt", "nut"))
    assert [reference.id for reference in catalogue.references.not_encoded("bolt", bolt)] == [stored]
    assert catalogue.geometries.place(bolt, segment(2), {stored: 0, gone: 1}) == 1
    with pytest.raises(MemoryIncomplete, match=f"for example {late}") as caught:
        catalogue.memories.switch(rebuilt.id)
    assert caught.value.missing == (late,)
    before = catalogue.version()
    assert catalogue.geometries.place(nut, segment(1), {late: 0}) == 1
    assert catalogue.geometries.place(nut, segment(1), {late: 0}) == 0
    assert catalogue.version() == before
    assert catalogue.memories.switch(rebuilt.id) == before + 1
    assert catalogue.memories.active() == replace(rebuilt, active=True)
    held = catalogue.segments.changes_since(before, memory_id)
    assert (held.active, held.version) == (replace(rebuilt, active=True), before + 1)
    placed = [row.reference_id for part in catalogue.segments.changes_since(0, rebuilt.id).added for row in part.rows]
    assert placed == [stored, late]


def test_a_process_with_the_old_encoder_cannot_append_after_a_switch(catalogue: Catalogue, memory_id: int) -> None:
    rebuilt = catalogue.memories.prepare("{}", "0" * 64, "fp16")
    for not_served in (rebuilt.id, 99):
        with pytest.raises(MemoryInactive):
            add(catalogue, not_served, "bolt", "a")
    catalogue.memories.switch(rebuilt.id)
    with pytest.raises(MemoryInactive):
        add(catalogue, memory_id, "bolt", "a")
    add(catalogue, rebuilt.id, "bolt", "a")


def in_use(catalogue: Catalogue, memory_id: int) -> set[str]:
    """The names of a memory's segment files."""
    return {usage.segment.name for usage in catalogue.segments.of(memory_id)}


def test_a_retired_memory_lets_go_of_its_segments(catalogue: Catalogue, memory_id: int) -> None:
    (reference_id,) = add(catalogue, memory_id, "bolt", "a")
    rebuilt = catalogue.memories.prepare("{}", "0" * 64, "fp16")
    fresh = segment(1)
    catalogue.geometries.place(catalogue.geometries.ensure(rebuilt.id, "bolt", GEOMETRY).id, fresh, {reference_id: 0})
    catalogue.memories.switch(rebuilt.id)
    catalogue.memories.retire(memory_id)
    assert catalogue.segments.of(rebuilt.id) == (SegmentUsage(fresh, 1),)
    assert catalogue.segments.of(memory_id) == ()


def test_the_served_memory_can_be_neither_filled_by_hand_nor_retired(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    (other,) = add(catalogue, memory_id, "nut", "b")
    served = catalogue.geometries.ensure(memory_id, "bolt", GEOMETRY)
    with pytest.raises(ValueError, match="through append"):
        catalogue.geometries.place(served.id, segment(1), {other: 0})
    with pytest.raises(ValueError, match="cannot be retired"):
        catalogue.memories.retire(memory_id)
    for method in (catalogue.memories.switch, catalogue.memories.retire):
        with pytest.raises(MemoryNotFound, match="there is no memory 99"):
            method(99)


# References


def test_appended_references_are_there_with_everything_known_about_them(catalogue: Catalogue, memory_id: int) -> None:
    start = datetime.now(UTC)
    appended = catalogue.references.append("bolt", segment(2), images("a", "b"), memory_id, GEOMETRY)
    assert (appended.version, appended.duplicates, appended.added) == (2, frozenset(), 2)
    reference = catalogue.references.get(appended.reference_ids[0])
    (new,) = images("a")
    assert (reference.category, reference.image_sha256, reference.image_suffix) == ("bolt", new.image_sha256, ".png")
    assert (reference.filename, reference.width, reference.height) == ("a.png", 640, 480)
    assert (reference.added_version, reference.removed_at, reference.removed_version) == (2, None, None)
    assert start <= reference.added_at <= datetime.now(UTC)
    assert reference.added_at.tzinfo is UTC
    with pytest.raises(ReferenceNotFound, match="there is no reference 99"):
        catalogue.references.get(99)


def test_duplicates_are_recognised_within_an_append_and_among_live_references(
    catalogue: Catalogue, memory_id: int
) -> None:
    (known,) = add(catalogue, memory_id, "bolt", "a")
    file = segment(4)
    appended = catalogue.references.append("bolt", file, images("a", "b", "b", "c"), memory_id, GEOMETRY)
    assert (appended.duplicates, appended.added) == ({0, 2}, 2)
    assert appended.reference_ids == (known, known + 1, known + 1, known + 2)
    (part,) = catalogue.segments.changes_since(appended.version - 1, memory_id).added
    assert part == SegmentRows(file, (PlacedReference(known + 1, "bolt", 1), PlacedReference(known + 2, "bolt", 3)))
    assert add(catalogue, memory_id, "nut", "a") == (known + 3,)


def test_an_append_of_duplicates_alone_changes_nothing(catalogue: Catalogue, memory_id: int) -> None:
    ids = add(catalogue, memory_id, "bolt", "a", "b")
    version, segments = catalogue.version(), catalogue.segments.of(memory_id)
    appended = catalogue.references.append("bolt", segment(2), images("b", "a"), memory_id, GEOMETRY)
    assert (appended.version, appended.reference_ids, appended.added) == (version, ids[::-1], 0)
    assert (catalogue.version(), catalogue.segments.of(memory_id)) == (version, segments)


def test_an_append_that_does_not_fit_its_segment_is_refused(catalogue: Catalogue, memory_id: int) -> None:
    with pytest.raises(ValueError, match="a segment of 3 rows for 1 references"):
        catalogue.references.append("bolt", segment(3), images("a"), memory_id, GEOMETRY)


def test_a_removed_reference_can_be_added_again_under_a_new_id(catalogue: Catalogue, memory_id: int) -> None:
    first, second = add(catalogue, memory_id, "bolt", "a", "b")
    removed = catalogue.references.remove([second, 99])
    assert (removed.version, removed.reference_ids) == (3, (second,))
    assert catalogue.references.remove([second]) == replace(removed, reference_ids=())
    gone = catalogue.references.get(second)
    assert gone.removed_version == 3
    assert gone.removed_at is not None
    assert catalogue.references.live_digests("bolt", [image.image_sha256 for image in images("a", "b", "c")]) == {
        images("a")[0].image_sha256: first
    }
    assert add(catalogue, memory_id, "bolt", "b") == (second + 1,)


def test_ids_are_not_reused_after_the_newest_reference_went(database: str) -> None:
    seen: list[int] = []
    for _ in range(3):
        catalogue = Catalogue.open(database)
        seen += add(catalogue, catalogue.memories.ensure(*SPACE).id, "bolt", "a")
        catalogue.references.remove(seen)
        catalogue.close()
    assert seen == sorted(set(seen))


def test_pages_of_references_hold_each_live_one_once(catalogue: Catalogue, memory_id: int) -> None:
    bolts = add(catalogue, memory_id, "bolt", *map(str, range(7)))
    nuts = add(catalogue, memory_id, "nut", *map(str, range(4)))
    catalogue.references.remove([bolts[2]])
    for category, expected in ((None, {*bolts, *nuts} - {bolts[2]}), ("nut", set(nuts)), ("cog", set())):
        seen: list[int] = []
        cursor: str | None = None
        while True:
            page = catalogue.references.page(category, cursor, limit=2)
            seen += [reference.id for reference in page.items]
            if (cursor := page.next_cursor) is None:
                break
            assert len(page.items) == 2
        assert seen == sorted(expected)
    assert [reference.id for reference in catalogue.references.iterate("bolt")] == sorted({*bolts} - {bolts[2]})
    for wrong in ("", "x", "-1", "9" * 30):
        with pytest.raises(InvalidCursor):
            catalogue.references.page(cursor=wrong)


def test_names_of_any_language_are_found_in_capitals_or_not(catalogue: Catalogue, memory_id: int) -> None:
    ids = add(catalogue, memory_id, "bolt", "Öse 1", "piñón 2", "ОСЬ 3", "plain")
    for index, texts in enumerate([("öse", "ÖSE", "Öse 1"), ("PIÑ", "ñón"), ("ось", "Ось")]):
        for wanted in texts:
            assert [reference.id for reference in catalogue.references.page(text=wanted).items] == [ids[index]], wanted


@pytest.mark.parametrize("order", ["oldest", "newest", "name", "outliers"])
def test_references_are_found_by_name_or_id_in_pages_of_any_order(
    catalogue: Catalogue, memory_id: int, order: ReferenceOrder
) -> None:
    ids = add(catalogue, memory_id, "bolt", "Bb", "a", "c%", "Bb2", "d", "b_b")
    scores = {ids[0]: 1.0, ids[2]: 3.0, ids[5]: 3.0, ids[4]: 0.0}
    names = {reference.id: reference.filename for reference in catalogue.references.page().items}

    def pages(text: str | None = None) -> list[int]:
        seen: list[int] = []
        cursor: str | None = None
        while True:
            page = catalogue.references.page("bolt", cursor, 2, order=order, text=text, scores=scores)
            seen += [reference.id for reference in page.items]
            if (cursor := page.next_cursor) is None:
                return seen
            catalogue.references.remove([seen[-1]])  # which the next page begins after

    assert [pages(text) for text in (str(ids[4]), "9" * 30, "%b")] == [[ids[4]], [], []]
    everything = catalogue.references.page("bolt", order=order, scores=scores).items
    assert pages() == [reference.id for reference in everything]
    assert {names[reference_id] for reference_id in ids} == set(names.values())
    expected = {"oldest": sorted(ids), "newest": sorted(ids, reverse=True)}
    expected["outliers"] = [ids[index] for index in (2, 5, 0, 4, 1, 3)]  # those without a score last
    if order in expected:
        assert [reference.id for reference in everything] == expected[order]
    with pytest.raises(InvalidCursor):
        catalogue.references.page(cursor="123456" if order == "name" else "x", order=order)
    assert catalogue.references.existing([*ids, 10**9]) == frozenset(ids)


def test_many_references_are_appended_and_removed_at_once(catalogue: Catalogue, memory_id: int) -> None:
    ids = add(catalogue, memory_id, "bolt", *map(str, range(1200)))
    assert list(ids) == sorted(ids)
    assert (
        len(catalogue.references.live_digests("bolt", [image.image_sha256 for image in images(*map(str, range(1200)))]))
        == 1200
    )
    assert catalogue.references.remove(ids).reference_ids == ids
    assert catalogue.categories.get("bolt").references == 0


# Snapshots and compaction


def test_compaction_moves_live_rows_and_leaves_detection_as_it_was(catalogue: Catalogue, memory_id: int) -> None:
    first, second, lone = segment(2), segment(2), segment(1)
    a, b = catalogue.references.append("bolt", first, images("a", "b"), memory_id, GEOMETRY).reference_ids
    c, d = catalogue.references.append("nut", second, images("c", "d"), memory_id, GEOMETRY).reference_ids
    catalogue.references.append("nut", lone, images("e"), memory_id, GEOMETRY)
    catalogue.references.remove([b, d])
    usage = catalogue.segments.of(memory_id)
    assert usage == tuple(SegmentUsage(each, 1) for each in (first, second, lone))
    before = catalogue.version()
    merged = segment(3)
    version = catalogue.segments.replace(memory_id, [first.name, second.name], merged, {c: 0, a: 1, b: 2})
    assert version == before + 1
    changes = catalogue.segments.changes_since(before, memory_id)
    assert (changes.version, changes.added, changes.removed) == (version, (), ())
    assert catalogue.segments.changes_since(version, memory_id) == replace(changes, geometries={})
    placed = catalogue.segments.changes_since(0, memory_id).added
    rows = {part.segment: {row.reference_id: row.row for row in part.rows} for part in placed}
    assert rows == {merged: {c: 0, a: 1}, lone: {5: 0}}
    assert in_use(catalogue, memory_id) == {merged.name, lone.name}
    with pytest.raises(SegmentsChanged, match="no longer in use"):
        catalogue.segments.replace(memory_id, [first.name], segment(1), {a: 0})
    with pytest.raises(SegmentsChanged, match="lacks live references"):
        catalogue.segments.replace(memory_id, [merged.name], segment(1), {a: 0})
    with pytest.raises(SegmentsChanged, match="lacks live references"):
        catalogue.segments.replace(memory_id, [lone.name], None, {5: 0})
    catalogue.categories.remove("nut")
    catalogue.segments.replace(memory_id, [lone.name], None, {})
    assert in_use(catalogue, memory_id) == {merged.name}


def test_a_reference_that_came_and_went_between_two_refreshes_is_not_mentioned(
    catalogue: Catalogue, memory_id: int
) -> None:
    held, leaving = add(catalogue, memory_id, "bolt", "a", "b")
    before = catalogue.version()
    (passing,) = add(catalogue, memory_id, "bolt", "c")
    (staying,) = add(catalogue, memory_id, "bolt", "d")
    catalogue.references.remove([passing, leaving])
    found = catalogue.segments.changes_since(before, memory_id)
    assert [row.reference_id for part in found.added for row in part.rows] == [staying]
    assert found.removed == (leaving,)
    everything = catalogue.segments.changes_since(0, memory_id)
    assert [row.reference_id for part in everything.added for row in part.rows] == [held, staying]
    assert everything.removed == ()


class AgainstPlainDictionaries(RuleBasedStateMachine):
    """Whatever happens, and however rarely a follower refreshes, it ends with exactly what is live."""

    def new_database(self) -> str:
        return url_of(Path(self.folder.name))

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.catalogue = Catalogue.open(self.new_database())
        self.memory_id = self.catalogue.memories.ensure(*SPACE).id
        self.live: dict[int, tuple[str, str]] = {}  # id → category, image
        self.rows: dict[int, tuple[str, int]] = {}  # id → segment, row
        self.followed: dict[int, str] = {}
        self.at = 0
        self.version = 1

    @rule(category=st.sampled_from("xy"), names=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4))
    def append(self, category: str, names: list[str]) -> None:
        file = segment(len(names))
        appended = self.catalogue.references.append(category, file, images(*names), self.memory_id, GEOMETRY)
        there = {key: number for number, key in self.live.items()}
        for position, (name, number) in enumerate(zip(names, appended.reference_ids, strict=True)):
            assert (position in appended.duplicates) == ((category, name) in there)
            if position in appended.duplicates:
                assert there[category, name] == number
            else:
                assert number not in self.live
                self.rows[number] = (file.name, position)
            there[category, name] = number
            self.live[number] = (category, name)
        self.version += appended.added > 0
        assert appended.version == self.version

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        ids = data.draw(st.sets(st.integers(1, max(self.live, default=0) + 2), max_size=3))
        removed = self.catalogue.references.remove(ids)
        assert set(removed.reference_ids) == ids & self.live.keys()
        self.version += bool(removed.reference_ids)
        assert removed.version == self.version
        self.live = {number: key for number, key in self.live.items() if number not in ids}

    @rule(category=st.sampled_from("xy"))
    def remove_category(self, category: str) -> None:
        if category not in {category.name for category in self.catalogue.categories.list()}:
            with pytest.raises(CategoryNotFound):
                self.catalogue.categories.remove(category)
            return
        removed = self.catalogue.categories.remove(category)
        inside = {number for number, key in self.live.items() if key[0] == category}
        self.version += 1
        assert (removed.version, set(removed.reference_ids)) == (self.version, inside)
        self.live = {number: key for number, key in self.live.items() if number not in inside}

    @rule()
    def compact(self) -> None:
        usage = self.catalogue.segments.of(self.memory_id)
        old = {each.segment.name for each in usage if each.live < each.segment.count}
        if not old:
            return
        moved = sorted(number for number in self.live if self.rows[number][0] in old)
        file = segment(len(moved)) if moved else None
        rows = {number: row for row, number in enumerate(moved)}
        self.version += 1
        assert self.catalogue.segments.replace(self.memory_id, old, file, rows) == self.version
        if file is not None:
            self.rows |= {number: (file.name, row) for number, row in rows.items()}

    @rule()
    def refresh(self) -> None:
        found = self.catalogue.segments.changes_since(self.at, self.memory_id)
        for number in found.removed:
            del self.followed[number]
        for part in found.added:
            for row in part.rows:
                assert row.reference_id not in self.followed
                assert self.rows[row.reference_id] == (part.segment.name, row.row)
                self.followed[row.reference_id] = row.category
        self.at = found.version
        assert found.active is not None
        assert (self.at, found.active.id) == (self.version, self.memory_id)
        assert self.followed == {number: key[0] for number, key in self.live.items()}

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "catalogue"):
            counts = {category.name: category.references for category in self.catalogue.categories.list()}
            for category in "xy":
                assert counts.get(category, 0) == sum(key[0] == category for key in self.live.values())

    def teardown(self) -> None:
        if hasattr(self, "catalogue"):
            self.refresh()
            self.catalogue.close()
            self.folder.cleanup()


AgainstPlainDictionaries.TestCase.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAgainstPlainDictionaries = AgainstPlainDictionaries.TestCase


class OnPostgresql(AgainstPlainDictionaries):
    """The same on the other kind of database."""

    server: PostgresServer

    def new_database(self) -> str:
        return self.server.new_database(migrated=True)


def test_postgresql_agrees_with_plain_dictionaries(postgres: PostgresServer) -> None:
    OnPostgresql.server = postgres
    few = settings(AgainstPlainDictionaries.TestCase.settings, max_examples=8)
    run_state_machine_as_test(OnPostgresql, settings=few)


# Categories


def test_categories_are_listed_with_their_settings_and_counts(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "nut", "a", "b")
    ids = add(catalogue, memory_id, "bolt", "a")
    catalogue.references.remove(ids)
    bolt, nut = catalogue.categories.list()
    assert nut == Category("nut", CategorySettings(), nut.created_at, 2)
    assert bolt == catalogue.categories.get("bolt") == Category("bolt", CategorySettings(), bolt.created_at, 0)
    with pytest.raises(CategoryNotFound, match="there is no category 'cog'"):
        catalogue.categories.get("cog")


def test_changed_settings_are_kept_and_make_a_version(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    before = catalogue.version()
    changed = catalogue.categories.update_settings("bolt", {"k": 7, "layer_weights": (1.0, 0.0)})
    assert changed.settings == CategorySettings(k=7, layer_weights=(1.0, 0.0))
    assert catalogue.categories.get("bolt") == changed
    assert catalogue.version() == before + 1
    assert catalogue.categories.update_settings("bolt", {"k": 7}) == changed
    assert catalogue.version() == before + 1
    catalogue.categories.update_settings(
        "bolt", {"layer_weights": None, "threshold": 0.5, "false_reject_rate": 0.1, "rho": 0}
    )
    assert catalogue.categories.get("bolt").settings == CategorySettings(7, 0, None, 0.1, 0.5)
    with pytest.raises(CategoryNotFound):
        catalogue.categories.update_settings("cog", {"k": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"rho": -1},
        {"false_reject_rate": 0.0},
        {"false_reject_rate": 1.0},
        {"false_reject_rate": float("nan")},
        {"layer_weights": ()},
        {"layer_weights": (0.0, 0.0)},
        {"layer_weights": (1.0, -1.0)},
        {"layer_weights": (float("inf"),)},
        {"threshold": -0.1},
        {"threshold": float("nan")},
    ],
)
def test_settings_out_of_range_are_refused_and_change_nothing(
    catalogue: Catalogue, memory_id: int, wrong: dict[str, object]
) -> None:
    add(catalogue, memory_id, "bolt", "a")
    before = catalogue.version()
    with pytest.raises(ValueError, match=next(iter(wrong))):
        catalogue.categories.update_settings("bolt", wrong)
    assert (catalogue.version(), catalogue.categories.get("bolt").settings) == (before, CategorySettings())


def test_a_removed_category_goes_with_its_references_and_starts_afresh(catalogue: Catalogue, memory_id: int) -> None:
    ids = add(catalogue, memory_id, "bolt", "a", "b")
    (other,) = add(catalogue, memory_id, "nut", "a")
    catalogue.categories.update_settings("bolt", {"k": 3})
    before = catalogue.version()
    removed = catalogue.categories.remove("bolt")
    assert (removed.version, removed.reference_ids) == (before + 1, ids)
    assert catalogue.segments.changes_since(before, memory_id).removed == ids
    assert [reference.id for reference in catalogue.references.page().items] == [other]
    for gone in (catalogue.categories.get, catalogue.categories.remove):
        with pytest.raises(CategoryNotFound):
            gone("bolt")
    add(catalogue, memory_id, "bolt", "a")
    assert catalogue.categories.get("bolt").settings == CategorySettings()
    assert catalogue.categories.get("bolt").references == 1


def test_a_removed_category_is_restored_with_its_settings_and_what_went_with_it(
    catalogue: Catalogue, memory_id: int
) -> None:
    alone, *ids = add(catalogue, memory_id, "bolt", "a", "b", "c")
    add(catalogue, memory_id, "nut", "b")
    catalogue.categories.update_settings("bolt", {"k": 3})
    catalogue.references.remove([alone])
    catalogue.categories.remove("bolt")
    [removed] = catalogue.categories.removed()
    assert (removed.name, removed.references) == ("bolt", 2)
    before = catalogue.version()
    for _ in range(2):  # the second time there is nothing to do
        catalogue.categories.restore("bolt")
        assert catalogue.version() == before + 1
    assert catalogue.categories.removed() == ()
    assert catalogue.categories.get("bolt").settings.k == 3
    assert [reference.id for reference in catalogue.references.removed_with("bolt", -1, 10)] == ids
    assert [reference.id for reference in catalogue.references.removed_with("bolt", ids[0], 10)] == ids[1:]
    add(catalogue, memory_id, "bolt", "b")
    assert [reference.id for reference in catalogue.references.removed_with("bolt", -1, 10)] == ids[1:]
    catalogue.categories.remove("nut")
    add(catalogue, memory_id, "nut", "d")  # begun anew: nothing of the one before comes back
    assert catalogue.categories.removed() == ()
    assert catalogue.references.removed_with("nut", -1, 10) == ()
    with pytest.raises(CategoryNotFound):
        catalogue.categories.restore("washer")


def test_a_category_that_was_removed_before_the_schema_knew_its_removal_is_restored(
    catalogue: Catalogue, memory_id: int, database: str
) -> None:
    ids = add(catalogue, memory_id, "bolt", "a", "b")
    catalogue.references.remove(ids[:1])
    catalogue.categories.remove("bolt")
    engine = connect(database)
    migrations.downgrade(engine, "0007")
    migrations.upgrade(engine)
    engine.dispose()
    catalogue.categories.restore("bolt")
    assert [reference.id for reference in catalogue.references.removed_with("bolt", -1, 10)] == [ids[1]]


def test_every_kind_of_change_has_its_row(catalogue: Catalogue, memory_id: int, database: str) -> None:
    (reference_id,) = add(catalogue, memory_id, "bolt", "a")
    catalogue.categories.update_settings("bolt", {"k": 3})
    catalogue.segments.replace(
        memory_id, [each.segment.name for each in catalogue.segments.of(memory_id)], segment(1), {reference_id: 0}
    )
    catalogue.references.remove([reference_id])
    kinds = ["switched", "added", "settings", "compacted", "removed"]
    assert changes(database) == list(enumerate(kinds, start=1))


# Inspections


def inspection(number: int, **values: object) -> Inspection:
    given = Inspection(
        id=f"{number:08d}-0000-4000-8000-000000000000",
        at=NOON + timedelta(seconds=number),
        filename=f"{number}.png",
        verdict="normal",
        score=number / 7,
        version=3,
        width=640,
        height=480,
    )
    return replace(given, **values)


def test_an_inspection_reads_back_exactly_as_it_was_recorded(catalogue: Catalogue) -> None:
    full = inspection(
        1,
        at=datetime(2026, 1, 1, 13, 0, 0, 123456, timezone(timedelta(hours=1))),
        category="bolt",
        part_id="p-1",
        station="s-1",
        threshold=0.1 + 0.2,
        p_value=1 / 3,
        regions=({"box": [1.5, 2, 3, 4], "évidence": None},),
        references=({"reference_id": 1, "similarity": 0.9},),
        timings={"total_ms": 1.25},
        image_sha256="a" * 64,
        image_suffix=".png",
        map_name="1.png",
        stored_bytes=1 << 40,
        thumbnail_bytes=5000,
    )
    catalogue.inspections.record([full, inspection(2)])
    catalogue.inspections.record([])
    assert catalogue.inspections.get(full.id) == full
    assert catalogue.inspections.get(full.id).at.tzinfo is UTC
    assert catalogue.inspections.get(inspection(2).id) == inspection(2)
    with pytest.raises(InspectionNotFound, match="there is no inspection x"):
        catalogue.inspections.get("x")


def test_recorded_together_means_all_or_none(catalogue: Catalogue) -> None:
    with pytest.raises(IntegrityError):
        catalogue.inspections.record([inspection(1), inspection(1)])
    assert catalogue.inspections.page().items == ()


def test_what_is_recorded_stays_as_it_was_when_it_is_recorded_again(catalogue: Catalogue) -> None:
    assert catalogue.inspections.record([inspection(1)]) == {}
    first, second = inspection(1), inspection(2)
    assert catalogue.inspections.record([inspection(1, part_id="another"), second]) == {first.id: first}
    assert catalogue.inspections.page().items == (second, first)


def test_the_inspections_of_a_request_are_found_by_its_key_which_no_other_request_may_use(catalogue: Catalogue) -> None:
    one = [inspection(number, request_key="key", request_digest="one") for number in (1, 2)]
    other = inspection(3, request_key="key", request_digest="another")
    catalogue.inspections.record([*one, inspection(4)])
    assert catalogue.inspections.of_request("key") == {each.id: each for each in one}
    assert catalogue.inspections.of_request("another key") == {}
    with pytest.raises(RequestKeyReused):
        catalogue.inspections.record([other])
    assert catalogue.inspections.record(one) == {each.id: each for each in one}
    catalogue.inspections.record([replace(other, request_key="another key")])


def test_requests_recorded_together_get_each_its_own_outcome(catalogue: Catalogue) -> None:
    one = [inspection(number, request_key="key", request_digest="one") for number in (1, 2)]
    again = [replace(each, map_name="another try") for each in one]
    other = [inspection(3, request_key="key", request_digest="another")]
    outcomes = catalogue.inspections.record_requests([one, again, other, [inspection(4)], []])
    assert outcomes[:2] == [{}, {each.id: each for each in one}]
    assert isinstance(outcomes[2], RequestKeyReused)
    assert outcomes[3:] == [{}, {}]
    assert {each.id for each in catalogue.inspections.page().items} == {*(each.id for each in one), inspection(4).id}


def test_requests_recorded_together_are_all_there_or_none(catalogue: Catalogue) -> None:
    with pytest.raises(IntegrityError):
        catalogue.inspections.record_requests([[inspection(1)], [inspection(2), inspection(2)]])
    assert catalogue.inspections.page().items == ()


def test_a_drift_test_that_an_earlier_release_kept_begins_anew(
    catalogue: Catalogue, memory_id: int, database: str
) -> None:
    add(catalogue, memory_id, "bolt", "a")
    known = {"category": "bolt", "p_value": 0.3, "calibration_key": "k", "calibration_size": 20}
    catalogue.inspections.record([inspection(1, **known)])
    engine = connect(database)
    with engine.begin() as connection:
        stored = {"counts": [5] * 10, "capitals": [0.5, 0.5, 0.5], "max_evidence": 2.0}
        connection.execute(update(DriftRow).values(state=stored))
    engine.dispose()
    assert catalogue.calibrations.drifts()["bolt"].scores == DriftMartingale()
    catalogue.inspections.record([inspection(2, **known)])
    assert catalogue.calibrations.drifts()["bolt"].scores == DriftMartingale().update([0.3], 20)


def test_a_time_without_a_zone_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(Exception, match="needs a time zone"):
        catalogue.inspections.record([inspection(1, at=datetime(2026, 1, 1))])


def test_pages_of_inspections_go_back_in_time_and_miss_none_at_the_same_instant(catalogue: Catalogue) -> None:
    recorded = [inspection(number, at=NOON + timedelta(seconds=number // 4)) for number in range(23)]
    catalogue.inspections.record(random.Random(1).sample(recorded, len(recorded)))
    seen: list[Inspection] = []
    cursor: str | None = None
    for number in itertools.count(100):
        page = catalogue.inspections.page(cursor=cursor, limit=5)
        seen += page.items
        if (cursor := page.next_cursor) is None:
            break
        assert re.fullmatch(r"[\w-]+", cursor)  # stands in a url as it is
        catalogue.inspections.record([inspection(number)])  # newer ones do not disturb
    assert seen == recorded[::-1]


def test_filters_of_inspections_select_and_combine(catalogue: Catalogue, memory_id: int) -> None:
    recorded = [
        inspection(
            number,
            category=("bolt", "nut", None)[number % 3],
            verdict=("normal", "anomalous")[number % 2],
            station=("s1", "s2")[number // 6],
            part_id=f"p{number}",
        )
        for number in range(12)
    ]
    catalogue.inspections.record(recorded)
    call_good(catalogue, memory_id, recorded[4])
    for matching, expected in (
        (InspectionFilter(), range(12)),
        (InspectionFilter(category="bolt"), (0, 3, 6, 9)),
        (InspectionFilter(category="bolt", verdict="anomalous"), (3, 9)),
        (InspectionFilter(category="bolt", verdict="anomalous", station="s2"), (9,)),
        (InspectionFilter(part_id="p5"), (5,)),
        (InspectionFilter(label="good"), (4,)),
        (InspectionFilter(since=NOON + timedelta(seconds=3), until=NOON + timedelta(seconds=5)), (3, 4)),
        (InspectionFilter(category="cog"), ()),
    ):
        found = [each.part_id for each in catalogue.inspections.page(matching).items]
        assert found == [f"p{number}" for number in sorted(expected, reverse=True)]
        assert [each.part_id for each in catalogue.inspections.iterate(matching)] == found


def test_each_filter_reads_its_page_from_an_index_in_order(tmp_path: Path) -> None:
    Catalogue.migrate(url_of(tmp_path))
    engine = create_engine(url_of(tmp_path))
    with engine.connect() as connection:
        for column in ("category", "verdict", "station", "part_id", "label"):
            plan = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN SELECT * FROM inspection WHERE {column} = 'x' AND (at, id) < ('2026', 'x') "
                "ORDER BY at DESC, id DESC LIMIT 10"
            ).all()
            assert f"ix_inspection_{column}" in str(plan)
            assert "TEMP B-TREE" not in str(plan)
    engine.dispose()


def test_every_inspection_is_iterated_over_more_than_a_page(catalogue: Catalogue) -> None:
    catalogue.inspections.record([inspection(index) for index in range(1203)])
    assert [each.filename for each in catalogue.inspections.iterate()] == [f"{n}.png" for n in range(1202, -1, -1)]


@pytest.mark.parametrize("wrong", ["", "x", "x-y", "-", "9" * 40 + "-x", "1.5-x"])
def test_a_foreign_cursor_of_inspections_is_refused(catalogue: Catalogue, wrong: str) -> None:
    with pytest.raises(InvalidCursor, match="not a cursor of inspections"):
        catalogue.inspections.page(cursor=wrong)


def call_good(catalogue: Catalogue, memory_id: int, given: Inspection, image: str = "x") -> Inspection:
    [reference] = images(image)
    return catalogue.inspections.promote(
        given.id, segment(1), replace(reference, inspection_id=given.id), memory_id, GEOMETRY, confirmed=("unfamiliar",)
    )


def live(catalogue: Catalogue) -> dict[int, str | None]:
    """Every live reference, and the inspection that it was made from."""
    return {reference.id: reference.inspection_id for reference in catalogue.references.page().items}


def test_a_good_part_of_a_removed_category_does_not_begin_it_anew(catalogue: Catalogue, memory_id: int) -> None:
    add(catalogue, memory_id, "bolt", "a")
    bolt = inspection(1, category="bolt")
    catalogue.inspections.record([bolt])
    catalogue.categories.remove("bolt")
    version = catalogue.version()
    with pytest.raises(CategoryNotFound, match="'bolt' was removed"):
        call_good(catalogue, memory_id, bolt)
    assert (catalogue.version(), live(catalogue), catalogue.inspections.get(bolt.id)) == (version, {}, bolt)
    catalogue.categories.restore("bolt")
    assert call_good(catalogue, memory_id, bolt).label == "good"


def test_a_good_part_becomes_a_reference_until_that_is_taken_back(catalogue: Catalogue, memory_id: int) -> None:
    bolt = inspection(1, category="bolt")
    catalogue.inspections.record([bolt])
    judged = call_good(catalogue, memory_id, bolt)
    assert judged.label == "good"
    assert judged.labelled_at is not None
    assert live(catalogue) == {judged.promoted_reference_id: bolt.id}
    assert catalogue.inspections.get(judged.id) == judged == call_good(catalogue, memory_id, bolt)
    assert catalogue.version() == 2
    assert catalogue.inspections.set_label(bolt.id, "defect").promoted_reference_id is None
    assert live(catalogue) == {}
    again = call_good(catalogue, memory_id, bolt).promoted_reference_id
    assert live(catalogue) == {again: bolt.id}
    assert catalogue.inspections.set_label(bolt.id, None) == bolt
    assert live(catalogue) == {}
    assert catalogue.inspections.set_label(bolt.id, None) == bolt
    assert [entry.after.get("confirmed") for entry in catalogue.audit.entries(action="inspection.labelled").items] == [
        None,
        ["unfamiliar"],
        None,
        ["unfamiliar"],
    ]
    with pytest.raises(InspectionNotFound):
        catalogue.inspections.set_label("x", "defect")
    with pytest.raises(InspectionNotFound):
        call_good(catalogue, memory_id, inspection(9))
    assert live(catalogue) == {}


def test_a_defect_has_a_class_and_a_comment_until_it_is_no_defect(catalogue: Catalogue) -> None:
    bolt = inspection(1, category="bolt")
    catalogue.inspections.record([bolt, inspection(2, category="bolt")])
    named = catalogue.inspections.set_label(bolt.id, "defect", {"defect_class": "dent", "comment": "top left"})
    assert (named.defect_class, named.comment) == ("dent", "top left")
    assert catalogue.inspections.set_label(bolt.id, "defect") == named
    assert catalogue.inspections.set_label(bolt.id, "defect", {"comment": None}).defect_class == "dent"
    assert [each.id for each in catalogue.inspections.iterate(InspectionFilter(defect_class="dent"))] == [bolt.id]
    assert InspectionFilter(defect_class="dent").matches(named)
    assert not InspectionFilter(defect_class="dent").matches(bolt)
    assert catalogue.inspections.set_label(bolt.id, None) == bolt
    changes = [(entry.before, entry.after) for entry in catalogue.audit.entries(action="inspection.labelled").items]
    assert [after.get("defect_class") for _, after in changes] == [None, "dent", "dent"]
    assert [before.get("comment") for before, _ in changes] == [None, "top left", None]


def test_confirmed_defects_are_counted_by_class_within_a_filter(catalogue: Catalogue) -> None:
    recorded = [inspection(number, station=("s1", "s2")[number % 2], category="bolt") for number in range(8)]
    catalogue.inspections.record(recorded)
    for number, name in enumerate(("dent", "dent", "nick", None, "dent", "nick")):
        catalogue.inspections.set_label(recorded[number].id, "defect", {"defect_class": name})
    counted = catalogue.inspections.pareto()
    assert [(bar.defect_class, bar.count) for bar in counted.bars] == [("dent", 3), ("nick", 2), (None, 1)]
    of_one = catalogue.inspections.pareto(InspectionFilter(station="s1", since=recorded[1].at))
    assert [(bar.defect_class, bar.count) for bar in of_one.bars] == [("dent", 1), ("nick", 1)]
    assert catalogue.inspections.pareto(InspectionFilter(label="good")).total == 0


def test_a_reference_that_somebody_else_made_is_not_taken_back_with_a_label(
    catalogue: Catalogue, memory_id: int
) -> None:
    catalogue.inspections.record([inspection(1, category="bolt")])
    [there] = add(catalogue, memory_id, "bolt", "x")
    assert call_good(catalogue, memory_id, inspection(1)).promoted_reference_id is None
    catalogue.inspections.set_label(inspection(1).id, None)
    assert live(catalogue) == {there: None}
    # Taken back by hand, it is made again, and now by this inspection.
    call_good(catalogue, memory_id, inspection(1))
    catalogue.references.remove([there])
    made = call_good(catalogue, memory_id, inspection(1)).promoted_reference_id
    assert live(catalogue) == {made: inspection(1).id}


def test_a_reference_stays_for_as_long_as_one_of_two_inspections_of_its_image_is_called_good(
    catalogue: Catalogue, memory_id: int
) -> None:
    first, second = inspection(1, category="bolt"), inspection(2, category="bolt")
    catalogue.inspections.record([first, second])
    made = call_good(catalogue, memory_id, first).promoted_reference_id
    assert call_good(catalogue, memory_id, second).promoted_reference_id == made
    catalogue.inspections.set_label(first.id, "defect")
    assert live(catalogue) == {made: first.id}
    catalogue.inspections.set_label(second.id, None)
    assert live(catalogue) == {}


def test_a_part_of_no_category_cannot_become_a_reference(catalogue: Catalogue, memory_id: int) -> None:
    catalogue.inspections.record([inspection(1)])
    with pytest.raises(ValueError, match="has no category"):
        call_good(catalogue, memory_id, inspection(1))
    assert catalogue.inspections.get(inspection(1).id).label is None


@pytest.mark.parametrize("label", ["good", None])
def test_what_was_said_and_its_reference_are_written_together_or_not_at_all(
    catalogue: Catalogue, memory_id: int, database: str, label: str | None
) -> None:
    bolt = inspection(1, category="bolt")
    catalogue.inspections.record([bolt])
    if label is None:
        call_good(catalogue, memory_id, bolt)
    before = (catalogue.inspections.get(bolt.id), live(catalogue), catalogue.version())
    engine = create_engine(database)
    with engine.begin() as connection:  # the process is cut off when it writes what was said
        if engine.dialect.name == "sqlite":
            refuse = "CREATE TRIGGER cut BEFORE UPDATE ON inspection BEGIN SELECT RAISE(ABORT, 'cut off'); END"
            connection.exec_driver_sql(refuse)
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION cut() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'cut off'; END $$ LANGUAGE plpgsql"
            )
            connection.exec_driver_sql("CREATE TRIGGER cut BEFORE UPDATE ON inspection EXECUTE FUNCTION cut()")
    say = (
        partial(call_good, catalogue, memory_id, bolt)
        if label
        else partial(catalogue.inspections.set_label, bolt.id, None)
    )
    with pytest.raises(DBAPIError, match="cut off"):
        say()
    assert before == (catalogue.inspections.get(bolt.id), live(catalogue), catalogue.version())
    engine.dispose()


def test_with_concurrent_feedback_a_part_is_good_exactly_while_its_image_is_a_reference(
    catalogue: Catalogue, memory_id: int, database: str
) -> None:
    bolt = inspection(1, category="bolt")
    catalogue.inspections.record([bolt])
    others = [Catalogue.open(database) for _ in range(3)]  # as of other replicas

    def act(number: int) -> None:
        mine = others[number % 3]
        if number % 4 == 0:
            mine.inspections.set_label(bolt.id, "defect" if number % 8 else None)
        elif number % 4 == 1 and (found := mine.inspections.get(bolt.id)).promoted_reference_id is not None:
            mine.references.remove([found.promoted_reference_id])
        else:
            call_good(mine, memory_id, bolt)

    with ThreadPoolExecutor(6) as pool:
        for turn in range(8):
            list(pool.map(act, range(turn, turn + 12)))
            found = catalogue.inspections.get(bolt.id)
            if found.label != "good":
                assert found.promoted_reference_id is None
                assert live(catalogue) == {}
            else:
                assert set(live(catalogue)) <= {found.promoted_reference_id}
            catalogue.inspections.set_label(bolt.id, None)
            assert live(catalogue) == {}
    for other in others:
        other.close()


def test_originals_are_known_while_a_reference_or_an_inspection_needs_them_and_a_month_beyond(
    catalogue: Catalogue, memory_id: int, database: str
) -> None:
    ids = add(catalogue, memory_id, "bolt", "a", "b")
    (a, b) = (image.image_sha256 for image in images("a", "b"))
    with_images = {"image_suffix": ".png", "stored_bytes": 9}
    catalogue.inspections.record([inspection(1), inspection(2, image_sha256="c" * 64, **with_images)])
    paths = {each: original_path(each, ".png") for each in (a, b, "c" * 64, "d" * 64)}

    def known() -> set[str]:
        assert catalogue.stored_files.named(paths.values()) == catalogue.stored_files.needed(paths.values())
        return {each for each, path in paths.items() if path in catalogue.stored_files.named(paths.values())}

    assert known() == {a, b, "c" * 64}
    catalogue.references.remove(ids[:1])
    assert known() == {a, b, "c" * 64}, "what was taken back by mistake cannot be restored"
    engine = connect(database)
    with engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        connection.execute(update(ReferenceRow).where(ReferenceRow.id == ids[0]).values(removed_at=long_ago))
    engine.dispose()
    assert known() == {b, "c" * 64}


# Several at once, and crashes


def check(root: Path, database: str, acknowledged: dict[int, int]) -> dict[int, int]:
    """Sweep, verify every file, and return image number by reference id: what is live."""
    folder = StoreParts.open(root, database)
    folder.sweep()
    indices = {hashlib.sha256(f"image {n}".encode()).hexdigest(): n for n in range(4_000)}
    live: dict[int, int] = {}
    used: set[str] = set()
    for part in folder.catalogue.segments.changes_since(0, folder.memory.id).added:
        codes = folder.segments.read(part.segment.name, part.segment.sha256).codes
        used.add(part.segment.name)
        for row in part.rows:
            digest = folder.catalogue.references.get(row.reference_id).image_sha256
            image = folder.originals.read(digest, ".png")
            assert np.array_equal(codes[row.row], arrays_of([image])[1][0])
            live[row.reference_id] = indices[digest]
    assert acknowledged.items() <= live.items()
    assert {path.name for path in (root / "segments").iterdir()} == used
    stored = {path.stem for path in (root / "originals").glob("*/*/*")}
    assert stored == {digest for digest, number in indices.items() if number in live.values()}
    versions = [version for version, _ in changes(database)]
    assert versions == list(range(1, len(versions) + 1))
    folder.catalogue.close()
    return live


def test_two_processes_append_to_one_new_folder_and_nothing_is_lost(tmp_path: Path, database: str) -> None:
    both = [Appending(tmp_path, database, "bolt", first, 40) for first in (0, 20)]
    answered_each = [list(appending.answers()) for appending in both]
    assert [appending.process.wait(60) for appending in both] == [0, 0]
    answered = {(reference_id, number) for answers in answered_each for _, reference_id, number in answers}
    assert len(answered) == 60  # the 20 images both had got one id each, whoever was first
    live = check(tmp_path, database, dict(answered))
    assert sorted(live.values()) == list(range(60))
    for answers in answered_each:
        versions = [version for version, _, _ in answers]
        assert versions == sorted(versions)


def test_threads_share_a_catalogue(catalogue: Catalogue, memory_id: int) -> None:
    def work(name: str) -> None:
        for index in range(8):
            (reference_id,) = add(catalogue, memory_id, name, f"{name}{index}")
            if index % 2:
                catalogue.references.remove([reference_id])
            catalogue.segments.changes_since(0, memory_id)

    threads = [threading.Thread(target=work, args=(f"category {index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [category.references for category in catalogue.categories.list()] == [4] * 4
    assert catalogue.version() == 1 + 4 * 8 + 4 * 4


def test_a_kill_while_the_database_is_being_made_leaves_one_that_opens(tmp_path: Path) -> None:
    chance = random.Random(3)
    for index in range(4):
        root = tmp_path / str(index)
        victim = Appending(root, url_of(root), "bolt", 0, 2_000).process
        while not (root / "catalogue.sqlite").exists():
            assert victim.poll() is None
            threading.Event().wait(0.001)
        threading.Event().wait(chance.uniform(0, 0.08))
        victim.kill()
        victim.wait()
        check(root, url_of(root), {})


def test_a_reference_survives_a_kill_after_its_acknowledgement(tmp_path: Path, database: str) -> None:
    chance = random.Random(7)
    acknowledged: dict[int, int] = {}
    first = 0
    for _ in range(6):
        victim = Appending(tmp_path, database, "bolt", first, 2_000)
        answers = victim.answers()
        for _ in range(chance.randrange(1, 12)):
            _, reference_id, number = next(answers)
            acknowledged[reference_id] = number
        threading.Event().wait(chance.uniform(0, 0.02))
        victim.process.kill()
        acknowledged |= {reference_id: number for _, reference_id, number in answers}
        victim.process.wait()
        live = check(tmp_path, database, acknowledged)
        assert sorted(live.values()) == list(range(len(live)))  # none doubled, none out of the middle
        assert len(live) - len(acknowledged) <= 2  # at most the append whose answer was on its way
        acknowledged, first = live, len(live)


def test_how_images_are_stored_is_noted_anew_by_their_digest(catalogue: Catalogue, memory_id: int) -> None:
    png, grey, colour = (
        encoding.to_json()
        for encoding in (
            Encoding("PNG", False, 8),
            Encoding("JPEG", True, 8, 90),
            Encoding("JPEG", True, 8, 90, "4:4:0"),
        )
    )
    references = [
        replace(image, encoding=encoding)
        for image, encoding in zip(images("a", "b", "c", "d"), (grey, grey, png, None), strict=True)
    ]
    for category in ("bolt", "nut"):
        catalogue.references.append(category, segment(4), references, memory_id, GEOMETRY)
    assert catalogue.references.encodings() == {grey, png}
    stored_grey = {(reference.image_sha256, ".png") for reference in references[:2]}
    assert catalogue.references.images_stored_as([grey]) == stored_grey
    assert catalogue.references.correct_encodings({references[1].image_sha256: colour}) == 2
    assert [reference.encoding for reference in catalogue.references.page().items] == [grey, colour, png, None] * 2
