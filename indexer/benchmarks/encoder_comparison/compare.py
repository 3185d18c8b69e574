"""Encoders judged on a data set with the product's own evaluation, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress
from rich.table import Table

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import EncoderSettings, load_encoder
from indexer.evaluation.encoding import LocalEncoding
from indexer.evaluation.features import FeatureCache
from indexer.evaluation.metrics import Figures
from indexer.evaluation.protocols import Search, Variant
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.run import Outcome, Subject, evaluate
from indexer.search import choose_engine


@dataclass(frozen=True)
class EncoderOutcome:
    """One encoder on one data set."""

    encoder: str
    outcome: Outcome


def compare(
    folder: Path, encoders: Sequence[EncoderSettings], scoring: ScoringSettings, pooled: bool, cache: Path
) -> list[EncoderOutcome]:
    """Judge a data set by every encoder, in their order. DatasetError or EncoderError for what cannot be used.

    pooled: every reference is searched, whatever its category. cache: a folder for encoded references.
    """
    dataset = read_dataset(folder)
    variant = Variant("encoders", "comparison", Search(scoring, "all" if pooled else "own"))
    outcomes = []
    with Progress(transient=True) as progress:
        for settings in encoders:
            encoder = load_encoder(settings)
            task = progress.add_task(settings.model, total=len(dataset.references) + len(dataset.samples))
            encoding = LocalEncoding(encoder)
            features = FeatureCache(cache, encoding, "fp16")
            memory, digests = features.memory_of(dataset.references, lambda count: progress.advance(task, count))  # noqa: B023
            subject = Subject(dataset, encoding, choose_engine(encoder.device), memory, digests)
            [outcome] = evaluate(
                subject,
                [variant],
                cache / "outcomes",
                lambda count: progress.advance(task, count),  # noqa: B023
            )
            outcomes.append(EncoderOutcome(settings.model, outcome))
    return outcomes


def table(data_sets: Sequence[tuple[str, Sequence[EncoderOutcome]]]) -> Table:
    """Image / pixel AUROC: a column per category of every named data set and its mean, a row per encoder."""
    drawn = Table("Encoder", title="image / pixel AUROC", title_justify="left")
    for name, outcomes in data_sets:
        k = outcomes[0].outcome.variant.search.scoring.k
        for heading in (*outcomes[0].outcome.categories, f"{name}\nmean, K = {k}"):
            drawn.add_column(heading, justify="right", no_wrap=True)
    for index, first in enumerate(data_sets[0][1]):
        cells = []
        for _, outcomes in data_sets:
            outcome = outcomes[index].outcome
            cells += [_cell(category.figures) for category in outcome.categories.values()]
            cells.append(_cell(outcome.mean))
        drawn.add_row(first.encoder, *cells)
    return drawn


def _cell(figures: Figures) -> str:
    return " / ".join("–" if value is None else f"{value:.3f}" for value in (figures.image_auroc, figures.pixel_auroc))
