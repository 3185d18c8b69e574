"""Detects how an image file is stored, and stores pixels in the same way."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from indexer.domain.encoding import SAMPLINGS, Encoding
from indexer.domain.geometry import InputGeometry
from indexer.imaging.scaled_jpeg import divide, jpeg_divisor

# Sampling factors of luma and chroma, horizontal × vertical, as libjpeg writes them → their usual names.
_SAMPLINGS = {
    "1x1,1x1,1x1": "4:4:4",
    "2x1,1x1,1x1": "4:2:2",
    "2x2,1x1,1x1": "4:2:0",
    "1x2,1x1,1x1": "4:4:0",
    "4x1,1x1,1x1": "4:1:1",
}
# The luminance table of the JPEG standard (ITU-T T.81, table K.1), which the Independent JPEG Group's library scales by
# a quality of 1 to 100; its sum is all that is needed to tell the quality.
_STANDARD = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def detect_encoding(image: Image.Image, data: bytes, bits: int) -> Encoding:
    """The encoding of an opened image, from its tables and its file's bytes."""
    if isinstance(image, JpegImageFile):
        return jpeg_encoding(image)
    name = image.format or ""
    packed = image.info.get("compression")  # of a TIFF
    return Encoding(name, packed in ("jpeg", "webp") or (name == "WEBP" and not _is_lossless_webp(data)), bits)


def jpeg_encoding(image: JpegImageFile) -> Encoding:
    """The encoding of an opened JPEG, from its header."""
    return Encoding("JPEG", True, 8, _quality(image), _subsampling(image))


def read_jpeg_encoding(file: Path) -> Encoding | None:
    """The encoding of a JPEG file, from its header; None for what is none, or cannot be read."""
    try:
        with Image.open(file, formats=("JPEG", "MPO")) as image:
            return jpeg_encoding(image) if isinstance(image, JpegImageFile) else None
    except Exception:  # whatever is wrong with it, decoding it says so
        return None


def apply_encoding(
    image: NDArray[np.uint8], encoding: Encoding, geometries: Sequence[InputGeometry] = ()
) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) RGB, as it is once it has been stored in this way. ValueError unless it `can_be_made`.

    geometries: as `read_image` takes them; with some, the result may be smaller.
    """
    if encoding.quality is None or not encoding.can_be_made:
        raise ValueError(f"{encoding} cannot be made")
    file = io.BytesIO()
    grey = encoding.subsampling is None
    Image.fromarray(image).convert("L" if grey else "RGB").save(
        file, "JPEG", quality=encoding.quality, subsampling=SAMPLINGS.index(encoding.subsampling or "4:4:4")
    )
    with Image.open(file) as stored:
        divide(stored, jpeg_divisor(stored.size, geometries))
        return np.array(stored.convert("RGB"))


def _is_lossless_webp(data: bytes) -> bool:
    """Whether the first chunk of pixels is a lossless one."""
    position = 12  # after RIFF, its size and WEBP
    while position + 8 <= len(data) and data[position : position + 4] not in (b"VP8 ", b"VP8L"):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return data[position : position + 4] == b"VP8L"


def _subsampling(image: JpegImageFile) -> str | None:
    """By its usual name; the sampling factors of all components where it has none; None of a grey image."""
    if image.layers == 1:
        return None
    factors = ",".join(f"{across}x{down}" for _, across, down, *_ in image.layer)
    return _SAMPLINGS.get(factors, factors)


def _quality(image: JpegImageFile) -> int | None:
    """The quality whose table comes nearest; None where a file has no table."""
    if 0 not in image.quantization:
        return None
    return 1 + int(np.abs(_table_sums() - sum(image.quantization[0])).argmin())


@cache
def _table_sums() -> NDArray[np.int64]:
    """The sums of the tables of qualities 1 to 100."""
    qualities = np.arange(1, 101)
    scales = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    sums: NDArray[np.int64] = np.clip((_STANDARD * scales[:, None, None] + 50) // 100, 1, 255).sum(axis=(1, 2))
    return sums
