"""Retention: the newest inspections within every limit remain, defects have limits of their own, and no unused file
remains.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.engine import connect
from indexer.catalogue.retention import Retention
from indexer.catalogue.stored_files import StoredFiles
from indexer.catalogue.transactions import Transactions
from indexer.domain.errors import CatalogueMismatch
from indexer.domain.retention import PruneTarget, RetentionGroup, RetentionLimits
from indexer.history.policy import RetentionPolicy
from indexer.history.pruner import Pruner
from indexer.jobs.verify import verify
from tests.helpers.new_catalogue import new_catalogue
from tests.helpers.stored_history import IMAGE, MAP, NOON, THUMBNAIL, History, digest, image, inspection

ROOT = Path(__file__).parents[3]


@pytest.fixture
def history(tmp_path: Path, database: str) -> Iterator[History]:
    begun = History.begin(tmp_path / "data", database)
    yield begun
    begun.catalogue.close()


def newest(minutes: list[int], bounds: RetentionLimits, size: int) -> set[int]:
    """What a bound keeps, told the simplest way: from the newest back, while nothing is beyond it."""
    stored: set[int] = set()
    for minute in sorted(minutes, reverse=True):
        too_many = bounds.count is not None and len(stored) >= bounds.count
        too_large = bounds.bytes is not None and (len(stored) + 1) * size > bounds.bytes
        too_old = bounds.age is not None and NOON + timedelta(minutes=minute) < datetime.now(UTC) - bounds.age
        if too_many or too_large or too_old:
            break
        stored.add(minute)
    return stored


some_bounds = st.builds(
    RetentionLimits,
    count=st.none() | st.integers(0, 12),
    age=st.none()
    | st.integers(-2, 14).map(lambda minutes: datetime.now(UTC) - NOON - timedelta(minutes=minutes - 0.5)),
    bytes=st.none() | st.integers(0, 12 * (IMAGE + MAP)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.tuples(st.sampled_from(["bolt", "nut", None]), st.booleans()), max_size=12),
    bounds=st.fixed_dictionaries(dict.fromkeys(("inspections", "images", "defects", "defect_images"), some_bounds)),
)
def test_exactly_the_newest_within_every_bound_are_kept(
    history: History, kinds: list[tuple[str | None, bool]], bounds: dict[str, RetentionLimits]
) -> None:
    history.prune(inspections=RetentionLimits(count=0), defects=RetentionLimits(count=0))
    history.record(
        *(
            inspection(index, category=category, verdict="anomalous" if defect else "normal")
            for index, (category, defect) in enumerate(kinds)
        )
    )
    history.prune(**bounds)
    rows, images = set[int](), set[int]()
    for kind in set(kinds):
        indices = [index for index, other_kind in enumerate(kinds) if other_kind == kind]
        whole, shown = ("defects", "defect_images") if kind[1] else ("inspections", "images")
        alive = newest(indices, bounds[whole], THUMBNAIL)
        rows |= alive
        # Bounds of images are applied to what the bounds of inspections were going to leave, and to no less.
        images |= alive & newest(indices, bounds[shown], IMAGE + MAP)
    assert (set(history.numbers()), set(history.with_images())) == (rows, images)
    assert history.files() == history.needed()
    assert len(history.needed()) == len(rows) + 2 * len(images)


def test_a_label_overrides_the_verdict(history: History) -> None:
    history.record(*(inspection(index, verdict="anomalous") for index in range(2)), inspection(2), inspection(3))
    history.call_good(0)
    history.catalogue.inspections.set_label(inspection(3).id, "defect")
    history.prune(images=RetentionLimits(count=0), inspections=RetentionLimits(count=1))
    assert (history.numbers(), history.with_images()) == ([1, 2, 3], [1, 3])
    history.call_good(1)
    history.catalogue.inspections.set_label(inspection(3).id, None)
    history.prune(inspections=RetentionLimits(count=1))
    assert history.numbers() == [3]


def test_an_inspection_without_its_image_keeps_everything_else(history: History) -> None:
    history.record(inspection(0))
    history.prune(images=RetentionLimits(count=0))
    assert history.catalogue.inspections.get(inspection(0).id) == replace(
        inspection(0), stored_bytes=None, map_name=None
    )
    assert history.files() == {f"inspections/{inspection(0).id}.jpg"}
    assert verify(history.place, lambda *_: None).damaged == ()


def test_an_image_stays_while_another_inspection_or_a_reference_has_it(history: History) -> None:
    history.record(inspection(0), inspection(1), inspection(5, image_sha256=digest(image(0))))
    (reference,) = history.folder.append("bolt", [image(1)]).reference_ids
    history.prune(images=RetentionLimits(count=1))
    assert history.with_images() == [5]
    assert history.folder.originals.read(digest(image(0)), ".png") == image(0)
    assert history.folder.originals.read(digest(image(1)), ".png") == image(1)
    history.catalogue.references.remove([reference])
    history.prune(inspections=RetentionLimits(count=0))
    # The reference can still be restored; the other image nothing needs.
    assert {Path(path).stem for path in history.files()} == {digest(image(1))}
    assert history.catalogue.retention.pending().count == 0


def test_an_image_that_is_inspected_again_before_its_file_is_deleted_stays(history: History) -> None:
    history.record(inspection(0))
    retention = history.catalogue.retention
    [holding] = retention.usage()
    cut = retention.plan(holding.group, "inspections", RetentionLimits(count=0), datetime.now(UTC))
    assert cut is not None
    assert retention.size_of(cut) == retention.prune(cut, 10)
    assert retention.pending().count == 3
    history.record(inspection(0))
    for _ in history.pruner().prune_beyond_limits(()):
        pass
    assert retention.pending().count == 0
    assert history.files() == history.needed()
    assert len(history.files()) == 3


def test_files_wait_while_anyone_is_recording_and_go_afterwards(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.storage.orphans._PATIENCE", 0.02)
    history.record(*map(inspection, range(3)))
    with history.folder.lock.shared():
        history.prune(inspections=RetentionLimits(count=1))
        assert history.numbers() == [2]
        assert len(history.files()) == 9
    assert history.catalogue.retention.pending().count == 6
    history.prune()
    assert history.files() == history.needed()


def test_no_file_is_deleted_of_a_folder_that_was_mounted_in_place_of_this_one(history: History, tmp_path: Path) -> None:
    history.record(inspection(0))
    other = History.begin(tmp_path / "other", new_catalogue(tmp_path / "other.sqlite"))
    other.record(inspection(1))
    pruner, before = history.pruner(), other.files()
    history.data.rename(tmp_path / "unmounted")
    other.data.rename(history.data)
    with pytest.raises(CatalogueMismatch):
        list(pruner.delete_orphans())
    assert history.files() == before
    other.catalogue.close()


def test_what_crashes_left_is_found_by_looking_at_every_file(history: History) -> None:
    history.record(inspection(0), inspection(1))
    history.prune(images=RetentionLimits(count=1))
    orphan = history.folder.originals.write(image(9), ".png")
    cut_short = history.folder.originals.path(orphan, ".png").with_name(f"{orphan}.png.0123.tmp")
    cut_short.write_bytes(b"half")
    (history.data / "coresets").mkdir()
    (history.data / "coresets" / f"{'0' * 32}.coreset").write_bytes(b"left")
    for name in (f"{inspection(9).id}.png", f"{inspection(9).id}.jpg", f"{inspection(0).id}.png"):
        (history.data / "inspections" / name).write_bytes(b"left")
    needed = history.needed()
    assert len(history.files() - needed) == 6
    steps = list(history.pruner().delete_orphans())
    assert history.files() == needed
    assert sum(step.amount.count for step in steps) == 6
    assert sum(step.amount.bytes for step in steps) == IMAGE + 5 * 4


def test_when_room_is_short_the_oldest_images_of_good_parts_go_first_and_defects_stay(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.record(
        *(
            inspection(
                index, category=("bolt", "nut", "cog")[index % 3], verdict="unfamiliar" if index in (0, 4) else "normal"
            )
            for index in range(12)
        )
    )
    room = {"free": 10_000}

    def usage(_: Path) -> shutil._ntuple_diskusage:
        gone = 12 - len(list((history.data / "originals").rglob("*.png")))
        return shutil._ntuple_diskusage(100_000, 0, room["free"] + gone * (IMAGE + MAP))

    monkeypatch.setattr(shutil, "disk_usage", usage)

    def make_room(least: int) -> None:
        for step in Pruner(history.place, history.catalogue, RetentionPolicy(), least).free_disk_space():
            assert step.reason in ("disk_space", None)

    make_room(5_000)
    assert history.with_images() == list(range(12)), "twice the least was free"
    make_room(6_000)  # 2,000 bytes are missing: two images
    assert history.with_images() == [0, *range(3, 12)]
    assert history.numbers() == list(range(12))
    make_room(50_000)
    assert history.with_images() == [0, 4], "even if that is not enough"
    assert history.files() == history.needed()


def test_room_that_pending_files_will_give_back_is_not_taken_twice(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.storage.orphans._PATIENCE", 0.02)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100_000, 0, 10_000))
    history.record(*map(inspection, range(10)))
    pruner = Pruner(history.place, history.catalogue, RetentionPolicy(), 6_000)
    with history.folder.lock.shared():
        for _ in range(3):
            for _ in pruner.free_disk_space():
                pass
    assert history.with_images() == list(range(2, 10))


def test_the_holdings_are_what_is_there(history: History) -> None:
    history.record(
        inspection(0),
        inspection(1),
        inspection(2, verdict="anomalous"),
        inspection(3, category=None),
        inspection(4, category="nut", thumbnail_bytes=None),
    )
    history.prune(images=RetentionLimits(count=1))
    usages = [
        (
            usage.group.category,
            usage.group.defect,
            usage.inspections,
            usage.images,
            usage.image_bytes,
            usage.thumbnail_bytes,
            usage.oldest,
        )
        for usage in history.catalogue.retention.usage()
    ]
    whole = IMAGE + MAP
    assert usages == [
        (None, False, 1, 1, whole, THUMBNAIL, inspection(3).at),
        ("bolt", False, 2, 1, whole, 2 * THUMBNAIL, inspection(0).at),
        ("bolt", True, 1, 1, whole, THUMBNAIL, inspection(2).at),
        ("nut", False, 1, 1, whole, 0, inspection(4).at),
    ]
    history.folder.append("nut", [image(7), image(8)])
    [nut] = history.catalogue.retention.reference_usage()
    assert (nut.category, nut.references) == ("nut", 2)
    assert nut.code_bytes == sum(path.stat().st_size for path in (history.data / "segments").iterdir())


_EITHER: tuple[PruneTarget, PruneTarget] = ("inspections", "images")


def test_pruning_queries_use_indexes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.sqlite"
    catalogue = Catalogue.open(url)
    catalogue.inspections.record([inspection(index) for index in range(3)])
    catalogue.close()
    engine = connect(url)
    requested: list[tuple[str, tuple[object, ...]]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: requested.append((given[2], given[3])))
    retention = Retention(Transactions(engine))
    for what in _EITHER:
        cut = retention.plan(
            RetentionGroup("bolt", False), what, RetentionLimits(2, timedelta(1), 1), datetime.now(UTC)
        )
        assert cut is not None
        retention.size_of(cut)
    retention.usage()
    StoredFiles(Transactions(engine)).needed([f"originals/aa/bb/{digest(b'')}.png", "inspections/1.png"])
    retention.prune(cut, 1)
    with engine.connect() as connection:
        plans = [
            " | ".join(str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given))
            for statement, given in list(requested)
            if statement.startswith(("SELECT", "UPDATE inspection"))
        ]
    engine.dispose()
    assert len(plans) == 22
    assert [plan for plan in plans if "INDEX" not in plan] == []
