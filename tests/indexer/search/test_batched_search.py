"""Batched searches give the same results as single ones, and an error affects one image only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from indexer.domain.errors import NoReferencesError
from indexer.domain.scoring_settings import ScoringSettings
from indexer.memory import MemoryBank
from indexer.scoring.scoring import score_image, score_steps
from indexer.search import PatchMatches, PatchQuery, PatchSearchEngine, SearchCoroutine, TorchEngine, run_batched
from tests.helpers.memory_banks import ENGINES, filled
from tests.helpers.random_features import random_features


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_batched_images_score_as_they_do_alone(engine: PatchSearchEngine) -> None:
    memory, _ = filled(12, "fp16", grid=(2, 2), dim=24)  # Triton's interpreter takes its time for each cell
    features = random_features(memory.space, 5, 8)
    chosen = ((5, None), (5, "nut"), (12, None), (1, "bolt"), (3, None))
    wishes = [(ScoringSettings(k), category) for k, category in chosen]
    coroutines = [score_steps(memory, engine, features.item(i), *wish) for i, wish in enumerate(wishes)]
    for i, (scored, wish) in enumerate(zip(run_batched(engine, memory, coroutines), wishes, strict=True)):
        alone = score_image(memory, engine, features.item(i), *wish)
        assert not isinstance(scored, Exception)
        assert scored.score == pytest.approx(alone.score, abs=1e-6)
        np.testing.assert_allclose(scored.map, alone.map, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(scored.neighbours.rows, alone.neighbours.rows)


def test_an_image_that_fails_does_so_alone_and_one_that_asks_twice_is_answered_twice() -> None:
    memory, _ = filled(10, "fp32")
    engine = ENGINES[0]
    features = random_features(memory.space, 3, 8)

    def twice() -> SearchCoroutine[tuple[float, float]]:
        first = yield from score_steps(memory, engine, features.item(0), ScoringSettings())
        second = yield from score_steps(memory, engine, features.item(0), ScoringSettings(), "nut")
        return first.score, second.score

    lost = score_steps(memory, engine, features.item(1), ScoringSettings(), "screw")
    once = score_steps(memory, engine, features.item(2), ScoringSettings())
    both, none, one = run_batched(engine, memory, [twice(), lost, once])
    assert isinstance(both, tuple)
    assert both[0] <= both[1]  # of all references, and of some of them
    assert isinstance(none, NoReferencesError)
    assert not isinstance(one, Exception)


class Short(TorchEngine):
    """As on a device with room for one image's question and no more than `most` references."""

    def __init__(self, most: int) -> None:
        super().__init__(torch.device("cpu"))
        self.most = most

    def search(self, memory: MemoryBank, questions: Sequence[PatchQuery]) -> list[PatchMatches]:
        if len(questions) > 1 or len(questions[0].rows) > self.most:
            raise MemoryError("no room")
        return super().search(memory, questions)


def test_a_search_that_does_not_fit_is_tried_image_by_image() -> None:
    memory, _ = filled(12, "fp32")
    engine = Short(most=8)
    features = random_features(memory.space, 3, 8)
    coroutines = [score_steps(memory, engine, features.item(i), ScoringSettings(k)) for i, k in enumerate((8, 12, 5))]
    first, second, third = run_batched(engine, memory, coroutines)
    assert isinstance(second, MemoryError)
    for i, k, matches in ((0, 8, first), (2, 5, third)):
        assert not isinstance(matches, Exception)
        assert matches.score == score_image(memory, ENGINES[1], features.item(i), ScoringSettings(k)).score
