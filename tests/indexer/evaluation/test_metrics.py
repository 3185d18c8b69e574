"""The figures against scikit-learn on every pixel, and AUPRO against thresholds tried one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import label
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from indexer.evaluation.metrics import AUPRO_LIMIT, FIGURES, Figures, aupro, mean, measure
from indexer.evaluation.tally import BINS, PixelTally

Maps = NDArray[np.float32]
Masks = NDArray[np.bool_]

_SHAPE = (3, 7, 6)
# Few distinct scores make ties, and ties across regions, certain; the fine ones are closer than a bin is wide.
_COARSE = arrays(np.float32, _SHAPE, elements=st.integers(0, 8).map(lambda level: level / 8))
_FINE = arrays(np.float32, _SHAPE, elements=st.integers(0, 40).map(lambda level: 0.5 + level * 1e-6))
_MASKS = arrays(np.bool_, _SHAPE).filter(lambda masks: masks.any() and not masks.all())


def counted(maps: Maps, masks: Masks, exact_pixels: int = 1 << 20) -> PixelTally:
    tally = PixelTally(exact_pixels)
    for anomaly_map, mask in zip(maps, masks, strict=True):
        tally.add(anomaly_map, mask)
    return tally


def slow_aupro(maps: Maps, masks: Masks) -> float:
    """Every score as a threshold in turn; every region's share found by looking at the maps again."""
    rates, overlaps = [0.0], [0.0]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        detected = maps >= threshold
        shares = []
        for above, mask in zip(detected, masks, strict=True):
            regions, count = label(mask, structure=np.ones((3, 3)))
            shares += [above[regions == index].mean() for index in range(1, count + 1)]
        rates.append(float(detected[~masks].mean()))
        overlaps.append(float(np.mean(shares)))
    area = 0.0
    for (left, low), (right, high) in zip(
        zip(rates, overlaps, strict=True), zip(rates[1:], overlaps[1:], strict=True), strict=False
    ):
        if left >= AUPRO_LIMIT or left == right:
            continue
        end = min(right, AUPRO_LIMIT)
        reached = low + (high - low) * (end - left) / (right - left)
        area += (end - left) * (low + reached) / 2
    return area / AUPRO_LIMIT


@settings(max_examples=80, deadline=None)
@given(maps=_COARSE, masks=_MASKS)
def test_aupro_equals_every_threshold_tried_in_turn(maps: Maps, masks: Masks) -> None:
    assert aupro(counted(maps, masks).counts()) == pytest.approx(slow_aupro(maps, masks), abs=1e-9)


def slow_sampled_aupro(maps: Maps, masks: Masks) -> float:
    """200 thresholds in turn, those with a rate below the limit, over the largest rate among them."""
    low, high = maps.min(), maps.max()
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / 200):
        detected = maps > threshold
        shares = []
        for above, mask in zip(detected, masks, strict=True):
            regions, count = label(mask, structure=np.ones((3, 3)))
            shares += [above[regions == index].mean() for index in range(1, count + 1)]
        if (rate := float(detected[~masks].mean())) < AUPRO_LIMIT:
            rates.append(rate)
            overlaps.append(float(np.mean(shares)))
    return float(np.trapezoid(overlaps[::-1], rates[::-1]) / max(rates))


@pytest.mark.parametrize("seed", range(6))
def test_sampled_aupro_is_that_of_the_thresholds_tried_in_turn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps, masks = rng.gamma(2, 0.1, (4, 20, 20)).astype(np.float32), rng.random((4, 20, 20)) < 0.1
    figures = measure(np.zeros(2), np.array([False, True]), counted(maps, masks).counts())
    assert figures.aupro_sampled == pytest.approx(slow_sampled_aupro(maps, masks), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(maps=_COARSE, masks=_MASKS, seed=st.integers(0, 99))
def test_pixel_and_image_figures_equal_scikit_learn_on_every_pixel(maps: Maps, masks: Masks, seed: int) -> None:
    truth, scores = masks.ravel(), maps.ravel()
    images = np.random.default_rng(seed).random(9)
    defective = np.arange(9) % 2 == 0
    figures = measure(images, defective, counted(maps, masks).counts())
    assert figures.pixel_auroc == pytest.approx(roc_auc_score(truth, scores))
    assert figures.pixel_ap == pytest.approx(average_precision_score(truth, scores))
    assert figures.pixel_f1 == pytest.approx(
        max(f1_score(truth, scores >= threshold) for threshold in np.unique(scores))
    )
    assert figures.image_auroc == pytest.approx(roc_auc_score(defective, images))
    assert figures.image_ap == pytest.approx(average_precision_score(defective, images))
    assert figures.image_f1 == pytest.approx(max(f1_score(defective, images >= image) for image in images))
    assert figures.pixel_error == 0


@settings(max_examples=80, deadline=None)
@given(maps=_FINE, masks=_MASKS)
def test_binned_figures_are_within_the_error_they_state(maps: Maps, masks: Masks) -> None:
    images, defective = np.array([0.1, 0.2]), np.array([False, True])
    exact = measure(images, defective, counted(maps, masks).counts())
    binned = measure(images, defective, counted(maps, masks, exact_pixels=0).counts())
    for name in FIGURES:
        assert abs(getattr(exact, name) - getattr(binned, name)) <= binned.pixel_error + 1e-9, name


def test_bins_are_fine_enough_for_scores_as_real_maps_have_them() -> None:
    rng = np.random.default_rng(3)
    maps = rng.gamma(4, 0.03, (40, 64, 64)).astype(np.float32)
    masks = rng.random((40, 1, 1)) * np.ones((40, 64, 64)) < 0.02
    masks[:, :5, :5] = True
    maps[masks] += np.float32(0.03)
    binned = measure(np.array([0.0, 1.0]), np.array([False, True]), counted(maps, masks, exact_pixels=0).counts())
    exact = measure(np.array([0.0, 1.0]), np.array([False, True]), counted(maps, masks).counts())
    assert 0 < binned.pixel_error < 2e-4
    assert binned.pixel_auroc == pytest.approx(exact.pixel_auroc, abs=1e-6)


def test_memory_is_bounded_however_many_maps_are_counted() -> None:
    tally = PixelTally(exact_pixels=4 * 256 * 256)
    rng = np.random.default_rng(0)
    mask = np.zeros((256, 256), bool)
    mask[40:50, 60:80] = True
    for _ in range(40):
        tally.add(rng.random((256, 256), np.float32), mask)
    held = [*tally._normal, *tally._defective, *tally._weights]
    assert sum(values.nbytes for values in held) == 0
    assert tally._bins is not None
    assert tally._bins.nbytes == 3 * 8 * BINS  # 6 MiB
    counts = tally.counts()
    assert counts.binned
    assert counts.regions == 40
    assert counts.normal.sum() + counts.defective.sum() == 40 * 256 * 256
    assert counts.overlap.sum() == pytest.approx(40)


def test_without_masks_or_without_good_parts_the_figures_are_left_open() -> None:
    nothing = PixelTally(10).counts()
    assert measure(np.array([0.1, 0.2]), np.array([True, True]), nothing) == Figures()
    figures = measure(np.array([0.1, 0.2]), np.array([False, True]), nothing)
    assert (figures.image_auroc, figures.pixel_auroc, figures.aupro) == (1.0, None, None)


def test_a_mean_is_over_the_categories_that_have_the_figure() -> None:
    average = mean([Figures(image_auroc=0.5, aupro=0.2), Figures(image_auroc=1.0)])
    assert (average.image_auroc, average.aupro, average.pixel_ap) == (0.75, 0.2, None)
