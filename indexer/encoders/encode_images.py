"""Encodes prepared images of any size, each with its overview, and marks where no image is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.errors import ImageNotEncodable
from indexer.domain.geometry import Placement
from indexer.encoders.base import Encoder, Features, grid_of, join_features
from indexer.encoders.preprocessing import PreparedImage
from indexer.encoders.windows import encode_in_windows


def encode_images(encoder: Encoder, images: Sequence[PreparedImage]) -> list[Features]:
    """The features of each image, in order, as batches of one.

    Images of one size are encoded together. What is larger than one pass is encoded in windows, unless it is of the
    memory's global geometry, whose global descriptor is of the whole. ImageNotEncodable when a value is not finite.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_size.setdefault(tuple(image.window.shape), []).append(index)
    encoded: dict[int, Features] = {}
    for indices in by_size.values():
        first = images[indices[0]]
        if first.overview is not None and math.prod(first.window.shape[1:]) > _pass_pixels(encoder):
            for index in indices:
                patches = encode_in_windows(encoder, images[index].window)
                empty = torch.zeros((1, encoder.space.global_dim), device=encoder.device)  # the overview has it
                encoded[index] = Features(empty, patches, grid_of(first.window[None], encoder.space.patch))
            continue
        features = encoder.encode(torch.stack([images[index].window for index in indices]))
        encoded |= {index: features.item(row) for row, index in enumerate(indices)}
    overviews = {index: image.overview for index, image in enumerate(images) if image.overview is not None}
    if overviews:
        described = encoder.encode(torch.stack(list(overviews.values()))).global_descriptors
        for row, index in enumerate(overviews):
            of_window = encoded[index]
            encoded[index] = Features(described[row : row + 1], of_window.patches, of_window.grid)
    for features in encoded.values():
        _check_finite(encoder, features)
    return [_marked(encoded[index], image.placement) for index, image in enumerate(images)]


def encode_batch(encoder: Encoder, images: Sequence[PreparedImage]) -> Features:
    """Images of one size, at least one, as one batch."""
    return join_features(encode_images(encoder, images))


def covered_cells(placement: Placement, grid: tuple[int, int]) -> NDArray[np.bool_]:
    """The cells (rows, columns) of which half or more shows the image."""
    left, top, right, bottom = placement.shown
    width, height = placement.geometry.size
    across = _shares(grid[1], left / width * grid[1], right / width * grid[1])
    down = _shares(grid[0], top / height * grid[0], bottom / height * grid[0])
    covered: NDArray[np.bool_] = down[:, None] * across[None, :] >= 0.5
    return covered


def _shares(count: int, begin: float, end: float) -> NDArray[np.float64]:
    """How much of each of `count` cells in a row lies between two positions, in cells."""
    at = np.arange(count)
    shares: NDArray[np.float64] = np.clip(np.minimum(at + 1, end) - np.maximum(at, begin), 0, 1)
    return shares


def _pass_pixels(encoder: Encoder) -> int:
    """Pixels of the largest window that is encoded in one pass."""
    return encoder.max_pass_cells * encoder.space.patch**2


def _check_finite(encoder: Encoder, features: Features) -> None:
    """Raise ImageNotEncodable for an image that no reference can be compared with."""
    # One sum tells: values are of unit length, so that it cannot overflow.
    if not math.isfinite(float(features.patches.sum() + features.global_descriptors.sum())):
        raise ImageNotEncodable(encoder.space.encoder)


def _marked(features: Features, placement: Placement) -> Features:
    if not placement.letterboxed:
        return features
    covered = torch.from_numpy(covered_cells(placement, features.grid).ravel()).to(features.patches.device)
    return Features(features.global_descriptors, features.patches * covered[None, None, :, None], features.grid)
