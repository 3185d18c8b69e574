"""Thresholds guarantee a false-reject rate from good parts alone, and report if there are too few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from indexer.calibration.calibration import Calibration
from indexer.calibration.conformal import Ranking, references_needed, smallest_rate
from indexer.calibration.rate_advice import rate_advice
from indexer.detection.decision import decide
from indexer.domain.verdict import DecisionSettings
from indexer.scoring.image_statistics import ImageStatistics


def part(score: float, median: float = 0.1, remoteness: float = 0.1, uniformity: float = 0.1) -> ImageStatistics:
    return ImageStatistics(score, score * 1.2, median, remoteness, uniformity)


def calibration(scores: list[float]) -> Calibration:
    return Calibration.from_statistics("nut", 3, "key", [part(score) for score in scores])


def draw(rng: np.random.Generator, count: int) -> list[ImageStatistics]:
    """Good parts whose score, median and remoteness vary and depend on each other."""
    common, own = rng.gamma(3.0, size=count), rng.gamma(3.0, size=(4, count))
    values = (common + own) / 20
    return [ImageStatistics(float(a), float(a) * 1.3, float(b), float(c), float(d)) for a, b, c, d in values.T]


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=60),
    st.floats(0.001, 0.9),
    st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.5, 0.6]),
)
def test_a_score_is_rejected_exactly_when_its_p_value_is_at_most_the_rate(
    scores: list[float], rate: float, score: float
) -> None:
    result = calibration(scores)
    decision = decide(part(score), result, DecisionSettings(rate))
    if len(scores) < references_needed(rate):
        assert decision.verdict == "uncalibrated"
        assert decision.threshold == max(scores)
    else:
        assert (decision.verdict == "anomalous") == (result.scores.p_value(score) <= rate + 1e-12)


@given(st.integers(1, 3000))
def test_each_rate_that_can_be_chosen_decides_by_one_score_more(count: int) -> None:
    ranking = Ranking.from_values(range(count))
    rates = ranking.rates()
    assert [ranking.threshold_at(rate) for rate in rates] == [count - 1 - place for place in range(len(rates))]
    assert [round(rate, 6) for rate in rates] == rates
    assert rates[-1] <= 0.5 + 1e-6


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.5, 1), (0.005, 199)])
def test_a_rate_needs_one_over_it_less_one_references(rate: float, needed: int) -> None:
    assert references_needed(rate) == needed
    assert Ranking.from_values([0.1] * needed).supports_rate(rate)
    assert not Ranking.from_values([0.1] * (needed - 1)).supports_rate(rate)
    with pytest.raises(ValueError, match="between 0 and 1"):
        references_needed(1.0)


@given(st.floats(1e-6, 0.999), st.integers(0, 300))
def test_advice_is_given_exactly_while_there_are_too_few_references_and_following_it_is_enough(
    rate: float, references: int
) -> None:
    advice = rate_advice(DecisionSettings(rate), references)
    assert (advice is None) == (references >= max(2, references_needed(rate)))
    assert rate_advice(DecisionSettings(rate, threshold=0.3), references) is None
    if references >= 2:
        assert rate_advice(DecisionSettings(smallest_rate(references)), references) is None


@pytest.mark.parametrize("references", [20, 50, 200])
@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05, 0.1])
def test_fresh_good_parts_are_called_anomalous_and_unfamiliar_at_no_more_than_the_promised_rates(
    references: int, rate: float
) -> None:
    rng = np.random.default_rng([references, round(rate * 1000)])
    trials, anomalous, unfamiliar = 1000, 0, 0
    for _ in range(trials):
        *known, fresh = draw(rng, references + 1)
        result = Calibration.from_statistics("nut", 3, "key", known)
        # The other verdict is kept out of the way, so that each rate is counted by itself.
        verdict = decide(fresh, result, DecisionSettings(rate, unfamiliar_rate=1e-9)).verdict
        assert (verdict == "uncalibrated") == (references < references_needed(rate)) or verdict == "unfamiliar"
        anomalous += verdict == "anomalous" or (
            verdict == "uncalibrated" and fresh.score > (result.scores.threshold_at(rate) or 0)
        )
        unfamiliar += decide(fresh, result, DecisionSettings(rate, unfamiliar_rate=rate)).verdict == "unfamiliar"
    # With n references the exact rate is ⌊rate · (n + 1)⌋ / (n + 1); out of reach, that of the most cautious threshold.
    exact = max(1, int(rate * (references + 1) + 1e-9)) / (references + 1)
    low, high = binom.interval(0.9999, trials, exact)
    assert low <= anomalous + 1e-9
    assert anomalous <= high
    assert unfamiliar <= high
    # The statistic's scale is of the references, which makes the rate of `unfamiliar` lower than promised, not higher.
    if references >= references_needed(rate):
        assert unfamiliar >= low / 2


def test_a_manual_threshold_overrides_calibration_and_a_missing_one_is_uncalibrated() -> None:
    assert decide(part(0.3), None, DecisionSettings(threshold=0.2)).verdict == "anomalous"
    assert decide(part(0.2), None, DecisionSettings(threshold=0.2)).verdict == "normal"
    assert decide(part(0.3), None, DecisionSettings()).verdict == "uncalibrated"
    empty = decide(part(0.3), Calibration.from_statistics("nut", 1, "key", []), DecisionSettings())
    assert (empty.verdict, empty.threshold, empty.p_value) == ("uncalibrated", None, None)
    overridden = decide(part(0.3), calibration([0.1] * 5), DecisionSettings(threshold=0.35))
    assert (overridden.verdict, overridden.threshold, overridden.region_threshold) == ("normal", 0.35, 0.35)


@pytest.mark.parametrize(("median", "remoteness", "uniformity"), [(1.9, 0.1, 0.1), (0.1, 1.9, 0.1), (0.1, 0.1, 1.9)])
@pytest.mark.parametrize("limits", [DecisionSettings(0.1), DecisionSettings(0.01), DecisionSettings(threshold=1.9)])
def test_an_image_unlike_all_references_is_unfamiliar_at_any_threshold(
    median: float, remoteness: float, uniformity: float, limits: DecisionSettings
) -> None:
    known = draw(np.random.default_rng(0), 30)
    decision = decide(
        part(0.1, median, remoteness, uniformity), Calibration.from_statistics("nut", 1, "key", known), limits
    )
    assert decision.verdict == "unfamiliar"
    assert decision.novelty is not None
    assert decision.novelty_threshold is not None
    assert decision.novelty > decision.novelty_threshold
    assert decision.novelty_p_value == pytest.approx(1 / 31)


@given(
    st.lists(st.tuples(*[st.floats(0, 2)] * 2, st.floats(0, 0.98)), min_size=1, max_size=40),
    st.floats(0, 2),
    st.floats(0, 2),
    st.floats(0.99, 1),
    st.sampled_from([DecisionSettings(0.5, 0.4), DecisionSettings(0.01), DecisionSettings(threshold=2.0)]),
)
def test_a_blank_image_is_never_normal(
    references: list[tuple[float, float, float]],
    median: float,
    remoteness: float,
    uniformity: float,
    limits: DecisionSettings,
) -> None:
    blank = part(0.0, median, remoteness, uniformity)
    known = [part(0.1, *reference) for reference in references]
    assert decide(blank, Calibration.from_statistics("nut", 1, "key", known), limits).verdict == "unfamiliar"
    assert decide(blank, None, limits).verdict == "uncalibrated"
    # Of a product that looks like nothing, the references say so.
    plain = [part(0.1, *reference[:2], 0.995) for reference in references]
    assert (
        decide(part(0.0, 0.0, 0.0, 0.995), Calibration.from_statistics("sheet", 1, "key", plain), limits).verdict
        != "unfamiliar"
    )


def test_with_a_handful_of_references_nothing_is_called_unfamiliar() -> None:
    known = draw(np.random.default_rng(0), 7)
    decision = decide(
        part(0.1, 1.9, 1.9, 0.98), Calibration.from_statistics("nut", 1, "key", known), DecisionSettings()
    )
    assert (decision.verdict, decision.novelty_threshold) == ("uncalibrated", None)


def test_a_pixel_level_is_ranked_like_the_scores() -> None:
    result = calibration([index / 100 for index in range(99)])
    assert result.peaks.threshold_at(0.01) == pytest.approx(0.98 * 1.2)
    assert decide(part(0.5), result, DecisionSettings()).region_threshold == result.peaks.threshold_at(0.01)
