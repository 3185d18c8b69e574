"""How often screening reports an image of another product, and one of the right product."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from indexer.detection.detector import Detection, Detector
from indexer.encoders import Encoder, Features
from indexer.search import PatchSearchEngine
from indexer.search.batched_search import run_batched
from tests.study.onboarded import criteria_of, memory_of
from tests.study.products import Product


def named(
    title: str, encoder: Encoder, engine: PatchSearchEngine, products: Sequence[Product], references: int, rate: float
) -> Iterator[str]:
    """A table: every product's good and defective parts, asked for as their own and as every other product."""
    memory = memory_of(
        encoder,
        {product.name: product.references[:references] for product in products},
        {product.name: product.geometry for product in products},
    )
    criteria = {product.name: criteria_of(memory, engine, product.name, rate) for product in products}
    detector = Detector(engine, lambda category, _: criteria[category])

    def detected(features: Features, asked: Product) -> tuple[bool, bool]:
        """Whether the verdict is `normal`, and whether another category is named."""
        [detection] = run_batched(
            engine, memory, [detector.detect(memory, features, asked.geometry.resized, asked.name)]
        )
        assert isinstance(detection, Detection), detection
        return detection.decision.verdict == "normal", detection.alternative_category is not None

    yield f"### {title}\n"
    yield "| Images | Shown | Another category is named | normal | normal, and none is named |"
    yield "|---|---|---|---|---|"
    for kind in ("good", "defective"):
        for own in (True, False):
            counts: Counter[tuple[bool, bool]] = Counter(
                detected(features, asked)
                for product in products
                for asked in products
                if (asked is product) == own
                for features in getattr(product, kind)
            )
            normal, silent = counts[True, True] + counts[True, False], counts[True, False]
            named_other = counts[True, True] + counts[False, True]
            whose = "of the product" if own else "of other products"
            yield f"| {kind}, {whose} | {counts.total()} | {named_other} | {normal} | {silent} |"
    yield ""
