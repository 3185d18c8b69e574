"""The published snapshot follows the catalogue: each change atomically, also with disk errors."""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.errors import CatalogueUnavailable, MemoryInactive
from indexer.memory import Codec, join
from indexer.references import snapshot_loader
from indexer.references.reference_store import ReferenceStore
from indexer.references.segment_writer import write_segment
from indexer.references.snapshot_loader import SnapshotLoader
from indexer.references.source_image import SourceImage
from indexer.storage.orphans import OrphanDeleter
from indexer.storage.segment_store import Segment, SegmentStore
from tests.helpers.random_features import feature_space, random_features
from tests.helpers.references import SPACE, add


def ids(reference_store: ReferenceStore) -> list[int]:
    """Live references of the snapshot; fails if one is there twice."""
    live = reference_store.memory.ids[reference_store.memory.rows_of()].tolist()
    assert len(set(live)) == len(live)
    return sorted(live)


class Disk:
    """Segment files that the system refuses to read, by name: `EIO` until they are forgiven."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bad: set[str] = set()
        read = SegmentStore.read

        def reading(store: SegmentStore, name: str, sha256: str) -> Segment:
            if name in self.bad:
                raise OSError(errno.EIO, "Input/output error")
            return read(store, name, sha256)

        monkeypatch.setattr(SegmentStore, "read", reading)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[ReferenceStore, ReferenceStore]]:
    """One that adds, one that follows, on the same folder."""
    one, two = (ReferenceStore.open(tmp_path, SPACE) for _ in range(2))
    yield one, two
    one.close()
    two.close()


def segments(reference_store: ReferenceStore) -> list[str]:
    return [segment.segment.name for segment in reference_store.catalogue.segments.of(reference_store.memory_id)]


def test_an_io_error_during_a_refresh_keeps_the_snapshot_and_the_next_refresh_works(
    pair: tuple[ReferenceStore, ReferenceStore], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_loader, "_LOAD_BATCH", 2)  # so that something is in the arena before the error
    writer, follower = pair
    first = add(writer, "disc", 1, 2)
    before = follower.refresh()
    more = [reference_id for index in range(1, 5) for reference_id in add(writer, "disc", 10 * index, 10 * index + 1)]
    writer.remove(first[:1])
    disk.bad = set(segments(writer)[-1:])
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output error"):
            follower.refresh()
        assert follower.memory is before
        assert follower.corrupt_segments == ()
    retrieved = follower.memory.nearest_references(random_features(SPACE, 1, 1).global_descriptors[0].numpy(), 5)
    assert sorted(follower.memory.ids[retrieved.rows].tolist()) == first
    disk.bad.clear()
    follower.refresh()
    assert ids(follower) == ids(writer) == [first[1], *more]
    for seed in (2, 10, 40):
        descriptor = random_features(SPACE, 1, seed).global_descriptors[0].numpy()
        for reference_store in pair:
            [best] = reference_store.memory.nearest_references(descriptor, 1).rows
            expected = reference_store.memory.codec.encode(random_features(SPACE, 1, seed)).codes[0]
            np.testing.assert_array_equal(reference_store.memory.codes_of(int(best)).numpy(), expected)


def test_a_catalogue_failure_during_a_refresh_keeps_the_snapshot(
    pair: tuple[ReferenceStore, ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, follower = pair
    add(writer, "disc", 1)
    before = follower.memory
    with monkeypatch.context() as away:

        def gone() -> None:
            raise CatalogueUnavailable("away")

        away.setattr(follower.catalogue.categories, "settings", gone)
        with pytest.raises(CatalogueUnavailable):
            follower.refresh()
    assert follower.memory is before
    follower.refresh()
    assert ids(follower) == ids(writer)


def test_an_unreadable_file_does_not_block_others_and_is_loaded_once_readable(
    pair: tuple[ReferenceStore, ReferenceStore],
    disk: Disk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer, follower = pair
    lost = add(writer, "disc", 1, 2)
    add(writer, "disc", 3)
    disk.bad = set(segments(writer)[:1])
    with pytest.raises(OSError, match="Input/output error"):
        follower.refresh()
    monkeypatch.setattr(SnapshotLoader.refresh, "__defaults__", (0.0,))
    with caplog.at_level(logging.ERROR, "touchstone"):
        follower.refresh()
        follower.reload_damaged()
        follower.refresh()
    [damage] = follower.corrupt_segments
    assert (damage.name, damage.reason) == (segments(writer)[0], "unreadable")
    assert len([record for record in caplog.records if damage.name in record.message]) == 1
    assert ids(follower) == [identifier for identifier in ids(writer) if identifier not in lost]
    later = add(writer, "disc", 4)
    writer.remove(lost[:1])
    disk.bad.clear()
    follower.reload_damaged()
    assert follower.corrupt_segments == ()
    assert ids(follower) == ids(writer)
    assert set(later) <= set(ids(follower))
    add(writer, "disc", 5)
    follower.refresh()
    assert ids(follower) == ids(writer)


def test_a_folder_with_an_unreadable_segment_opens_without_it(tmp_path: Path, disk: Disk) -> None:
    reference_store = ReferenceStore.open(tmp_path, SPACE)
    add(reference_store, "disc", 1)
    stored = add(reference_store, "disc", 2)
    disk.bad = set(segments(reference_store)[:1])
    reference_store.close()
    reopened = ReferenceStore.open(tmp_path, SPACE)
    assert [corrupt_segment.reason for corrupt_segment in reopened.corrupt_segments] == ["unreadable"]
    assert ids(reopened) == stored
    reopened.close()


def test_what_is_committed_is_acknowledged_although_it_cannot_be_published_yet(
    pair: tuple[ReferenceStore, ReferenceStore], disk: Disk
) -> None:
    writer, follower = pair
    first = add(writer, "disc", 1)
    disk.bad = set(segments(writer))
    added = add(follower, "disc", 2)  # whose refresh meets the file that cannot be read
    assert follower.memory.version < writer.refresh().version
    disk.bad.clear()
    follower.refresh()
    assert ids(follower) == [*first, *added]


def test_settings_are_published_with_the_snapshot(pair: tuple[ReferenceStore, ReferenceStore]) -> None:
    writer, follower = pair
    add(writer, "disc", 1)
    assert writer.published.settings["disc"].k == 150
    writer.change_settings("disc", {"k": 7})
    assert (writer.published.settings["disc"].k, follower.published.settings) == (7, {})
    follower.refresh()
    assert follower.published.settings["disc"].k == 7
    writer.remove_category("disc")
    assert writer.published.settings == {}


def data_of(reference_store: ReferenceStore) -> Path:
    return Path(reference_store.files._path).parent


def switched(reference_store: ReferenceStore, codec: str, fingerprint: str = SPACE.fingerprint) -> int:
    """Serve the same references in another memory, as a rebuild does; returns the memory's number."""
    space = feature_space(fingerprint=fingerprint)
    made = reference_store.catalogue.memories.prepare(space.to_json(), fingerprint, codec)
    live = reference_store.catalogue.references.page(limit=1000).items
    seeds = [int(reference.filename.removesuffix(".png")) for reference in live]
    parts = [Codec.from_name(codec, space.dim).encode(random_features(space, 1, seed)) for seed in seeds]
    with reference_store.files.shared():
        store = SegmentStore(data_of(reference_store) / "segments", reference_store.files)
        for category in {reference.category for reference in live}:
            own = [index for index, reference in enumerate(live) if reference.category == category]
            segment = write_segment(store, join([parts[index] for index in own]), space)
            geometry = reference_store.catalogue.geometries.ensure(
                made.id, category, reference_store.geometry_of(category).to_json()
            )
            reference_store.catalogue.geometries.place(
                geometry.id, segment, {live[index].id: row for row, index in enumerate(own)}
            )
    old = reference_store.memory_id
    reference_store.catalogue.memories.switch(made.id)
    reference_store.catalogue.memories.retire(old)
    files = reference_store.catalogue.stored_files
    for _ in OrphanDeleter(data_of(reference_store), reference_store.files, files.named, files.needed).orphans(
        "segments"
    ):
        pass
    return made.id


