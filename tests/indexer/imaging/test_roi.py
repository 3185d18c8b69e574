"""Only cells in the region of interest are scored, and nothing leaks across its border."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from indexer.domain.geometry import Frame
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import InputGeometry
from indexer.imaging.encode import encode_png
from indexer.imaging.roi import inspected_fraction, rasterise, region_from_mask, roi_cells
from indexer.scoring.scoring import render_anomaly_map, score_from_distances

LEFT = RegionOfInterest(polygons=(((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)),))


SQUARE = InputGeometry.paper(64, 64)


def frame(grid: tuple[int, int], geometry: InputGeometry = SQUARE) -> Frame:
    return Frame(geometry.placement(geometry.resized), grid)


def cells_of(region: RegionOfInterest, of: Frame) -> np.ndarray:
    roi = roi_cells(region, of)
    assert roi is not None
    return roi.cells


def mask(inside: np.ndarray) -> RegionOfInterest:
    region = region_from_mask(inside)
    assert region is not None
    return region


def test_a_cell_is_inspected_when_half_of_it_lies_in_the_region() -> None:
    cells = cells_of(LEFT, frame((4, 8)))
    np.testing.assert_array_equal(cells, np.repeat([[True] * 4 + [False] * 4], 4, axis=0))
    slightly_wider = RegionOfInterest(polygons=(((0.0, 0.0), (0.57, 0.0), (0.57, 1.0), (0.0, 1.0)),))
    np.testing.assert_array_equal(cells_of(slightly_wider, frame((4, 8)))[:, 4], [True] * 4)


def test_a_mask_says_the_same_as_polygons_whatever_its_size() -> None:
    for size in ((30, 40), (1000, 300)):
        drawn = np.zeros(size, bool)
        drawn[:, : size[1] // 2] = True
        np.testing.assert_array_equal(cells_of(mask(drawn), frame((7, 7))), cells_of(LEFT, frame((7, 7))))


def test_holes_and_islands_of_a_mask_become_polygons_that_say_the_same() -> None:
    drawn = np.zeros((300, 400), np.uint8)
    for radius, value in ((140, 1), (100, 0), (60, 1), (20, 0)):
        cv2.ellipse(drawn, (200, 150), (radius, radius * 3 // 4), 20, 0, 360, value, -1)
    cv2.rectangle(drawn, (0, 270), (399, 299), 1, -1)
    drawn[5, 5] = 1  # a speck
    region = mask(drawn > 0)
    assert (len(region.polygons), len(region.ignored)) == (2, 2)
    assert sum(map(len, region.polygons + region.ignored)) < 200
    redrawn = rasterise(region, (400, 300))
    assert (redrawn != (drawn > 0)).mean() < 0.01
    assert inspected_fraction(region, LEFT.polygons[0]) == pytest.approx(drawn[:, :200].sum() / drawn.size, abs=0.01)


def test_a_mask_that_leaves_all_is_no_region_and_one_that_leaves_nothing_is_refused() -> None:
    assert region_from_mask(np.ones((8, 8), bool)) is None
    for nothing in (np.zeros((8, 8), bool), np.eye(8, k=7, dtype=bool)):
        with pytest.raises(ValueError, match="inspect"):
            region_from_mask(nothing)


def test_what_is_ignored_is_ignored_within_what_is_inspected_and_everywhere_else() -> None:
    corner = ((0.0, 0.0), (0.25, 0.0), (0.25, 0.5), (0.0, 0.5))
    everywhere_else = cells_of(RegionOfInterest(ignored=(corner,)), frame((4, 4)))
    np.testing.assert_array_equal(everywhere_else, [[False, True, True, True]] * 2 + [[True] * 4] * 2)
    within = cells_of(RegionOfInterest(LEFT.polygons, (corner,)), frame((4, 4)))
    np.testing.assert_array_equal(within, [[False, True, False, False]] * 2 + [[True, True, False, False]] * 2)


def test_regions_of_earlier_versions_are_read_as_they_are() -> None:
    earlier = RegionOfInterest.from_json({"polygons": [[[0, 0], [1, 0], [1, 1]]], "mask": None})
    assert earlier == RegionOfInterest((((0, 0), (1, 0), (1, 1)),))
    stored = base64.b64encode(encode_png(np.repeat(np.uint8([[255, 0]]), 128, axis=1).repeat(256, axis=0))).decode()
    np.testing.assert_array_equal(
        cells_of(RegionOfInterest.from_json({"polygons": [], "mask": stored}), frame((4, 8))),
        cells_of(LEFT, frame((4, 8))),
    )


def test_the_crop_is_what_the_region_is_seen_through() -> None:
    middle = RegionOfInterest(polygons=(((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)),))
    assert cells_of(middle, frame((4, 4), InputGeometry.paper(128, 64))).all()
    corner = RegionOfInterest(polygons=(((0.0, 0.0), (0.2, 0.0), (0.0, 0.2)),))
    with pytest.raises(ValueError, match="no grid cell"):
        roi_cells(corner, frame((4, 4), InputGeometry.paper(128, 64)))


def test_a_defect_outside_scores_nothing_and_one_inside_as_much_as_ever() -> None:
    space = frame((8, 8))
    quiet = np.full((2, 64), 0.1, np.float32)
    inside, outside = quiet.copy(), quiet.copy()
    inside[:, 3 * 8 + 1] = outside[:, 3 * 8 + 5] = 0.9
    chosen = ScoringSettings(region=LEFT)
    still, _ = score_from_distances(quiet, space, chosen)
    ignored, ignored_map = score_from_distances(outside, space, chosen)
    assert ignored == still == pytest.approx(0.1, abs=1e-6)
    assert (ignored_map[:, 140:] == 0).all()
    score, anomaly_map = score_from_distances(inside, space, chosen)
    assert score > 0.5
    np.testing.assert_allclose(
        anomaly_map[3:-3, 3:100], render_anomaly_map(inside[0].reshape(8, 8))[3:-3, 3:100], atol=1e-6
    )


def test_a_defect_at_the_border_is_not_thinned_out_by_what_is_ignored() -> None:
    space = frame((8, 8))
    loud = np.full((2, 64), 0.8, np.float32)
    loud.reshape(2, 8, 8)[:, :, 4:] = 0.0
    score, anomaly_map = score_from_distances(loud, space, ScoringSettings(region=LEFT))
    assert score == pytest.approx(0.8, abs=1e-5)
    np.testing.assert_allclose(anomaly_map[3:-3, 3:128], 0.8, atol=1e-5)


@pytest.mark.parametrize(
    ("polygons", "kept"),
    [
        ((), None),
        ((((0, 0), (1, 0)),), None),
        ((((0, 0), (2, 0), (0, 1)),), None),
        ((((0, 0), (float("nan"), 0), (0, 1)),), None),
        ((), "no base64!"),
        ((), base64.b64encode(b"no image").decode()),
        ((), base64.b64encode(encode_png(np.zeros((8, 8), np.uint8))).decode()),
        ((((0, 0), (1, 0), (0, 1)),), "AAAA"),
    ],
)
def test_what_is_no_region_is_refused(polygons: tuple[tuple[tuple[float, float], ...], ...], kept: str | None) -> None:
    with pytest.raises(ValueError, match=r"region|polygon|mask"):
        rasterise(RegionOfInterest(polygons, mask=kept), (8, 8))
