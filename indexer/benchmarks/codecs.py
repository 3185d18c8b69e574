"""`python -m indexer.benchmarks.codecs FOLDER`: what each way to store a patch costs and changes, on your images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import faiss
import numpy as np
import torch
import typer
from numpy.typing import NDArray

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder, preprocess
from indexer.encoders.base import join_features
from indexer.evaluation.dataset import Reference, Sample
from indexer.evaluation.masks import read_mask
from indexer.evaluation.metrics import Figures, mean, measure
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.tally import PixelTally
from indexer.imaging.decode import decode_image
from indexer.memory import CODEC_NAMES, Codec, EncodedReferences, MemoryBank
from indexer.scoring.scoring import score_image
from indexer.search import choose_engine

_FACTORIES = {
    "FAISS SQ8": "SQ8",
    "FAISS SQ6": "SQ6",
    "FAISS SQ4": "SQ4",
    **{f"FAISS EDEN, {bits} bits": f"EDEN{bits}" for bits in (8, 6, 4)},
}
_COLUMNS = (
    *("codec", "bytes a patch", "MB a reference", "bound", "largest score error", "mean", "largest error of a cell"),
    *("image AUROC", "pixel AP"),
)
_EXACT_PIXELS = 1 << 24  # of a category, whose scores are compared as they are
Decoded = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Category:
    """One category's images: references to compare with, and samples to judge."""

    name: str
    references: tuple[Reference, ...]
    samples: tuple[Sample, ...]

    @property
    def defective(self) -> NDArray[np.bool_]:
        """bool (samples,)."""
        return np.array([sample.defective for sample in self.samples])


@dataclass(frozen=True)
class Scores:
    """images: float64 (samples,). maps: float32 (samples, rows, columns). cells: float32 (samples, layers, cells), 1 −
    the best similarity.
    """

    images: NDArray[np.float64]
    maps: NDArray[np.float32]
    cells: NDArray[np.float32]


@dataclass(frozen=True)
class EncodedCategory:
    """A category with its features and its exact scores. masks: of samples whose defective pixels are known."""

    category: Category
    references: Features
    samples: Features
    masks: tuple[NDArray[np.bool_] | None, ...]
    exact: Scores


