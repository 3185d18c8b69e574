"""Calibration of a category: the leave-one-out statistics of its references, ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from indexer.calibration.conformal import Ranking
from indexer.calibration.novelty import Novelty
from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.image_statistics import ImageStatistics


@dataclass(frozen=True, eq=False)
class Calibration:
    """Leave-one-out statistics of one category's references, ranked.

    references: their ids, in the order of `statistics`. version: the snapshot they were computed on. key: identifies
    the references and settings, equal in every process. duplicates: number of references left out as near-duplicates,
    which would bias the threshold low. layer_weights: those of the statistics, None for equal weights; images judged by
    the calibration must be scored with the same.
    """

    category: str
    version: int
    key: str
    statistics: tuple[ImageStatistics, ...]
    scores: Ranking
    peaks: Ranking
    medians: Ranking
    novelty: Novelty
    duplicates: int = 0
    references: tuple[int, ...] = ()
    layer_weights: tuple[float, ...] | None = None

    @classmethod
    def from_statistics(
        cls,
        category: str,
        version: int,
        key: str,
        statistics: Iterable[ImageStatistics],
        duplicates: int = 0,
        references: Iterable[int] = (),
        layer_weights: tuple[float, ...] | None = None,
    ) -> Calibration:
        """From the statistics of all references but near-duplicates; references: their ids, if known."""
        result = tuple(statistics)
        return cls(
            category,
            version,
            key,
            result,
            Ranking.from_values(image_statistics.score for image_statistics in result),
            Ranking.from_values(image_statistics.peak for image_statistics in result),
            Ranking.from_values(image_statistics.median for image_statistics in result),
            Novelty.from_statistics(result),
            duplicates,
            tuple(references),
            layer_weights,
        )

    @cached_property
    def reference_scores(self) -> Mapping[int, float]:
        """Reference id → leave-one-out score, without near-duplicates."""
        return dict(zip(self.references, (statistic.score for statistic in self.statistics), strict=True))

    def __len__(self) -> int:
        """References that count."""
        return len(self.scores)


def with_calibrated_weights(settings: ScoringSettings, calibration: Calibration | None) -> ScoringSettings:
    """The scoring settings of images that a calibration judges: with its layer weights, unless the settings have their
    own.
    """
    if settings.layer_weights is not None or calibration is None:
        return settings
    return replace(settings, layer_weights=calibration.layer_weights)
