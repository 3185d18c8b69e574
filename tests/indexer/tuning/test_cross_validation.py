"""Cross-validated choice: the right one is found, and where none is better it is not said, but rarely by chance."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from indexer.tuning.cross_validation import LEVEL, MIN_DEFECTIVE, MIN_GOOD, Choice, cross_validate, too_few


def choose(scores: NDArray[np.float32], defective: NDArray[np.bool_]) -> Choice:
    """The choice, with nothing done between its steps."""
    steps = cross_validate(scores, defective)
    while True:
        try:
            assert 0 < next(steps) <= 1
        except StopIteration as end:
            choice: Choice = end.value
            return choice


def drawn(
    random: np.random.Generator, good: int, defective: int, distances: NDArray[np.float64], shared: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores of candidates, normal with these distances between good and defective images, and the labels.

    shared: the share of an image's variance that all candidates have in common.
    """
    is_defective = np.arange(good + defective) >= good
    own = random.normal(size=(len(distances), good + defective))
    scores = np.sqrt(shared) * random.normal(size=good + defective) + np.sqrt(1 - shared) * own
    return (scores + distances[:, None] * is_defective).astype(np.float32), is_defective


@pytest.mark.parametrize(
    ("good", "defective", "candidates", "shared"),
    [(MIN_GOOD, MIN_DEFECTIVE, 30, 0.5), (MIN_GOOD, MIN_DEFECTIVE, 100, 0.9), (40, 40, 10, 0.5), (40, 40, 100, 0.5)],
)
def test_no_candidate_is_called_better_where_none_is_but_in_at_most_one_of_twenty_sets(
    good: int, defective: int, candidates: int, shared: float
) -> None:
    random = np.random.default_rng(11)
    sets = 200
    choices = [choose(*drawn(random, good, defective, np.full(candidates, 1.5), shared)) for _ in range(sets)]
    assert sum(choice.low > 0 for choice in choices) / sets <= LEVEL
    # Its estimate is not what was gained where it was chosen: that is always above 0.
    assert abs(np.mean([choice.gain for choice in choices])) < 0.02


def test_a_candidate_that_is_better_is_found_with_what_it_gains() -> None:
    random = np.random.default_rng(12)
    distances = np.full(50, 1.2)
    distances[17] = 2.4
    scores, defective = drawn(random, 60, 60, distances, 0.8)
    choice = choose(scores, defective)
    assert choice.best == 17
    assert choice.agreement > 0.9
    assert choice.auroc == pytest.approx(roc_auc_score(defective, scores[0]))
    full = roc_auc_score(defective, scores[17]) - choice.auroc
    assert 0 < choice.low < choice.gain < choice.high
    assert choice.gain == pytest.approx(full, abs=0.02)


def test_the_present_scoring_stays_where_others_separate_alike() -> None:
    scores, defective = drawn(np.random.default_rng(13), 20, 10, np.full(1, 1.0), 0.0)
    choice = choose(np.repeat(scores, 5, axis=0), defective)
    assert (choice.best, choice.gain, choice.low, choice.agreement) == (0, 0.0, 0.0, 1.0)


def test_too_few_images_are_refused_with_how_many_it_takes() -> None:
    assert too_few(MIN_GOOD, MIN_DEFECTIVE) is None
    assert too_few(MIN_GOOD - 1, 100) is not None
    assert f"{MIN_DEFECTIVE} defective" in str(too_few(100, MIN_DEFECTIVE - 1))
