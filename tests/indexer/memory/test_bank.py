"""Snapshots are immutable, grow by what is added and retrieve exactly."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.memory import CODEC_NAMES, Codec, MemoryBank, RetrievedReferences
from indexer.search import TorchEngine
from indexer.search.gpu_global_index import GpuGlobalIndex
from tests.helpers.memory_banks import bound, filled
from tests.helpers.patch_search_oracle import top_references
from tests.helpers.random_features import feature_space, random_features


def flat_search(queries: torch.Tensor, table: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """FAISS's flat search on the CPU, in the place of the one on a card."""
    nearest: tuple[np.ndarray, np.ndarray] = faiss.knn(queries.numpy(), table.numpy(), k, faiss.METRIC_INNER_PRODUCT)
    return nearest


def on_a_device(
    memory: MemoryBank, query: np.ndarray, k: int, category: str | None = None, grid: tuple[int, int] | None = None
) -> RetrievedReferences:
    """Global retrieval as on a card, the CPU being the card."""
    return GpuGlobalIndex(torch.device("cpu"), flat_search).nearest_references(memory, query, k, category, (), grid)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 60),
    k=st.integers(1, 70),
    category=st.sampled_from([None, "bolt", "nut"]),
    removed=st.sets(st.integers(0, 59)),
    seed=st.integers(0, 99),
)
def test_global_retrieval_equals_the_oracle_with_removals_and_category_filter(
    count: int, k: int, category: str | None, removed: set[int], seed: int
) -> None:
    memory, _ = filled(count, "fp16", seed=seed)
    descriptors = random_features(memory.space, count, seed).global_descriptors.numpy()
    memory = memory.without_references([100 + row for row in removed], version=9)
    stored = [
        row
        for row in range(count)
        if row not in removed and (category is None or category == ("bolt" if row % 2 else "nut"))
    ]
    query = random_features(memory.space, 1, seed + 7).global_descriptors[0].numpy()
    for retrieved in (memory.nearest_references(query, k, category), on_a_device(memory, query, k, category)):
        assert retrieved.rows.tolist() == [stored[i] for i in top_references(query, descriptors[stored], k)]
        np.testing.assert_allclose(retrieved.similarities, descriptors[retrieved.rows] @ query, atol=1e-6)


def test_global_retrieval_is_exact_across_sealed_blocks() -> None:
    space = feature_space(grid=(1, 1), layers=1, dim=2)
    features = random_features(space, 2500, 3)
    memory = MemoryBank.empty(space, "fp16")
    for start in range(0, 2500, 500):
        part = features.slice(start, start + 500)
        memory = memory.with_references(range(start, start + 500), ["c"] * 500, memory.codec.encode(part), start)
    query = random_features(space, 1, 4).global_descriptors[0].numpy()
    expected = top_references(query, features.global_descriptors.numpy(), 90)
    assert memory.nearest_references(query, 90).rows.tolist() == expected
    assert on_a_device(memory, query, 90).rows.tolist() == expected


def test_a_device_follows_added_and_removed_references() -> None:
    memory, _ = filled(30, "fp16")
    index = GpuGlobalIndex(torch.device("cpu"), flat_search)
    query = random_features(memory.space, 1, 4).global_descriptors[0].numpy()
    index.nearest_references(memory, query, 5, None, ())
    later = memory.with_references([900], ["nut"], memory.codec.encode(random_features(memory.space, 1, 4)), 90)
    later = later.without_references([int(memory.ids[memory.nearest_references(query, 1).rows[0]])], 91)
    for snapshot, without in ((later, ()), (memory, ()), (later, (30, 2))):
        expected = snapshot.nearest_references(query, 12, None, without)
        np.testing.assert_array_equal(index.nearest_references(snapshot, query, 12, None, without).rows, expected.rows)


