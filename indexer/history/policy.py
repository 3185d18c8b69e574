"""Retention limits of each kind of inspection."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.domain.retention import PruneTarget, RetentionLimits

_ALL = RetentionLimits()


@dataclass(frozen=True)
class RetentionPolicy:
    """Retention limits per category, for defects and other inspections, and for inspections and their images and maps.

    Pruning an inspection deletes its image, map and thumbnail. Pruning an image keeps the thumbnail.
    """

    inspections: RetentionLimits = _ALL
    images: RetentionLimits = _ALL
    defects: RetentionLimits = _ALL
    defect_images: RetentionLimits = _ALL

    def limits(self, target: PruneTarget, *, defect: bool) -> RetentionLimits:
        """Those of one kind."""
        if target == "inspections":
            return self.defects if defect else self.inspections
        return self.defect_images if defect else self.images
