"""Mapping between an image and the encoder's window, and the choice of grids."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indexer.domain.errors import GeometryError, OtherProportions
from indexer.domain.geometry import MAX_CELLS, InputGeometry, choose_geometry, geometry_for_defect

PATCH = 16
_sides = st.integers(1, 4096)
_sizes = st.tuples(_sides, _sides)


@st.composite
def geometries(draw: st.DrawFn) -> InputGeometry:
    width, height = draw(_sizes)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    across, down = draw(st.integers(1, width - left)), draw(st.integers(1, height - top))
    return InputGeometry((width, height), (left, top, across, down), draw(st.sampled_from(["stretch", "letterbox"])))


@given(geometries())
def test_a_geometry_survives_json(geometry: InputGeometry) -> None:
    assert InputGeometry.from_json(geometry.to_json()) == geometry


@given(geometries(), _sizes, st.floats(0, 1), st.floats(0, 1))
def test_a_position_comes_back_from_the_window(
    geometry: InputGeometry, size: tuple[int, int], x: float, y: float
) -> None:
    placement = geometry.placement(size)
    [(back_x, back_y)] = placement.to_image(placement.to_window([(x * size[0], y * size[1])]))
    assert back_x == pytest.approx(x * size[0], abs=1e-6 * size[0])
    assert back_y == pytest.approx(y * size[1], abs=1e-6 * size[1])


@given(geometries(), _sizes)
def test_an_image_lies_inside_what_it_is_scaled_to_and_keeps_its_proportions(
    geometry: InputGeometry, size: tuple[int, int]
) -> None:
    placement = geometry.placement(size)
    left, top, width, height = placement.drawn
    assert left >= 0 <= top
    assert left + width <= geometry.resized[0]
    assert top + height <= geometry.resized[1]
    assert width == geometry.resized[0] or height == geometry.resized[1]
    if placement.letterboxed:
        scale = min(geometry.resized[0] / size[0], geometry.resized[1] / size[1])
        assert abs(width - max(1, size[0] * scale)) <= 0.5
        assert abs(height - max(1, size[1] * scale)) <= 0.5
    x0, y0, x1, y1 = placement.shown
    assert 0 <= x0 <= x1 <= geometry.window[2]
    assert 0 <= y0 <= y1 <= geometry.window[3]


def test_the_papers_preset_is_the_centre_of_a_square() -> None:
    paper = InputGeometry.paper()
    assert (paper.resized, paper.window) == ((512, 512), (32, 32, 448, 448))
    assert paper.grid(PATCH) == (28, 28)
    assert paper.inspected == pytest.approx((448 / 512) ** 2)
    assert paper.polygon == ((0.0625, 0.0625), (0.9375, 0.0625), (0.9375, 0.9375), (0.0625, 0.9375))
    placement = paper.placement((1024, 256))  # squashed, as the paper does
    assert placement.to_image([(0, 0), (448, 448)]) == [(64, 16), (960, 240)]
    assert not placement.letterboxed
    assert InputGeometry.from_values({"resize": 512, "crop": 448}) == paper


def test_an_image_of_other_proportions_is_letterboxed_or_refused() -> None:
    letterboxed = InputGeometry.whole(448, 448).placement((1000, 500))
    assert letterboxed.drawn == (0, 112, 448, 224)
    assert letterboxed.letterboxed
    assert letterboxed.shown == (0, 112, 448, 336)
    assert letterboxed.inspected_box == (0, 0, 1000, 500)
    assert InputGeometry.whole(448, 448).placement((520, 500)).drawn == (0, 0, 448, 448)
    with pytest.raises(OtherProportions, match=re.escape("1000 × 500")):
        InputGeometry.whole(448, 448, "refuse").placement((1000, 500))
    assert InputGeometry.whole(448, 448, "refuse").placement((1000, 1040)).drawn == (0, 0, 448, 448)


@example(8 / 9, 223)
@given(st.floats(0.125, 8), st.integers(196, MAX_CELLS))
def test_a_chosen_grid_fits_the_budget_and_distorts_by_at_most_four_per_cent(proportions: float, budget: int) -> None:
    geometry = choose_geometry(proportions, budget, PATCH)
    rows, columns = geometry.grid(PATCH)
    assert rows * columns <= budget
    assert abs(math.log(geometry.proportions / proportions)) <= 0.04
    assert geometry.inspected == 1
    assert rows * columns >= budget / 3  # proportions of 8 : 9 in 223 cells: 10 × 9 fit exactly, 15 × 14 do not


@given(st.floats(0.125, 8), st.integers(8, 195))
def test_a_small_budget_is_kept_too(proportions: float, budget: int) -> None:
    rows, columns = choose_geometry(proportions, budget, PATCH).grid(PATCH)
    assert rows * columns <= budget


def test_known_shapes_get_known_grids() -> None:
    assert choose_geometry(1.0).grid(PATCH) == (28, 28)
    assert choose_geometry(500 / 1260).grid(PATCH) == (43, 17)
    assert choose_geometry(1130 / 460).grid(PATCH) == (17, 42)
    assert choose_geometry(4096 / 4096, MAX_CELLS).size == (4096, 4096)


@given(st.tuples(st.integers(64, 8000), st.integers(64, 8000)), st.floats(1, 500))
def test_the_geometry_for_a_defect_shows_it_at_the_size_it_takes(size: tuple[int, int], defect: float) -> None:
    try:
        geometry = geometry_for_defect(size, defect, PATCH)
    except GeometryError as error:
        match = re.search(r"defects of ([0-9.]+) pixels", str(error))
        assert match is not None
        geometry = geometry_for_defect(size, float(match[1]), PATCH)  # what it says would fit, fits
        defect = float(match[1])
    rows, columns = geometry.grid(PATCH)
    assert rows * columns <= MAX_CELLS
    scale = min(geometry.size[0] / size[0], geometry.size[1] / size[1])
    assert defect * scale >= 0.5 * PATCH * (1 - 1e-9)


def test_very_wide_images_have_one_row_of_cells_as_very_high_ones_have_one_column() -> None:
    assert choose_geometry(16_384 / 16).grid(PATCH) == (1, 784)
    assert choose_geometry(16 / 16_384).grid(PATCH) == (784, 1)


def test_impossible_geometries_are_refused_with_what_would_fit() -> None:
    with pytest.raises(GeometryError, match=re.escape("448 × 432")):
        InputGeometry.whole(450, 440).grid(PATCH)
    with pytest.raises(GeometryError, match=re.escape("16 × 16")):
        InputGeometry.whole(8, 8).grid(PATCH)
    with pytest.raises(GeometryError, match=re.escape("at most 4096 × 4096 fit")):
        InputGeometry.whole(4800, 4800).grid(PATCH)
    with pytest.raises(GeometryError, match="inside"):
        InputGeometry((448, 448), (16, 0, 448, 448))
    with pytest.raises(GeometryError, match="crop"):
        InputGeometry.paper(448, 512)
    with pytest.raises(GeometryError, match="cells"):
        choose_geometry(1.0, MAX_CELLS + 1)
    for proportions in (100.0, 1 / 100):  # it would be a tenth of a cell wide
        with pytest.raises(GeometryError, match="proportions"):
            choose_geometry(proportions, 10)
