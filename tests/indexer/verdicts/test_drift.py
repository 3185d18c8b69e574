"""A flag goes up when good production leaves the references, and hardly ever before."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.verdicts.drift import Drift
from indexer.verdicts.ranking import Ranking


def p_values(rng: np.random.Generator, references: int, inspections: int, moved: float = 0.0) -> list[float]:
    ranking = Ranking.of(rng.normal(size=references))
    return [ranking.p_value(value) for value in rng.normal(moved, size=inspections)]


@pytest.mark.parametrize("references", [20, 50, 200])
def test_steady_production_raises_the_flag_in_at_most_two_of_a_hundred_lines(references: int) -> None:
    rng = np.random.default_rng(references)
    raised = sum(Drift().after(p_values(rng, references, 2000), references).drifting for _ in range(100))
    assert raised <= 6  # 2 % of 100 and more than three standard deviations


@pytest.mark.parametrize(("references", "within"), [(50, 120), (200, 60)])
def test_production_that_has_moved_raises_it_soon(references: int, within: int) -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(40):
        ranking = Ranking.of(rng.normal(size=references))
        steady = [ranking.p_value(value) for value in rng.normal(size=500)]
        moved = [ranking.p_value(value) for value in rng.normal(2.0, size=within)]
        before = Drift().after(steady, references)
        found += not before.drifting and before.after(moved, references).drifting
    assert found >= 36


def test_a_few_defects_do_not_raise_it() -> None:
    rng = np.random.default_rng(2)
    drift = Drift()
    for _ in range(20):
        good = p_values(rng, 200, 97)
        drift = drift.after([*good, *[1 / 201] * 3], 200)
    assert not drift.drifting
    assert drift.inspections == 2000


def test_what_was_seen_is_counted_by_p_value_and_evidence_stays_finite() -> None:
    drift = Drift().after([0.05, 0.15, 0.15, 1.0], 99)
    assert drift.counts == (1, 2, 0, 0, 0, 0, 0, 0, 0, 1)
    long = drift.after([0.01] * 5000, 1000)
    assert long.drifting
    assert np.isfinite(long.evidence)
    assert Drift().after([0.05, 0.15], 99).after([0.15, 1.0], 99) == drift
