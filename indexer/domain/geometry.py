"""How an image becomes what an encoder sees: its size, the window that is inspected, and the way back to the image."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from indexer.domain.errors import GeometryError, OtherProportions

OnMismatch = Literal["stretch", "letterbox", "refuse"]
Size = tuple[int, int]  # (width, height)
Box = tuple[float, float, float, float]  # (left, top, right, bottom)
Point = tuple[float, float]  # (x, y)

DEFAULT_CELLS = 784  # as many as the paper's 28 × 28
MAX_CELLS = 65_536  # 4096 × 4096 pixels in patches of 16
TOLERANCE = 0.05  # by which an image's proportions may differ from the geometry's and still be scaled onto it
MAP_SIDE = 256  # pixels of the paper's anomaly maps
_PAPER_CELLS = 28  # along a side of the paper's grid
_MAX_MAP_SIDE = 1024
_UNNOTICED = 0.02  # distortion that `choose_geometry` accepts for more cells
_MAX_SIDE = 16_384  # pixels
DEFECT_SHARE = 0.5  # of a patch's side that a defect has to be long to be found, see docs/geometry.md


@dataclass(frozen=True)
class InputGeometry:
    """The whole image is scaled to `resized`; of that the encoder sees `window`.

    resized: (width, height) in pixels. window: (left, top, width, height) inside it. on_mismatch: what is done with an
    image whose proportions differ from those of `resized` by more than 5 %: `stretch` scales it onto them all the same,
    as the paper does; `letterbox` keeps its proportions and fills what is left over, which is never scored; `refuse`
    accepts no such image. GeometryError when a side has not 1 to 16,384 pixels, the window does not lie inside, or
    `on_mismatch` is none of these.
    """

    resized: Size
    window: tuple[int, int, int, int]
    on_mismatch: OnMismatch = "letterbox"

    def __post_init__(self) -> None:
        width, height = self.resized
        left, top, across, down = self.window
        if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
            raise GeometryError(f"an image is scaled to sides of 1 to {_MAX_SIDE} pixels, not {width} × {height}")
        if min(left, top) < 0 or min(across, down) < 1 or left + across > width or top + down > height:
            raise GeometryError(
                f"the window of {across} × {down} pixels at ({left}, {top}) does not lie inside {width} × {height}"
            )
        if self.on_mismatch not in get_args(OnMismatch):
            raise GeometryError(f"on_mismatch is one of {', '.join(get_args(OnMismatch))}")

    @classmethod
    def paper(cls, resize: int = 512, crop: int = 448) -> InputGeometry:
        """The paper's preset: every image becomes a square of `resize` pixels, whose centre square is inspected."""
        if not 1 <= crop <= resize:
            raise GeometryError(f"the crop ({crop}) must be between 1 and the resized side ({resize})")
        margin = (resize - crop) // 2
        return cls((resize, resize), (margin, margin, crop, crop), "stretch")

    @classmethod
    def whole(cls, width: int, height: int, on_mismatch: OnMismatch = "letterbox") -> InputGeometry:
        """All of an image at this many pixels."""
        return cls((width, height), (0, 0, width, height), on_mismatch)

    @property
    def is_paper_preset(self) -> bool:
        """Whether it is one of `paper`, of whatever sizes."""
        return self == InputGeometry.paper(self.resized[0], self.size[0])

    @property
    def size(self) -> Size:
        """(width, height) of what the encoder sees."""
        return self.window[2], self.window[3]

    @property
    def proportions(self) -> float:
        """Width over height of the images that fit."""
        return self.resized[0] / self.resized[1]

    @property
    def inspected(self) -> float:
        """The fraction of an image's area that the window shows, in (0, 1]."""
        return math.prod(self.size) / math.prod(self.resized)

    @property
    def polygon(self) -> tuple[Point, ...]:
        """The corners of the window in fractions of an image that fits, clockwise from the top left."""
        (width, height), (left, top, across, down) = self.resized, self.window
        x, y = (left / width, (left + across) / width), (top / height, (top + down) / height)
        return (x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])

    def grid(self, patch: int) -> tuple[int, int]:
        """(rows, columns) of the window's cells, `patch` pixels square.

        GeometryError, naming what would fit, when the window is no whole number of cells or has more than MAX_CELLS.
        """
        width, height = self.size
        if width % patch or height % patch:
            nearest = [max(patch, side - side % patch) for side in (width, height)]
            raise GeometryError(
                f"{width} × {height} pixels are not whole cells of {patch}: for example {nearest[0]} × {nearest[1]} are"
            )
        rows, columns = height // patch, width // patch
        if rows * columns > MAX_CELLS:
            largest = choose_geometry(width / height, MAX_CELLS, patch).size
            raise GeometryError(
                f"{width} × {height} pixels are {rows * columns} cells, more than {MAX_CELLS}: "
                f"at most {largest[0]} × {largest[1]} fit"
            )
        return rows, columns

    @property
    def described(self) -> str:
        """Both sizes, for people: 512 × 512 → 448 × 448 pixels."""
        (width, height), (across, down) = self.resized, self.size
        scaled_to = "" if self.resized == self.size else f" → {across} × {down}"
        return f"{width} × {height}{scaled_to} pixels"

    def fits(self, image_size: Size) -> bool:
        """Whether an image of (width, height) pixels has these proportions, within 5 %."""
        return _distortion(image_size[0] / image_size[1], self.proportions) <= TOLERANCE

    def placement(self, image_size: Size) -> Placement:
        """Where an image of (width, height) pixels lies. OtherProportions when it is to be refused."""
        if self.on_mismatch == "stretch" or self.fits(image_size):
            return Placement(self, image_size, (0, 0, *self.resized))
        if self.on_mismatch == "refuse":
            raise OtherProportions(image_size, self.resized)
        scale = min(self.resized[0] / image_size[0], self.resized[1] / image_size[1])
        width, height = (max(1, round(side * scale)) for side in image_size)
        left, top = (self.resized[0] - width) // 2, (self.resized[1] - height) // 2
        return Placement(self, image_size, (left, top, width, height))

    def frame(self, patch: int, image_size: Size | None = None) -> Frame:
        """The cells of an image of (width, height) pixels, of one that fits when None. As `placement` and `grid`."""
        return Frame(self.placement(image_size or self.resized), self.grid(patch))

    def to_json(self) -> str:
        """As the catalogue stores it; equal geometries are equal texts."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> InputGeometry:
        """The inverse of `to_json`."""
        return cls.from_values(json.loads(text))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> InputGeometry:
        """From parsed JSON; `resize` and `crop`, as memories had them once, are the paper's preset."""
        if "resize" in values:
            return cls.paper(values["resize"], values["crop"])
        left, top, width, height = values["window"]
        return cls(tuple(values["resized"]), (left, top, width, height), values["on_mismatch"])


