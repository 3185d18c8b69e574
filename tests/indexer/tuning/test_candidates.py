"""Every candidate's score of an image is the one that a search with its settings gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.scoring import rescale, score_image
from indexer.search import TorchEngine
from indexer.tuning.candidates import CandidateGrid, score_candidates
from tests.helpers.coresets import condensed
from tests.helpers.memory_banks import filled
from tests.helpers.random_features import random_features

ENGINE = TorchEngine(torch.device("cpu"))


@pytest.mark.parametrize("region", [None, RegionOfInterest((((0.0, 0.0), (0.7, 0.0), (0.7, 1.0), (0.0, 1.0)),))])
@pytest.mark.parametrize("in_coreset", [False, True])
def test_all_candidates_score_an_image_as_searches_of_their_own_do(
    region: RegionOfInterest | None, in_coreset: bool
) -> None:
    memory, _ = filled(60, "fp32")
    if in_coreset:
        memory, _ = condensed(memory, "nut", 0.4)
    query = random_features(memory.space, 1, 99)
    present = ScoringSettings(20, 2, (0.6, 0.4), region, 0.03)
    grid = CandidateGrid.around(present, (0.25, 0.75), 30, 20)
    scale = np.random.default_rng(0).uniform(0.5, 1.5, (2, 20)).astype(np.float32)
    steps = score_candidates(memory, ENGINE, query, "nut", memory.frame("nut"), present, grid, scale)
    shares = []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            scores = end.value
            break
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(scores) == len(grid.candidates)
    for index in (0, *np.random.default_rng(1).integers(0, len(scores), 40)):
        candidate = grid.candidates[index]
        settings = ScoringSettings(candidate.k, candidate.rho, candidate.weights.values, region, candidate.share)
        scored = rescale(score_image(memory, ENGINE, query, settings, "nut"), scale, settings)
        assert scores[index] == pytest.approx(scored.score, abs=1e-6)


def test_the_first_candidate_is_the_present_scoring_and_the_others_say_what_they_change() -> None:
    present = ScoringSettings(150, 1, None, None, 0.01)
    grid = CandidateGrid.around(present, (0.25, 0.75), 40, 784)
    assert grid.ks == (150, 10, 30)  # as many references as there are, or more, are the same as 150
    assert grid.rhos == (1, 0, 2, 255)
    assert CandidateGrid.around(present, (0.25, 0.75), 40, 1568).rhos == (1, 0, 2)  # where anywhere takes too long
    assert grid.candidates[0].changes == {}
    assert all(candidate.changes for candidate in grid.candidates[1:])
    assert grid.weights[0].setting is None
    assert (0.25, 0.75) not in [weights.values for weights in grid.weights[1:]]
    explicit = CandidateGrid.around(replace(present, layer_weights=(1.0, 1.0)), (0.25, 0.75), 40, 784)
    assert [weights.setting for weights in explicit.weights[:2]] == [(1.0, 1.0), None]
    assert {"layer_weights": None} in [candidate.changes for candidate in explicit.candidates]
