"""Small images: the size asked for, the colours of the large one, however odd its sides are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from indexer.imaging.encode import downscale


@pytest.mark.parametrize("size", [(192, 192), (193, 150), (1023, 771), (4001, 3003), (5000, 1), (1, 700), (3, 999)])
def test_a_small_image_has_the_side_and_the_proportions_asked_for(size: tuple[int, int]) -> None:
    width, height = size
    small = downscale(np.full((height, width, 3), 77, np.uint8), 192)
    assert max(small.shape[:2]) == min(192, max(size))
    factor = max(small.shape[:2]) / max(size)
    assert abs(small.shape[0] - height * factor) <= 1
    assert abs(small.shape[1] - width * factor) <= 1
    assert (small == 77).all()


def test_halving_on_the_way_shows_what_one_step_would_show() -> None:
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8), (1601, 1203), interpolation=cv2.INTER_CUBIC)
    small = downscale(image, 192)
    expected = cv2.resize(image, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected.astype(int)).mean() < 1.5
