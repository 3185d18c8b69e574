"""`python -m indexer.benchmarks.coresets FOLDER`: what a search of chosen patches saves and changes, on your images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from indexer.benchmarks.codecs import EncodedCategory, Scores, categories_of, change, encode_category, figures_of
from indexer.calibration.leave_one_out import calibrate
from indexer.domain.coreset import CoresetTarget
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import Encoder, EncoderSettings, load_encoder
from indexer.evaluation.metrics import Figures
from indexer.memory import MemoryBank
from indexer.memory.k_centre import choose_patches
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine, choose_engine
from indexer.steps import run_to_end

_PART = "part"
_RATE = 0.05  # of false rejects that is asked for
_COLUMNS = (
    *("category", "references", "share", "patches", "MB", "search ms", "bound", "largest rise", "mean, good"),
    *("mean, defective", "image AUROC", "pixel AP", f"rejected of good, at {_RATE:.0%}", "of defective"),
)


@dataclass(frozen=True)
class _Run:
    """The samples of a category, searched in all references or in a coreset.

    rejected: bool (samples,), by a threshold that is calibrated for that.
    """

    patches: int
    megabytes: float
    milliseconds: float
    scores: Scores
    figures: Figures
    rejected: NDArray[np.bool_]


def main(
    folder: Annotated[Path, typer.Argument(help="<category>/train/good, test/good and test/<defect>, as MVTec-AD's.")],
    share: Annotated[
        list[float] | None, typer.Option(help="Share of the patches of each place that are searched; repeatable.")
    ] = None,
    crop: Annotated[int, typer.Option(help="Side in pixels of what is inspected; the resize is 8/7 of it.")] = 448,
    model: Annotated[str, typer.Option(help="The encoder, as in TOUCHSTONE_ENCODER.")] = "builtin",
    layers: Annotated[str, typer.Option(help="Its layers, as in TOUCHSTONE_LAYERS (default: four).")] = "",
    codec: Annotated[str, typer.Option(help="How patches are stored.")] = "fp16",
) -> None:
    """Print a Markdown table: of each category all references (share 1), then coresets of them.

    bound: no score rises by more (lemma 4.1 of the paper). Rises, image AUROC and pixel AP are differences to a search
    of all references. Thresholds are calibrated anew for every row.
    """
    indices = tuple(int(number) for number in layers.split(",")) if layers else None
    encoder = load_encoder(EncoderSettings(model, indices, resize=crop * 8 // 7, crop=crop, device="cpu"))
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}")
    for category in categories_of(folder):
        encoded = encode_category(encoder, category)
        for row in _rows(encoder, encoded, share or [0.5, 0.25], codec):
            print(f"| {' | '.join(row)} |", flush=True)


def _rows(encoder: Encoder, encoded: EncodedCategory, shares: Sequence[float], codec: str) -> Iterator[list[str]]:
    count, empty = len(encoded.references), MemoryBank.empty(encoder.space, codec)
    codes = empty.codec.encode(encoded.references)
    memory = empty.with_references(range(count), [_PART] * count, codes, 1)
    engine, settings = choose_engine(torch.device("cpu")), ScoringSettings(k=count)
    calibration = calibrate(memory, engine, _PART, settings, balance=True)
    settings = replace(settings, layer_weights=calibration.layer_weights)  # the same for all rows, to compare scores
    whole = _run(memory, engine, encoded, settings)
    yield _row(encoded, 1.0, whole, whole, 0.0)
    for share in shares:
        chosen = run_to_end(choose_patches(memory, _PART, CoresetTarget(share=share)))
        own = empty.with_references(range(count), [_PART] * count, codes, 1)  # only the newest snapshot can grow
        condensed = own.with_coreset(_PART, 1, chosen.content)
        weights = np.asarray(settings.layer_weights)
        bound = float(weights @ chosen.radii.max(axis=1) / weights.sum())
        yield _row(encoded, share, whole, _run(condensed, engine, encoded, settings), bound)


def _run(memory: MemoryBank, engine: PatchSearchEngine, encoded: EncodedCategory, settings: ScoringSettings) -> _Run:
    start = time.perf_counter()
    scored = [
        score_image(memory, engine, encoded.samples.item(index), settings, _PART)
        for index in range(len(encoded.samples))
    ]
    milliseconds = (time.perf_counter() - start) * 1000 / len(scored)
    scores = Scores(
        np.array([result.score for result in scored]),
        np.stack([result.map for result in scored]),
        np.stack([result.distances for result in scored]),
    )
    ranking = calibrate(memory, engine, _PART, settings).scores
    rejected = np.array([ranking.p_value(score) <= _RATE for score in scores.images])
    return _Run(
        memory.searchable_rows(_PART),
        memory.code_bytes / 1e6,
        milliseconds,
        scores,
        figures_of([encoded], [scores]),
        rejected,
    )


def _row(encoded: EncodedCategory, share: float, whole: _Run, run: _Run, bound: float) -> list[str]:
    rises, defective = run.scores.images - whole.scores.images, encoded.category.defective
    figures = (
        (whole.figures.image_auroc, run.figures.image_auroc),
        (whole.figures.pixel_ap, run.figures.pixel_ap),
    )
    return [
        encoded.category.name,
        str(len(encoded.references)),
        f"{share:g}",
        str(run.patches),
        f"{run.megabytes:.2f}",
        f"{run.milliseconds:.1f}",
        f"{bound:.3f}",
        *(f"{value:.4f}" for value in (rises.max(), rises[~defective].mean(), rises[defective].mean())),
        *(_figure(before, now, run is whole) for before, now in figures),
        *(f"{run.rejected[chosen].mean():.0%}" for chosen in (~defective, defective)),
    ]


def _figure(before: float | None, now: float | None, own: bool) -> str:
    if now is None:
        return "–"
    return f"{now:.4f}" if own else change(now, before)


if __name__ == "__main__":
    typer.run(main)
