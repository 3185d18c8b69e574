"""Scores of a condensed category lie between those of an exhaustive search and these plus the bound (lemma 4.1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.detection.nearest_patch import explain_region
from indexer.domain.scoring_settings import ANYWHERE, ScoringSettings
from indexer.memory import CODEC_NAMES, MemoryBank
from indexer.scoring.scoring import ScoringResult, layer_weights, score_image
from indexer.search import PatchSearchEngine
from tests.helpers.coresets import condensed
from tests.helpers.memory_banks import ENGINES, filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import feature_space, random_features

ROUNDING = 3e-5  # of the searches; integer codes may miss the best of two candidates by that
WEIGHTS = (0.8, 0.2)


def scored(memory: MemoryBank, engine: PatchSearchEngine, seed: int, rho: int, k: int) -> ScoringResult:
    image = random_features(memory.space, 1, seed)
    return score_image(memory, engine, image, ScoringSettings(k=k, rho=rho, layer_weights=WEIGHTS), "nut")


def exhaustive(memory: MemoryBank, seed: int, rho: int) -> np.ndarray:
    """1 − the best inner product with any live reference of the category: float64 (layers, cells)."""
    image = random_features(memory.space, 1, seed)
    stored = torch.stack([memory.codec.decode(memory.codes_of(int(row))) for row in memory.rows_of("nut")]).numpy()
    queries = memory.codec.to_basis(image.patches[0]).numpy()
    return 1.0 - best_similarities(queries, stored, image.grid, rho)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
@given(
    st.integers(6, 24),
    st.floats(0.1, 0.8),
    st.sampled_from(CODEC_NAMES),
    st.sampled_from([0, 1, 2, ANYWHERE]),
    st.integers(1, 12),
    st.integers(0, 2**16),
)
@settings(max_examples=8, deadline=None)
def test_no_distance_falls_and_none_rises_by_more_than_the_radius(
    engine: PatchSearchEngine, count: int, share: float, codec: str, rho: int, k: int, seed: int
) -> None:
    whole, _ = filled(count, codec, seed=seed)
    if np.ceil(share * len(whole.rows_of("nut"))) >= len(whole.rows_of("nut")):
        return
    memory, chosen = condensed(whole, "nut", share)
    result, exact = scored(memory, engine, seed + 1, rho, k), exhaustive(whole, seed + 1, rho)
    rises = result.distances - exact
    radii = chosen.radii.max(axis=1, keepdims=True)  # (layers, 1)
    assert rises.min() > -ROUNDING
    assert (rises - radii).max() < ROUNDING
    weights = layer_weights(ScoringSettings(layer_weights=WEIGHTS), 2)
    assert (weights @ rises).max() < float(weights @ radii[:, 0]) + ROUNDING
    # So neither does an image score, nor, K being smaller, one of the paper's search.
    searched_k = scored(whole, engine, seed + 1, rho, k).score
    assert result.score < searched_k + float(weights @ radii[:, 0]) + ROUNDING


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_references_added_since_are_searched_whole_and_keep_the_bound(engine: PatchSearchEngine) -> None:
    whole, _ = filled(20, "fp16")
    memory, chosen = condensed(whole, "nut", 0.4)
    extra = random_features(memory.space, 2, 77)
    memory = memory.with_references([900, 901], ["nut", "bolt"], memory.codec.encode(extra), 9)
    assert memory.coresets.keys() == {"nut"}
    image = extra.item(0)
    result = score_image(memory, engine, image, ScoringSettings(k=1, rho=0), "nut")
    assert result.score == pytest.approx(0, abs=1e-3)  # itself, whatever was retrieved
    rises = scored(memory, engine, 5, 1, 3).distances - exhaustive(memory, 5, 1)
    assert rises.min() > -ROUNDING
    assert (rises - chosen.radii.max(axis=1, keepdims=True)).max() < ROUNDING


def test_a_removed_reference_ends_the_coreset_and_only_of_its_category() -> None:
    whole, _ = filled(20, "fp16")
    memory, _ = condensed(whole, "nut", 0.4)
    memory, _ = condensed(memory, "bolt", 0.4, 2)
    nut, engine = int(memory.ids[memory.rows_of("nut")[0]]), ENGINES[0]
    after = memory.without_references([nut], 99)
    assert after.coresets.keys() == {"bolt"}
    expected = score_image(
        whole.without_references([nut], 99), engine, random_features(memory.space, 1, 5), ScoringSettings(k=4), "nut"
    )
    result = score_image(after, engine, random_features(memory.space, 1, 5), ScoringSettings(k=4), "nut")
    assert result.score == expected.score


def test_the_rows_of_a_coreset_are_no_references() -> None:
    whole, _ = filled(20, "fp16")
    memory, chosen = condensed(whole, "nut", 0.4)
    patches = len(chosen.content.codes)
    assert (len(memory), memory.removed) == (20, 0)
    assert memory.rows == 20 + patches
    assert memory.rows_of("nut").tolist() == whole.rows_of("nut").tolist()
    assert (memory.ids[memory.coresets["nut"].rows] < 0).all()
    image = random_features(memory.space, 1, 5)
    nearest = memory.nearest_references(image.global_descriptors[0].numpy(), 50, "nut")
    assert set(nearest.rows.tolist()) == set(whole.rows_of("nut").tolist())
    assert memory.code_bytes == whole.code_bytes * (10 + patches) // 20  # the bolts and the coreset
    assert memory.pooled("all").coresets == {}


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_evidence_names_the_reference_whose_patch_it_is(engine: PatchSearchEngine) -> None:
    memory, _ = condensed(filled(20, "fp32")[0], "nut", 0.4)
    image = random_features(memory.space, 1, 8)
    chosen = ScoringSettings(k=2, rho=1)
    result = score_image(memory, engine, image, chosen, "nut")
    columns = image.grid[1]
    for cell in range(image.grid[0] * columns):
        evidence = explain_region(memory, image, result, divmod(cell, columns), chosen)
        row = memory.row_of(evidence.reference_id)
        layer = memory.space.layers.index(evidence.layer)
        place = evidence.cell[0] * columns + evidence.cell[1]
        patch = memory.codec.decode(memory.codes_of(row))[layer, place]
        similarity = float(patch @ memory.codec.to_basis(image.patches[0])[layer, cell])
        assert 1 - similarity == pytest.approx(evidence.distance, abs=ROUNDING)
        assert memory.category_of(row) == "nut"


def test_a_coreset_of_references_that_are_gone_or_of_another_memory_is_refused() -> None:
    whole, _ = filled(12, "fp16")
    _, chosen = condensed(whole, "nut", 0.5)
    with pytest.raises(ValueError, match="gone"):
        whole.without_references([100], 5).with_coreset("nut", 1, chosen.content)
    with pytest.raises(ValueError, match="gone"):
        whole.with_coreset("bolt", 1, chosen.content)
    other = MemoryBank.empty(feature_space(fingerprint="e" * 64), "fp16")
    with pytest.raises(ValueError, match="another memory"):
        other.with_coreset("nut", 1, chosen.content)
