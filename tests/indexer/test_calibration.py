"""Thresholds promise a false-reject rate from good parts alone, and say when they cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from indexer.calibration import Calibration, decide, leave_one_out, references_needed
from indexer.scoring import ScoringSettings, score_image
from indexer.search import TorchEngine
from tests.indexer.test_search import filled


def calibration(scores: list[float]) -> Calibration:
    return Calibration.of("nut", 3, dict(enumerate(scores)))


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=60),
    st.floats(0.001, 0.9),
    st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.5, 0.6]),
)
def test_a_score_is_rejected_exactly_when_its_p_value_is_at_most_the_rate(
    scores: list[float], rate: float, score: float
) -> None:
    found = calibration(scores)
    verdict, threshold = decide(score, found, rate, None)
    if len(scores) < references_needed(rate):
        assert verdict == "uncalibrated"
        assert threshold == max(scores)
    else:
        assert (verdict == "anomalous") == (found.p_value(score) <= rate + 1e-12)


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.5, 1), (0.005, 199)])
def test_a_rate_needs_one_over_it_less_one_references(rate: float, needed: int) -> None:
    assert references_needed(rate) == needed
    assert calibration([0.1] * needed).reaches(rate)
    assert not calibration([0.1] * (needed - 1)).reaches(rate)


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_fresh_good_parts_are_rejected_at_the_promised_rate(rate: float) -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(4000):
        sample = rng.gamma(3.0, size=51)
        verdict, _ = decide(float(sample[50]), calibration(sample[:50].tolist()), rate, None)
        rejected += verdict == "anomalous"
    # At 50 references the exact rate is ⌊rate · 51⌋ / 51; four standard errors of 4000 draws.
    exact = int(rate * 51) / 51
    assert abs(rejected / 4000 - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000)


def test_a_manual_threshold_overrides_and_no_calibration_is_said() -> None:
    assert decide(0.3, None, 0.01, 0.2) == ("anomalous", 0.2)
    assert decide(0.2, None, 0.01, 0.2) == ("normal", 0.2)
    assert decide(0.3, None, 0.01, None) == ("uncalibrated", None)
    assert decide(0.3, Calibration.of("nut", 1, {}), 0.01, None) == ("uncalibrated", None)
    with pytest.raises(ValueError, match="between 0 and 1"):
        references_needed(1.0)


def test_each_reference_is_scored_without_itself_within_its_category() -> None:
    memory, _ = filled(9, "fp16")
    engine, settings = TorchEngine(torch.device("cpu")), ScoringSettings()
    found = dict(leave_one_out(memory, engine, "nut", settings))
    assert list(found) == [100, 102, 104, 106, 108]
    row = memory.row_of(104)
    alone = score_image(memory.removed([104], 9), engine, memory.features_of(row), settings, "nut")
    assert found[104] == pytest.approx(alone.score, abs=1e-6)
    assert list(leave_one_out(memory.removed([102, 104, 106, 108], 9), engine, "nut", settings)) == []
