"""A coreset holds real patches of its category's references, none of which is farther from it than it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.domain.coreset import CoresetTarget
from indexer.encoders.base import Features
from indexer.memory import CODEC_NAMES, MemoryBank
from indexer.memory.k_centre import ChosenPatches, choose_patches
from indexer.steps import run_to_end
from tests.helpers.random_features import feature_space, random_features

SPACE = feature_space((3, 4), layers=2, dim=8)


def memory_of(features: Features, codec: str = "fp32") -> MemoryBank:
    memory = MemoryBank.empty(feature_space((3, 4), layers=2, dim=8), codec)
    ids = range(10, 10 + len(features))
    return memory.with_references(ids, ["nut"] * len(features), memory.codec.encode(features), 1)


def chosen(memory: MemoryBank, target: CoresetTarget) -> ChosenPatches:
    return run_to_end(choose_patches(memory, "nut", target))


def decoded(memory: MemoryBank) -> np.ndarray:
    """float32 (n, layers, cells, dim)."""
    return torch.stack([memory.codec.decode(memory.codes_of(row)) for row in range(memory.rows)]).numpy()


@given(st.integers(2, 12), st.floats(0.05, 0.95), st.integers(0, 2**16), st.sampled_from(CODEC_NAMES))
@settings(max_examples=40, deadline=None)
def test_every_patch_is_within_the_radius_of_one_that_is_held(count: int, share: float, seed: int, codec: str) -> None:
    memory = memory_of(random_features(SPACE, count, seed), codec)
    if int(np.ceil(share * count)) >= count:
        with pytest.raises(ValueError, match="saves nothing"):
            chosen(memory, CoresetTarget(share=share))
        return
    choice = chosen(memory, CoresetTarget(share=share))
    content, patches = choice.content, decoded(memory)
    assert content.references.tolist() == memory.ids.tolist()
    assert content.owners.shape == (int(np.ceil(share * count)), 2, 12)
    held = np.take_along_axis(patches, content.owners[..., None].astype(np.int64), axis=0)
    assert np.array_equal(memory.codec.decode(torch.from_numpy(content.codes)).numpy(), held)
    distances = np.linalg.norm(patches[:, None] - held[None], axis=-1).min(axis=1)  # (n, layers, cells)
    np.testing.assert_allclose(choice.radii, distances.max(axis=0), atol=2e-6)


def test_the_choice_is_the_greedy_one() -> None:
    memory = memory_of(random_features(SPACE, 9, 5))
    content, patches = chosen(memory, CoresetTarget(share=0.5)).content, decoded(memory)
    for layer in range(2):
        for cell in range(12):
            points = patches[:, layer, cell].astype(np.float64)
            picked = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
            while len(picked) < 5:
                gaps = np.linalg.norm(points[:, None] - points[picked], axis=-1).min(axis=1)
                picked.append(int(gaps.argmax()))
            assert content.owners[:, layer, cell].tolist() == picked


@pytest.mark.parametrize("bound", [1.0, 1.1, 1.2])
def test_a_bound_takes_as_few_patches_as_keep_it(bound: float) -> None:
    features = random_features(SPACE, 12, 3)
    memory = memory_of(features)
    choice = chosen(memory, CoresetTarget(bound=bound))
    patches = len(choice.content.codes)
    assert choice.radii.max() <= bound
    if patches > 1:
        fewer = chosen(memory, CoresetTarget(share=(patches - 1.5) / 12))
        assert len(fewer.content.codes) == patches - 1
        assert fewer.radii.max() > bound


def test_a_bound_that_needs_all_patches_says_so() -> None:
    with pytest.raises(ValueError, match=r"a bound of 0\.001 needs all 6 references of nut: allow a larger one"):
        chosen(memory_of(random_features(SPACE, 6, 1)), CoresetTarget(bound=0.001))


def test_references_that_are_alike_need_one_patch() -> None:
    one = random_features(SPACE, 1, 1)
    features = Features(one.global_descriptors.expand(5, -1), one.patches.expand(5, -1, -1, -1), one.grid)
    choice = chosen(memory_of(features), CoresetTarget(bound=0.01))
    assert len(choice.content.codes) == 1
    assert choice.radii.max() == 0


@pytest.mark.parametrize("target", [{}, {"share": 0.5, "bound": 0.1}, {"share": 0.0}, {"share": 1.0}, {"bound": 0.0}])
def test_a_target_is_a_share_or_a_bound(target: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"give one of the two|must be above 0 and below"):
        CoresetTarget(**target)
