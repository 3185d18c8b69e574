"""Scales a decoded image as its geometry says and cuts out the window that an encoder sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from indexer.domain.geometry import InputGeometry, Placement, Size


@dataclass(frozen=True)
class PreparedImage:
    """One image as an encoder takes it.

    window: uint8 (3, H, W), what its patches are made of. overview: uint8 (3, h, w) of the memory's global geometry,
    what its global descriptor is made of; None where that is the window. placement: where the window lies in the image.
    """

    window: torch.Tensor
    overview: torch.Tensor | None
    placement: Placement


class Preprocess(Protocol):
    """Makes images of one memory ready for the encoder; called from several threads."""

    @property
    def global_geometry(self) -> InputGeometry:
        """The memory's."""
        ...

    def __call__(
        self, image: NDArray[np.uint8], geometry: InputGeometry, image_size: Size | None = None
    ) -> PreparedImage:
        """As `prepare`."""
        ...


@dataclass(frozen=True)
class Preprocessor:
    """`prepare` for the images of one memory."""

    global_geometry: InputGeometry

    def __call__(
        self, image: NDArray[np.uint8], geometry: InputGeometry, image_size: Size | None = None
    ) -> PreparedImage:
        """See `prepare`."""
        return prepare(image, geometry, self.global_geometry, image_size)


def preprocess(image: NDArray[np.uint8], geometry: InputGeometry, image_size: Size | None = None) -> torch.Tensor:
    """RGB image uint8 (height, width, 3) → the window, uint8 (3, H, W). OtherProportions where the geometry says so.

    image_size: (width, height) of the image that these pixels show, where they are fewer than it has.
    The resize is Pillow's own antialiased bilinear one, so it equals what the method was published with. It is done in
    bytes, as there, and stays in bytes until the encoder scales it: a quarter of the traffic of floats. Where no image
    is, the nearest pixel of its border stands.
    """
    placement = geometry.placement(image_size or (image.shape[1], image.shape[0]))
    scaled = Image.fromarray(image).resize(placement.drawn[2:], Image.Resampling.BILINEAR)
    left, top, right, bottom = part_drawn(placement)
    window = np.asarray(scaled.crop((left, top, right, bottom)))
    before_x, after_x, before_y, after_y = margins(placement)
    if before_x or after_x or before_y or after_y:
        window = np.pad(window, ((before_y, after_y), (before_x, after_x), (0, 0)), mode="edge")
    return torch.from_numpy(window.transpose(2, 0, 1).copy())


def prepare(
    image: NDArray[np.uint8],
    geometry: InputGeometry,
    global_geometry: InputGeometry,
    image_size: Size | None = None,
) -> PreparedImage:
    """RGB image uint8 (height, width, 3) → what an encoder needs of it. Otherwise as `preprocess`."""
    image_size = image_size or (image.shape[1], image.shape[0])
    window = preprocess(image, geometry, image_size)
    overview = None if geometry == global_geometry else preprocess(image, global_geometry, image_size)
    return PreparedImage(window, overview, geometry.placement(image_size))


def part_drawn(placement: Placement) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the window in the scaled image, within it; at least one pixel wide and high."""
    (left, top, width, height), (x0, y0, across, down) = placement.geometry.window, placement.drawn
    begin_x, begin_y = min(max(left - x0, 0), across - 1), min(max(top - y0, 0), down - 1)
    end_x, end_y = min(max(left + width - x0, 1), across), min(max(top + height - y0, 1), down)
    return begin_x, begin_y, max(end_x, begin_x + 1), max(end_y, begin_y + 1)


def margins(placement: Placement) -> tuple[int, int, int, int]:
    """Pixels of the window (left, right, above, below) of what `part_drawn` shows of the image."""
    (left, top, width, height), (x0, y0, _, _) = placement.geometry.window, placement.drawn
    begin_x, begin_y, end_x, end_y = part_drawn(placement)
    across, down = end_x - begin_x, end_y - begin_y
    before_x = min(max(0, x0 + begin_x - left), width - across)
    before_y = min(max(0, y0 + begin_y - top), height - down)
    return before_x, width - across - before_x, before_y, height - down - before_y
