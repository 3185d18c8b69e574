"""Masks of defects, brought into the anomaly map's frame."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from indexer.encoders import Geometry, prepare
from indexer.evaluation.dataset import Sample
from indexer.images import decode_image
from indexer.scoring import MAP_SIDE


def read_mask(sample: Sample, geometry: Geometry) -> NDArray[np.bool_]:
    """The defective pixels of a sample whose pixels are known, bool (256, 256), all False for a good part.

    The mask goes the way of the picture (resize, crop), then to the map's side by nearest neighbour, and is foreground
    wherever anything is left of it, as in the released program. Numbered masks are made black and white before, as
    VisA's own conversion does. ImageRefused.
    """
    if sample.mask is None:
        return np.zeros((MAP_SIDE, MAP_SIDE), np.bool_)
    levels = decode_image(sample.mask)
    if sample.numbered:
        levels = np.where(levels > 0, 255, 0).astype(np.uint8)
    crop = prepare(levels, geometry).to(torch.float32)  # (3, crop, crop)
    nearest = F.interpolate(crop[None], size=(MAP_SIDE, MAP_SIDE), mode="nearest")[0]
    foreground: NDArray[np.bool_] = (nearest > 0).any(dim=0).numpy()
    return foreground
