"""Matches of shards, merged, are those of one search over all references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.memory import CODEC_NAMES, MemoryBank
from indexer.search import BestMatch, NativeEngine, PatchMatches, PatchQuery, PatchSearchEngine, TorchEngine
from indexer.search.native import instruction_sets
from indexer.search.shards import merge_matches
from tests.helpers.memory_banks import filled
from tests.helpers.random_features import random_features

COUNT = 9
WEIGHTS = np.array([0.25, 0.75], np.float32)


def memory_with_a_twin(codec: str) -> MemoryBank:
    """References of which the last has the codes of the first: equal similarities, at equal places."""
    memory, _ = filled(COUNT - 1, codec)
    twin = memory.codec.encode(random_features(memory.space, COUNT - 1, 1).slice(0, 1))
    return memory.with_references([900], ["nut"], twin, 99)


def same(one: PatchMatches, other: PatchMatches) -> bool:
    arrays = [
        (one.similarities, other.similarities),
        (one.fused, other.fused),
        *([] if one.ranking is None or other.ranking is None else [(one.ranking, other.ranking)]),
    ]
    if one.best_match is not None and other.best_match is not None:
        arrays += [(one.best_match.rows, other.best_match.rows), (one.best_match.cells, other.best_match.cells)]
    alike = (one.best_match is None) == (other.best_match is None) and (one.ranking is None) == (other.ranking is None)
    return alike and all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in arrays)


def merged_and_whole(engine: PatchSearchEngine, codec: str, shard_of: list[int], rho: int) -> list[PatchMatches]:
    memory = memory_with_a_twin(codec)
    patches = random_features(memory.space, 1, 7).patches[0]

    def search(rows: np.ndarray) -> PatchMatches:
        [matches] = engine.search(memory, [PatchQuery(patches, rows, rho, WEIGHTS)])
        return matches

    shards = [np.flatnonzero(np.array(shard_of) == shard) for shard in sorted(set(shard_of))]
    return [merge_matches([search(rows) for rows in shards], WEIGHTS), search(np.arange(COUNT))]


SHARDS = st.lists(st.integers(0, 3), min_size=COUNT, max_size=COUNT)


@pytest.mark.skipif(not instruction_sets(), reason="no compiler here, or another processor")
@pytest.mark.parametrize("codec", CODEC_NAMES)
@settings(max_examples=30, deadline=None)
@given(shard_of=SHARDS, rho=st.integers(0, 2))
def test_shards_find_what_one_search_finds_to_the_bit(codec: str, shard_of: list[int], rho: int) -> None:
    merged, whole = merged_and_whole(NativeEngine(), codec, shard_of, rho)
    assert same(merged, whole)
    assert whole.best_match is not None
    assert (whole.ranking is not None) == codec.startswith("int")


@settings(max_examples=30, deadline=None)
@given(shard_of=SHARDS, rho=st.integers(0, 2))
def test_torch_whose_rounding_depends_on_the_shape_of_a_product_agrees_within_that(
    shard_of: list[int], rho: int
) -> None:
    merged, whole = merged_and_whole(TorchEngine(torch.device("cpu")), "fp16", shard_of, rho)
    assert np.abs(merged.similarities - whole.similarities).max() < 1e-6
    assert np.abs(merged.fused - whole.fused).max() < 1e-6


def test_what_an_engine_chooses_by_decides_not_the_similarity() -> None:
    def part(similarity: float, ranking: float) -> PatchMatches:
        similarities = np.full((2, 1), similarity, np.float32)
        return PatchMatches(similarities, WEIGHTS @ (1 - similarities), None, np.full((2, 1), ranking, np.float32))

    one, other = part(0.5, 7.0), part(0.50001, 6.0)
    matches = [
        PatchMatches(p.similarities, p.fused, BestMatch(np.full((2, 1), row), np.zeros((2, 1), np.int64)), p.ranking)
        for row, p in enumerate((one, other))
    ]
    merged = merge_matches(matches, WEIGHTS)
    assert merged.similarities.tolist() == [[0.5], [0.5]]
    assert merged.best_match is not None
    assert merged.best_match.rows.tolist() == [[0], [0]]
