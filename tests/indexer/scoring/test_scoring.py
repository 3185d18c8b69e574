"""The map and the score are the paper's, to the number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from indexer.domain.errors import NoReferencesError
from indexer.domain.geometry import InputGeometry
from indexer.domain.scoring_settings import ScoringSettings
from indexer.scoring.scoring import image_score, render_anomaly_map, score_from_distances, score_image
from indexer.search import TorchEngine
from tests.helpers.memory_banks import filled
from tests.helpers.patch_search_oracle import best_similarities
from tests.helpers.random_features import random_features

ENGINE = TorchEngine(torch.device("cpu"))


def plain_map(grid: np.ndarray, shape: tuple[int, int] = (256, 256)) -> np.ndarray:
    """Bilinear to `shape` with half-pixel centres, then a 5×5 Gaussian of σ = 1 over zeros, written out."""

    def positions(count: int, pixels: int) -> np.ndarray:
        return np.clip((np.arange(pixels) + 0.5) * count / pixels - 0.5, 0, count - 1)

    rows, columns = (positions(count, pixels) for count, pixels in zip(grid.shape, shape, strict=True))
    rows, columns = np.meshgrid(rows, columns, indexing="ij")
    full = ndimage.map_coordinates(grid.astype(np.float64), [rows, columns], order=1, mode="nearest")
    bell = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    kernel = np.outer(bell, bell) / np.outer(bell, bell).sum()
    return ndimage.correlate(full, kernel, mode="constant", cval=0.0)


@pytest.mark.parametrize("shape", [(28, 28), (14, 14), (5, 9), (1, 1)])
def test_the_map_is_bilinear_then_gaussian_over_zeros(shape: tuple[int, int]) -> None:
    grid = np.random.default_rng(0).random(shape).astype(np.float32)
    np.testing.assert_allclose(render_anomaly_map(grid), plain_map(grid), atol=2e-6)


def test_the_score_is_the_mean_of_the_largest_655_pixels() -> None:
    anomaly_map = np.random.default_rng(1).random((256, 256)).astype(np.float32)
    expected = np.sort(anomaly_map.ravel().astype(np.float64))[-655:].mean()
    assert image_score(anomaly_map) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "k", "category"), [(None, 7, None), ((0.7, 0.3), 50, "nut"), ((0.0, 2.0), 3, None)]
)
def test_an_image_scores_as_the_plain_method_says(
    weights: tuple[float, ...] | None, k: int, category: str | None
) -> None:
    memory, stored = filled(20, "fp32")
    query = random_features(memory.space, 1, 99)
    scored = score_image(memory, ENGINE, query, ScoringSettings(k, 1, weights), category)
    allowed = [row for row in range(20) if category is None or row % 2 == 0]
    similarity = {
        row: float(query.global_descriptors[0] @ memory.features_of(row).global_descriptors[0]) for row in allowed
    }
    retrieved = sorted(allowed, key=lambda row: -similarity[row])[:k]
    assert scored.neighbours.rows.tolist() == retrieved
    distances = 1 - best_similarities(query.patches[0].numpy(), stored[retrieved], memory.space.global_grid, 1)
    np.testing.assert_allclose(scored.distances, distances, atol=1e-5)
    w = np.array(weights or (1.0, 1.0))
    fused = (w / w.sum()) @ distances
    expected = plain_map(fused.reshape(4, 5), (37, 46))  # 256 / 28 pixels a cell, as the paper's 28 × 28 cells have
    np.testing.assert_allclose(scored.map, expected, atol=1e-5)
    assert scored.score == pytest.approx(np.sort(expected.ravel())[-(37 * 46 // 100) :].mean(), abs=1e-5)


def test_a_reference_itself_scores_zero_away_from_the_border() -> None:
    memory, _ = filled(10, "fp32", grid=(8, 8))
    scored = score_image(memory, ENGINE, memory.features_of(4), ScoringSettings())
    assert scored.score == pytest.approx(0, abs=1e-5)


def test_left_out_rows_do_not_explain_themselves() -> None:
    memory, _ = filled(10, "fp32")
    scored = score_image(memory, ENGINE, memory.features_of(4), ScoringSettings(), exclude_rows=[4])
    assert 4 not in scored.neighbours.rows
    assert scored.score > 0.05


def test_nothing_to_compare_with_is_an_error_not_a_score() -> None:
    memory, _ = filled(2, "fp16")
    query = random_features(memory.space, 1, 1)
    with pytest.raises(NoReferencesError):
        score_image(memory, ENGINE, query, ScoringSettings(), category="screw")
    with pytest.raises(NoReferencesError):
        score_image(memory.without_references([100, 101], 9), ENGINE, query, ScoringSettings())


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"rho": -1},
        {"layer_weights": (0.0, 0.0)},
        {"layer_weights": (1.0, -1.0)},
        {"layer_weights": (float("nan"), 1.0)},
        {"layer_weights": (1e308, 1e308)},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        ScoringSettings(**wrong)  # type: ignore[arg-type]


def test_weights_for_another_number_of_layers_are_refused() -> None:
    memory, _ = filled(2, "fp16")
    with pytest.raises(ValueError, match="3 layer weights for 2 layers"):
        score_image(memory, ENGINE, random_features(memory.space, 1, 1), ScoringSettings(layer_weights=(1, 1, 1)))


def test_a_smaller_pooled_share_lets_a_small_defect_score_as_high_as_it_is() -> None:
    frame = InputGeometry.whole(64 * 16, 96 * 16).frame(16)
    assert frame.map_shape == (878, 585)
    distances = np.full((2, 96 * 64), 0.1, np.float32)
    distances[:, 40 * 64 + 30] = 0.9  # one cell of 6,144
    scores = {
        share: score_from_distances(distances, frame, ScoringSettings(pooled_share=share))[0]
        for share in (0.01, 0.001, 0.0001)
    }
    assert scores[0.01] < 0.15 < 0.2 < scores[0.001] < scores[0.0001]
    assert scores[0.0001] > 0.6
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="pooled_share"):
            ScoringSettings(pooled_share=share)


@pytest.mark.parametrize(
    ("geometry", "shape"),
    [
        (InputGeometry.paper(512, 448), (256, 256)),
        (InputGeometry.paper(256, 224), (256, 256)),
        (InputGeometry.whole(448, 448), (256, 256)),
        (InputGeometry.whole(272, 688), (393, 155)),
        (InputGeometry.whole(4096, 2048), (512, 1024)),
    ],
)
def test_a_map_is_as_fine_as_its_grid(geometry: InputGeometry, shape: tuple[int, int]) -> None:
    frame = geometry.frame(16)
    assert frame.map_shape == shape
    _, anomaly_map = score_from_distances(
        np.zeros((1, frame.grid[0] * frame.grid[1]), np.float32), frame, ScoringSettings()
    )
    assert anomaly_map.shape == shape


def test_a_letterboxed_image_scores_where_it_is() -> None:
    frame = InputGeometry.whole(128, 128).frame(16, (400, 200))
    distances = np.full((2, 8, 8), 0.1, np.float32)
    distances[:, :2], distances[:, 6:] = 0.9, 0.9  # where no image is
    score, anomaly_map = score_from_distances(distances.reshape(2, 64), frame, ScoringSettings())
    assert score == pytest.approx(0.1, abs=1e-3)
    assert (anomaly_map[:18] == 0).all()
