"""Which search an image without a category is best judged by, and what its threshold must be made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from indexer.calibration.conformal import Ranking
from indexer.calibration.leave_one_out import LeaveOneOut, Steps, leave_one_out
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, Features
from indexer.memory import MemoryBank
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine
from tests.study.products import Product

SETTINGS = ScoringSettings()
_RATES = (0.01, 0.05)
_WAYS = {
    "all, threshold from the own category": ("all", "own"),
    "all, threshold from all": ("all", "all"),
    "the recognised category, threshold from it": ("recognised", "own"),
}


def compared(
    title: str, encoder: Encoder, engine: PatchSearchEngine, products: Sequence[Product], references: int
) -> Iterator[str]:
    """A table: image AUROC, and good parts rejected and defects found, by every way to search and to calibrate."""
    memory = MemoryBank.empty(encoder.space)
    for product in products:
        for each in product.references[:references]:
            memory = memory.with_references(
                [memory.rows], [product.name], memory.codec.encode(each), memory.version + 1
            )

    def score(features: Features, category: str | None, without: Sequence[int] = ()) -> float:
        return score_image(memory, engine, features, SETTINGS, category, without).score

    aurocs: dict[str, list[float]] = {"all": [], "recognised": []}
    counts = {(way, rate): np.zeros(2, np.int64) for way in _WAYS for rate in _RATES}
    shown, recognised = np.zeros(2, np.int64), 0
    for product in products:
        found = _finished(leave_one_out(memory, engine, product.name, SETTINGS.k, SETTINGS.rho))
        calibrated = {
            "own": Ranking.from_values(
                each.score for _, each in found.statistics(memory, memory.frame(None), SETTINGS)
            ),
            "all": Ranking.from_values(
                score(memory.features_of(one), None, found.ids[found.groups == one].tolist())  # rows are ids here
                for one in np.unique(found.groups).tolist()
            ),
        }
        defective = np.array([0] * len(product.good) + [1] * len(product.defective))
        shown += np.bincount(defective, minlength=2)
        scores: dict[str, list[float]] = {"all": [], "recognised": []}
        for features in (*product.good, *product.defective):
            category = memory.nearest_category(features.global_descriptors[0].to("cpu", torch.float32).numpy())
            recognised += category == product.name
            scores["recognised"].append(score(features, category))
            scores["all"].append(score(features, None))
        for search, each in scores.items():
            aurocs[search].append(float(roc_auc_score(defective, each)))
        for (way, rate), count in counts.items():
            search, basis = _WAYS[way]
            beyond = np.array(scores[search]) > (calibrated[basis].threshold_at(rate) or 0)
            count += np.bincount(defective[beyond], minlength=2)
    yield f"### {title}\n"
    yield f"Recognised: {recognised} of {shown.sum()} images. Where a rate is out of reach, the strictest level.\n"
    yield "| Searched | Image AUROC | Good rejected at 1 % | Found at 1 % | Good rejected at 5 % | Found at 5 % |"
    yield "|---|---|---|---|---|---|"
    for way, (search, _) in _WAYS.items():
        cells = [f"{counts[way, rate][number]} of {shown[number]}" for rate in _RATES for number in (0, 1)]
        yield f"| {way} | {np.mean(aurocs[search]):.1%} | {' | '.join(cells)} |"
    yield ""


def _finished(steps: Steps) -> LeaveOneOut:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: LeaveOneOut = end.value
            return found
