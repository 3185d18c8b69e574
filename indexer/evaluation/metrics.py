"""The paper's seven figures: image AUROC, AP and F1-max; pixel AUROC, AP, F1-max and AUPRO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from indexer.evaluation.tally import PixelCounts

AUPRO_LIMIT = 0.3  # the false-positive rate up to which the curve counts
_SAMPLES = 200


@dataclass(frozen=True)
class Figures:
    """The seven figures, in [0, 1]; None if undefined (one kind of image only, or no masks).

    aupro_sampled: AUPRO as the authors' program samples it, for comparison with its figures. pixel_error: no pixel
    figure is further than this from what unbinned scores would have given; 0 when none is binned.
    """

    image_auroc: float | None = None
    image_ap: float | None = None
    image_f1: float | None = None
    pixel_auroc: float | None = None
    pixel_ap: float | None = None
    pixel_f1: float | None = None
    aupro: float | None = None
    aupro_sampled: float | None = field(default=None, kw_only=True)
    pixel_error: float = field(default=0.0, kw_only=True)


FIGURES = tuple(figure.name for figure in fields(Figures) if not figure.kw_only)


def measure(scores: NDArray[np.float64], defective: NDArray[np.bool_], pixels: PixelCounts) -> Figures:
    """All figures of one category: image scores (n,) with their truth (n,), and the pixels of their maps."""
    figures = Figures()
    if defective.any() and not defective.all():
        figures = Figures(*_ranked(scores, defective))
    if not (pixels.normal.any() and pixels.defective.any()):
        return figures
    auroc, ap, f1 = _ranked_pixels(pixels)
    error = _max_error(pixels, ap, f1) if pixels.binned else 0.0
    return replace(
        figures,
        pixel_auroc=auroc,
        pixel_ap=ap,
        pixel_f1=f1,
        aupro=aupro(pixels),
        aupro_sampled=sampled_aupro(pixels),
        pixel_error=error,
    )


def mean(figures: Sequence[Figures]) -> Figures:
    """Each figure's mean over the categories that have it."""
    error = float(np.mean([figure.pixel_error for figure in figures])) if figures else 0.0
    sampled = [figure.aupro_sampled for figure in figures if figure.aupro_sampled is not None]
    return Figures(
        *(float(np.mean(known)) if known else None for known in _known(figures)),
        aupro_sampled=float(np.mean(sampled)) if sampled else None,
        pixel_error=error,
    )


def deviation(figures: Sequence[Figures]) -> Figures:
    """Each figure's standard deviation over several draws; None where fewer than two have it."""
    return Figures(*(float(np.std(known, ddof=1)) if len(known) > 1 else None for known in _known(figures)))


def _known(figures: Sequence[Figures]) -> list[list[float]]:
    """For each of the seven figures, the values there are."""
    return [[value for figure in figures if (value := getattr(figure, name)) is not None] for name in FIGURES]


def aupro(pixels: PixelCounts) -> float:
    """AUPRO (Bergmann et al., MVTec AD): per-region overlap against the false-positive rate up to 0.3, over 0.3. Exact.

    Each defective pixel adds one over its region's size to the overlap summed over regions, so that one pass over the
    scores, from the highest down, gives the whole curve without sampling thresholds.
    """
    rate, overlap = _pro_curve(pixels)
    end = int(np.searchsorted(rate, AUPRO_LIMIT, side="left"))  # the first point at or beyond the limit
    reached = np.interp(AUPRO_LIMIT, rate[end - 1 : end + 1], overlap[end - 1 : end + 1])
    rates, overlaps = np.append(rate[:end], AUPRO_LIMIT), np.append(overlap[:end], reached)
    return float(np.trapezoid(overlaps, rates) / AUPRO_LIMIT)


def sampled_aupro(pixels: PixelCounts) -> float | None:
    """AUPRO at 200 thresholds evenly spread over the scores, of which those with a false-positive rate below 0.3 count,
    over the largest such rate: what the released program computes, and so what the paper reports. None where no
    threshold leaves any.
    """
    low, high = np.float32(pixels.scores[-1]), np.float32(pixels.scores[0])
    if low == high:
        return None
    thresholds = np.arange(low, high, (high - low) / _SAMPLES)
    above = np.searchsorted(-pixels.scores.astype(np.float32), -thresholds, side="left")  # scores above each
    rate, overlap = (curve[above] for curve in _pro_curve(pixels))
    inside = rate < AUPRO_LIMIT
    if not rate[inside].any():
        return None
    return float(np.trapezoid(overlap[inside][::-1], rate[inside][::-1]) / rate[inside].max())


def _pro_curve(pixels: PixelCounts) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """False-positive rate and mean overlap, both (n + 1,) from 0 up, as the threshold falls below each score."""
    rate = np.concatenate([[0.0], np.cumsum(pixels.normal) / pixels.normal.sum()])
    overlap = np.concatenate([[0.0], np.cumsum(pixels.overlap) / pixels.regions])
    return rate, overlap


def _ranked(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float, float]:
    """AUROC, AP and F1-max."""
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores)), float(f1.max())


def _ranked_pixels(pixels: PixelCounts) -> tuple[float, float, float]:
    """AUROC, AP and F1-max from the counts, which are in order already: what scikit-learn gives for all the pixels."""
    detected = np.cumsum(pixels.defective, dtype=np.float64)  # at or above each score
    rejected = np.cumsum(pixels.normal, dtype=np.float64)
    defective, normal = detected[-1], rejected[-1]
    above = pixels.defective * (normal - rejected + pixels.normal / 2)  # pairs in order, equal ones by half
    precision = detected / (detected + rejected)
    return (
        float(above.sum() / (defective * normal)),
        float((pixels.defective * precision).sum() / defective),
        float((2 * detected / (defective + detected + rejected)).max()),
    )


def _max_error(pixels: PixelCounts, ap: float, f1: float) -> float:
    """How far the pixel figures can be from those of unbinned scores, whatever the order inside the bins was.

    AUROC: in a bin, all pairs may be in order, or none, where ties count half. AP and F1-max: in a bin, all defective
    pixels may come first, or last. AUPRO: between two points the true curve may be anywhere in the box they span.
    """
    normal, defective = pixels.normal.astype(np.float64), pixels.defective.astype(np.float64)
    all_normal, all_defective = normal.sum(), defective.sum()
    true_after, false_after = np.cumsum(defective), np.cumsum(normal)
    true_before, false_before = true_after - defective, false_after - normal

    auroc_error = 0.5 * float((normal * defective).sum() / (all_normal * all_defective))
    share = defective / all_defective
    highest = float((share * true_after / np.maximum(true_after + false_before, 1)).sum())
    lowest = float((share * (true_before + 1) / (true_before + 1 + false_after)).sum())
    f1_highest = float((2 * true_after / (all_defective + true_after + false_before)).max())
    rate, overlap = _pro_curve(pixels)
    widths = np.diff(np.minimum(rate, AUPRO_LIMIT))
    aupro_error = float((widths * np.diff(overlap)).sum() / AUPRO_LIMIT)
    return max(auroc_error, highest - ap, ap - lowest, f1_highest - f1, aupro_error)