@dataclass(frozen=True)
class Placement:
    """Where one image lies in a geometry.

    image_size: (width, height) of the image. drawn: (left, top, width, height), the pixels of `resized` that it fills.
    Positions are continuous: pixel i covers [i, i + 1). Window positions are in pixels of the window.
    """

    geometry: InputGeometry
    image_size: Size
    drawn: tuple[int, int, int, int]

    @property
    def letterboxed(self) -> bool:
        """Whether a part of `resized` shows no image."""
        return self.drawn[2:] != self.geometry.resized

    def to_image(self, points: Iterable[Point]) -> list[Point]:
        """Positions (x, y) in the window → in the image, beyond its sides where no image is."""
        (left, top, _, _), (x0, y0, _, _) = self.geometry.window, self.drawn
        across, down = self.image_size[0] / self.drawn[2], self.image_size[1] / self.drawn[3]
        return [((x + (left - x0)) * across, (y + (top - y0)) * down) for x, y in points]

    def to_window(self, points: Iterable[Point]) -> list[Point]:
        """Positions (x, y) in the image → in the window, beyond its sides where the window does not show them."""
        (left, top, _, _), (x0, y0, _, _) = self.geometry.window, self.drawn
        across, down = self.drawn[2] / self.image_size[0], self.drawn[3] / self.image_size[1]
        return [(x * across - (left - x0), y * down - (top - y0)) for x, y in points]

    @cached_property
    def shown(self) -> Box:
        """The part of the window that shows the image, in pixels of the window; of no area where it shows nothing."""
        (left, top, across, down), (x0, y0, width, height) = self.geometry.window, self.drawn
        x = [min(max(edge - left, 0), across) for edge in (x0, x0 + width)]
        y = [min(max(edge - top, 0), down) for edge in (y0, y0 + height)]
        return x[0], y[0], x[1], y[1]

    @property
    def inspected_box(self) -> Box:
        """The part of the image that the window shows, in pixels of the image."""
        left, top, right, bottom = self.shown
        (x0, y0), (x1, y1) = self.to_image([(left, top), (right, bottom)])
        return x0, y0, x1, y1


