"""Masks of defects, brought into the anomaly map's frame."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from indexer.domain.bit_depth import FULL
from indexer.domain.geometry import Frame
from indexer.encoders import preprocess
from indexer.evaluation.dataset import Sample
from indexer.imaging.bit_depth import to_bytes
from indexer.imaging.decode import read_image

_MAX_LABELS = 32


def read_mask(sample: Sample, frame: Frame) -> NDArray[np.bool_]:
    """The defective pixels of a sample whose pixels are known, bool of `frame.map_shape`, all False for a good part.

    The mask goes the way of the image (resize, crop), then to the map's side by nearest neighbour, and is foreground
    wherever anything is left of it, as in the released program. Numbered masks are made black and white before, as
    VisA's own conversion does: their small numbers would be rounded away. ImageRejected.
    """
    if sample.mask is None:
        return np.zeros(frame.map_shape, np.bool_)
    levels = read_image(sample.mask).levels
    if sample.numbered or _are_numbers(levels):
        grey = np.where(levels > 0, np.uint8(255), np.uint8(0))
    else:
        grey = levels.astype(np.uint8) if levels.dtype == np.uint8 else to_bytes(levels.astype(np.uint16), FULL)
    crop = preprocess(np.repeat(grey[..., None], 3, axis=2), frame.geometry).to(torch.float32)  # (3, H, W)
    nearest = F.interpolate(crop[None], size=frame.map_shape, mode="nearest")[0]
    foreground: NDArray[np.bool_] = (nearest > 0).any(dim=0).numpy()
    return foreground


def _are_numbers(levels: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
    """Whether a mask's values stand for kinds of defects (0 and 1, 0 to 3), not for levels of grey.

    A mask of two values is one of these, too: black and white, whatever its white is.
    """
    return int(levels.max()) < _MAX_LABELS or int(np.count_nonzero(np.bincount(levels.ravel()))) <= 2
