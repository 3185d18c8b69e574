"""The number of images that screening needs to find outliers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from indexer.domain.geometry import InputGeometry
from indexer.encoders import Encoder, Features
from indexer.scoring.image_statistics import ImageStatistics, from_distances
from indexer.screening.outliers import outlier_limit
from indexer.search.reverse_search import reverse_similarities
from tests.study.onboarded import SCORING, memory_of
from tests.study.products import Product

_SIZES = (3, 5, 8, 16)
_DRAWS = 40  # sets of each size, of each product, with a defective part among them and without
_GOOD, _DEFECTIVE = 48, 20  # images of a product that sets are drawn from


def outliers(title: str, encoder: Encoder, products: Sequence[Product]) -> Iterator[str]:
    """A table: good images that would be called outliers in sets of good ones, and defective ones that would."""
    rng = np.random.default_rng(0)
    wrong, caught = {size: list[float]() for size in _SIZES}, {size: list[float]() for size in _SIZES}
    for product in products:
        good = [*product.references, *product.good][:_GOOD]
        among = _Among(encoder, product.geometry, [*good, *product.defective[:_DEFECTIVE]])
        for size in _SIZES:
            for _ in range(_DRAWS):
                chosen = rng.choice(len(good), size, replace=False).tolist()
                wrong[size].append(float(np.mean(among.beyond(chosen))))
                planted = int(rng.integers(len(good), len(among)))
                caught[size].append(float(among.beyond([*chosen[1:], planted])[-1]))
    yield f"### {title}\n"
    yield "| Images | Good ones called out | Defective ones called out, one among good ones |"
    yield "|---|---|---|"
    for size in _SIZES:
        yield f"| {size} | {np.mean(wrong[size]):.1%} | {np.mean(caught[size]):.1%} |"
    yield ""


class _Among:
    """Images, each searched for in each other one."""

    def __init__(self, encoder: Encoder, geometry: InputGeometry, images: Sequence[Features]) -> None:
        memory = memory_of(encoder, {"one": images}, {"one": geometry})
        self._images, self._frame = images, memory.frame("one")
        rows = range(len(images))
        self._best = np.stack(
            [reverse_similarities(memory, image, rows, SCORING.rho) for image in images]
        )  # (offers, asks, …)
        global_descriptors = torch.cat([image.global_descriptors for image in images]).float()
        self._similar = (global_descriptors @ global_descriptors.T).numpy()

    def __len__(self) -> int:
        return len(self._images)

    def beyond(self, chosen: Sequence[int]) -> list[bool]:
        """Which of some images, each held against the others of them, the screening would call out."""
        measured = [self._measured(one, [other for other in chosen if other != one]) for one in chosen]
        _, score = outlier_limit([image.score for image in measured])
        _, median = outlier_limit([image.median for image in measured])
        return [image.score > score or image.median > median for image in measured]

    def _measured(self, one: int, others: Sequence[int]) -> ImageStatistics:
        best, similar = self._best[list(others), one].max(axis=0), float(self._similar[one, list(others)].max())
        return from_distances(1.0 - best, similar, self._images[one], self._frame, SCORING)
