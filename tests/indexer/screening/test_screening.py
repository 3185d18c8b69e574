"""Screening of images of which half is empty, and of few images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from clients.demo.factory import render_good
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import EncoderSettings, load_encoder, preprocess
from indexer.encoders.base import Features
from indexer.memory import EncodedReferences, MemoryBank
from indexer.scoring.image_statistics import ImageStatistics
from indexer.screening.outliers import MIN_IMAGES, ScreeningResult, find_outliers, images_until_outlier_check
from indexer.screening.screening import Screening
from indexer.search import TorchEngine
from tests.helpers.random_features import feature_space

ENGINE = TorchEngine(torch.device("cpu"))
SPACE = feature_space((4, 4))
SETTINGS = ScoringSettings()


def half_empty(kind: int, count: int, seed: int) -> Features:
    """Images of one kind of board: in more than half of the cells nothing, the same for every kind."""
    own, rng = np.random.default_rng(kind), np.random.default_rng(seed)
    drawn = own.standard_normal((2, 16, SPACE.dim)) + 0.3 * rng.standard_normal((count, 2, 16, SPACE.dim))
    drawn[:, :, 7:] = np.random.default_rng(0).standard_normal(SPACE.dim)
    whole = own.standard_normal(SPACE.global_dim) + 0.2 * rng.standard_normal((count, SPACE.global_dim))
    global_descriptors, patches = (torch.from_numpy(values.astype(np.float32)) for values in (whole, drawn))
    return Features(
        torch.nn.functional.normalize(global_descriptors, dim=-1),
        torch.nn.functional.normalize(patches, dim=-1),
        SPACE.global_grid,
    )


def measured(score: float, median: float = 0.0) -> ScreeningResult:
    return ScreeningResult(ImageStatistics(score, score, median, 0.1, 0.5), ())


def test_an_image_of_another_category_is_found_though_half_of_it_is_as_empty_as_its_own() -> None:
    memory = MemoryBank.empty(SPACE)
    for index, kind in enumerate((1, 2)):
        codes = memory.codec.encode(half_empty(kind, 6, seed=kind))
        memory = memory.with_references(range(6 * index, 6 * index + 6), [f"kind {kind}"] * 6, codes, index + 1)
    right, wrong = half_empty(1, 1, seed=8), half_empty(2, 1, seed=9)
    result = [
        Screening(memory, ENGINE, "kind 1", SETTINGS, [memory.codec.encode(image)], ["new.png"]).compare(0)
        for image in (right, wrong)
    ]
    medians = [compared.statistics.median for compared in result if compared.statistics is not None]
    assert medians == pytest.approx([0.0, 0.0], abs=1e-3)
    assert [[finding.kind for finding in compared.findings] for compared in result] == [[], ["other_category"]]
    [finding] = result[1].findings
    assert finding.category == "kind 2"
    assert finding.limit is not None
    assert finding.value < finding.limit


def test_outliers_are_looked_for_among_eight_and_what_is_missing_is_told() -> None:
    few = [*(measured(0.2 + index / 1000) for index in range(MIN_IMAGES - 2)), measured(0.9)]
    assert find_outliers(few, [], cell=16.0) == [()] * len(few)
    assert images_until_outlier_check(few, []) == 1
    known = [ImageStatistics(0.2, 0.2, 0.0, 0.1, 0.5)]
    assert images_until_outlier_check(few, known) == 0
    assert [[finding.kind for finding in outlier] for outlier in find_outliers(few, known, cell=16.0)] == [[]] * 6 + [
        ["outlier"]
    ]


def test_a_moved_part_before_a_plain_background_is_framing_and_no_defect() -> None:
    others = [measured(0.2) for _ in range(MIN_IMAGES)]
    still, moved = measured(0.9), ScreeningResult(ImageStatistics(0.9, 0.9, 0.0, 0.1, 0.5), (), shift=(0, 3))
    result = find_outliers([*others, still, moved], [], cell=16.0)
    assert [[finding.kind for finding in findings] for findings in result[-2:]] == [["outlier"], ["framing"]]
    assert "moved by about +48, +0 pixels" in result[-1][0].detail


def test_where_half_of_every_image_is_empty_a_little_less_emptiness_is_no_finding() -> None:
    images = [*(measured(0.2) for _ in range(MIN_IMAGES)), measured(0.2, median=0.02), measured(0.2, median=0.3)]
    result = find_outliers(images, [], cell=16.0)
    assert [[finding.kind for finding in findings] for findings in result] == [[]] * (MIN_IMAGES + 1) + [["framing"]]


@pytest.mark.parametrize("encoder_name", ["filterbank", "builtin"])
def test_a_shifted_image_is_reported_with_its_shift_and_a_blurred_texture_is_not(encoder_name: str) -> None:
    encoder = load_encoder(EncoderSettings(encoder_name, device="cpu"))

    def encoded(image: np.ndarray) -> EncodedReferences:
        return memory.codec.encode(encoder.encode(preprocess(image, encoder.space.global_geometry)[None]))

    for product, seen, moved in (("bracket", (4, -2), True), ("fabric", (0, 0), False)):
        memory = MemoryBank.empty(encoder.space)
        for index in range(3):
            codes = encoded(render_good(product, index).image)
            memory = memory.with_references([index], [product], codes, index + 1)
        image = render_good(product, 50).image
        changed = (
            # by two cells and four, of 16 pixels in 448
            cv2.warpAffine(image, np.float32([[1, 0, -37], [0, 1, 73]]), (512, 512), borderMode=cv2.BORDER_REFLECT)
            if moved
            else cv2.GaussianBlur(image, (0, 0), 5)
        )
        alone = [
            Screening(memory, ENGINE, product, SETTINGS, [encoded(image_)], ["a.png"]) for image_ in (changed, image)
        ]
        assert [screening.compare(0).shift for screening in alone] == [seen, (0, 0)]


def test_an_image_of_another_kind_makes_no_duplicates_of_the_others() -> None:
    """A dark image among the first of a steady product, or several; and one of another product, or that is blank."""
    encoder = load_encoder(EncoderSettings("filterbank", device="cpu"))
    memory = MemoryBank.empty(encoder.space)

    def encoded(image: np.ndarray) -> EncodedReferences:
        return memory.codec.encode(encoder.encode(preprocess(image, encoder.space.global_geometry)[None]))

    good = [render_good("fabric", index).image for index in range(6)]
    noise = np.random.default_rng(0).normal(0, 1.5, good[0].shape)
    dark = [np.clip(image / 16 + noise, 0, 255).astype(np.uint8) for image in good[:3]]
    retaken = np.clip(good[0] + noise, 0, 255).astype(np.uint8)
    cases: list[tuple[list[np.ndarray], int]] = [
        ([dark[0], *good], 0),
        ([*good[:3], *dark, *good[3:]], 2),  # the dark ones are as good as one
        ([render_good("bracket", 0).image, *good], 0),
        ([np.zeros_like(good[0]), *good], 0),
        ([dark[0], *good, retaken], 1),
    ]
    for images, duplicates in cases:
        names = [f"{index}.png" for index in range(len(images))]
        screening = Screening(memory, ENGINE, "fabric", SETTINGS, [encoded(image) for image in images], names)
        result = [finding for index in range(len(images)) for finding in screening.compare(index).findings]
        assert [finding.kind for finding in result] == ["near_duplicate"] * duplicates, (duplicates, result)
    assert result[0].detail.startswith("Shows the same part as '1.png': apart by")


@pytest.mark.parametrize(("moved", "shift"), [(0, (0, 0)), (2, (0, 2))])
def test_a_shift_of_letterboxed_images_is_looked_for_where_they_show_something(
    moved: int, shift: tuple[int, int]
) -> None:
    """Scenes whose cells resemble each other: the empty half of the grid, counted as unlike, would hide the shift."""
    space = feature_space((12, 12))
    common, rng = np.random.default_rng(0).standard_normal(space.dim), np.random.default_rng(1)
    scene = 4 * common + rng.standard_normal((2, 6, 14, space.dim))

    def letterboxed(first: int) -> EncodedReferences:
        """With the columns of the scene from `first` on, in the middle six of twelve rows."""
        patches = np.zeros((2, 12, 12, space.dim))
        patches[:, 3:9] = scene[:, :, first : first + 12] + 0.3 * rng.standard_normal((2, 6, 12, space.dim))
        descriptor = np.ones(space.global_dim) + 0.3 * rng.standard_normal(space.global_dim)
        of_cells, of_all = (torch.from_numpy(values.astype(np.float32)) for values in (patches, descriptor))
        return memory.codec.encode(
            Features(
                torch.nn.functional.normalize(of_all[None], dim=-1),
                torch.nn.functional.normalize(of_cells.view(1, 2, 144, space.dim), dim=-1),
                space.global_grid,
            )
        )

    memory = MemoryBank.empty(space)
    for index in range(3):
        memory = memory.with_references([index], ["board"], letterboxed(2), index + 1)
    screening = Screening(memory, ENGINE, "board", SETTINGS, [letterboxed(2 - moved)], ["new.png"])
    assert screening.compare(0).shift == shift
