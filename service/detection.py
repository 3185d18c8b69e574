"""One picture's way from its turn at the owner to an answer: score, verdict, regions and evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.calibration import Calibration, Verdict, decide
from indexer.catalogue import CategorySettings
from indexer.encoders import FeatureSpace
from indexer.evidence import Evidence, explain
from indexer.regions import Region, find_regions
from indexer.scoring import NoReferences, score_image
from indexer.search import Engine
from service.calibrations import Calibrations
from service.owner import Turn

_TOP_REFERENCES = 5


@dataclass(frozen=True)
class Neighbour:
    """One of the most similar references."""

    reference_id: int
    category: str
    similarity: float


@dataclass(frozen=True)
class Detection:
    """What was found out about one picture. map: float32 (256, 256). Times in seconds."""

    category: str
    verdict: Verdict
    score: float
    threshold: float | None
    p_value: float | None
    version: int
    map: NDArray[np.float32]
    regions: tuple[tuple[Region, Evidence], ...]
    references: tuple[Neighbour, ...]
    queued: float
    encoding: float
    searching: float


@dataclass(frozen=True)
class Inspector:
    """Inspects pictures on the owner thread."""

    engine: Engine
    calibrations: Calibrations

    def inspect(
        self, turn: Turn, category: str | None, settings: dict[str, CategorySettings], size: tuple[int, int]
    ) -> Detection:
        """Score one picture against the turn's snapshot and decide on it.

        category: search only its references; None searches the pooled memory, and the most similar reference says
        which category's settings and threshold apply. size: (width, height) of the picture. NoReferences.
        """
        started = time.monotonic()
        memory = turn.memory
        if category is None:
            descriptor = turn.features.globals_[0].to("cpu").numpy()
            nearest = memory.nearest_references(descriptor, 1)
            if len(nearest.rows) == 0:
                raise NoReferences("the memory is empty")
            applied = memory.category_of(int(nearest.rows[0]))
        else:
            applied = category
        chosen = settings.get(applied, CategorySettings())
        scored = score_image(memory, self.engine, turn.features, chosen.scoring, category)
        calibration = self.calibrations.of(applied)
        verdict, threshold = decide(scored.score, calibration, chosen.false_reject_rate, chosen.threshold)
        regions = _found_regions(verdict, threshold, scored.map, memory.space, size)
        rows = scored.neighbours.rows
        return Detection(
            category=applied, verdict=verdict, score=scored.score, threshold=threshold,
            p_value=_p_value(calibration, scored.score), version=memory.version, map=scored.map,
            regions=tuple(
                (region, explain(memory, turn.features, rows, region.peak_cell, chosen.scoring)) for region in regions
            ),
            references=tuple(
                Neighbour(int(memory.ids[row]), memory.category_of(int(row)), float(similarity))
                for row, similarity in zip(rows[:_TOP_REFERENCES], scored.neighbours.similarities, strict=False)
            ),
            queued=turn.queued, encoding=turn.encoding, searching=time.monotonic() - started,
        )  # fmt: skip


def _p_value(calibration: Calibration | None, score: float) -> float | None:
    return calibration.p_value(score) if calibration is not None and len(calibration.scores) else None


def _found_regions(
    verdict: Verdict,
    threshold: float | None,
    anomaly_map: NDArray[np.float32],
    space: FeatureSpace,
    size: tuple[int, int],
) -> tuple[Region, ...]:
    """The map above the image threshold; a normal picture has no regions, whatever its noise."""
    if verdict != "anomalous" or threshold is None:
        return ()
    return find_regions(anomaly_map, threshold, space, size)
