"""Estimated calibrations are exact if all references are scored, and close if a part is."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
import torch

from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.calibration.what_if import WhatIf, estimate_calibration
from indexer.domain.scoring_settings import ScoringSettings
from indexer.memory import MemoryBank
from indexer.search import TorchEngine
from tests.helpers.coresets import condensed
from tests.helpers.memory_banks import filled

T = TypeVar("T")
ENGINE = TorchEngine(torch.device("cpu"))
NOW = ScoringSettings(k=30)


def finished(steps: Generator[float, None, T]) -> tuple[T, int]:
    """What the steps return, and how many there were."""
    turns = 0
    while True:
        try:
            next(steps)
            turns += 1
        except StopIteration as end:
            result: T = end.value
            return result, turns


def searched(memory: MemoryBank, settings: ScoringSettings) -> LeaveOneOut:
    return finished(leave_one_out(memory, ENGINE, "nut", settings.k, settings.rho))[0]


def calibrated(memory: MemoryBank, settings: ScoringSettings) -> Calibration:
    result = searched(memory, settings)
    settings = result.balance_layers(memory.frame("nut"), settings)
    measured = list(result.statistics(memory, memory.frame("nut"), settings))
    return Calibration.from_statistics(
        "nut",
        memory.version,
        "key",
        [statistics for _, statistics in measured],
        references=[reference_id for reference_id, _ in measured],
    )


def estimated(memory: MemoryBank, settings: ScoringSettings, most: int) -> WhatIf:
    steps = estimate_calibration(memory, ENGINE, calibrated(memory, NOW), searched(memory, NOW), settings, most)
    result, turns = finished(steps)
    same = (settings.k, settings.rho) == (NOW.k, NOW.rho)
    assert turns == result.measured * (1 if same else 2), "one search or one reference's measures a turn"
    return result


def a_memory(count: int) -> MemoryBank:
    """So many nuts, and as many bolts."""
    memory, _ = filled(2 * count, "fp32", grid=(5, 5), layers=2, dim=16)
    return memory


def test_with_every_reference_measured_it_is_the_calibration_itself() -> None:
    memory = a_memory(20)
    for settings in (ScoringSettings(k=4, rho=0), ScoringSettings(k=30, layer_weights=(1.0, 3.0))):
        result, exact = estimated(memory, settings, 40), calibrated(memory, settings)
        assert result.measured == 20
        np.testing.assert_allclose(result.calibration.scores.values, exact.scores.values, atol=1e-5)
        np.testing.assert_allclose(result.calibration.novelty.ranking.values, exact.novelty.ranking.values, atol=1e-3)


def test_in_a_coreset_k_changes_nothing_and_another_radius_is_close() -> None:
    memory, _ = condensed(a_memory(40), "nut", 0.4)
    known = calibrated(memory, NOW)
    same, _ = finished(estimate_calibration(memory, ENGINE, known, searched(memory, NOW), ScoringSettings(k=3), 40))
    np.testing.assert_allclose(same.calibration.scores.values, known.scores.values, atol=1e-6)
    wider = ScoringSettings(k=30, rho=0)
    result, exact = estimated(memory, wider, 40), calibrated(memory, wider)
    whole = calibrated(memory.without_coresets(["nut"]), wider)
    off = np.abs(np.subtract(result.calibration.scores.values, exact.scores.values)).mean()
    assert off < 0.25 * np.abs(np.subtract(whole.scores.values, exact.scores.values)).mean()


def test_with_some_measured_those_are_exact_and_the_threshold_is_close() -> None:
    memory, settings = a_memory(40), ScoringSettings(k=4, rho=0, layer_weights=(1.0, 1.0))
    result, exact = estimated(memory, settings, 16), calibrated(memory, settings)
    known = dict(zip(exact.references, exact.statistics, strict=True))
    pairs = zip(result.calibration.references, result.calibration.statistics, strict=True)
    assert sum(abs(estimate.score - known[one].score) < 1e-5 for one, estimate in pairs) >= 16
    assert (result.measured, len(result.calibration)) == (16, 40)
    level, true = result.calibration.scores.threshold_at(0.05), exact.scores.threshold_at(0.05)
    before = calibrated(memory, NOW).scores.threshold_at(0.05)
    assert level is not None
    assert true is not None
    assert before is not None
    assert abs(level - true) < 0.3 * abs(before - true), "nearer by far than the threshold of the old settings"


def test_references_that_are_gone_are_left_out() -> None:
    memory = a_memory(12)
    known, stored = calibrated(memory, NOW), searched(memory, NOW)
    gone = known.references[3]
    excluded = memory.without_references([gone], memory.version + 1)
    result, _ = finished(estimate_calibration(excluded, ENGINE, known, stored, ScoringSettings(k=3), 40))
    assert gone not in result.calibration.references
    assert len(result.calibration) == 11


def test_layer_weights_of_another_search_are_close_with_some_measured() -> None:
    memory, settings = a_memory(40), ScoringSettings(k=4, rho=0)
    result = estimated(memory, settings, 16)
    weights = searched(memory, settings).balance_layers(memory.frame("nut"), settings).layer_weights
    assert result.calibration.layer_weights == pytest.approx(weights, rel=0.05)
