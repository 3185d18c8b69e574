"""References that are letterboxed are scored where they are, as parts are: the rates hold for both."""

from __future__ import annotations

from collections.abc import Generator
from typing import cast

import pytest
import torch

from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import calibrate, run_leave_one_out
from indexer.calibration.what_if import WhatIf, estimate_calibration
from indexer.detection.detector import Criteria, judge
from indexer.domain.category import CategorySettings
from indexer.domain.geometry import InputGeometry, Size
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.encoders.encode_images import covered_cells
from indexer.memory import MemoryBank
from indexer.scoring.scoring import roi_mask
from indexer.scoring.stored_frame import stored_frame
from indexer.search import TorchEngine
from tests.helpers.random_features import feature_space, random_features

ENGINE = TorchEngine(torch.device("cpu"))
SQUARE, WIDE = InputGeometry.whole(448, 448), (1000, 400)
SPACE = feature_space((28, 28))
REFERENCES, PARTS = 40, 60


def part(seed: int, size: Size = WIDE, geometry: InputGeometry = SQUARE) -> Features:
    """One of many images that differ a little, with no patches where there is no image."""
    random, base = torch.Generator().manual_seed(seed), random_features(SPACE, 1, 5)
    noise = [torch.randn(values.shape, generator=random) for values in (base.patches, base.global_descriptors)]
    patches = torch.nn.functional.normalize(base.patches + 0.15 * noise[0], dim=-1)
    descriptors = torch.nn.functional.normalize(base.global_descriptors + 0.05 * noise[1], dim=-1)
    covered = torch.from_numpy(covered_cells(geometry.placement(size), base.grid).ravel())
    return Features(descriptors, patches * covered[None, None, :, None], base.grid)


def returned(steps: Generator[float, None, WhatIf]) -> WhatIf:
    """What the steps return, once all are taken."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(WhatIf, end.value)


@pytest.fixture(scope="module")
def memory() -> MemoryBank:
    """References that are all letterboxed."""
    memory = MemoryBank.empty(SPACE).with_geometries({"plate": SQUARE})
    for index in range(REFERENCES):
        memory = memory.with_references([index + 1], ["plate"], memory.codec.encode(part(index)), index + 1)
    return memory


def test_good_parts_are_judged_at_the_rates_where_all_images_are_letterboxed(memory: MemoryBank) -> None:
    settings = CategorySettings(false_reject_rate=0.1, unfamiliar_rate=0.1)
    criteria = Criteria.of(settings, calibrate(memory, ENGINE, "plate", settings.scoring))
    judged = [
        judge(memory, ENGINE, part(1000 + index), "plate", criteria, image_size=WIDE).decision.verdict
        for index in range(PARTS)
    ]
    assert judged.count("unfamiliar") <= 0.25 * PARTS
    assert judged.count("anomalous") <= 0.25 * PARTS


def test_an_estimate_of_other_settings_scores_references_where_they_are(memory: MemoryBank) -> None:
    settings = ScoringSettings()
    searches = run_leave_one_out(memory, ENGINE, "plate", settings)
    measured = list(searches.statistics(memory, memory.frame("plate"), settings))
    ids, statistics = [key for key, _ in measured], [statistic for _, statistic in measured]
    known = Calibration.from_statistics("plate", 1, "", statistics, 0, ids)
    steps = estimate_calibration(memory, ENGINE, known, searches, settings, REFERENCES)
    estimated = returned(steps).calibration.medians.values
    assert estimated == pytest.approx(known.medians.values, rel=1e-3)


@pytest.mark.parametrize("codec", ["fp16", "int8", "int4"])
def test_a_letterboxed_photograph_taken_twice_counts_once(codec: str) -> None:
    images = [part(seed) for seed in range(10)]
    noise = 0.002 * torch.randn(images[0].patches.shape, generator=torch.Generator().manual_seed(99))
    again = torch.nn.functional.normalize(images[0].patches + noise * (images[0].patches != 0), dim=-1)
    images.append(Features(images[0].global_descriptors, again, images[0].grid))
    memory = MemoryBank.empty(SPACE, codec).with_geometries({"plate": SQUARE})
    for index, image in enumerate(images, 1):
        memory = memory.with_references([index], ["plate"], memory.codec.encode(image), index)
    assert run_leave_one_out(memory, ENGINE, "plate", ScoringSettings()).groups.tolist() == [*range(1, 11), 1]


@pytest.mark.parametrize("size", [WIDE, (400, 1000), (448, 300), (448, 448)])
@pytest.mark.parametrize("geometry", [SQUARE, InputGeometry((512, 480), (32, 16, 448, 448))])
def test_the_cells_of_a_stored_image_are_those_that_it_is_inspected_on(size: Size, geometry: InputGeometry) -> None:
    inspected = roi_mask(ScoringSettings(), geometry.frame(16, size))
    stored = roi_mask(ScoringSettings(), stored_frame(part(1, size, geometry), geometry.frame(16), ScoringSettings()))
    assert (stored is None) == (inspected is None or bool(inspected.cells.all()))
    if stored is not None and inspected is not None:
        assert (stored.cells == inspected.cells).all()


def test_a_region_of_interest_lies_in_the_image_and_not_beside_it() -> None:
    left_half = RegionOfInterest(polygons=(((0, 0), (0.5, 0), (0.5, 1), (0, 1)),))
    settings = ScoringSettings(region=left_half)
    frame = stored_frame(part(1), SQUARE.frame(16), settings)
    stored, inspected = roi_mask(settings, frame), roi_mask(settings, SQUARE.frame(16, WIDE))
    assert stored is not None
    assert inspected is not None
    assert (stored.cells == inspected.cells).all()
    speck = ScoringSettings(region=RegionOfInterest(polygons=(((0, 0), (0.03, 0), (0.03, 0.03), (0, 0.03)),)))
    assert stored_frame(part(1), SQUARE.frame(16), speck) == SQUARE.frame(16)  # too small where it was letterboxed
