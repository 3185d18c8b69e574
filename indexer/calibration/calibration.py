"""What a good part may measure: the leave-one-out measures of a category's references, ranked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from indexer.calibration.conformal import Ranking
from indexer.calibration.novelty import Familiarity
from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.image_statistics import Measures


@dataclass(frozen=True, eq=False)
class Calibration:
    """Leave-one-out measures of one category's references, ranked.

    references: their ids, in the order of `measures`. version: the snapshot they were computed on. key: names the
    references and settings they are of, alike in every process. duplicates: references that count for nothing, being
    another's duplicates: a picture taken twice says nothing new about what good parts look like. layer_weights: those
    that the measures were made under, None for equal ones; whatever is held against the calibration needs the same.
    """

    category: str
    version: int
    key: str
    measures: tuple[Measures, ...]
    scores: Ranking
    peaks: Ranking
    familiarity: Familiarity
    duplicates: int = 0
    references: tuple[int, ...] = ()
    layer_weights: tuple[float, ...] | None = None

    @classmethod
    def of(
        cls, category: str, version: int, key: str, measures: Iterable[Measures], duplicates: int = 0,
        references: Iterable[int] = (), layer_weights: tuple[float, ...] | None = None,
    ) -> Calibration:  # fmt: skip
        """From the measures of every reference that counts; references: their ids, where they are known."""
        found = tuple(measures)
        return cls(
            category, version, key, found, Ranking.of(each.score for each in found),
            Ranking.of(each.peak for each in found), Familiarity.of(found), duplicates, tuple(references),
            layer_weights,
        )  # fmt: skip

    def __len__(self) -> int:
        """References that count."""
        return len(self.scores)


def weighed(settings: ScoringSettings, calibration: Calibration | None) -> ScoringSettings:
    """How images are scored that a calibration decides on: with its layer weights, unless the settings name some."""
    if settings.layer_weights is not None or calibration is None:
        return settings
    return replace(settings, layer_weights=calibration.layer_weights)