def test_a_memory_of_another_codec_is_taken_over(pair: tuple[ReferenceStore, ReferenceStore]) -> None:
    writer, follower = pair
    known = add(writer, "disc", 1, 2, 3)
    before = follower.refresh()
    made = switched(writer, "int8")
    late = before.codec.encode(random_features(SPACE, 1, 9))
    after = follower.refresh()
    assert (follower.memory_id, after.codec.name) == (made, "int8")
    assert ids(follower) == known
    expected = after.codec.encode(random_features(SPACE, 1, 2)).codes[0]
    np.testing.assert_array_equal(after.codes_of(after.row_of(known[1])).numpy(), expected)
    # What was encoded for the old memory is not written into the new one.
    data = b"late"
    digest = hashlib.sha256(data).hexdigest()
    with pytest.raises(MemoryInactive):
        follower.add("disc", [SourceImage("9.png", data, digest, ".png", 4, 3)], {digest: late})
    more = add(follower, "disc", 4)
    writer.refresh()
    assert ids(writer) == ids(follower) == [*known, *more]


def test_removals_and_settings_are_followed_while_another_codec_is_loaded(
    pair: tuple[ReferenceStore, ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, follower = pair
    known = add(writer, "disc", 1, 2, 3)
    before = follower.refresh()
    switched(writer, "int8")
    loading, go_on = threading.Event(), threading.Event()
    read = SegmentStore.read

    def slowly(store: SegmentStore, name: str, sha256: str) -> Segment:
        loading.set()
        assert go_on.wait(20)
        return read(store, name, sha256)

    monkeypatch.setattr(SegmentStore, "read", slowly)
    sync = threading.Thread(target=follower.refresh)
    sync.start()
    assert loading.wait(20)
    follower.remove(known[:1])
    follower.change_settings("disc", {"k": 3})
    assert follower.refresh().codec is before.codec, "another caller does not load it a second time"
    assert ids(follower) == known[1:]
    assert (follower.published.settings["disc"].k, follower.published.superseded_by) == (3, None)
    go_on.set()
    sync.join()
    assert follower.refresh().codec.name == "int8"
    assert ids(follower) == known[1:]
    assert follower.published.settings["disc"].k == 3


def test_a_folder_opens_with_whatever_codec_it_holds_unless_another_is_asked_for(
    pair: tuple[ReferenceStore, ReferenceStore],
) -> None:
    writer, _ = pair
    add(writer, "disc", 1)
    switched(writer, "int8")
    reopened = ReferenceStore.open(data_of(writer), SPACE)
    assert reopened.memory.codec.name == "int8"
    reopened.close()


def test_after_a_switch_to_another_encoder_removals_and_settings_are_still_followed(
    pair: tuple[ReferenceStore, ReferenceStore], caplog: pytest.LogCaptureFixture
) -> None:
    writer, follower = pair
    known = add(writer, "disc", 1, 2, 3)
    version = follower.refresh().version
    switched(writer, "fp16", "e" * 64)
    with caplog.at_level(logging.ERROR, "touchstone"):
        for _ in range(5):
            assert follower.refresh().version == version
    assert len(caplog.records) == 1
    assert follower.published.superseded_by == "random (88 × 72 → 80 × 64 pixels, eeeeeeeeeeee)"
    assert ids(follower) == known
    with pytest.raises(MemoryInactive):
        add(follower, "disc", 4)
    follower.remove(known[:1])
    follower.change_settings("disc", {"k": 3})
    assert ids(follower) == known[1:]
    assert follower.published.settings["disc"].k == 3
    assert follower.memory.version == version
    # Once the folder holds a memory of this encoder again, it is followed as before.
    back = ReferenceStore.open(data_of(writer), feature_space(fingerprint="e" * 64))
    assert len(back.memory) == 2
    switched(back, "fp16")
    back.close()
    follower.refresh()
    assert follower.published.superseded_by is None
    assert ids(follower) == known[1:]
    assert add(follower, "disc", 5)[0] in ids(follower)
