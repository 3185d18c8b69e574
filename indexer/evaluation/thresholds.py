"""Verdicts in production: test images compared with thresholds calibrated on the references alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from indexer.calibration.leave_one_out import calibrate
from indexer.detection.decision import threshold_of
from indexer.domain.verdict import DecisionSettings
from indexer.evaluation.dataset import Dataset
from indexer.evaluation.protocols import Search
from indexer.evaluation.run import Outcome
from indexer.memory import MemoryBank
from indexer.search import PatchSearchEngine


@dataclass(frozen=True)
class CategoryDecisions:
    """One category's test images, each against the threshold of the category that it was searched in.

    threshold: its own; None with fewer than two references that differ, where nothing is rejected. rate_supported:
    whether there are enough references for the false-reject rate; else the threshold is the most cautious one there is.
    rejected of good, found of defective test images. recognised: of all of them, how many were searched in their own
    category.
    """

    category: str
    threshold: float | None
    rate_supported: bool
    rejected: int
    good: int
    detected: int
    defective: int
    recognised: int


def decide_categories(
    dataset: Dataset, memory: MemoryBank, engine: PatchSearchEngine, search: Search, rate: float, outcome: Outcome
) -> Iterator[CategoryDecisions]:
    """Calibrate each category that the outcome judged, as the service does, and decide on its samples' scores.

    The outcome's search must have kept to one category for each sample: that is the search that references are
    calibrated with.
    """
    limits = DecisionSettings(false_reject_rate=rate)
    calibrated = {
        name: calibrate(memory, engine, name, search.scoring_of(name), balance=search.balance)
        for name in outcome.categories
    }
    for name, judged in outcome.categories.items():
        samples = [sample for sample in dataset.samples if sample.category == name]
        thresholds = [threshold_of(calibrated[category], limits) for category in judged.nearest]
        rejected = [
            threshold is not None and score > threshold
            for score, threshold in zip(judged.scores, thresholds, strict=True)
        ]
        defective = [sample.defective for sample in samples]
        detected = sum(above and defect for above, defect in zip(rejected, defective, strict=True))
        yield CategoryDecisions(
            name,
            threshold_of(calibrated[name], limits),
            calibrated[name].scores.supports_rate(rate),
            sum(rejected) - detected,
            defective.count(False),
            detected,
            defective.count(True),
            judged.nearest.count(name),
        )