def main(
    folder: Annotated[Path, typer.Argument(help="<category>/train/good, test/good and test/<defect>, as MVTec-AD's.")],
    crop: Annotated[int, typer.Option(help="Side in pixels of what is inspected; the resize is 8/7 of it.")] = 448,
    model: Annotated[str, typer.Option(help="The encoder, as in TOUCHSTONE_ENCODER.")] = "builtin",
    layers: Annotated[str, typer.Option(help="Its layers, as in TOUCHSTONE_LAYERS (default: four).")] = "",
) -> None:
    """Print a Markdown table of codecs: bytes of a reference, their bound, and errors and figures against float32.

    The bound is the largest error of a stored patch, averaged over the layers: no score may move further (lemma 4.1).
    """
    indices = tuple(int(number) for number in layers.split(",")) if layers else None
    encoder = load_encoder(EncoderSettings(model, indices, resize=crop * 8 // 7, crop=crop, device="cpu"))
    categories = [encode_category(encoder, category) for category in categories_of(folder)]
    space = encoder.space
    base = figures_of(categories, [category.exact for category in categories])
    pixels = "" if base.pixel_ap is None else f", pixel AP {base.pixel_ap:.4f}"
    print(f"float32: {4 * space.dim} bytes a patch, image AUROC {base.image_auroc:.4f}{pixels}\n")
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    for name, size, decoded in _codecs(space.dim, [category.references.patches for category in categories]):
        stored = [decoded(category.references.patches) for category in categories]
        bound = max(
            _largest_error(category.references.patches, patches)
            for category, patches in zip(categories, stored, strict=True)
        )
        found = [
            scores(encoder, category.references, category.samples, patches)
            for category, patches in zip(categories, stored, strict=True)
        ]
        errors = np.concatenate(
            [np.abs(a.images - category.exact.images) for a, category in zip(found, categories, strict=True)]
        )
        cells = max(
            float(np.abs(a.cells - category.exact.cells).max()) for a, category in zip(found, categories, strict=True)
        )
        megabytes = size * len(space.layers) * math.prod(space.global_grid) / 1e6
        figures = figures_of(categories, found)
        changes = (
            change(figures.image_auroc, base.image_auroc),
            change(figures.pixel_ap, base.pixel_ap),
        )
        measured = (f"{value:.1e}" for value in (bound, errors.max(), errors.mean(), cells))
        print(f"| {' | '.join((name, str(size), f'{megabytes:.3f}', *measured, *changes))} |", flush=True)


def _codecs(dim: int, references: Sequence[torch.Tensor]) -> Iterator[tuple[str, int, Decoded]]:
    """Name, bytes of a patch, and what becomes of float32 patches (n, layers, cells, dim) that are stored and read.

    references: such patches, of each category; FAISS's codecs are trained on a third of them.
    """
    for name in CODEC_NAMES:
        if name != "fp32":
            codec = Codec(name, dim)
            yield name, codec.code_size, partial(_through_codec, codec)
    sample = torch.cat([patches[::3] for patches in references]).flatten(0, 2).numpy()
    for label, factory in _FACTORIES.items():
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        yield label, index.sa_code_size(), partial(_through_faiss, index)


def _through_codec(codec: Codec, patches: torch.Tensor) -> torch.Tensor:
    features = Features(torch.zeros(len(patches), 1), patches, (1, patches.shape[2]))
    return codec.from_basis(codec.decode(torch.from_numpy(codec.encode(features).codes)))


def _through_faiss(index: faiss.Index, patches: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(index.sa_decode(index.sa_encode(patches.flatten(0, 2).numpy()))).view_as(patches)


def _largest_error(patches: torch.Tensor, stored: torch.Tensor) -> float:
    """The mean over the layers of the largest length of a difference."""
    lengths = torch.stack([(a - b).norm(dim=-1) for a, b in zip(patches, stored, strict=True)])  # (n, layers, cells)
    return float(lengths.amax(dim=(0, 2)).mean())


def scores(encoder: Encoder, references: Features, samples: Features, stored: torch.Tensor) -> Scores:
    """Score the samples against references whose patches are `stored`, all of them retrieved, ρ = 1."""
    count = len(stored)
    codes = stored.contiguous().view(torch.uint8).numpy()
    encoded = EncodedReferences(references.global_descriptors.numpy(), codes, "fp32", references.grid)
    memory = MemoryBank.empty(encoder.space, "fp32").with_references(range(count), ["part"] * count, encoded, 1)
    engine, settings = choose_engine(torch.device("cpu")), ScoringSettings(k=count)
    scored = [score_image(memory, engine, samples.item(index), settings) for index in range(len(samples))]
    return Scores(
        np.array([result.score for result in scored]),
        np.stack([result.map for result in scored]),
        np.stack([result.distances for result in scored]),
    )


def image_auroc(categories: Sequence[Category], compared: Sequence[Scores]) -> float:
    """The mean of the categories' image AUROC."""
    nothing = PixelTally(0).counts()
    figures = [
        measure(scored.images, category.defective, nothing)
        for category, scored in zip(categories, compared, strict=True)
    ]
    auroc = mean(figures).image_auroc
    assert auroc is not None, "no category with good and defective samples"
    return auroc


def figures_of(categories: Sequence[EncodedCategory], compared: Sequence[Scores]) -> Figures:
    """The means over the categories."""
    figures = []
    for category, scored in zip(categories, compared, strict=True):
        tally = PixelTally(_EXACT_PIXELS)
        for anomaly_map, mask in zip(scored.maps, category.masks, strict=True):
            if mask is not None:
                tally.add(anomaly_map, mask)
        figures.append(measure(scored.images, category.category.defective, tally.counts()))
    return mean(figures)


def change(now: float | None, before: float | None) -> str:
    return "–" if now is None or before is None else f"{now - before:+.4f}"


def categories_of(folder: Path) -> list[Category]:
    """The categories of a data set in MVTec-AD's layout. DatasetError."""
    dataset = read_dataset(folder)
    return [
        Category(
            name,
            tuple(reference for reference in dataset.references if reference.category == name),
            tuple(sample for sample in dataset.samples if sample.category == name),
        )
        for name in dataset.categories
    ]


def encode_category(encoder: Encoder, category: Category) -> EncodedCategory:
    references, samples = (_features(encoder, images) for images in (category.references, category.samples))
    frame = MemoryBank.empty(encoder.space).frame(None)
    masks = tuple(read_mask(sample, frame) if sample.pixels_known else None for sample in category.samples)
    return EncodedCategory(
        category, references, samples, masks, scores(encoder, references, samples, references.patches)
    )


def _features(encoder: Encoder, images: Sequence[Reference | Sample]) -> Features:
    geometry = encoder.space.global_geometry
    return join_features([encoder.encode(preprocess(decode_image(image.path), geometry)[None]) for image in images])


if __name__ == "__main__":
    typer.run(main)
