"""By what images of a category are judged now: the latest calibration, or the one for how they are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

from indexer.detection.detector import Criteria
from indexer.domain.category import CategorySettings
from indexer.domain.encoding import Encoding
from indexer.domain.profile import Profile
from indexer.references.snapshot_loader import PublishedState
from service.background.adaptations import Adaptations
from service.background.calibration_manager import CalibrationManager


@dataclass(frozen=True)
class CurrentCriteria:
    """Reads what the two calibrating tasks have made."""

    calibrations: CalibrationManager
    adaptations: Adaptations

    def of(self, category: str, encoding: Encoding | None, published: PublishedState) -> Criteria:
        """Of images stored as `encoding` says: more coarsely than the references, they have a calibration of their own.

        published: settings, and how references were stored.
        """
        settings = published.settings.get(category, CategorySettings())
        criteria = Criteria.of(settings, self.calibrations.of(category))
        if encoding is None or not published.profiles.get(category, Profile()).is_finer_than(encoding):
            return criteria
        adaptation = self.adaptations.of(category, encoding)
        if adaptation == "impossible":
            return criteria
        if adaptation == "waiting":
            return replace(criteria, calibration=None, judged="waiting")
        return replace(Criteria.of(settings, adaptation.calibration), adaptation=adaptation, judged="adapted")
