"""Writes the validation's products as a data set in MVTec-AD's layout, always the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from indexer.benchmarks.encoder_comparison.products import Product


@dataclass(frozen=True)
class ImageCounts:
    """Images of a category: references, good ones to judge, defective ones to judge."""

    references: int = 20
    good: int = 20
    defective: int = 24


def write_dataset(folder: Path, products: Mapping[str, Product], counts: ImageCounts, seed: int) -> None:
    """Draw every product into `folder/<name>`; defects take turns. What is there under the same names is replaced."""
    jobs = [(name, index) for name in products for index in range(counts.references + counts.good + counts.defective)]
    for name, index in track(jobs, "Drawing", transient=True):
        stream = [seed, *name.encode(), index]
        product, category, file = products[name], folder / name, f"{index:03d}.png"
        if index < counts.references:
            _save(category / "train" / "good" / file, product.good(stream))
        elif index < counts.references + counts.good:
            _save(category / "test" / "good" / file, product.good(stream))
        else:
            kinds = list(product.defects)
            kind = kinds[index % len(kinds)]
            image, mask = product.defective(stream, kind)
            _save(category / "test" / kind / file, image)
            _save(category / "ground_truth" / kind / file.replace(".png", "_mask.png"), mask)


def _save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), stored, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise OSError(f"cannot write {path}")