def test_another_thread_than_the_owner_is_answered_by_the_host() -> None:
    memory, _ = filled(10, "fp16")
    searches: list[int] = []

    def counted(queries: torch.Tensor, table: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
        searches.append(threading.get_ident())
        return flat_search(queries, table, k)

    index = GpuGlobalIndex(torch.device("cpu"), counted)
    query = random_features(memory.space, 1, 4).global_descriptors[0].numpy()
    mine = index.nearest_references(memory, query, 5, None, ()).rows
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(index.nearest_references, memory, query, 5, None, ()).result().rows
    np.testing.assert_array_equal(mine, theirs)
    assert searches == [threading.get_ident()]


def test_a_snapshot_does_not_change_when_the_next_one_is_made() -> None:
    before, stored = filled(20, "fp32")
    engine = TorchEngine(torch.device("cpu"))
    query = random_features(before.space, 1, 5)
    similarities = engine.max_similarity(before, query.patches[0], before.rows_of(), 1)
    more = random_features(before.space, 30, 6)
    after = before.with_references(range(500, 530), ["nut"] * 30, before.codec.encode(more), 99).without_references(
        [100, 101], 100
    )
    assert len(before) == 20
    assert len(after) == 48
    assert 100 in before.ids[before.rows_of()]
    assert 100 not in after.ids[after.rows_of()]
    np.testing.assert_array_equal(engine.max_similarity(before, query.patches[0], before.rows_of(), 1), similarities)
    np.testing.assert_array_equal(before.features_of(3).patches[0].numpy(), stored[3])


def test_a_mapped_memory_searches_codes_where_they_lie() -> None:
    space = feature_space()
    memory = MemoryBank.empty(space, "fp32", mapped=True)
    parts = [memory.codec.encode(random_features(space, 3, seed)) for seed in range(3)]
    for index, part in enumerate(parts):
        memory = memory.with_references(range(3 * index, 3 * index + 3), ["nut"] * 3, part, index + 1)
    for row in range(9):
        expected = parts[row // 3].codes[row % 3]
        assert memory.codes_of(row).data_ptr() == expected.ctypes.data
    later = memory.with_references([9], ["nut"], parts[0].run(1, 1), 4)
    assert len(later.tables[0].blocks) == 4
    memory.discard_later()
    more = memory.with_references([9], ["nut"], parts[1].run(2, 2), 4)
    np.testing.assert_array_equal(more.codes_of(9).numpy(), parts[1].codes[2])


def test_only_the_newest_snapshot_can_grow() -> None:
    memory, _ = filled(3, "fp16")
    extra = memory.codec.encode(random_features(memory.space, 1, 8))
    memory.with_references([1], ["nut"], extra, 5)
    with pytest.raises(ValueError, match="newest"):
        memory.with_references([2], ["nut"], extra, 6)


def test_searches_run_while_references_come_and_go() -> None:
    memory, _ = filled(12, "fp16", grid=(8, 8), dim=32)
    engine = TorchEngine(torch.device("cpu"))
    query = random_features(memory.space, 1, 5)
    rows = memory.rows_of()
    expected = engine.max_similarity(memory, query.patches[0], rows, 1)
    newest = [memory]
    stop = threading.Event()

    def write() -> None:
        index = 0
        while not stop.is_set() and index < 400:
            index += 1
            extra = memory.codec.encode(random_features(memory.space, 1, index))
            newest[0] = (
                newest[0]
                .with_references([1000 + index], ["nut"], extra, index)
                .without_references([1000 + index - 1], index)
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            np.testing.assert_array_equal(engine.max_similarity(memory, query.patches[0], rows, 1), expected)
            now = newest[0]
            assert len(now.nearest_references(query.global_descriptors[0].numpy(), 50).rows) == min(50, len(now))
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_codes_have_the_documented_size_and_error(name: str) -> None:
    space = feature_space(dim=384, grid=(2, 2))
    codec = Codec.from_name(name, space.dim)
    features = random_features(space, 8, 2)
    encoded = codec.encode(features)
    assert encoded.codes.shape[-1] == codec.code_size
    decoded = codec.from_basis(codec.decode(torch.from_numpy(encoded.codes))).numpy()
    exact = features.patches.numpy()
    query = random_features(space, 8, 3).patches.numpy()
    error = np.abs(((decoded - exact) * query).sum(-1)).max()
    assert error <= bound(codec, exact)
    if name == "fp32":
        assert error == 0


def test_a_category_can_be_listed_and_an_unknown_one_is_empty() -> None:
    memory, _ = filled(5, "fp16")
    assert memory.ids[memory.rows_of("nut")].tolist() == [100, 102, 104]
    assert memory.rows_of("screw").tolist() == []
    assert memory.category_of(memory.row_of(103)) == "bolt"
    with pytest.raises(KeyError):
        memory.without_references([103], 2).row_of(103)


def test_a_damaged_request_is_refused() -> None:
    memory, _ = filled(2, "fp16")
    with pytest.raises(ValueError, match="choose one of fp32, fp16, bf16, int8, int4"):
        MemoryBank.empty(memory.space, "fp7")
    wrong = feature_space(layers=3)
    with pytest.raises(ValueError, match="do not fit"):
        memory.with_references([1], ["nut"], memory.codec.encode(random_features(wrong, 1, 1)), 3)


def test_references_of_several_grids_share_one_global_index_and_are_searched_each_in_its_own() -> None:
    spaces = [feature_space(grid=(4, 5)), feature_space(grid=(3, 8))]
    memory, stored = MemoryBank.empty(spaces[0], "fp32"), {}
    for index in range(12):
        space = spaces[index % 2]
        features = random_features(space, 2, index)
        category = ("nut", "rail")[index % 2]
        ids = (10 * index, 10 * index + 1)
        memory = memory.with_references(ids, [category] * 2, memory.codec.encode(features), index + 1)
        stored |= {one: features.patches[row].numpy() for row, one in enumerate(ids)}
    memory = memory.with_geometries({"rail": spaces[1].global_geometry})
    assert [table.grid for table in memory.tables] == [(4, 5), (3, 8)]
    assert (memory.frame("nut").grid, memory.frame("rail").grid) == ((4, 5), (3, 8))
    assert memory.code_bytes == 12 * 2 * 16 * 4 * 20 + 12 * 2 * 16 * 4 * 24
    for row, one in enumerate(memory.ids.tolist()):
        np.testing.assert_allclose(memory.features_of(row).patches[0].numpy(), stored[one], atol=1e-6)
    query = random_features(spaces[1], 1, 99)
    descriptor = query.global_descriptors[0].numpy()
    assert len(memory.nearest_references(descriptor, 99).rows) == 24
    within = memory.nearest_references(descriptor, 99, grid=query.grid)
    assert {memory.category_of(int(row)) for row in within.rows} == {"rail"}
    assert on_a_device(memory, descriptor, 99, grid=query.grid).rows.tolist() == within.rows.tolist()
    with pytest.raises(ValueError, match="different grids"):
        memory.table_of(np.arange(4))
    removed = memory.without_references([0, 10], 20)
    assert len(removed) == 22
    assert removed.with_version(21).tables == memory.tables
