"""Adapts a category's calibration to images that are compressed more than its references.

A lossy format changes every patch a little: all distances grow, most of all at edges and where a sensor's noise was,
and a threshold from lossless references calls good parts anomalous. So each reference is re-encoded like those images
and scored against the others unchanged. The growth of its distances, per cell, is divided out of every such image, and
the threshold is computed from the re-encoded references.
"""

from __future__ import annotations

import io
from dataclasses import astuple, dataclass
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import LeaveOneOut, as_in_coreset
from indexer.domain.geometry import Frame
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics, from_distances, with_distances
from indexer.scoring.scoring import ScoringResult, rescale
from indexer.scoring.stored_frame import stored_frame
from indexer.search import PatchSearchEngine, best_similarities

_EPSILON = 1e-3  # added to mean distances, so that a cell in which references are all alike is not blown up


@dataclass(frozen=True, eq=False)
class Adaptation:
    """scale: float32 (layers, cells), factor for the distances of images with that encoding.

    calibration: from references re-encoded like them.
    """

    scale: NDArray[np.float32]
    calibration: Calibration

    def apply(self, scored: ScoringResult, settings: ScoringSettings) -> ScoringResult:
        """A scored image with distances, map and score as if it had been encoded like the references."""
        return rescale(scored, self.scale, settings)

    def to_bytes(self) -> bytes:
        """Serialised for the catalogue."""
        file, result = io.BytesIO(), self.calibration
        np.savez(
            file,
            scale=self.scale,
            references=np.array(result.references, np.int64),
            measures=np.array([astuple(statistic) for statistic in result.statistics], np.float64),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, known: Calibration) -> Adaptation:
        """The inverse of `to_bytes`. known: the category's own calibration at that time. ValueError."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                scale, references, statistics = (stored[name] for name in ("scale", "references", "measures"))
        except (OSError, KeyError, EOFError, BadZipFile) as error:
            raise ValueError("a stored adaptation cannot be read") from error
        return cls(
            scale, _calibration(known, [ImageStatistics(*row) for row in statistics.tolist()], references.tolist())
        )


class AdaptationBuilder:
    """Builds an adaptation, one reference at a time: `add` each of `reference_ids`, re-encoded like the images, then
    call `result`.

    leave_one_out: of the category itself; known: the calibration computed from it. max_references: so many are used,
    evenly spread, or all where there are fewer.
    """

    def __init__(
        self,
        memory: MemoryBank,
        engine: PatchSearchEngine,
        settings: ScoringSettings,
        leave_one_out: LeaveOneOut,
        known: Calibration,
        max_references: int,
    ) -> None:
        self._memory, self._engine, self._settings = memory, engine, settings
        self._leave_one_out, self._known = leave_one_out, known
        self._position = {int(reference_id): index for index, reference_id in enumerate(leave_one_out.ids)}
        count = len(known.references)
        spread = np.linspace(0, count - 1, min(count, max_references)).round().astype(int).tolist()
        self.reference_ids = tuple(known.references[index] for index in spread)
        self._ids: list[int] = []
        self._statistics: list[ImageStatistics] = []
        self._distances: list[NDArray[np.float32]] = []
        self._frames: list[Frame] = []

    def add(self, reference_id: int, features: Features) -> None:
        """Score a reference, re-encoded like the images, against the others unchanged: the work of one detection, or
        two."""
        memory, result, index = self._memory, self._leave_one_out, self._position[reference_id]
        frame = stored_frame(features, memory.frame(self._known.category), self._settings)
        duplicates = result.ids[result.groups == result.groups[index]].tolist()
        excluded = [memory.row_of(int(duplicate)) for duplicate in duplicates]
        descriptor = features.global_descriptors[0].to("cpu").numpy()
        nearest = memory.nearest_references(descriptor, self._settings.k, self._known.category, excluded, features.grid)
        best = best_similarities(self._engine, memory, features, nearest.rows, self._settings.rho)
        distances = as_in_coreset(memory, self._engine, result, index, nearest.rows, (1.0 - best).astype(np.float32))
        similarity = float(nearest.similarities[0])
        self._ids.append(reference_id)
        self._statistics.append(from_distances(distances, similarity, features, frame, self._settings))
        self._distances.append(distances)
        self._frames.append(frame)

    def result(self) -> Adaptation | None:
        """The adaptation; None when fewer than half of the references could be added."""
        if len(self._ids) < max(1, len(self.reference_ids) // 2):
            return None
        before = np.mean(
            [1.0 - self._leave_one_out.best[self._position[reference_id]] for reference_id in self._ids], axis=0
        )
        after = np.mean(self._distances, axis=0)
        scale = ((before + _EPSILON) / (after + _EPSILON)).astype(np.float32)
        statistics = [
            with_distances(image_statistics, scale * distances, frame, self._settings)
            for image_statistics, distances, frame in zip(self._statistics, self._distances, self._frames, strict=True)
        ]
        return Adaptation(scale, _calibration(self._known, statistics, self._ids))


def _calibration(known: Calibration, statistics: list[ImageStatistics], references: list[int]) -> Calibration:
    return Calibration.from_statistics(
        known.category, known.version, known.key, statistics, known.duplicates, references, known.layer_weights
    )
