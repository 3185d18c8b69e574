"""A memory in mapped segment files: the same answers, nothing read at the start, damage detected afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.memory import CODEC_NAMES, MemoryBank, capacity
from indexer.references.reference_store import ReferenceStore
from indexer.search import PatchSearchEngine
from indexer.storage.segment_store import SegmentStore
from tests.helpers.memory_banks import ENGINES
from tests.helpers.random_features import feature_space, random_features
from tests.helpers.references import SPACE, add


@pytest.fixture
def stores() -> Iterator[list[ReferenceStore]]:
    """Those that a test opens, for closing."""
    opened: list[ReferenceStore] = []
    yield opened
    for store in opened:
        store.close()


def live(store: ReferenceStore) -> list[int]:
    ids = store.memory.ids[store.memory.rows_of()].tolist()
    assert len(set(ids)) == len(ids)
    return sorted(ids)


def place_in_codes(segment: Path) -> int:
    """A place in a segment file that is within its codes, which lie at its end."""
    return segment.stat().st_size - 5


def damage(segment: Path) -> bytes:
    """Change one byte of the codes; returns what the file was."""
    whole = segment.read_bytes()
    with segment.open("r+b") as file:
        file.seek(place_in_codes(segment))
        file.write(bytes([whole[place_in_codes(segment)] ^ 1]))
    return whole


def segment_files(data: Path) -> list[Path]:
    return sorted((data / "segments").iterdir())


def deleted_files_in_use() -> list[str]:
    """Mappings of this process whose files have been deleted, and take room on the disk until they end."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if ".segment (deleted)" in line]


def patches_of(memory: MemoryBank) -> dict[int, bytes]:
    return {int(memory.ids[row]): memory.codes_of(int(row)).numpy().tobytes() for row in memory.rows_of()}


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_answers_are_the_same_to_the_bit(
    engine: PatchSearchEngine, codec: str, tmp_path: Path, stores: list[ReferenceStore]
) -> None:
    space = feature_space(grid=(1, 2))  # Triton's interpreter takes its time for each cell
    resident = ReferenceStore.open(tmp_path, space, codec=codec, mmap_codes=False)
    follower = ReferenceStore.open(tmp_path, space, mmap_codes=True)
    stores += [resident, follower]
    added = add(resident, "disc", *range(10))
    added += add(resident, "disc", 50)
    resident.remove(added[2:7:2])  # what is left lies in several runs
    follower.refresh()
    opened = ReferenceStore.open(tmp_path, space, mmap_codes=True)
    stores.append(opened)
    query = random_features(space, 1, 99)

    def answers(memory: MemoryBank) -> list[tuple[list[int], bytes, bytes]]:
        found = []
        for k in (5, 150):  # some of them, and all
            retrieved = memory.nearest_references(query.global_descriptors[0].numpy(), k)
            best = engine.max_similarity(memory, query.patches[0], retrieved.rows, 1)
            found.append((memory.ids[retrieved.rows].tolist(), retrieved.similarities.tobytes(), best.tobytes()))
        return found

    expected = answers(resident.memory)
    for mapped in (follower, opened):
        assert mapped.memory.mapped
        assert patches_of(mapped.memory) == patches_of(resident.memory)
        assert answers(mapped.memory) == expected


def test_nothing_is_read_at_the_start_and_damage_is_found_afterwards(
    tmp_path: Path, stores: list[ReferenceStore]
) -> None:
    writer = ReferenceStore.open(tmp_path, SPACE)
    stores.append(writer)
    lost = add(writer, "disc", 1, 2)
    [segment] = segment_files(tmp_path)
    kept = add(writer, "disc", 3)
    whole = damage(segment)
    store = ReferenceStore.open(tmp_path, SPACE, mmap_codes=True)
    stores.append(store)
    assert live(store) == [*lost, *kept]
    assert (len(store.published.unverified), store.corrupt_segments) == (2, ())
    pauses: list[None] = []
    before = store.memory
    store.verify_mapped(lambda: pauses.append(None))
    assert len(pauses) >= 2
    assert live(store) == kept
    assert [(error.name, error.reason) for error in store.corrupt_segments] == [(segment.name, "checksum")]
    assert store.published.unverified == ()
    assert len(before) == 3, "a snapshot does not change"
    later = add(store, "disc", 4)
    store.reload_damaged()
    assert live(store) == [*kept, *later]
    segment.write_bytes(whole)
    store.reload_damaged()
    assert live(store) == [*lost, *kept, *later]
    assert store.corrupt_segments == ()
    assert store.published.unverified == ()
    assert patches_of(store.memory) == patches_of(writer.refresh())


