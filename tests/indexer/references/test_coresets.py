"""Coresets of a data folder: used by every process, exact beside new references, never of some that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.coreset import CoresetResult, CoresetTarget
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.snapshot import Shard
from indexer.jobs.condense import category_snapshot, condense, put_to_use
from indexer.memory import MemoryBank
from indexer.references import snapshot_loader
from indexer.references.reference_shard import Coding, ReferenceShard, ShardQuery
from indexer.references.reference_store import ReferenceStore
from indexer.references.stored_calibrations import read_stored
from indexer.scoring.scoring import score_image
from indexer.steps import run_to_end
from tests.helpers.memory_banks import ENGINES
from tests.helpers.random_features import random_features
from tests.helpers.references import SPACE, add

ENGINE = ENGINES[0]
SCORING = ScoringSettings(k=3, rho=1)


@pytest.fixture
def stores() -> Iterator[list[ReferenceStore]]:
    """Those that a test opens, for closing."""
    opened: list[ReferenceStore] = []
    yield opened
    for store in opened:
        store.close()


def opened(data: Path, stores: list[ReferenceStore], mmap_codes: bool | None = None) -> ReferenceStore:
    stores.append(ReferenceStore.open(data, SPACE, mmap_codes=mmap_codes))
    return stores[-1]


def condensed(store: ReferenceStore, category: str = "disc", share: float = 0.4) -> CoresetResult:
    record = store.catalogue.coresets.request(category, CoresetTarget(share=share))
    memory, memory_id = category_snapshot(store.folder, store.catalogue, category)
    done = run_to_end(condense(record, memory, ENGINE, SCORING))
    return put_to_use(store.folder, store.catalogue, memory_id, done)


def distances(memory: MemoryBank, category: str = "disc", seed: int = 99) -> np.ndarray:
    return score_image(memory, ENGINE, random_features(SPACE, 1, seed), SCORING, category).distances


def coreset_file(data: Path) -> Path:
    [file] = (data / "coresets").iterdir()
    return file


@pytest.mark.parametrize("mmap_codes", [None, True])
def test_every_process_searches_it_and_so_does_the_next(
    tmp_path: Path, stores: list[ReferenceStore], mmap_codes: bool | None
) -> None:
    store = opened(tmp_path, stores, mmap_codes)
    other = opened(tmp_path, stores)
    add(store, "disc", *range(12))
    add(store, "plate", *range(20, 24))
    other.refresh()
    plates, codes = distances(store.memory, "plate"), store.memory.code_bytes
    result = condensed(store)
    assert (result.references, result.patches) == (12, 5)
    expected = distances(store.refresh())
    assert store.memory.coresets["disc"].id
    assert len(store.memory) == 16
    assert store.memory.code_bytes == codes * 9 // 16, "5 rows of the coreset, and 4 plates"
    for memory in (other.refresh(), opened(tmp_path, stores, mmap_codes).memory):
        assert np.array_equal(distances(memory), expected)
        assert np.array_equal(distances(memory, "plate"), plates)
    # What it stands for is mapped: nothing but a leave-one-out search reads it.
    names = {usage.segment.name for usage in store.catalogue.segments.of(store.memory_id)}
    assert set(store.published.mapped) == (names if mmap_codes else {next(iter(store.published.mapped))})
    store.verify_mapped(lambda: None)
    assert store.published.unverified == ()
    assert read_stored(store, "disc") is not None


def test_references_come_and_go_beside_it(tmp_path: Path, stores: list[ReferenceStore]) -> None:
    store = opened(tmp_path, stores)
    first = add(store, "disc", *range(12))
    condensed(store)
    [added] = add(store, "disc", 99)
    assert store.memory.coresets.keys() == {"disc"}
    assert distances(store.memory).max() < 1e-3, "the image is a reference now"
    restarted = opened(tmp_path, stores)
    assert np.array_equal(distances(restarted.memory), distances(store.memory))
    store.remove([added])
    assert distances(store.memory).max() > 0.1
    assert store.memory.coresets.keys() == {"disc"}
    store.remove([first[0]])  # which it stands for
    assert store.memory.coresets == {}
    for memory in (restarted.refresh(), opened(tmp_path, stores).memory):
        assert memory.coresets == {}
        assert np.array_equal(distances(memory), distances(store.memory))
    condensed(store)
    assert store.refresh().coresets.keys() == {"disc"}
    assert len(store.memory.coresets["disc"].references) == 11


def test_dropping_it_searches_the_references_again(tmp_path: Path, stores: list[ReferenceStore]) -> None:
    store = opened(tmp_path, stores)
    add(store, "disc", *range(12))
    before = distances(store.memory)
    condensed(store)
    assert not np.array_equal(distances(store.refresh()), before)
    store.catalogue.coresets.drop("disc")
    assert np.array_equal(distances(store.refresh()), before)
    assert opened(tmp_path, stores).memory.coresets == {}
    assert list((tmp_path / "coresets").iterdir()) == []  # an orphan, deleted by whoever opens the folder


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_coreset_leaves_the_references_to_be_searched(
    tmp_path: Path, stores: list[ReferenceStore], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(tmp_path, stores)
    add(store, "disc", *range(12))
    before = distances(store.memory)
    condensed(store)
    file = coreset_file(tmp_path)
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:-9] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    assert np.array_equal(distances(store.refresh()), before)
    assert np.array_equal(distances(opened(tmp_path, stores).memory), before)
    assert "its references are searched" in caplog.text
    add(store, "plate", 40)  # the next change does not try it again
    assert caplog.text.count("its references are searched") == 2
    assert store.memory.coresets == {}


def test_references_in_a_damaged_segment_end_it(tmp_path: Path, stores: list[ReferenceStore]) -> None:
    store = opened(tmp_path, stores)
    add(store, "disc", *range(6))
    add(store, "disc", *range(6, 12))
    condensed(store)
    store.refresh()
    segment = sorted((tmp_path / "segments").iterdir())[0]
    data = segment.read_bytes()
    segment.write_bytes(data[:-5] + bytes([data[-5] ^ 1]) + data[-4:])
    restarted = opened(tmp_path, stores)
    assert len(restarted.memory) == 12, "mapped, so not read"
    restarted.verify_mapped(lambda: None)
    assert (len(restarted.memory), restarted.memory.coresets) == (6, {})


def test_a_compaction_moves_what_it_stands_for(tmp_path: Path, stores: list[ReferenceStore]) -> None:
    store = opened(tmp_path, stores)
    for seed in range(12):
        add(store, "disc", seed)
    condensed(store)
    expected = distances(store.refresh())
    assert store.compact() > 1
    assert np.array_equal(distances(store.refresh()), expected)
    in_use = {path.name for path in (tmp_path / "segments").iterdir()}
    assert set(store.published.mapped) <= in_use
    assert np.array_equal(distances(opened(tmp_path, stores).memory), expected)


def test_removed_references_are_freed_beside_it(
    tmp_path: Path, stores: list[ReferenceStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_loader, "_MAX_REMOVED", 2)
    store = opened(tmp_path, stores)
    add(store, "disc", *range(12))
    plates = add(store, "plate", *range(20, 60))
    condensed(store)
    expected = distances(store.refresh())
    store.remove(plates[:38])
    add(store, "plate", 70)
    assert store.memory.removed <= len(store.memory) + 2
    assert np.array_equal(distances(store.memory), expected)


@pytest.mark.parametrize("count", [1, 3])
def test_shards_answer_for_its_rows(tmp_path: Path, stores: list[ReferenceStore], count: int) -> None:
    store = opened(tmp_path, stores)
    add(store, "disc", *range(12))
    early = [ReferenceShard(store.folder, store.catalogue, Shard("disc", part, count)) for part in range(count)]
    condensed(store)
    add(store, "disc", 30, 31)
    memory = store.memory
    rows = memory.searched_rows("disc", memory.rows_of("disc")[:1], SPACE.global_grid)
    assert len(rows) == 5 + 2
    late = [ReferenceShard(store.folder, store.catalogue, Shard("disc", part, count)) for part in range(count)]
    features = random_features(SPACE, 1, 99)
    weights = np.full(2, 0.5, np.float32)
    for shards in (early, late):
        best = []
        for part, shard in enumerate(shards):
            ids = memory.ids[rows][memory.ids[rows] % count == part]
            if len(ids):
                query = ShardQuery(Coding.of(memory, "disc"), features.patches[0].numpy(), ids, SCORING.rho, weights)
                best.append(shard.search(ENGINE, query).similarities)
        np.testing.assert_array_equal(1 - np.max(best, axis=0), distances(memory))


def test_a_file_that_cannot_be_read_for_a_moment_is_read_at_the_next_look(
    tmp_path: Path, stores: list[ReferenceStore]
) -> None:
    store = opened(tmp_path, stores)
    add(store, "disc", *range(12))
    condensed(store)
    file = coreset_file(tmp_path)
    aside = file.rename(tmp_path / "aside")
    file.symlink_to(file)  # reading it is an error of the system, not a file that is missing
    with pytest.raises(OSError, match="Too many levels"):
        store.refresh()
    file.unlink()
    aside.rename(file)
    assert store.refresh().coresets.keys() == {"disc"}
