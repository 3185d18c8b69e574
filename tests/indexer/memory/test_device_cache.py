"""A device that caches only some codes gives the same results as one with all, through appends and evictions."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.memory import MemoryBank
from indexer.memory.device_cache import DeviceCodeCache, DeviceMemoryFull
from indexer.search import PatchQuery, PatchSearchEngine, TorchEngine
from tests.helpers.memory_banks import filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import feature_space, random_features

CPU = torch.device("cpu")  # "the device": the rules are the same, and a tiny budget makes them bite


def budgeted(memory: MemoryBank, references: int) -> DeviceCodeCache:
    """Room for that many references, and a little less than one more."""
    return DeviceCodeCache(CPU, (references + 1) * int(np.prod(memory.tables[0].arena.shape)) - 1)


@settings(max_examples=40, deadline=None)
@given(
    room=st.integers(1, 25),
    steps=st.lists(st.tuples(st.sampled_from(["append", "remove", "search"]), st.integers(0, 999)), max_size=14),
)
def test_any_budget_answers_like_the_oracle_through_appends_removals_and_evictions(
    room: int, steps: list[tuple[str, int]]
) -> None:
    memory, stored = filled(18, "fp32", grid=(3, 2), layers=2, dim=8)
    codes = budgeted(memory, room)
    engine = TorchEngine(CPU, codes)
    for kind, seed in [*steps, ("search", 1)]:
        rng = np.random.default_rng(seed)
        if kind == "append":
            more = random_features(memory.space, int(rng.integers(1, 12)), seed)
            ids = range(1000 * len(stored), 1000 * len(stored) + len(more))
            memory = memory.with_references(ids, ["nut"] * len(more), memory.codec.encode(more), memory.version + 1)
            stored = np.concatenate([stored, more.patches.numpy()])
        elif kind == "remove" and len(memory) > 1:
            memory = memory.without_references([int(memory.ids[rng.choice(memory.rows_of())])], memory.version + 1)
        else:
            query = random_features(memory.space, 1, seed)
            rows = memory.nearest_references(query.global_descriptors[0].numpy(), int(rng.integers(1, 30))).rows
            similarities = engine.max_similarity(memory, query.patches[0], rows, 1)
            expected = best_similarities(query.patches[0].numpy(), stored[rows], memory.space.global_grid, 1)
            np.testing.assert_allclose(similarities, expected, rtol=0, atol=1e-5)
        assert codes.stats.resident_bytes <= codes.stats.budget


def test_what_is_on_the_device_is_not_sent_again_and_everything_is_counted() -> None:
    memory, _ = filled(30, "fp16")
    run = int(np.prod(memory.tables[0].arena.shape))
    codes = budgeted(memory, 20)
    engine = TorchEngine(CPU, codes)
    query = random_features(memory.space, 1, 1).patches[0]
    engine.max_similarity(memory, query, np.arange(20), 1)
    assert (codes.stats.hits, codes.stats.misses, codes.stats.bytes_copied) == (0, 20, 20 * run)
    engine.max_similarity(memory, query, np.arange(10, 20), 1)
    assert (codes.stats.hits, codes.stats.misses) == (10, 20)
    engine.max_similarity(memory, query, np.arange(20, 30), 1)  # puts out 0 … 9, used longest ago
    assert (codes.stats.evictions, codes.stats.bytes_copied) == (10, 30 * run)
    engine.max_similarity(memory, query, np.arange(10, 30), 1)
    assert (codes.stats.hits, codes.stats.misses) == (30, 30)
    assert codes.stats.resident_bytes == 20 * run


@pytest.mark.parametrize("engine_kind", ["torch", "triton"])
def test_codes_of_any_length_lie_at_multiples_of_16_bytes(engine_kind: str) -> None:
    memory, _ = filled(30, "int8", grid=(3, 2), layers=2, dim=9)  # 13 bytes a code
    device = torch.device("cuda") if engine_kind == "triton" and torch.cuda.is_available() else CPU
    codes = DeviceCodeCache(device, 40 * 2 * 6 * 16)
    engine: PatchSearchEngine = TorchEngine(device, codes)
    if engine_kind == "triton":
        from indexer.search.triton_engine import TritonEngine

        engine = TritonEngine(device, codes)
    query = random_features(memory.space, 1, 3).patches[0]
    rows = np.random.default_rng(1).permutation(30)[:20]
    stored = np.stack([memory.codec.decode(memory.codes_of(int(row))).numpy() for row in rows])
    expected = best_similarities(query.numpy(), stored, memory.space.global_grid, 1)
    np.testing.assert_allclose(engine.max_similarity(memory, query, rows, 1), expected, rtol=0, atol=1e-5)
    [part, *_] = next(codes.passes(memory, rows))
    assert part.block.stride(2) == 16
    assert part.block.data_ptr() % 16 == 0


def test_growing_leaves_what_is_there_where_it_is() -> None:
    memory, _ = filled(60, "fp16")
    codes = budgeted(memory, 60)
    [before] = next(codes.passes(memory, np.arange(10)))
    address = before.block.data_ptr()
    parts = next(codes.passes(memory, np.arange(60)))
    assert len(parts) > 1
    assert address in {part.block.data_ptr() for part in parts}
    assert codes.stats.bytes_copied == memory.code_bytes


def test_a_budget_too_small_for_one_reference_is_an_error() -> None:
    memory, _ = filled(3, "fp16")
    with pytest.raises(DeviceMemoryFull, match="hold no reference"):
        next(DeviceCodeCache(CPU, 7).passes(memory, np.arange(3)))


def test_sets_of_references_that_lie_in_some_of_the_passes_only_are_answered() -> None:
    memory, stored = filled(60, "fp32", grid=(2, 2))
    patches, weights = random_features(memory.space, 1, 1).patches[0], np.array([0.5, 0.5], np.float32)
    sets = [np.arange(60), np.arange(3), np.array([59]), np.arange(10, 40)]
    for rho in (0, 1):
        questions = [PatchQuery(patches, rows, rho, weights) for rows in sets]
        matches = TorchEngine(CPU, budgeted(memory, 20)).search(memory, questions)
        for rows, match in zip(sets, matches, strict=True):
            expected = best_similarities(patches.numpy(), stored[rows], memory.space.global_grid, rho)
            np.testing.assert_allclose(match.similarities, expected, rtol=0, atol=1e-5)


def test_a_device_with_less_memory_than_the_budget_uses_what_it_could_allocate(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, stored = filled(60, "fp32", grid=(2, 2))
    codes = budgeted(memory, 60)
    engine = TorchEngine(CPU, codes)
    query = random_features(memory.space, 1, 1).patches[0]
    engine.max_similarity(memory, query, np.arange(3), 1)  # the first block is there

    class Full:
        """torch, as it is on a card with no memory left."""

        @staticmethod
        def empty(*shape: object, **options: object) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

        def __getattr__(self, name: str) -> object:
            return getattr(torch, name)

    monkeypatch.setattr("indexer.memory.device_cache.torch", Full())
    expected = best_similarities(query.numpy(), stored, memory.space.global_grid, 1)
    np.testing.assert_allclose(engine.max_similarity(memory, query, np.arange(60), 1), expected, rtol=0, atol=1e-5)
    with pytest.raises(DeviceMemoryFull, match="no memory left"):
        next(budgeted(memory, 60).passes(memory, np.arange(3)))


def test_a_copy_does_not_keep_an_unused_memory_alive() -> None:
    memory, _ = filled(5, "fp16")
    codes = budgeted(memory, 5)
    next(codes.passes(memory, np.arange(5)))
    arena = weakref.ref(memory.tables[0].arena)
    del memory
    gc.collect()
    assert arena() is None


def test_another_memory_with_codes_of_the_same_size_is_not_mixed_up_with_the_first() -> None:
    first, _ = filled(5, "fp32", seed=1)
    second, stored = filled(5, "fp32", seed=2)
    engine = TorchEngine(CPU, budgeted(first, 3))
    query = random_features(first.space, 1, 2).patches[0]
    engine.max_similarity(first, query, np.arange(5), 1)
    expected = best_similarities(query.numpy(), stored, second.space.global_grid, 1)
    np.testing.assert_allclose(engine.max_similarity(second, query, np.arange(5), 1), expected, rtol=0, atol=1e-5)


def test_memory_of_a_released_bank_is_reused() -> None:
    first, _ = filled(5, "fp16", seed=1)
    codes = budgeted(first, 5)
    next(codes.passes(first, np.arange(5)))
    del first
    gc.collect()
    second, stored = filled(5, "fp16", seed=2)
    query = random_features(second.space, 1, 2).patches[0]
    expected = best_similarities(query.numpy(), stored, second.space.global_grid, 1)
    np.testing.assert_allclose(
        TorchEngine(CPU, codes).max_similarity(second, query, np.arange(5), 1), expected, rtol=0, atol=1e-3
    )
    assert codes.stats.evictions == 0


def test_references_of_several_grids_share_one_budget_and_neither_starves() -> None:
    spaces = [feature_space(grid=(3, 2)), feature_space(grid=(4, 6))]
    memory, patches = MemoryBank.empty(spaces[0], "fp32"), []
    for index, space in enumerate(spaces):
        features = random_features(space, 12, index)
        ids = range(100 * index, 100 * index + 12)
        memory = memory.with_references(ids, ["part"] * 12, memory.codec.encode(features), index + 1)
        patches.append(features.patches.numpy())
    large = int(np.prod(memory.tables[1].arena.shape))
    codes = DeviceCodeCache(CPU, 10 * large)
    engine = TorchEngine(CPU, codes)
    for turn in range(6):
        index = turn % 2
        query = random_features(spaces[index], 1, 50 + turn)
        rows = np.arange(12) + 12 * index
        similarities = engine.max_similarity(memory, query.patches[0], rows, 1)
        expected = best_similarities(query.patches[0].numpy(), patches[index], spaces[index].global_grid, 1)
        np.testing.assert_allclose(similarities, expected, atol=1e-5)
        assert codes.stats.resident_bytes <= codes.stats.budget
    assert codes.stats.hits > 0  # the small ones stay while the large ones come and go
    queries = [random_features(space, 1, 7 + index).patches[0] for index, space in enumerate(spaces)]
    weights = np.full(2, 0.5, np.float32)
    together = engine.search(
        memory,
        [PatchQuery(query, np.arange(12) + 12 * index, 1, weights) for index, query in enumerate(queries)],
    )
    for index, matches in enumerate(together):
        expected = best_similarities(queries[index].numpy(), patches[index], spaces[index].global_grid, 1)
        np.testing.assert_allclose(matches.similarities, expected, atol=1e-5)
