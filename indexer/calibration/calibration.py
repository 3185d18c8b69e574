"""What a good part may measure: the leave-one-out measures of a category's references, ranked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from indexer.calibration.conformal import Ranking
from indexer.calibration.novelty import Novelty
from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.image_statistics import ImageStatistics


@dataclass(frozen=True, eq=False)
class Calibration:
    """Leave-one-out measures of one category's references, ranked.

    references: their ids, in the order of `statistics`. version: the snapshot they were computed on. key: names the
    references and settings they are of, alike in every process. duplicates: references that count for nothing, being
    another's duplicates: an image taken twice says nothing new about what good parts look like. layer_weights: those
    that the measures were made under, None for equal ones; whatever is held against the calibration needs the same.
    """

    category: str
    version: int
    key: str
    statistics: tuple[ImageStatistics, ...]
    scores: Ranking
    peaks: Ranking
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
        """From the measures of every reference that counts; references: their ids, where they are known."""
        result = tuple(statistics)
        return cls(
            category,
            version,
            key,
            result,
            Ranking.from_values(each.score for each in result),
            Ranking.from_values(each.peak for each in result),
            Novelty.from_statistics(result),
            duplicates,
            tuple(references),
            layer_weights,
        )

    def __len__(self) -> int:
        """References that count."""
        return len(self.scores)


def with_calibrated_weights(settings: ScoringSettings, calibration: Calibration | None) -> ScoringSettings:
    """How images are scored that a calibration decides on: with its layer weights, unless the settings name some."""
    if settings.layer_weights is not None or calibration is None:
        return settings
    return replace(settings, layer_weights=calibration.layer_weights)
