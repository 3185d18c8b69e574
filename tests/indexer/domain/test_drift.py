"""The drift alarm is raised when good parts change, and rarely before."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from indexer.calibration.conformal import Ranking
from indexer.domain.drift import DriftMartingale, DriftPValues, DriftTest


def p_values(rng: np.random.Generator, references: int, inspections: int, moved: float = 0.0) -> list[float]:
    ranking = Ranking.from_values(rng.normal(size=references))
    return [ranking.p_value(value) for value in rng.normal(moved, size=inspections)]


@pytest.mark.parametrize("references", [20, 50, 200])
def test_steady_production_raises_the_flag_in_at_most_two_of_a_hundred_lines(references: int) -> None:
    rng = np.random.default_rng(references)
    raised = sum(DriftMartingale().update(p_values(rng, references, 2000), references).drifting for _ in range(100))
    assert raised <= 6  # 2 % of 100 and more than three standard deviations


@pytest.mark.parametrize(("references", "within"), [(50, 120), (200, 60)])
def test_production_that_has_moved_raises_it_soon(references: int, within: int) -> None:
    rng = np.random.default_rng(1)
    detected = 0
    for _ in range(40):
        ranking = Ranking.from_values(rng.normal(size=references))
        steady = [ranking.p_value(value) for value in rng.normal(size=500)]
        moved = [ranking.p_value(value) for value in rng.normal(2.0, size=within)]
        before = DriftMartingale().update(steady, references)
        detected += not before.drifting and before.update(moved, references).drifting
    assert detected >= 36


def with_defects(rng: np.random.Generator, references: int, inspections: int, share: float) -> list[float]:
    good = p_values(rng, references, inspections)
    defective = rng.random(inspections) < share
    return [1 / (references + 1) if bad else p_value for p_value, bad in zip(good, defective, strict=True)]


@pytest.mark.parametrize("references", [20, 50, 200, 1000])
def test_one_part_in_twenty_may_be_defective_without_raising_it(references: int) -> None:
    rng = np.random.default_rng(2)
    raised = sum(
        DriftMartingale().update(with_defects(rng, references, 2000, 0.05), references).drifting for _ in range(20)
    )
    assert raised == 0


@pytest.mark.parametrize(("references", "share", "within"), [(40, 0.3, 300), (200, 0.3, 100), (200, 0.2, 200)])
def test_rejects_that_become_many_raise_it(references: int, share: float, within: int) -> None:
    rng = np.random.default_rng(3)
    raised = 0
    for _ in range(20):
        steady = DriftMartingale().update(with_defects(rng, references, 300, 0.01), references)
        raised += (
            not steady.drifting and steady.update(with_defects(rng, references, within, share), references).drifting
        )
    assert raised >= 17


def test_what_was_seen_is_counted_by_p_value_and_evidence_stays_finite() -> None:
    drift = DriftMartingale().update([0.05, 0.15, 0.15, 1.0], 99)
    assert drift.counts == (1, 2, 0, 0, 0, 0, 0, 0, 0, 1)
    long = drift.update([0.01] * 5000, 1000)
    assert long.drifting
    assert np.isfinite(long.evidence)
    assert DriftMartingale().update([0.05, 0.15], 99).update([0.15, 1.0], 99) == drift


@pytest.mark.parametrize(
    ("scores_moved", "scene_moved", "state"), [(0.0, 0.0, "steady"), (3.0, 0.0, "defects"), (3.0, 3.0, "drifting")]
)
def test_many_defects_are_told_from_a_changed_scene_by_the_image_as_a_whole(
    scores_moved: float, scene_moved: float, state: str
) -> None:
    rng, at = np.random.default_rng(4), datetime(2026, 1, 1, tzinfo=UTC)
    scores = p_values(rng, 50, 200, scores_moved)
    scene = p_values(rng, 50, 200, scene_moved)
    test = DriftTest("key", 1, at, None, DriftMartingale(), DriftMartingale())
    test = test.update([DriftPValues(*pair) for pair in zip(scores, scene, strict=True)], 50, at)
    assert test.state == state
    assert (test.flagged_at is not None) == (state != "steady")
    earlier = DriftTest("key", 1, at, None, DriftMartingale(), DriftMartingale())
    assert earlier.update([DriftPValues(0.01, None)] * 200, 50, at).state == "defects"
