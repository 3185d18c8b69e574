"""Which search suits an image without a category, and how to calibrate its threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from indexer.calibration.conformal import Ranking
from indexer.calibration.leave_one_out import run_leave_one_out
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, Features
from indexer.memory import MemoryBank
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine
from tests.study.onboarded import SCORING, memory_of
from tests.study.products import Product

_ALL = "all"
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
    [geometry] = {product.geometry for product in products}
    known = {product.name: product.references[:references] for product in products}
    memory = memory_of(encoder, known, dict.fromkeys(known, geometry))
    together = [features for images in known.values() for features in images]
    pooled = memory_of(encoder, {_ALL: together}, {_ALL: geometry})  # the same ids

    def score(
        searched: MemoryBank, category: str, features: Features, scoring: ScoringSettings, without: Sequence[int] = ()
    ) -> float:
        return score_image(searched, engine, features, scoring, category, without).score

    aurocs: dict[str, list[float]] = {"all": [], "recognised": []}
    counts = {(way, rate): np.zeros(2, np.int64) for way in _WAYS for rate in _RATES}
    shown, recognised = np.zeros(2, np.int64), 0
    weighed = dict[str, ScoringSettings]()
    rankings = dict[str, dict[str, Ranking]]()
    for name in known:
        result = run_leave_one_out(memory, engine, name, SCORING)
        frame = memory.frame(name)
        weighed[name] = scoring = result.balance_layers(frame, SCORING)
        rankings[name] = {
            "own": Ranking.from_values(measures.score for _, measures in result.statistics(memory, frame, scoring)),
            "all": Ranking.from_values(
                score(pooled, _ALL, memory.features_of(one), scoring, result.ids[result.groups == one].tolist())
                for one in np.unique(result.groups).tolist()  # rows are ids here
            ),
        }
    for product in products:
        defective = np.array([0] * len(product.good) + [1] * len(product.defective))
        shown += np.bincount(defective, minlength=2)
        scores: dict[str, list[float]] = {"all": [], "recognised": []}
        for features in (*product.good, *product.defective):
            category = memory.nearest_category(features.global_descriptors[0].to("cpu", torch.float32).numpy())
            assert category is not None
            recognised += category == product.name
            scores["recognised"].append(score(memory, category, features, weighed[category]))
            scores["all"].append(score(pooled, _ALL, features, weighed[product.name]))
        calibrated = rankings[product.name]
        for search, values in scores.items():
            aurocs[search].append(float(roc_auc_score(defective, values)))
        for (way, rate), count in counts.items():
            search, basis = _WAYS[way]
            beyond = np.array(scores[search]) > (calibrated[basis].threshold_at(rate) or 0)
            count += np.bincount(defective[beyond], minlength=2)
    yield f"### {title}\n"
    yield f"Recognised: {recognised} of {shown.sum()} images. Where a rate is out of reach, the strictest level.\n"
    yield "| Searched | Image AUROC | Good rejected at 1 % | Found at 1 % | Good rejected at 5 % | Found at 5 % |"
    yield "|---|---|---|---|---|---|"
    for way, (search, _) in _WAYS.items():
        cells = [f"{counts[way, rate][index]} of {shown[index]}" for rate in _RATES for index in (0, 1)]
        yield f"| {way} | {np.mean(aurocs[search]):.1%} | {' | '.join(cells)} |"
    yield ""
