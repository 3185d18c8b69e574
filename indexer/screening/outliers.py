"""Outliers among compared images: scores and medians far above those of the others, by robust z-scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexer.domain.finding import Finding
from indexer.scoring.image_statistics import ImageStatistics

MIN_IMAGES = 8  # measured images before one can be called unlike the others
_MAX_STDS = 6.0
_MIN_STD = 0.01  # images half of which are empty have medians of 0: not every other one is an outlier
_SHARE = 0.5  # of the usual value, by which an outlier exceeds it at least


@dataclass(frozen=True)
class ScreeningResult:
    """The result of comparing one image. statistics: None if there was nothing to compare it with."""

    statistics: ImageStatistics | None
    findings: tuple[Finding, ...]
    shift: tuple[int, int] = (0, 0)  # (rows, columns) of the grid by which it seems moved against its nearest


def images_until_outlier_check(results: Sequence[ScreeningResult], known: Sequence[ImageStatistics]) -> int:
    """Number of further images needed to check for outliers; 0 if there are enough.

    With fewer, chance outliers would be too frequent: see docs/verdicts.md.
    """
    return max(0, MIN_IMAGES - len(_all_statistics(results, known)))


def find_outliers(
    results: Sequence[ScreeningResult], known: Sequence[ImageStatistics], cell: float
) -> list[tuple[Finding, ...]]:
    """Every image's findings once all have been compared; the known are the calibrated references' statistics.

    cell: side of a grid cell, in pixels of the window. With fewer than 8 measured images none is an outlier.
    """
    if images_until_outlier_check(results, known):
        return [result.findings for result in results]
    measured = _all_statistics(results, known)
    usual_score, score_limit = outlier_limit([statistics.score for statistics in measured])
    typical, limit = outlier_limit([statistics.median for statistics in measured])
    screened = []
    for result in results:
        findings = list(result.findings)
        if result.statistics is not None:
            down, right = (cells * cell for cells in result.shift)
            moved = f"; it fits best moved by about {right:+.0f}, {down:+.0f} pixels" if down or right else ""
            score, median = result.statistics.score, result.statistics.median
            if median > limit:
                detail = f"Nearly all of it differs: median patch distance {median:.3f}, usually {typical:.3f}{moved}."
                findings.append(Finding("framing", detail, median, typical, limit))
            elif score > score_limit and moved:
                detail = f"Its edges lie elsewhere: score {score:.3f}, usually {usual_score:.3f}{moved}."
                findings.append(Finding("framing", detail, score, usual_score, score_limit))
            elif score > score_limit:
                detail = f"A part of it looks like a defect: score {score:.3f}, usually {usual_score:.3f}."
                findings.append(Finding("outlier", detail, score, usual_score, score_limit))
        screened.append(tuple(findings))
    return screened


def _all_statistics(results: Sequence[ScreeningResult], known: Sequence[ImageStatistics]) -> list[ImageStatistics]:
    return [*known, *(result.statistics for result in results if result.statistics is not None)]


def outlier_limit(values: Sequence[float]) -> tuple[float, float]:
    """The typical value, and the limit beyond which a value is an outlier."""
    typical = float(np.median(values))
    std = max(_MIN_STD, 1.4826 * float(np.median(np.abs(np.array(values) - typical))))
    return typical, typical + max(_MAX_STDS * std, _SHARE * typical)
