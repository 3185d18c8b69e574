"""References are scored without themselves and their near-duplicates, and updates are incremental."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clients.demo.factory import render_good
from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.calibration.near_duplicates import duplicate_groups
from indexer.calibration.serialisation import from_stored, to_stored
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import EncoderSettings, load_encoder
from indexer.encoders.base import Features
from indexer.encoders.preprocessing import preprocess
from indexer.memory import MemoryBank
from indexer.scoring.scoring import roi_mask, score_image
from indexer.search import TorchEngine, choose_engine
from indexer.search.reverse_search import max_similarity_at, reverse_similarities
from tests.helpers.leave_one_out import assert_same, finished
from tests.helpers.memory_banks import filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import feature_space, random_features

ENGINE = choose_engine(torch.device("cpu"))


class CountingEngine(TorchEngine):
    """Counts the searches that were done in full."""

    searches = 0

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        self.searches += 1
        return super().max_similarity(memory, queries, rows, rho)


def with_references(features: Features, codec: str = "fp32") -> MemoryBank:
    memory = MemoryBank.empty(feature_space(), codec)
    return memory.with_references(range(len(features)), ["nut"] * len(features), memory.codec.encode(features), 1)


def kept_and_read(result: LeaveOneOut, memory: MemoryBank) -> LeaveOneOut:
    """As the catalogue gives it back."""
    back = from_stored(to_stored(1, result), (len(memory.space.layers), math.prod(memory.space.global_grid)))
    assert to_stored(1, back) == to_stored(1, result)
    return back


def test_each_reference_is_scored_without_itself_within_its_category() -> None:
    memory, _ = filled(9, "fp16")
    chosen = ScoringSettings()
    result = dict(
        finished(leave_one_out(memory, ENGINE, "nut", chosen.k, chosen.rho)).statistics(
            memory, memory.frame("nut"), chosen
        )
    )
    assert list(result) == [100, 102, 104, 106, 108]
    features = memory.features_of(memory.row_of(104))
    alone = score_image(memory.without_references([104], 9), ENGINE, features, chosen, "nut")
    assert result[104].score == pytest.approx(alone.score, abs=1e-6)
    assert result[104].peak == pytest.approx(float(alone.map.max()), abs=1e-6)
    assert result[104].global_distance == pytest.approx(1 - float(alone.neighbours.similarities[0]), abs=1e-6)
    only = finished(leave_one_out(memory.without_references([102, 104, 106, 108], 9), ENGINE, "nut", 150, 1))
    assert list(only.statistics(memory, memory.frame("nut"), chosen)) == []


def test_images_of_one_part_do_not_vouch_for_each_other_and_count_once() -> None:
    features = random_features(feature_space(), 12, 3)
    near = torch.nn.functional.normalize(features.patches[:2] + 0.02 * torch.randn(features.patches[:2].shape), dim=-1)
    memory = with_references(
        Features(
            torch.cat([features.global_descriptors, features.global_descriptors[:2]]),
            torch.cat([features.patches, near]),
            features.grid,
        )
    )
    result = finished(leave_one_out(memory, ENGINE, "nut", 150, 1))
    assert result.groups.tolist() == [*range(12), 0, 1]
    assert result.duplicates == 2
    statistics = dict(result.statistics(memory, memory.frame("nut"), ScoringSettings()))
    assert list(statistics) == list(range(12))
    without_twin = score_image(
        memory.without_references([12], 2), ENGINE, features.item(0), ScoringSettings(), "nut", exclude_rows=[0]
    )
    assert statistics[0].score == pytest.approx(without_twin.score, abs=1e-5)
    with_twin = score_image(memory, ENGINE, features.item(0), ScoringSettings(), "nut", exclude_rows=[0])
    assert statistics[0].score > 10 * with_twin.score


def test_uniform_production_is_not_reported_as_duplicates() -> None:
    place = random_features(feature_space(), 1, 0)
    noise = random_features(feature_space(), 20, 1)
    alike = Features(
        torch.nn.functional.normalize(place.global_descriptors + 0.3 * noise.global_descriptors, dim=-1),
        torch.nn.functional.normalize(place.patches + 0.3 * noise.patches, dim=-1),
        noise.grid,
    )
    assert finished(leave_one_out(with_references(alike), ENGINE, "nut", 150, 1)).duplicates == 0


@pytest.mark.parametrize("product", ["board", "bottle"])
def test_rendered_parts_are_distinguished_from_one_part_photographed_again(product: str) -> None:
    encoder = load_encoder(EncoderSettings("filterbank", device="cpu"))
    images = [render_good(product, seed).image for seed in range(24)]
    noise = np.random.default_rng(7).normal(0, 2, images[3].shape)  # of the sensor: the part and the camera are still
    noisy = np.clip(images[3] + noise, 0, 255).astype(np.uint8)
    features = encoder.encode(
        torch.stack([preprocess(image, encoder.space.global_geometry) for image in [*images, noisy]])
    )
    memory = MemoryBank.empty(encoder.space)
    memory = memory.with_references(range(25), [product] * 25, memory.codec.encode(features), 1)
    assert finished(leave_one_out(memory, ENGINE, product, 150, 1)).groups.tolist() == [*range(24), 3]


def test_two_images_that_differ_in_nothing_are_duplicates_even_when_they_are_all_there_is() -> None:
    assert duplicate_groups([3, 7], {(3, 7): 0.001, (7, 3): 0.001}) == {3: 3, 7: 3}
    assert duplicate_groups([3, 7], {(3, 7): 0.2, (7, 3): 0.2}) == {3: 3, 7: 7}


@settings(max_examples=30, deadline=None)
@given(
    k=st.sampled_from([1, 3, 7, 150]),
    rho=st.integers(0, 2),
    seed=st.integers(0, 100),
    changes=st.lists(st.one_of(st.just("add"), st.integers(0, 13)), min_size=1, max_size=5),
)
def test_an_updated_result_equals_one_from_scratch(k: int, rho: int, seed: int, changes: Sequence[str | int]) -> None:
    features = random_features(feature_space(), 20, seed)
    memory = with_references(features.slice(0, 14))
    state = finished(leave_one_out(memory, ENGINE, "nut", k, rho))
    for index, change in enumerate(changes):
        if change == "add":
            new = features.item(14 + index)
            memory = memory.with_references([14 + index], ["nut"], memory.codec.encode(new), memory.version + 1)
        else:
            memory = memory.without_references([int(change)], memory.version + 1)
        state = finished(leave_one_out(memory, ENGINE, "nut", k, rho, kept_and_read(state, memory)))
        assert_same(state, finished(leave_one_out(memory, ENGINE, "nut", k, rho)))


def test_a_reference_taken_back_leaves_what_was() -> None:
    features = random_features(feature_space(), 15, 5)
    memory = with_references(features.slice(0, 14))
    before = finished(leave_one_out(memory, ENGINE, "nut", 150, 1))
    more = memory.with_references([14], ["nut"], memory.codec.encode(features.item(14)), 2)
    changed = finished(leave_one_out(more, ENGINE, "nut", 150, 1, before))
    assert not np.allclose(changed.best[:14], before.best)
    back = finished(leave_one_out(more.without_references([14], 3), ENGINE, "nut", 150, 1, changed))
    assert_same(back, before)


def test_one_more_reference_costs_one_search_and_one_less_none() -> None:
    # Enough cells that one of 40 references decides few of another's.
    space = feature_space((12, 12))
    features = random_features(space, 41, 5)
    memory = MemoryBank.empty(space, "fp32")
    memory = memory.with_references(range(40), ["nut"] * 40, memory.codec.encode(features.slice(0, 40)), 1)
    counting = CountingEngine(torch.device("cpu"))
    before = finished(leave_one_out(memory, counting, "nut", 150, 1))
    assert counting.searches == 40
    more = memory.with_references([40], ["nut"], memory.codec.encode(features.item(40)), 2)
    after = finished(leave_one_out(more, counting, "nut", 150, 1, before))
    assert counting.searches == 41
    finished(leave_one_out(more.without_references([3], 3), counting, "nut", 150, 1, after))
    assert counting.searches - 41 < 8
    finished(leave_one_out(more, counting, "nut", 150, 0, after))  # another ρ: everything anew
    assert counting.searches >= 41 + 41


def test_a_reference_whose_codes_are_gone_is_taken_out_all_the_same() -> None:
    features = random_features(feature_space(), 10, 2)
    before = finished(leave_one_out(with_references(features), ENGINE, "nut", 150, 1))
    restarted = with_references(features.slice(0, 9))
    after = finished(leave_one_out(restarted, ENGINE, "nut", 150, 1, before))
    assert_same(after, finished(leave_one_out(restarted, ENGINE, "nut", 150, 1)))


@pytest.mark.parametrize("rho", [1, 3, 4, 255])
def test_what_an_image_is_to_others_is_what_they_find_in_it(rho: int) -> None:
    memory, stored = filled(7, "fp32")
    rows = [1, 3, 4]
    result = reverse_similarities(memory, memory.features_of(6), rows, rho)
    for position, row in enumerate(rows):
        expected = best_similarities(stored[row], stored[[6]], memory.space.global_grid, rho)
        np.testing.assert_allclose(result[position], expected, atol=1e-5)


@pytest.mark.parametrize("rho", [1, 3, 4, 255])
def test_some_cells_are_searched_as_all_are(rho: int) -> None:
    memory, _ = filled(7, "int8")
    features, rows = memory.features_of(0), np.array([1, 2, 5])
    where = np.random.default_rng(0).random((2, 20)) < 0.3
    whole = ENGINE.max_similarity(memory, features.patches[0], rows, rho)
    np.testing.assert_allclose(max_similarity_at(memory, features, rows, rho, where), whole[where], atol=1e-6)


def test_layers_are_weighed_so_that_each_adds_alike_to_the_distances_of_good_parts() -> None:
    memory, _ = filled(9, "fp32")
    result = finished(leave_one_out(memory, ENGINE, "nut", 150, 1))
    distances = (1.0 - result.best).mean(axis=(0, 2))
    weights = result.balance_layers(memory.frame("nut"), ScoringSettings()).layer_weights
    assert weights is not None
    np.testing.assert_allclose(np.array(weights) * distances, np.mean(np.array(weights) * distances), rtol=2e-3)
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    chosen = ScoringSettings(layer_weights=(1.0, 3.0))
    assert result.balance_layers(memory.frame("nut"), chosen) is chosen


def test_duplicates_and_ignored_cells_do_not_count_in_layer_weights() -> None:
    features = random_features(feature_space(), 6, 3)
    memory = with_references(features)
    weights = finished(leave_one_out(memory, ENGINE, "nut", 150, 1)).balance_layers(
        memory.frame("nut"), ScoringSettings()
    )
    order = [0, 1, 2, 3, 4, 5, 5]
    twice = with_references(Features(features.global_descriptors[order], features.patches[order], features.grid))
    with_twins = finished(leave_one_out(twice, ENGINE, "nut", 150, 1)).balance_layers(
        memory.frame("nut"), ScoringSettings()
    )
    assert with_twins == weights
    corner = RegionOfInterest((((0.0, 0.0), (0.6, 0.0), (0.6, 0.6), (0.0, 0.6)),))
    part = ScoringSettings(region=corner)
    result = finished(leave_one_out(memory, ENGINE, "nut", 150, 1))
    inspected = roi_mask(part, memory.frame("nut"))
    assert inspected is not None
    distances = (1.0 - result.best)[..., inspected.cells.ravel()].mean(axis=(0, 2))
    given = result.balance_layers(memory.frame("nut"), part).layer_weights
    assert given is not None
    np.testing.assert_allclose(given, (1 / distances) / (1 / distances).sum(), atol=1e-4)


def test_one_reference_alone_or_references_that_do_not_differ_leave_layers_alike() -> None:
    memory, _ = filled(9, "fp32")
    alone = memory.without_references([102, 104, 106, 108], 9)
    assert finished(leave_one_out(alone, ENGINE, "nut", 150, 1)).balance_layers(
        memory.frame("nut"), ScoringSettings()
    ) == (ScoringSettings())
    result = finished(leave_one_out(memory, ENGINE, "nut", 150, 1))
    same = replace(result, best=np.ones_like(result.best))
    assert same.balance_layers(memory.frame("nut"), ScoringSettings()) == ScoringSettings()
    half = result.best.copy()
    half[:, 0] = 1.0  # in this layer good parts do not differ at all: its weight stays bounded
    weights = replace(result, best=half).balance_layers(memory.frame("nut"), ScoringSettings()).layer_weights
    assert weights is not None
    assert weights[0] / weights[1] == pytest.approx(100, rel=0.02)
