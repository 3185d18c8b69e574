"""Every engine equals the oracle, for any grid, ρ, K, codec, removals and category filter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.memory import CODEC_NAMES, Codec, Memory
from indexer.search import Engine, FaissEngine, TorchEngine
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells
from tests.indexer.features import feature_space, random_features
from tests.indexer.oracle import best_similarities

ENGINES: list[Engine] = [FaissEngine(), TorchEngine(torch.device("cpu"))]
if torch.cuda.is_available():
    ENGINES.append(TorchEngine(torch.device("cuda")))


def filled(
    count: int, codec: str, grid: tuple[int, int] = (4, 5), layers: int = 2, dim: int = 16, seed: int = 1
) -> tuple[Memory, np.ndarray]:
    """A memory of `count` references in two alternating categories, and their exact patches."""
    space = feature_space(grid, layers, dim)
    features = random_features(space, count, seed)
    memory = Memory.empty(space, codec)
    for start in range(0, count, 3):  # several appends, as in life
        stop = min(start + 3, count)
        part = type(features)(features.globals_[start:stop], features.patches[start:stop])
        names = ["bolt" if number % 2 else "nut" for number in range(start, stop)]
        memory = memory.added(range(100 + start, 100 + stop), names, memory.codec.encode(part), start + 1)
    return memory, features.patches.numpy()


def bound(codec: Codec, stored: np.ndarray) -> float:
    """The largest error of an inner product with a unit vector that the codec's documentation allows."""
    if codec.name == "int8":
        return float(np.sqrt(codec.dim) * np.abs(stored).max() / 127 / 2)
    return {"fp32": 1e-5, "fp16": 1e-3}[codec.name]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@settings(max_examples=25, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    rho=st.integers(0, 3),
    count=st.integers(1, 40),
    k=st.integers(1, 40),
    layers=st.integers(1, 3),
    dim=st.sampled_from([1, 3, 8, 17, 32]),
    codec=st.sampled_from(CODEC_NAMES),
    seed=st.integers(0, 1000),
)
def test_every_engine_equals_the_oracle(
    engine: Engine, grid: tuple[int, int], rho: int, count: int, k: int, layers: int, dim: int, codec: str, seed: int
) -> None:
    memory, stored = filled(count, codec, grid, layers, dim, seed)
    query = random_features(memory.space, 1, seed + 5000)
    rows = np.random.default_rng(seed).permutation(count)[:k]
    found = engine.best(memory, query.patches[0], rows, rho)
    expected = best_similarities(query.patches[0].numpy(), stored[rows], grid, rho)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound(memory.codec, stored[rows]))


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_engines_agree_on_the_same_codes_to_1e_5(codec: str) -> None:
    memory, _ = filled(30, codec, grid=(7, 4), dim=64)
    query = random_features(memory.space, 1, 77).patches[0]
    rows = np.arange(0, 30, 2)
    answers = [engine.best(memory, query, rows, 1) for engine in ENGINES]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_stored_patch_finds_itself(engine: Engine) -> None:
    memory, stored = filled(20, "fp32")
    found = engine.best(memory, torch.from_numpy(stored[7]), np.arange(20), 0)
    np.testing.assert_allclose(found, 1.0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_rows_may_lie_in_several_blocks_and_in_any_order(engine: Engine) -> None:
    memory, stored = filled(70, "fp32")
    assert len(memory.blocks) > 2
    rows = np.array([69, 0, 33, 16, 15])
    query = random_features(memory.space, 1, 9).patches[0]
    expected = best_similarities(query.numpy(), stored[rows], memory.space.grid, 1)
    np.testing.assert_allclose(engine.best(memory, query, rows, 1), expected, rtol=0, atol=1e-5)


def test_neighbours_are_clipped_at_the_border() -> None:
    table = neighbour_cells((3, 4), 1)
    assert sorted(table[0][table[0] != OUTSIDE]) == [0, 1, 4, 5]
    assert sorted(table[5]) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert neighbour_cells((3, 4), 0).tolist() == [[cell] for cell in range(12)]
    with pytest.raises(ValueError, match="rho"):
        neighbour_cells((3, 4), -1)
