"""Images too dark, too bright, blurred or of another shape are told apart from the others."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from indexer.domain.photo_quality import PhotoQuality
from indexer.screening.photo_quality import PhotoQualities, photo_findings, photo_quality_of


def look(image: np.ndarray, width: int = 160, height: int = 120) -> PhotoQuality:
    return photo_quality_of(torch.from_numpy(image.astype(np.uint8).transpose(2, 0, 1).copy()), width, height)


def photo(seed: int, light: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((112, 112, 3), 90.0)
    cv2.rectangle(image, (30, 25), (80, 90), (170, 160, 150), -1)
    return np.clip(image * light * rng.normal(1, 0.02) + rng.normal(0, 2, image.shape), 0, 255)


OTHERS = [look(photo(seed)) for seed in range(12)]


def kinds(quality: PhotoQuality, others: list[PhotoQuality] = OTHERS) -> list[str]:
    return [finding.kind for finding in photo_findings(quality, PhotoQualities.from_images(others))]


def test_a_good_photograph_has_no_findings() -> None:
    for seed in range(100, 130):
        assert kinds(look(photo(seed))) == []


def test_dark_bright_blurred_and_differently_shaped_images_are_found_with_the_numbers() -> None:
    assert kinds(look(photo(50, 0.4))) == ["too_dark"]
    assert kinds(look(np.clip(photo(50) + 110, 0, 255))) == ["too_bright"]
    assert kinds(look(cv2.GaussianBlur(photo(50), (0, 0), 4))) == ["blurred"]
    assert kinds(look(photo(50), 120, 160)) == ["framing"]
    for width, height in ((120, 160), (160, 80)):
        [shape] = photo_findings(look(photo(50), width, height), PhotoQualities.from_images(OTHERS))
        assert shape.typical is not None
        assert shape.limit is not None
        assert sorted((shape.value, shape.limit, shape.typical))[1] == shape.limit
    [result] = photo_findings(look(photo(50, 0.4)), PhotoQualities.from_images(OTHERS))
    assert result.typical is not None
    assert result.limit is not None
    assert result.value < result.limit < result.typical


def test_a_blurred_image_is_found_also_among_parts_that_differ_in_sharpness() -> None:
    def drawn(seed: int, lines: int) -> np.ndarray:
        image = photo(seed)
        for index in range(lines):
            cv2.line(image, (5, 5 + 8 * index), (105, 5 + 8 * index), (20, 20, 20), 1)
        return image

    others = [look(drawn(seed, 2 + 2 * (seed % 5))) for seed in range(20)]
    sharpness = [other.sharpness for other in others]
    assert max(sharpness) > 1.5 * min(sharpness)
    assert [kinds(look(drawn(100 + lines, lines)), others) for lines in (2, 6, 10)] == [[], [], []]
    assert kinds(look(cv2.GaussianBlur(drawn(50, 6), (0, 0), 4)), others) == ["blurred"]


def test_a_texture_that_blur_leaves_nothing_of_is_found_blurred() -> None:
    def woven(seed: int) -> np.ndarray:
        y, x = np.mgrid[:112, :112]
        rng = np.random.default_rng(seed)
        weave = 40 * np.sin(0.35 * x + rng.uniform(0, 6)) * np.sin(0.35 * y)
        return np.repeat((120 + weave + 0.05 * x + rng.normal(0, 1, x.shape))[..., None], 3, axis=2).astype(np.uint8)

    others = [look(woven(seed)) for seed in range(12)]
    assert kinds(look(woven(50)), others) == []
    for blur in (5, 8):
        assert kinds(look(cv2.GaussianBlur(woven(50), (0, 0), blur)), others) == ["blurred"]


def test_with_nothing_to_compare_with_only_black_and_white_are_findings() -> None:
    assert kinds(look(np.zeros((112, 112, 3))), []) == ["too_dark"]
    assert kinds(look(np.full((112, 112, 3), 255)), []) == ["too_bright"]
    assert kinds(look(cv2.GaussianBlur(photo(50, 0.4), (0, 0), 4), 120, 160), []) == []


def test_products_that_are_dark_on_purpose_are_not_too_dark() -> None:
    dark = [look(photo(seed, 0.1)) for seed in range(12)]
    assert kinds(look(photo(60, 0.1)), dark) == []
