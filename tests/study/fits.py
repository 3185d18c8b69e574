"""How often an image of another product is named as such, and how often one of the right product is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from indexer.calibration.leave_one_out import calibrate
from indexer.detection.decision import decide
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.verdict import DecisionSettings
from indexer.encoders import Encoder, Features
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics, mean_distance
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine
from tests.study.products import Product

SETTINGS = ScoringSettings()


def named(
    title: str, encoder: Encoder, engine: PatchSearchEngine, products: Sequence[Product], references: int, rate: float
) -> Iterator[str]:
    """A table: every product's good and defective parts, asked for as their own and as every other product."""
    memory = MemoryBank.empty(encoder.space)
    for product in products:
        for each in product.references[:references]:
            memory = memory.with_references(
                [memory.rows], [product.name], memory.codec.encode(each), memory.version + 1
            )
    calibrations = {product.name: calibrate(memory, engine, product.name, SETTINGS) for product in products}

    def looked(features: Features, asked: str) -> tuple[bool, bool]:
        """Whether the verdict is `normal`, and whether another category is named, as the service would."""
        scored = score_image(memory, engine, features, SETTINGS, asked)
        statistics = ImageStatistics.from_scoring(scored, features, SETTINGS)
        normal = decide(statistics, calibrations[asked], DecisionSettings(rate)).verdict == "normal"
        likeliest = memory.nearest_category(features.global_descriptors[0].to("cpu", torch.float32).numpy())
        if likeliest is None or likeliest == asked:
            return normal, False
        there = score_image(memory, engine, features, SETTINGS, likeliest)
        distances = (mean_distance(each.distances, each.frame, SETTINGS) for each in (there, scored))
        return normal, next(distances) < next(distances)

    yield f"### {title}\n"
    yield "| Images | Shown | Another category is named | normal | normal, and none is named |"
    yield "|---|---|---|---|---|"
    for kind in ("good", "defective"):
        for own in (True, False):
            found: Counter[tuple[bool, bool]] = Counter(
                looked(features, asked.name)
                for product in products
                for asked in products
                if (asked is product) == own
                for features in getattr(product, kind)
            )
            normal, silent = found[True, True] + found[True, False], found[True, False]
            told = found[True, True] + found[False, True]
            whose = "of the product" if own else "of other products"
            yield f"| {kind}, {whose} | {found.total()} | {told} | {normal} | {silent} |"
    yield ""
