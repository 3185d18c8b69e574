"""Curves and contact sheets can be read, however many categories there are, and say what they are of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from indexer.domain.scoring_settings import ScoringSettings
from indexer.evaluation.dataset import Dataset, Reference, Sample
from indexer.evaluation.metrics import Figures
from indexer.evaluation.plots import draw_histograms, draw_ranking
from indexer.evaluation.protocols import Search, Variant
from indexer.evaluation.run import CategoryOutcome, Outcome
from indexer.evaluation.sheets import best_threshold, choose

NAMES = [f"rolled_strip_base_{index:02}" for index in range(30)]  # as many as Real-IAD has
KINDS = ["good"] * 4 + ["cut"] * 4
SAMPLES = [Sample(Path(f"{index}.png"), "c", kind) for index, kind in enumerate(KINDS)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Figure]:
    """The figure that was saved last, laid out."""
    saved: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: saved.append(self))

    def last() -> Figure:
        saved[-1].draw_without_rendering()
        return saved[-1]

    return last


def judged(names: list[str]) -> tuple[Dataset, Outcome]:
    """Samples of some categories, with their scores."""
    rng = np.random.default_rng(0)
    samples = tuple(
        Sample(Path(f"{name}/{index}.png"), name, kind) for name in names for index, kind in enumerate(KINDS)
    )
    dataset = Dataset("folder", Path("."), tuple(Reference(Path(f"{name}.png"), name) for name in names), samples)
    outcomes = {name: CategoryOutcome(Figures(0.5, 0.5), tuple(rng.random(8)), (name,) * 8) for name in names}
    return dataset, Outcome(Variant("recognised", "is recognised", Search(ScoringSettings())), 30, outcomes)


def test_ranking_curves_of_thirty_categories_are_told_apart_beside_a_legend_that_hides_none(
    drawn: Callable[[], Figure], tmp_path: Path
) -> None:
    draw_ranking(*judged(NAMES), tmp_path / "ranking.png")
    figure = drawn()
    [legend] = figure.legends
    boxes = [axes.get_window_extent() for axes in figure.axes]
    box = legend.get_window_extent()
    assert not any(box.overlaps(other) for other in boxes)
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    assert all(box.height > 0.6 * figure.bbox.height for box in boxes)
    assert [text.get_text().split()[0] for text in legend.get_texts()] == NAMES
    colors = [tuple(line.get_color()) for line in figure.axes[0].lines]
    assert all(np.abs(np.subtract(one, other)).max() > 0.02 for one, other in combinations(colors, 2))


def test_images_say_which_protocol_they_are_of(drawn: Callable[[], Figure], tmp_path: Path) -> None:
    dataset, outcome = judged(NAMES[:2])
    draw_ranking(dataset, outcome, tmp_path / "ranking.png")
    assert "recognised (is recognised)" in drawn().get_suptitle()
    draw_histograms(dataset, outcome, {NAMES[0]: 0.4}, tmp_path / "histograms.png")
    assert "recognised (is recognised)" in drawn().get_suptitle()
    assert (drawn().get_supxlabel(), drawn().get_supylabel()) == ("image score", "test images")


def test_a_sheet_shows_clear_finds_then_mistakes_then_close_calls() -> None:
    scores = np.array([0.1, 0.2, 0.48, 0.9, 0.52, 0.1, 0.8, 0.95])
    chosen = dict(choose(SAMPLES, scores, 0.5))
    assert chosen["best"] == [7, 6, 4]
    assert chosen["worst"][:2] == [3, 5]  # 0.4 too high, 0.4 too low
    assert chosen["worst"][2] == 2  # right by 0.02 only: nothing else is wrong
    assert chosen["borderline"] == [1, 0]
    everything = [index for indices in chosen.values() for index in indices]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(
    ("scores", "level"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9], 0.5),
        ([0.1, 0.2, 0.3, 0.7, 0.6, 0.7, 0.8, 0.9], 0.45),
        ([0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], 0.6),
    ],
)
def test_without_a_threshold_no_defect_that_can_be_told_apart_is_shown_as_missed(
    scores: list[float], level: float
) -> None:
    threshold = best_threshold(SAMPLES, np.array(scores))
    assert threshold == pytest.approx(level)
    assert all(score > threshold for score, sample in zip(scores, SAMPLES, strict=True) if sample.defective)
