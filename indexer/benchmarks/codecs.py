"""`python -m indexer.benchmarks.codecs FOLDER`: what each way to store a patch costs and changes, on your images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import faiss
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder, preprocess
from indexer.encoders.base import join_features
from indexer.imaging.decode import decode_image
from indexer.memory import CODEC_NAMES, Codec, EncodedReferences, MemoryBank
from indexer.scoring.scoring import score_image
from indexer.search import TorchEngine

_FACTORIES = {
    "FAISS SQ8": "SQ8",
    "FAISS SQ6": "SQ6",
    "FAISS SQ4": "SQ4",
    **{f"FAISS EDEN, {bits} bits": f"EDEN{bits}" for bits in (8, 6, 4)},
}
Decoded = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class CategoryFeatures:
    """One category's features: references, test images, and which of those are defective."""

    references: Features
    tests: Features
    defective: NDArray[np.bool_]


def main(
    folder: Annotated[Path, typer.Argument(help="<category>/train/good, test/good and test/<defect>, as MVTec-AD's.")],
    crop: Annotated[int, typer.Option(help="Side in pixels of what is inspected; the resize is 8/7 of it.")] = 448,
    model: Annotated[str, typer.Option(help="The encoder, as in TOUCHSTONE_ENCODER.")] = "builtin",
) -> None:
    """Print a Markdown table of codecs: bytes of a reference, score error and AUROC against exact float32."""
    encoder = load_encoder(EncoderSettings(model, resize=crop * 8 // 7, crop=crop, device="cpu"))
    categories = [_read(encoder, path) for path in sorted(folder.iterdir()) if (path / "train" / "good").is_dir()]
    space = encoder.space
    defective = [category.defective for category in categories]
    exact = [
        scores(encoder, category.references, category.tests, category.references.patches) for category in categories
    ]
    base = auroc(defective, exact)
    print(f"float32: {4 * space.dim} bytes a patch, image AUROC {base:.4f}\n")
    print("| codec | bytes a patch | MB a reference | largest score error | mean | largest error of a cell | AUROC |")
    print("|---|---|---|---|---|---|---|")
    for name, size, decoded in _codecs(space.dim, categories):
        decoded_scores = [
            scores(encoder, category.references, category.tests, decoded(category.references.patches))
            for category in categories
        ]
        errors = np.concatenate([np.abs(a.images - b.images) for a, b in zip(decoded_scores, exact, strict=True)])
        cells = max(float(np.abs(a.cells - b.cells).max()) for a, b in zip(decoded_scores, exact, strict=True))
        megabytes = size * len(space.layers) * math.prod(space.global_grid) / 1e6
        print(
            f"| {name} | {size} | {megabytes:.3f} | {errors.max():.1e} | {errors.mean():.1e} | {cells:.1e} "
            f"| {auroc(defective, decoded_scores) - base:+.4f} |"
        )


@dataclass(frozen=True)
class Scores:
    """images: float64 (tests,). cells: float32 (tests, layers, cells), 1 − the best similarity."""

    images: NDArray[np.float64]
    cells: NDArray[np.float32]


def _codecs(dim: int, categories: list[CategoryFeatures]) -> Iterator[tuple[str, int, Decoded]]:
    """Name, bytes of a patch, and what becomes of float32 patches (n, layers, cells, dim) that are stored and read."""
    for name in CODEC_NAMES:
        if name != "fp32":
            codec = Codec(name, dim)
            yield name, codec.code_size, partial(_through_codec, codec)
    sample = torch.cat([category.references.patches[::3] for category in categories]).flatten(0, 2).numpy()
    for label, factory in _FACTORIES.items():
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(sample)
        yield label, index.sa_code_size(), partial(_through_faiss, index)


def _through_codec(codec: Codec, patches: torch.Tensor) -> torch.Tensor:
    return codec.decode(
        torch.from_numpy(codec.encode(Features(torch.zeros(len(patches), 1), patches, (1, patches.shape[2]))).codes)
    )


def _through_faiss(index: faiss.Index, patches: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(index.sa_decode(index.sa_encode(patches.flatten(0, 2).numpy()))).view_as(patches)


def scores(encoder: Encoder, references: Features, tests: Features, stored: torch.Tensor) -> Scores:
    """Score the tests against references whose patches are `stored`, all of them retrieved, ρ = 1."""
    count = len(stored)
    codes = stored.contiguous().view(torch.uint8).numpy()
    encoded = EncodedReferences(references.global_descriptors.numpy(), codes, "fp32", references.grid)
    memory = MemoryBank.empty(encoder.space, "fp32").with_references(range(count), ["part"] * count, encoded, 1)
    engine, settings = TorchEngine(torch.device("cpu")), ScoringSettings(k=count)
    scored = [score_image(memory, engine, tests.item(index), settings) for index in range(len(tests))]
    return Scores(np.array([result.score for result in scored]), np.stack([result.distances for result in scored]))


def auroc(defective: list[NDArray[np.bool_]], compared: list[Scores]) -> float:
    """The mean of the categories' image AUROC."""
    areas = [roc_auc_score(truth, scored.images) for truth, scored in zip(defective, compared, strict=True)]
    return math.fsum(areas) / len(areas)


def paths_of(category: Path) -> tuple[list[Path], list[Path], NDArray[np.bool_]]:
    """A category's references and test images, and which of the latter are defective."""
    tests = sorted(path for path in (category / "test").rglob("*") if path.is_file())
    references = sorted((category / "train" / "good").iterdir())
    return references, tests, np.array([path.parent.name != "good" for path in tests])


def _read(encoder: Encoder, category: Path) -> CategoryFeatures:
    references, tests, defective = paths_of(category)
    return CategoryFeatures(_features(encoder, references), _features(encoder, tests), defective)


def _features(encoder: Encoder, paths: list[Path]) -> Features:
    features = [encoder.encode(preprocess(decode_image(path), encoder.space.global_geometry)[None]) for path in paths]
    return join_features(features)


if __name__ == "__main__":
    typer.run(main)
