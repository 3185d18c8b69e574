"""Anomaly maps as arrays. Needs numpy, and pillow for maps in PNG (`pip install touchstone-client[maps]`)."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray

from touchstone_client.models import AnomalyMap

STORED_SCALE = 2.0  # of the maps that the service stores with its inspections


def decode_map(anomaly_map: AnomalyMap) -> NDArray[np.float32]:
    """A map that `detect` returned: float32 (rows, columns), 0 to 2."""
    data = base64.b64decode(anomaly_map.data)
    if anomaly_map.format == "png16":
        return decode_png_map(data, anomaly_map.scale)
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False), np.float32)


def decode_png_map(data: bytes, scale: float = STORED_SCALE) -> NDArray[np.float32]:
    """A map that `inspection_map` returned: float32 (rows, columns), 0 to 2, in steps of 1/32768."""
    from PIL import Image  # maps in format "raw" need numpy only

    grey = np.asarray(Image.open(io.BytesIO(data)), np.float32)
    return grey / np.float32(65535 / scale)
