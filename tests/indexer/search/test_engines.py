"""Every engine equals the oracle, for any grid, ρ, K, codec, removals and category filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.memory import CODEC_NAMES, Codec, MemoryBank
from indexer.search import PatchMatches, PatchQuery, PatchSearchEngine, TorchEngine
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells
from indexer.search.query_grouping import group_queries
from indexer.search.warm_up import warm_up
from tests.helpers.memory_banks import ENGINES, bound, filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import feature_space, random_features


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
    engine: PatchSearchEngine,
    grid: tuple[int, int],
    rho: int,
    count: int,
    k: int,
    layers: int,
    dim: int,
    codec: str,
    seed: int,
) -> None:
    memory, stored = filled(count, codec, grid, layers, dim, seed)
    query = random_features(memory.space, 1, seed + 5000)
    rows = np.random.default_rng(seed).permutation(count)[:k]
    found = engine.max_similarity(memory, query.patches[0], rows, rho)
    expected = best_similarities(query.patches[0].numpy(), stored[rows], grid, rho)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound(memory.codec, stored[rows]))


@pytest.mark.parametrize("codec", CODEC_NAMES)
def test_engines_agree_on_the_same_codes_to_1e_5(codec: str) -> None:
    memory, _ = filled(30, codec, grid=(4, 3), dim=64)
    query = random_features(memory.space, 1, 77).patches[0]
    rows = np.arange(0, 30, 2)
    answers = [engine.max_similarity(memory, query, rows, 1) for engine in ENGINES]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_stored_patch_finds_itself(engine: PatchSearchEngine) -> None:
    memory, stored = filled(20, "fp32")
    found = engine.max_similarity(memory, torch.from_numpy(stored[7]), np.arange(20), 0)
    np.testing.assert_allclose(found, 1.0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_rows_may_lie_in_several_blocks_and_in_any_order(engine: PatchSearchEngine) -> None:
    memory, stored = filled(70, "fp32")
    assert len(memory.tables[0].blocks) > 2
    rows = np.array([69, 0, 33, 16, 15])
    query = random_features(memory.space, 1, 9).patches[0]
    expected = best_similarities(query.numpy(), stored[rows], memory.space.global_grid, 1)
    np.testing.assert_allclose(engine.max_similarity(memory, query, rows, 1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_several_queries_get_the_same_matches_as_alone(engine: PatchSearchEngine) -> None:
    memory, _ = filled(40, "int8", grid=(2, 3), dim=20)
    features = random_features(memory.space, 6, 3)  # shares: 0, 1 and 5; 3; other ρ: 2; 4
    rows = [np.arange(0, 20), np.arange(30), np.array([39]), np.arange(18, 40), np.arange(20), np.arange(5, 25)[::-1]]
    weights = np.array([0.3, 0.7], np.float32)
    questions = [PatchQuery(features.patches[i], rows[i], rho, weights) for i, rho in enumerate([1, 1, 0, 1, 2, 1])]
    for question, answer in zip(questions, engine.search(memory, questions), strict=True):
        alone = engine.max_similarity(memory, question.patches, question.rows, question.rho)
        np.testing.assert_allclose(answer.similarities, alone, rtol=0, atol=1e-6)
        np.testing.assert_allclose(answer.fused, weights @ (1 - alone), rtol=0, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@pytest.mark.parametrize("rho", [1, 9])
def test_an_image_gets_of_each_set_of_references_what_it_would_get_of_that_alone(
    engine: PatchSearchEngine, rho: int
) -> None:
    memory, stored = filled(40, "fp32", grid=(3, 4), dim=20)
    patches = random_features(memory.space, 1, 3).patches[0]
    weights = np.array([0.3, 0.7], np.float32)
    sets = [np.arange(40), np.arange(7), np.arange(20, 40)[::-1], np.array([39]), np.arange(0, 40, 3)]
    found = engine.search(memory, [PatchQuery(patches, rows, rho, weights) for rows in sets])
    for rows, answer in zip(sets, found, strict=True):
        expected = best_similarities(patches.numpy(), stored[rows], memory.space.global_grid, rho)
        np.testing.assert_allclose(answer.similarities, expected, rtol=0, atol=bound(memory.codec, stored[rows]))


def test_what_an_image_asks_of_several_sets_of_references_takes_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, _ = filled(40, "fp16", grid=(3, 4), dim=20)
    multiplied = list[int]()
    bmm = torch.bmm

    def counting(asking: torch.Tensor, stored: torch.Tensor, **options: Any) -> torch.Tensor:
        multiplied.append(asking.shape[0] * stored.shape[2])  # cells and references
        return bmm(asking, stored, **options)

    monkeypatch.setattr(torch, "bmm", counting)
    patches, weights = random_features(memory.space, 1, 3).patches[0], np.array([0.5, 0.5], np.float32)
    sets = [np.arange(30), np.arange(5), np.arange(10, 20), np.array([3, 29])]
    TorchEngine(torch.device("cpu")).search(memory, [PatchQuery(patches, rows, 1, weights) for rows in sets])
    assert sum(multiplied) == 2 * 12 * 30  # layers, cells, and each reference once


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_the_nearest_patch_is_where_the_similarity_comes_from(engine: PatchSearchEngine) -> None:
    memory, stored = filled(30, "fp32", grid=(5, 4), dim=20)
    patches = random_features(memory.space, 1, 3).patches[0]
    question = PatchQuery(patches, np.arange(1, 30, 2), 1, np.array([0.5, 0.5], np.float32))
    [answer] = engine.search(memory, [question])
    if answer.best_match is None:
        return  # this engine keeps the maximum only
    near, cells = answer.best_match.rows, answer.best_match.cells
    assert np.isin(near, question.rows).all()
    found = np.take_along_axis(stored.transpose(1, 0, 2, 3)[[[0], [1]], near], cells[..., None, None], 2)[:, :, 0]
    np.testing.assert_allclose((found * patches.numpy()).sum(-1), answer.similarities, rtol=0, atol=1e-6)


def test_references_that_several_images_share_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, _ = filled(40, "fp16", grid=(3, 4), dim=20)
    decoded = list[int]()
    decode = Codec.decode

    def counting(self: Codec, codes: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        decoded.append(codes.shape[0] * codes.shape[1])  # cells and references
        return decode(self, codes, out)

    monkeypatch.setattr(Codec, "decode", counting)
    patches = random_features(memory.space, 3, 3).patches
    engine = TorchEngine(torch.device("cpu"))
    for weights in ([0.5, 0.5], [1.0, 0.0]):  # the same search, fused otherwise, is one search
        rows = [np.arange(0, 30), np.arange(2, 33), np.arange(0, 30)]
        questions = [PatchQuery(patches[index], rows[index], 1, np.array(weights, np.float32)) for index in range(3)]
        engine.search(memory, questions + questions[:1])
        assert sum(decoded) == 2 * 12 * 33  # layers, cells, and each reference that anybody retrieved
        decoded.clear()
    far = [PatchQuery(patches[0], np.arange(10), 1, np.ones(2, np.float32)), questions[1]]
    engine.search(memory, far)
    assert sum(decoded) == 2 * 12 * (10 + 31)  # with little in common each has its own search


def test_images_that_retrieved_mostly_the_same_are_searched_together() -> None:
    bolts, nuts = np.arange(10), np.arange(50, 60)
    assert group_queries([bolts, nuts, bolts + 3, nuts - 5, nuts + 9]) == [[0, 2], [1, 3], [4]]
    assert [len(group) for group in group_queries([bolts] * 70)] == [32, 32, 6]


def test_neighbours_are_clipped_at_the_border() -> None:
    table = neighbour_cells((3, 4), 1)
    assert sorted(table[0][table[0] != OUTSIDE]) == [0, 1, 4, 5]
    assert sorted(table[5]) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert neighbour_cells((3, 4), 0).tolist() == [[cell] for cell in range(12)]
    with pytest.raises(ValueError, match="rho"):
        neighbour_cells((3, 4), -1)


@pytest.mark.parametrize("codec", CODEC_NAMES)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_warming_up_asks_for_one_image_to_as_many_as_may_come(engine: PatchSearchEngine, codec: str) -> None:
    requested: list[int] = []

    class Watched:
        max_queries = engine.max_queries

        def __getattr__(self, name: str) -> object:
            return getattr(engine, name)

        def search(self, memory: MemoryBank, questions: list[PatchQuery]) -> list[PatchMatches]:
            requested.append(len(questions))
            answers = engine.search(memory, questions)
            assert all(np.isfinite(answer.fused).all() for answer in answers)
            return answers

    space = feature_space((1, 1), layers=1, dim=16)  # Triton's interpreter takes its time for each cell
    warm_up(Watched(), MemoryBank.empty(space, codec), [1])  # type: ignore[arg-type]
    assert (requested[0], requested[-1]) == (1, engine.max_queries)