def test_a_segment_of_another_size_is_not_mapped(tmp_path: Path, stores: list[ReferenceStore]) -> None:
    writer = ReferenceStore.open(tmp_path, SPACE)
    stores.append(writer)
    add(writer, "disc", 1)
    [cut] = segment_files(tmp_path)
    kept = add(writer, "disc", 2)
    cut.write_bytes(cut.read_bytes()[:-1])
    store = ReferenceStore.open(tmp_path, SPACE, mmap_codes=True)
    stores.append(store)
    assert live(store) == kept
    assert [error.reason for error in store.corrupt_segments] == ["truncated"]


def test_what_is_added_is_verified_before_it_is_published(tmp_path: Path, stores: list[ReferenceStore]) -> None:
    writer, follower = (ReferenceStore.open(tmp_path, SPACE, mmap_codes=mapped) for mapped in (False, True))
    stores += [writer, follower]
    first = add(writer, "disc", 1)
    follower.refresh()
    add(writer, "disc", 2)
    for segment in segment_files(tmp_path):
        if segment.name not in follower.published.mapped:
            damage(segment)
    follower.refresh()
    assert live(follower) == first
    assert [error.reason for error in follower.corrupt_segments] == ["checksum"]


def test_a_disk_that_refuses_to_be_read_for_a_while_is_no_damage(
    tmp_path: Path, stores: list[ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ReferenceStore.open(tmp_path, SPACE)
    stores.append(writer)
    ids = add(writer, "disc", 1)
    store = ReferenceStore.open(tmp_path, SPACE, mmap_codes=True)
    stores.append(store)

    def refused(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(SegmentStore, "verify", refused)
        with pytest.raises(OSError, match="Input/output error"):
            store.verify_mapped(lambda: None)
    assert (live(store), len(store.published.unverified)) == (ids, 1)
    store.verify_mapped(lambda: None)
    assert store.published.unverified == ()


def test_after_a_compaction_the_new_file_is_mapped_and_the_old_ones_are_let_go(
    tmp_path: Path, stores: list[ReferenceStore]
) -> None:
    store = ReferenceStore.open(tmp_path, SPACE, mmap_codes=True)
    other = ReferenceStore.open(tmp_path, SPACE, mmap_codes=True)
    stores += [store, other]
    ids = [reference for seed in range(5) for reference in add(store, "disc", seed)]
    store.remove(ids[1:2])
    other.refresh()
    expected = patches_of(store.memory)
    before = len(deleted_files_in_use())
    assert store.compact() == 5
    for mapped in (store, other):
        mapped.refresh()
        assert patches_of(mapped.memory) == expected
        assert mapped.memory.rows == 4
        assert list(mapped.published.mapped) == [file.name for file in segment_files(tmp_path)]
        mapped.verify_mapped(lambda: None)
        assert mapped.published.unverified == ()
    assert len(deleted_files_in_use()) <= before
    assert live(store) == sorted({*ids} - {ids[1]})


def test_rows_of_many_removed_references_are_let_go(
    tmp_path: Path, stores: list[ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("indexer.references.snapshot_loader._MAX_REMOVED", 2)
    store = ReferenceStore.open(tmp_path, SPACE, mmap_codes=True)
    stores.append(store)
    ids = add(store, "disc", *range(12))
    store.remove(ids[:9])
    store.remove(ids[9:10])
    assert (live(store), store.memory.rows) == (ids[10:], 2)


def test_a_memory_that_outgrows_the_machine_is_mapped_from_then_on(
    tmp_path: Path, stores: list[ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ReferenceStore.open(tmp_path, SPACE)
    stores.append(store)
    ids = add(store, "disc", 1, 2)
    each = store.memory.code_bytes // 2
    assert not store.memory.mapped
    monkeypatch.setattr(capacity, "available_bytes", lambda: 5 * each)
    ids += add(store, "disc", 3)
    assert not store.memory.mapped
    expected = patches_of(store.memory)
    ids += add(store, "disc", 4, 5)
    assert store.memory.mapped
    assert live(store) == ids
    assert expected.items() <= patches_of(store.memory).items()
    never = ReferenceStore.open(tmp_path, SPACE, mmap_codes=False)
    stores.append(never)
    assert not never.memory.mapped
    assert patches_of(never.memory) == patches_of(store.memory)


def test_a_refresh_that_fails_midway_leaves_a_mapped_memory_as_it_was(
    tmp_path: Path, stores: list[ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, follower = (ReferenceStore.open(tmp_path, SPACE, mmap_codes=mapped) for mapped in (False, True))
    stores += [writer, follower]
    add(writer, "disc", 1)
    before = follower.refresh()
    add(writer, "disc", 2)
    add(writer, "disc", 3)

    def gone() -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as away:
        away.setattr(follower.catalogue.categories, "settings", gone)
        with pytest.raises(OSError, match="Input/output error"):
            follower.refresh()
    assert follower.memory is before
    follower.refresh()
    assert patches_of(follower.memory) == patches_of(writer.memory)
