"""A requested geometry resolves to one geometry, or is refused with what would fit."""

from __future__ import annotations

import pytest

from indexer.domain.errors import GeometryError
from indexer.domain.geometry import InputGeometry
from indexer.domain.geometry_choice import GeometryChoice, smallest_defect
from indexer.search.cost import reference_bytes

HD = (640, 360)


def test_the_default_geometry_is_the_whole_image_at_the_default_cells() -> None:
    geometry = GeometryChoice().resolve(HD, 16)
    assert geometry.inspected == 1
    assert geometry.on_mismatch == "letterbox"
    rows, columns = geometry.grid(16)
    assert 700 <= rows * columns <= 784
    assert geometry.proportions == pytest.approx(640 / 360, rel=0.02)


def test_without_a_grid_option_the_grid_is_kept() -> None:
    present = InputGeometry.paper()
    assert GeometryChoice(on_mismatch="refuse").resolve(HD, 16, present) == InputGeometry(
        present.resized, present.window, "refuse"
    )
    assert GeometryChoice(cells=784).resolve(HD, 16, InputGeometry.whole(448, 448, "refuse")).on_mismatch == "refuse"
    assert GeometryChoice(cells=784).resolve(HD, 16, present).on_mismatch == "letterbox"  # never squashed silently


def test_a_defect_size_is_given_in_pixels_or_in_millimetres() -> None:
    in_pixels = GeometryChoice(smallest_defect=12).resolve((3200, 2400), 16)
    assert GeometryChoice(smallest_defect=0.6, millimetres_per_pixel=0.05).resolve((3200, 2400), 16) == in_pixels
    assert smallest_defect(in_pixels, (3200, 2400), 16) <= 12
    coarser = GeometryChoice(cells=784).resolve((3200, 2400), 16)
    assert smallest_defect(coarser, (3200, 2400), 16) > 24


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"cells": 784, "smallest_defect": 3.0}, "one of cells, smallest_defect"),
        ({"resized": (512, 512)}, "belong together"),
        ({"millimetres_per_pixel": 0.1}, "scale of smallest_defect"),
        ({"smallest_defect": 1.0, "millimetres_per_pixel": 0.0}, "more than 0"),
        ({"cells": 0}, "1 to 65536 cells"),
        ({"smallest_defect": 0.0}, "larger than 0"),
        ({"smallest_defect": 0.01}, "pixels and more can be found"),
        ({"size": (8, 400)}, "16 pixels of one cell, not 8"),
        ({"size": (8192, 8192)}, "at most 4096 × 4096 fit"),
        ({"resized": (512, 512), "window": (32, 32, 450, 448)}, "for example 448 × 448"),
        ({"resized": (512, 512), "window": (128, 32, 448, 448)}, "does not lie inside"),
    ],
)
def test_an_impossible_geometry_is_refused_with_what_would_fit(choice: dict[str, object], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        GeometryChoice(**choice).resolve(HD, 16)  # type: ignore[arg-type]


def test_a_reference_takes_what_its_segment_does() -> None:
    assert reference_bytes(784, 2, 128, 480) == 2 * 784 * 128 + 4 * 480


def test_the_smallest_defect_of_a_letterboxed_image_is_as_its_longer_side_is_scaled() -> None:
    square = GeometryChoice(size=(448, 448)).resolve((3200, 800), 16)
    assert smallest_defect(square, (3200, 800), 16) == pytest.approx(8 * 3200 / 448)
    stretched = GeometryChoice(size=(448, 448), on_mismatch="stretch").resolve((3200, 800), 16)
    assert smallest_defect(stretched, (3200, 800), 16) == pytest.approx(8 * 3200 / 448)
