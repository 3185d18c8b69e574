"""Regions lie where the map is high, in image pixels, with the nearest reference patch."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import torch

from indexer.detection.nearest_patch import explain_region
from indexer.detection.regions import MAX_REGIONS, find_regions
from indexer.domain.geometry import Frame, InputGeometry
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.imaging.heatmap import render_overlay
from indexer.scoring.scoring import score_image
from indexer.search import PatchSearchEngine
from tests.helpers.memory_banks import ENGINES, filled
from tests.helpers.random_features import random_features


def frame(width: int, height: int) -> Frame:
    return InputGeometry.paper(512, 448).frame(16, (width, height))


def test_a_region_has_the_place_and_size_of_the_blob() -> None:
    anomaly_map = np.zeros((256, 256), np.float32)
    anomaly_map[64:96, 128:192] = 0.5  # rows 64–96, columns 128–192
    anomaly_map[80, 160] = 0.9
    [region] = find_regions(anomaly_map, 0.4, frame(1024, 512))
    # Map pixel → crop: 448/256 = 1.75; + 32 margin; → original: ×2 in x, ×1 in y.
    assert region.box == pytest.approx(((128 * 1.75 + 32) * 2, 64 * 1.75 + 32, 64 * 1.75 * 2, 32 * 1.75))
    assert region.area == pytest.approx(64 * 1.75 * 2 * 32 * 1.75)
    assert region.peak == pytest.approx(0.9)
    assert region.centroid == pytest.approx(((160 * 1.75 + 32) * 2, 80 * 1.75 + 32), abs=2)
    assert region.peak_cell == (80 * 28 // 256, 160 * 28 // 256)
    xs, ys = np.array(region.polygon).T
    assert xs.min() >= region.box[0]
    assert xs.max() <= region.box[0] + region.box[2]
    assert ys.min() >= region.box[1]
    assert ys.max() <= region.box[1] + region.box[3]


def test_regions_come_highest_first_and_are_bounded_in_number() -> None:
    anomaly_map = np.zeros((256, 256), np.float32)
    peaks = np.random.default_rng(0).permutation(64) / 64 + 0.1
    for index, peak in enumerate(peaks):
        anomaly_map[(index // 8) * 30 + 5, (index % 8) * 30 + 5] = peak
    result = find_regions(anomaly_map, 0.05, frame(448, 448))
    assert len(result) == MAX_REGIONS
    assert [region.peak for region in result] == pytest.approx(sorted(peaks, reverse=True)[:MAX_REGIONS])
    assert find_regions(anomaly_map, 2.0, frame(448, 448)) == ()


def test_what_equals_the_threshold_is_no_region() -> None:
    anomaly_map = np.zeros((256, 256), np.float32)
    assert find_regions(anomaly_map, 0.0, frame(448, 448)) == ()  # as where all references are alike
    anomaly_map[40:50, 40:50] = 0.1
    [region] = find_regions(anomaly_map, 0.0, frame(448, 448))
    assert region.area == pytest.approx(100 * 1.75**2 * (448 / 512) ** 2)
    assert find_regions(anomaly_map, float(np.float32(0.1)), frame(448, 448)) == ()


def test_thousands_of_specks_on_a_large_grid_do_not_hold_up_detection() -> None:
    noise = np.random.default_rng(0).random((256, 256), np.float32)
    anomaly_map = cv2.GaussianBlur(cv2.resize(noise, (1024, 1024)), (5, 5), 1).astype(np.float32)
    whole = InputGeometry.whole(4096, 4096).frame(16)
    begun = time.process_time()
    result = find_regions(anomaly_map, float(np.quantile(anomaly_map, 0.9)), whole)
    assert time.process_time() - begun < 3
    assert len(result) == MAX_REGIONS
    assert result[0].peak == anomaly_map.max()


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_evidence_names_the_reference_cell_and_layer_that_were_nearest(engine: PatchSearchEngine) -> None:
    memory, stored = filled(12, "fp32", grid=(6, 6), layers=3, dim=24)
    query = random_features(memory.space, 1, 50)
    patches = query.patches.clone()
    cell, near = (2, 3), (3, 4)
    here, there = 2 * 6 + 3, 3 * 6 + 4
    noise = torch.randn(3, 24, generator=torch.Generator().manual_seed(1)) * torch.tensor([[0.02], [0.06], [0.02]])
    patches[0, :, here] = torch.nn.functional.normalize(torch.from_numpy(stored[5, :, there]) + noise, dim=-1)
    features = Features(query.global_descriptors, patches, query.grid)
    settings = ScoringSettings(k=12)
    scored = score_image(memory, engine, features, settings)
    evidence = explain_region(memory, features, scored, cell, settings)
    assert evidence.reference_id == 105
    assert evidence.cell == near
    geometry = memory.space.global_geometry  # the cell's box, in fractions of the reference's image
    cell_side, margin = geometry.size[0] / 6 / geometry.resized[0], geometry.window[0] / geometry.resized[0]
    assert evidence.box == pytest.approx((margin + 4 * cell_side, margin + 3 * cell_side, cell_side, cell_side))
    assert evidence.layer == "layer1"  # the layer that was moved furthest contributes most
    assert evidence.distance == pytest.approx(scored.distances[1, here], abs=1e-5)


def test_an_overlay_warms_the_defect_and_dims_what_was_not_inspected() -> None:
    image = np.full((300, 400, 3), 120, np.uint8)
    anomaly_map = np.zeros((256, 256), np.float32)
    anomaly_map[100:140, 100:140] = 1.0
    regions = find_regions(anomaly_map, 0.5, frame(400, 300))
    drawn = render_overlay(image, anomaly_map, 0.5, regions, frame(400, 300))
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    x, y = (int(v) for v in regions[0].centroid)
    assert drawn[y, x, 0] > 150  # red for hot
    assert drawn[2, 2].tolist() == [72, 72, 72]  # outside the crop
    assert drawn[250, 200].tolist() == [120, 120, 120]  # inspected, and cold
    assert render_overlay(image, np.zeros((256, 256), np.float32), None, (), frame(400, 300)).shape == image.shape


def test_the_overlay_of_a_letterboxed_image_shows_the_map_where_the_image_is() -> None:
    image = np.full((200, 800, 3), 120, np.uint8)
    of = InputGeometry.whole(448, 448).frame(16, (800, 200))
    anomaly_map = np.zeros((256, 256), np.float32)
    anomaly_map[120:136, 64:80] = 1.0  # the image lies in rows 96 to 160
    anomaly_map[20:40, 200:220] = 1.0  # where no image is
    drawn = render_overlay(image, anomaly_map, 0.5, (), of)
    warm = np.argwhere((drawn != 120).any(axis=2))
    np.testing.assert_allclose(warm.min(axis=0), [(120 - 96) * 200 / 64, 64 * 800 / 256], atol=4)
    np.testing.assert_allclose(warm.max(axis=0), [(136 - 96) * 200 / 64, 80 * 800 / 256], atol=4)
    [region, _] = sorted(find_regions(anomaly_map, 0.5, of), key=lambda region_: region_.box[0])
    assert region.box == pytest.approx((200, 75, 50, 50), abs=1e-6)
