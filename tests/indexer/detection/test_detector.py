"""An image is compared with another category on the cells that show it."""

from __future__ import annotations

import pytest
import torch

from indexer.detection.detector import AlternativeCategory, Criteria, Detector
from indexer.domain.category import CategorySettings
from indexer.domain.geometry import InputGeometry
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.encoders.encode_images import covered_cells
from indexer.memory import EncodedReferences, MemoryBank
from indexer.scoring.scoring import score_image
from indexer.search import TorchEngine, run_batched
from tests.helpers.random_features import feature_space, random_features

ENGINE, SETTINGS = TorchEngine(torch.device("cpu")), ScoringSettings()
WIDE, SQUARE = InputGeometry.whole(128, 64), InputGeometry.whole(96, 96)
WIDE_IMAGE = (256, 128)


def on_grid(geometry: InputGeometry, seed: int) -> Features:
    return random_features(feature_space(geometry.grid(16)), 1, seed)


def test_a_letterboxed_image_scores_alike_in_another_category_and_as_a_part_of_it() -> None:
    memory = MemoryBank.empty(feature_space()).with_geometries({"disc": SQUARE, "ring": SQUARE})
    for reference_id, category in enumerate(("disc", "ring"), 1):
        encoded = memory.codec.encode(on_grid(SQUARE, reference_id))
        memory = memory.with_references([reference_id], [category], encoded, reference_id)
    frame = memory.frame("disc", WIDE_IMAGE)
    covered = torch.from_numpy(covered_cells(frame.placement, frame.grid).ravel())[None, None, :, None]
    whole, opposite = on_grid(SQUARE, 9), on_grid(SQUARE, 1)
    image = Features(whole.global_descriptors, whole.patches * covered, whole.grid)
    unlike = Features(whole.global_descriptors, -opposite.patches * covered, whole.grid)
    own = score_image(memory, ENGINE, unlike, SETTINGS, "disc", frame=frame)
    detector = Detector(ENGINE, lambda _, __: Criteria.of(CategorySettings(), None))
    [result] = run_batched(ENGINE, memory, [detector.compare(memory, image, "ring", own, SETTINGS)])
    assert isinstance(result, AlternativeCategory)
    assert result.score == pytest.approx(score_image(memory, ENGINE, image, SETTINGS, "ring", frame=frame).score)


def test_on_another_grid_cells_beside_a_letterboxed_image_do_not_make_it_seem_nearer() -> None:
    memory = MemoryBank.empty(feature_space()).with_geometries({"plate": WIDE, "disc": SQUARE})
    for reference_id, (category, geometry) in enumerate((("plate", WIDE), ("disc", SQUARE)), 1):
        encoded: EncodedReferences = memory.codec.encode(on_grid(geometry, reference_id))
        memory = memory.with_references([reference_id], [category], encoded, reference_id)
    unlike = on_grid(WIDE, 8)
    unlike = Features(unlike.global_descriptors, -unlike.patches, unlike.grid)
    own = score_image(memory, ENGINE, unlike, SETTINGS, "plate", frame=memory.frame("plate", WIDE_IMAGE))

    as_disc = on_grid(SQUARE, 9)
    covered = covered_cells(SQUARE.placement(WIDE_IMAGE), as_disc.grid).ravel()
    shown = as_disc.patches * torch.from_numpy(covered)[None, None, :, None]
    letterboxed = Features(as_disc.global_descriptors, shown, as_disc.grid)
    detector = Detector(ENGINE, lambda _, __: Criteria.of(CategorySettings(), None))
    [result] = run_batched(ENGINE, memory, [detector.compare(memory, letterboxed, "disc", own, SETTINGS)])

    assert isinstance(result, AlternativeCategory)
    distances = score_image(memory, ENGINE, as_disc, SETTINGS, "disc").distances.mean(axis=0)
    assert result.mean_distance == pytest.approx(float(distances[covered].mean()), abs=1e-5)
