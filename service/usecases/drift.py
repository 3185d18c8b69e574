"""Which parts moved a category's drift tests."""

from __future__ import annotations

from itertools import islice
from typing import cast

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.drift import DriftTest
from indexer.domain.inspection import Inspection, InspectionFilter

_LOOKED_AT = 500  # the latest inspections: what there was to be seen while the flag went up


def drifting_parts(catalogue: Catalogue, category: str, test: DriftTest, limit: int) -> list[Inspection]:
    """Of the latest inspections that counted in its tests, those with the smallest p-values, at most `limit`.

    The p-values are those of the image as a whole where the scene has changed, else those of the score.
    """
    latest = catalogue.inspections.iterate(InspectionFilter(category=category, since=test.started_at))
    counted = [one for one in islice(latest, _LOOKED_AT) if one.calibration_key == test.calibration_key]
    ranked = [(p_value, one) for one in counted if (p_value := _p_value(one, test)) is not None]
    return [inspection for _, inspection in sorted(ranked, key=lambda pair: pair[0])[:limit]]


def _p_value(inspection: Inspection, test: DriftTest) -> float | None:
    if test.state != "drifting":
        return inspection.p_value
    return None if inspection.novelty is None else cast(float | None, inspection.novelty.get("scene_p_value"))
