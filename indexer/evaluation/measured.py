"""The results of one encoder at one size."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import FeatureSpace
from indexer.evaluation.dataset import Dataset
from indexer.evaluation.paper import differences, has_figures
from indexer.evaluation.protocols import Protocol
from indexer.evaluation.run import Outcome
from indexer.evaluation.thresholds import CategoryDecisions


@dataclass(frozen=True)
class Measured:
    """Results of one encoder at one size: the outcome of every variant, and decisions by calibrated thresholds.

    cells: on at most so many of which whole images are seen, in the proportions of their category. None: all images are
    seen in the geometry of the feature space. anywhere: the categories whose good parts seem to lie anywhere.
    """

    space: FeatureSpace
    codec: str
    scoring: ScoringSettings
    outcomes: tuple[Outcome, ...]
    decisions: tuple[CategoryDecisions, ...]
    cells: int | None = None
    anywhere: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """At which size images are seen, in words."""
        if self.cells is not None:
            return f"whole images on at most {self.cells} cells"
        geometry = self.space.global_geometry
        return f"{geometry.resized[0]} → {geometry.size[0]} pixels"

    @property
    def balanced(self) -> bool:
        """Whether layers weigh as the references say in any of the searches."""
        return any(outcome.variant.search.balance for outcome in self.outcomes)

    @property
    def compared_anywhere(self) -> tuple[str, ...]:
        """The categories whose patches were compared with those of all places since their references say so."""
        return next((search.anywhere for outcome in self.outcomes if (search := outcome.variant.search).anywhere), ())

    @property
    def lost_masks(self) -> tuple[str, ...]:
        """The masks that are empty in the map's frame, of all categories in order."""
        judged = [category for outcome in self.outcomes for category in outcome.categories.values()]
        return tuple(dict.fromkeys(mask for category in judged for mask in category.lost_masks))

    def differences(self, dataset: Dataset, protocol: Protocol) -> tuple[str, ...]:
        """How these runs of a protocol differ from the paper's; empty if they do not."""
        variants = [outcome.variant for outcome in self.by_protocol()[protocol]]
        seen = differences(dataset, self.space, self.scoring, variants)
        if not has_figures(dataset.layout, protocol):
            return seen
        whole = () if self.cells is None else (self.size,)
        anywhere = any(variant.search.anywhere for variant in variants)
        return (*seen, *whole, *(("some categories compared with all places",) if anywhere else ()))

    def by_protocol(self) -> dict[Protocol, list[Outcome]]:
        """The outcomes of each protocol, in the order of their variants."""
        grouped: dict[Protocol, list[Outcome]] = {}
        for outcome in self.outcomes:
            grouped.setdefault(outcome.variant.protocol, []).append(outcome)
        return grouped
