"""The typical difference of images of different parts, and near-duplicates by it."""

from __future__ import annotations

import pytest

from indexer.calibration.near_duplicates import are_near_duplicates, typical_difference


def test_seven_images_of_one_part_are_recognised_beside_one_of_another() -> None:
    assert typical_difference([0.01] * 7 + [0.12]) == 0.12
    assert are_near_duplicates(0.01, 0.12)


@pytest.mark.parametrize("strange", [1, 2, 3])
def test_images_of_another_kind_do_not_say_how_far_parts_are_apart(strange: int) -> None:
    typical = typical_difference([0.06, 0.065, 0.07, 0.07, 0.08] + [0.9] * strange)
    assert typical == 0.08
    assert not are_near_duplicates(0.06, typical)


def test_parts_encoded_differently_get_a_notice() -> None:
    assert typical_difference([0.05, 0.06, 0.8, 0.9, 0.95]) == 0.95  # two images of the part, and five others
    assert typical_difference([0.3, 0.35, 0.4, 0.5, 0.7]) == 0.7


def test_too_few_of_one_kind_say_nothing() -> None:
    assert typical_difference([0.06, 0.065, 0.07, 0.9, 0.9]) is None
    assert typical_difference([0.06, 0.065, 0.07, 0.08]) is None