@dataclass(frozen=True)
class Frame:
    """The cells of one image: where it lies, and the (rows, columns) of the window's grid."""

    placement: Placement
    grid: tuple[int, int]

    @property
    def geometry(self) -> InputGeometry:
        """What of the image the cells cover."""
        return self.placement.geometry

    @property
    def map_shape(self) -> tuple[int, int]:
        """(rows, columns) of an anomaly map over these cells.

        As fine as the paper's, 256 pixels for 28 cells, up to 1024 a side; of the paper's preset, whatever its grid,
        256 × 256.
        """
        if self.geometry.is_paper_preset:
            return MAP_SIDE, MAP_SIDE
        scale = min(MAP_SIDE / _PAPER_CELLS, _MAX_MAP_SIDE / max(self.grid))
        return max(1, round(self.grid[0] * scale)), max(1, round(self.grid[1] * scale))

    def at_size(self, image_size: Size) -> Frame:
        """The same cells of the image shown at another (width, height)."""
        return replace(self, placement=replace(self.placement, image_size=image_size))

    def cell_box(self, cell: tuple[int, int]) -> Box:
        """Where a cell (row, column) lies, in pixels of the image."""
        (rows, columns), (width, height) = self.grid, self.geometry.size
        across, down = width / columns, height / rows
        corners = [(cell[1] * across, cell[0] * down), ((cell[1] + 1) * across, (cell[0] + 1) * down)]
        (left, top), (right, bottom) = self.placement.to_image(corners)
        return left, top, right, bottom


def scaled_size(image_size: Size, geometries: Iterable[InputGeometry]) -> Size:
    """The largest (width, height) that one of these, at least one, scales an image to. OtherProportions."""
    sizes = [geometry.placement(image_size).drawn[2:] for geometry in geometries]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def choose_geometry(
    proportions: float, budget: int = DEFAULT_CELLS, patch: int = 16, on_mismatch: OnMismatch = "letterbox"
) -> InputGeometry:
    """All of an image of these proportions (width over height) on a grid of at most `budget` cells.

    Of the grids that distort it by at most 2 % the one of the most cells; the least distorted one where all distort it
    more. GeometryError when the budget is not between 1 and MAX_CELLS, or so small that an image would fill
    less than half of the cells of any grid.
    """
    if not 1 <= budget <= MAX_CELLS:
        raise GeometryError(f"a grid has 1 to {MAX_CELLS} cells, not {budget}")
    if not (math.isfinite(proportions) and proportions > 0):
        raise GeometryError(f"an image's proportions are a positive number, not {proportions}")
    longest = min(budget, _MAX_SIDE // patch)
    grids = [
        (rows, columns)
        for rows in range(1, longest + 1)
        for columns in {math.floor(rows * proportions), math.ceil(rows * proportions)}
        if 1 <= columns <= longest and rows * columns <= budget
    ] or [(1, longest)]  # an image that is wider than one row of so many

    def preference(grid: tuple[int, int]) -> tuple[float, int]:
        distortion = _distortion(grid[1] / grid[0], proportions)
        return (0.0 if distortion <= _UNNOTICED else distortion, -grid[0] * grid[1])

    rows, columns = min(grids, key=preference)
    if _distortion(columns / rows, proportions) > 1:
        raise GeometryError(f"no grid of at most {budget} cells has proportions of {proportions:.3g} to 1")
    return InputGeometry.whole(columns * patch, rows * patch, on_mismatch)


def geometry_for_defect(
    image_size: Size, smallest_defect: float, patch: int = 16, on_mismatch: OnMismatch = "letterbox"
) -> InputGeometry:
    """All of an image of (width, height) pixels, at the least size at which a defect of so many pixels is found.

    smallest_defect: the longer side of the smallest defect that matters, in pixels of the image. GeometryError, naming
    the smallest that can be found, when that takes more than MAX_CELLS.
    """
    if not smallest_defect > 0:
        raise GeometryError("a defect is larger than 0 pixels")
    scale = DEFECT_SHARE * patch / smallest_defect
    width, height = image_size
    rows, columns = (max(1, math.ceil(side * scale / patch)) for side in (height, width))
    if rows * columns > MAX_CELLS or max(rows, columns) * patch > _MAX_SIDE:
        within = min(math.sqrt(MAX_CELLS / (width * height)), _MAX_SIDE / patch / max(width, height))
        smallest = math.ceil(10 * DEFECT_SHARE / within + 1) / 10  # whole cells take a little more
        raise GeometryError(
            f"a defect of {smallest_defect:g} pixels in {width} × {height} takes {rows * columns} cells, more than "
            f"{MAX_CELLS}: defects of {smallest:g} pixels and more can be found; inspect a part of the image for "
            "smaller"
        )
    return InputGeometry.whole(columns * patch, rows * patch, on_mismatch)


def _distortion(one: float, other: float) -> float:
    """By how much larger the greater of two proportions is: 0.05 is 5 %."""
    return max(one, other) / min(one, other) - 1
