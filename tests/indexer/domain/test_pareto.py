"""Confirmed defects by class, in order and adding up."""

from __future__ import annotations

import pytest

from indexer.domain.pareto import Pareto


def test_bars_are_ordered_by_count_and_end_with_those_without_a_class() -> None:
    pareto = Pareto.from_counts([(None, 9), ("b", 2), ("dent", 5), ("a", 2)])
    assert [(bar.defect_class, bar.count) for bar in pareto.bars] == [("dent", 5), ("a", 2), ("b", 2), (None, 9)]
    assert pareto.total == 18
    assert sum(bar.share for bar in pareto.bars) == pytest.approx(1)
    assert [bar.cumulative_share for bar in pareto.bars] == pytest.approx([5 / 18, 7 / 18, 0.5, 1])


def test_without_a_defect_there_is_no_bar() -> None:
    assert Pareto.from_counts([]) == Pareto(0, ())
