"""A requested geometry, and the input geometry that it resolves to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from indexer.domain.errors import GeometryError
from indexer.domain.geometry import (
    DEFAULT_CELLS,
    DEFECT_SHARE,
    InputGeometry,
    OnMismatch,
    Size,
    choose_geometry,
    geometry_for_defect,
)
from indexer.domain.profile import Profile


@dataclass(frozen=True)
class GeometryChoice:
    """A requested geometry; GeometryError for several alternatives at once, or an incomplete one.

    cells: the whole image on a grid of at most so many. smallest_defect: the whole image, as fine as it takes to find a
    defect of so many pixels of the image, or of millimetres where millimetres_per_pixel says how large a pixel is.
    size: the whole image scaled to (width, height) pixels. resized, window: scaled to these pixels, of which the window
    (left, top, width, height) is inspected. on_mismatch: for images of other proportions; None for what there is.
    """

    cells: int | None = None
    smallest_defect: float | None = None
    millimetres_per_pixel: float | None = None
    size: Size | None = None
    resized: Size | None = None
    window: tuple[int, int, int, int] | None = None
    on_mismatch: OnMismatch | None = None

    def __post_init__(self) -> None:
        ways = (self.cells, self.smallest_defect, self.size, self.window)
        if sum(way is not None for way in ways) > 1:
            raise GeometryError("give one of cells, smallest_defect, size, or resized with window")
        if (self.resized is None) != (self.window is None):
            raise GeometryError("resized and window belong together")
        if self.millimetres_per_pixel is not None:
            if self.smallest_defect is None:
                raise GeometryError("millimetres_per_pixel is the scale of smallest_defect: give that as well")
            if not self.millimetres_per_pixel > 0:
                raise GeometryError("millimetres_per_pixel is more than 0")

    @property
    def says_grid(self) -> bool:
        """Whether it sets the grid, not only `on_mismatch`."""
        ways = (self.cells, self.smallest_defect, self.size, self.window)
        return any(way is not None for way in ways)

    @property
    def defect_pixels(self) -> float | None:
        """The smallest defect in pixels of the image."""
        if self.smallest_defect is None or self.millimetres_per_pixel is None:
            return self.smallest_defect
        return round(self.smallest_defect / self.millimetres_per_pixel, 6)  # 0.6 / 0.05 is 12

    def resolve(self, image_size: Size, patch: int, present: InputGeometry | None = None) -> InputGeometry:
        """The geometry, of images of (width, height) pixels, on cells of `patch` pixels.

        present: the category's geometry, which is kept if the grid is not set. GeometryError, naming what would fit.
        """
        on_mismatch = self.on_mismatch or self._inherited(present)
        if self.window is not None and self.resized is not None:
            chosen = InputGeometry(self.resized, self.window, on_mismatch)
        elif self.size is not None:
            if min(self.size) < patch:
                raise GeometryError(f"each side has at least the {patch} pixels of one cell, not {min(self.size)}")
            width, height = (patch * round(side / patch) for side in self.size)
            chosen = InputGeometry.whole(width, height, on_mismatch)
        elif (defect := self.defect_pixels) is not None:
            chosen = geometry_for_defect(image_size, defect, patch, on_mismatch)
        elif self.cells is not None or present is None:
            cells = DEFAULT_CELLS if self.cells is None else self.cells
            chosen = choose_geometry(image_size[0] / image_size[1], cells, patch, on_mismatch)
        else:
            chosen = replace(present, on_mismatch=on_mismatch)
        chosen.grid(patch)
        return chosen

    def _inherited(self, present: InputGeometry | None) -> OnMismatch:
        """The default of `on_mismatch`: as present, but a whole image is never stretched."""
        is_set = self.cells is not None or self.smallest_defect is not None or self.size is not None
        if present is None or (is_set and present.on_mismatch == "stretch"):
            return "letterbox"
        return present.on_mismatch


@dataclass(frozen=True)
class GeometryPolicy:
    """The default geometry of new categories.

    cells: the whole image, on a grid of at most this many. preset: used instead, if resize and crop were set.
    """

    cells: int = DEFAULT_CELLS
    preset: InputGeometry | None = None

    def of_new(self, image_size: Size, patch: int, choice: GeometryChoice | None = None) -> InputGeometry:
        """The geometry of a category whose first images have (width, height) pixels. GeometryError."""
        choice = choice or GeometryChoice()
        if choice.says_grid:
            return choice.resolve(image_size, patch)
        on_mismatch = choice.on_mismatch
        if self.preset is not None:
            return replace(self.preset, on_mismatch=on_mismatch or self.preset.on_mismatch)
        return choose_geometry(image_size[0] / image_size[1], self.cells, patch, on_mismatch or "letterbox")


def refitted(geometry: InputGeometry, before: int, patch: int) -> InputGeometry:
    """The same for an encoder whose cells are of `patch` pixels and not of `before`: as many cells of the whole image,
    or the largest window of whole cells inside the present one.
    """
    width, height = geometry.size
    if width % patch == 0 and height % patch == 0:
        return geometry
    if geometry.inspected == 1 and geometry.on_mismatch != "stretch":
        rows, columns = geometry.grid(before)
        return choose_geometry(geometry.proportions, rows * columns, patch, geometry.on_mismatch)
    across, down = max(patch, width - width % patch), max(patch, height - height % patch)
    left, top = geometry.window[0] + (width - across) // 2, geometry.window[1] + (height - down) // 2
    return InputGeometry(geometry.resized, (left, top, across, down), geometry.on_mismatch)


def smallest_defect(geometry: InputGeometry, image_size: Size, patch: int) -> float:
    """The smallest defect that is found, however it lies, in images of (width, height) pixels: in their pixels."""
    letterboxed = geometry.on_mismatch == "letterbox"
    drawn = geometry.placement(image_size).drawn[2:] if letterboxed else geometry.resized
    return max(DEFECT_SHARE * patch * side / scaled for scaled, side in zip(drawn, image_size, strict=True))


def usual_size(profile: Profile, present: InputGeometry) -> Size:
    """The most common (width, height) of a category's references; the scaled size without references."""
    counts: dict[Size, int] = {}
    for group in profile.groups:
        size = group.width, group.height
        counts[size] = counts.get(size, 0) + group.count
    return commonest(counts) or present.resized


def commonest(counts: Mapping[Size, int]) -> Size | None:
    """The size that most images have, the larger one of two; None of none."""
    return max(counts, key=lambda size: (counts[size], size), default=None)
