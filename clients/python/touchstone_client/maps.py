"""Anomaly maps as arrays: needs numpy, and pillow for those kept as PNG (`pip install touchstone-client[maps]`)."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from touchstone_client.answers import AnomalyMap

KEPT_SCALE = 2.0  # of the maps that the service keeps with its inspections


def array(answered: AnomalyMap) -> NDArray[np.float32]:
    """A map as `detect` answers it: float32 (256, 256), 0 to 2."""
    data = base64.b64decode(answered.data)
    if answered.format == "png16":
        return array_of_png(data, answered.scale)
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float32)


def array_of_png(data: bytes, scale: float = KEPT_SCALE) -> NDArray[np.float32]:
    """A map as `inspection_map` answers it: float32 (256, 256), 0 to 2, in steps of 1/32768."""
    from PIL import Image  # maps asked for as "raw" need numpy only

    levels = np.asarray(Image.open(io.BytesIO(data)), np.float32)
    return levels / np.float32(65535 / scale)
