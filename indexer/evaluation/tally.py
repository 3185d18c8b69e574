"""Scores of pixels counted by truth, so that tens of thousands of maps fit in memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = 1 << 18
_LARGEST = 2.0  # of 1 − cosine


@dataclass(frozen=True)
class PixelCounts:
    """How many pixels have each score, from the highest score to the lowest.

    scores: float64 (n,), falling. normal, defective: int64 (n,), pixels. overlap: float64 (n,), for each defective
    pixel one over the size of its region. regions: connected defective regions in all. binned: whether a score stands
    for all those within one bin (then their order inside it is lost), or for itself.
    """

    scores: NDArray[np.float64]
    normal: NDArray[np.int64]
    defective: NDArray[np.int64]
    overlap: NDArray[np.float64]
    regions: int
    binned: bool


class PixelTally:
    """Collects anomaly maps with their masks: every score as it is, up to a number of pixels, and in bins from there.

    The 2¹⁸ bins between 0 and 2 take 6 MiB however many maps there are.
    """

    def __init__(self, exact_pixels: int) -> None:
        self._exact_pixels = exact_pixels
        self._held = 0
        self._normal: list[NDArray[np.float32]] = []
        self._defective: list[NDArray[np.float32]] = []
        self._weights: list[NDArray[np.float64]] = []
        self._bins: NDArray[np.float64] | None = None  # (3, BINS): normal, defective, overlap
        self._regions = 0

    def add(self, anomaly_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Count a map, float32 (rows, columns) in [0, 2], with its mask, bool of the same shape.

        Regions are connected over edges and corners, as in the released program.
        """
        _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        sizes = np.bincount(labels.ravel())
        inside = labels[mask]
        self._regions += len(sizes) - 1
        self._normal.append(anomaly_map[~mask])
        self._defective.append(anomaly_map[mask])
        self._weights.append(1.0 / sizes[inside])
        self._held += mask.size
        if self._bins is not None or self._held > self._exact_pixels:
            self._fold()

    def counts(self) -> PixelCounts:
        """What was counted so far."""
        if self._bins is not None:
            centres = (np.arange(BINS, dtype=np.float64) + 0.5) * (_LARGEST / BINS)
            return self._counts(centres, self._bins[0], self._bins[1], self._bins[2])
        normal, defective, weights = self._joined()
        scores, where = np.unique(np.concatenate([normal, defective]), return_inverse=True)
        of_normal, of_defective = where[: len(normal)], where[len(normal) :]
        return self._counts(
            scores.astype(np.float64),
            np.bincount(of_normal, minlength=len(scores)),
            np.bincount(of_defective, minlength=len(scores)),
            np.bincount(of_defective, weights, minlength=len(scores)).astype(np.float64),
        )

    def _counts(
        self,
        scores: NDArray[np.float64],
        normal: NDArray[np.int64] | NDArray[np.float64],
        defective: NDArray[np.int64] | NDArray[np.float64],
        overlap: NDArray[np.float64],
    ) -> PixelCounts:
        falling = np.flatnonzero((normal > 0) | (defective > 0))[::-1]
        return PixelCounts(
            scores[falling],
            normal[falling].astype(np.int64),
            defective[falling].astype(np.int64),
            overlap[falling],
            self._regions,
            self._bins is not None,
        )

    def _joined(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        empty = np.empty(0, np.float32)
        return (
            np.concatenate([empty, *self._normal]),
            np.concatenate([empty, *self._defective]),
            np.concatenate([np.empty(0), *self._weights]),
        )

    def _fold(self) -> None:
        """Move what is held into the bins."""
        if self._bins is None:
            self._bins = np.zeros((3, BINS))
        for normal, defective, weights in zip(self._normal, self._defective, self._weights, strict=True):
            self._bins[0] += np.bincount(_bin(normal), minlength=BINS)
            inside = _bin(defective)
            self._bins[1] += np.bincount(inside, minlength=BINS)
            self._bins[2] += np.bincount(inside, weights, minlength=BINS)
        self._normal, self._defective, self._weights, self._held = [], [], [], 0


def _bin(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.clip(scores.astype(np.float64) * (BINS / _LARGEST), 0, BINS - 1).astype(np.int64)
