"""How an image was stored: what a comparison of two images has to know besides their pixels."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_FINE = 99  # a JPEG of this quality or more keeps a sensor's noise, as lossless formats do
_ALIKE = 3  # by which the qualities of two JPEGs may differ: good parts of one then pass for the other
_ORDER = tuple(_SAMPLINGS.values())  # finest first
# The luminance table of the JPEG standard (ITU-T T.81, table K.1), which the Independent JPEG Group's library scales by
# a quality of 1 to 100; its sum is all that is needed to tell the quality.
_STANDARD = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
])  # fmt: skip


@dataclass(frozen=True)
class Encoding:
    """An image file's format.

    format: JPEG, PNG, BMP, TIFF or WEBP. lossy: whether pixels were changed to make the file smaller. quality: of a
    JPEG, 1 to 100 as the common library counts it, told from its tables; None otherwise. subsampling: of a colour
    JPEG, such as 4:2:0. bits: a channel, as stored.
    """

    format: str
    lossy: bool
    bits: int
    quality: int | None = None
    subsampling: str | None = None

    @classmethod
    def of(cls, image: Image.Image, data: bytes, bits: int) -> Encoding:
        """From an opened image and its file's bytes."""
        if isinstance(image, JpegImageFile):
            return cls("JPEG", True, bits, _quality(image), _SAMPLINGS.get(get_sampling(image)))
        name = image.format or ""
        packed = image.info.get("compression")  # of a TIFF
        return cls(name, packed in ("jpeg", "webp") or (name == "WEBP" and not _is_lossless_webp(data)), bits)

    @property
    def fineness(self) -> int | None:
        """100 for a lossless format, the quality of a JPEG; None where it is not known."""
        return self.quality if self.lossy else 100

    def is_like(self, other: Encoding) -> bool:
        """Whether images stored in these two ways can be compared: both keep the finest grain, or lose as much of it.

        Between a lossless file and a JPEG of quality 95, or between 4:4:4 and 4:2:0, every patch differs a little:
        see docs/verdicts.md.
        """
        mine, others = self.fineness, other.fineness
        if mine is None or others is None:
            return self.format == other.format
        if min(mine, others) >= _FINE:
            return True
        samplings = {self.subsampling, other.subsampling} - {None}
        return self.lossy and other.lossy and abs(mine - others) <= _ALIKE and len(samplings) < 2

    def is_finer_than(self, other: Encoding) -> bool:
        """Whether storing an image in the other way, too, would make the two comparable."""
        mine, others = self.fineness, other.fineness
        if mine is None or other.quality is None or others is None or self.is_like(other):
            return False
        samplings = [_ORDER.index(each.subsampling or "4:4:4") for each in (self, other)]
        return mine >= others - _ALIKE and samplings[0] <= samplings[1]

    def applied_to(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) RGB, as it is once it has been stored in this way. For JPEG with a quality only."""
        if self.quality is None:
            raise ValueError(f"{self} cannot be made")
        file = io.BytesIO()
        grey = self.subsampling is None
        Image.fromarray(image).convert("L" if grey else "RGB").save(
            file, "JPEG", quality=self.quality, subsampling=_ORDER.index(self.subsampling or "4:4:4")
        )
        with Image.open(file) as stored:
            return np.array(stored.convert("RGB"))

    def to_json(self) -> str:
        """As it is kept: equal encodings are equal texts."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Encoding:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        kind = f"{self.format} (lossy)" if self.lossy and self.quality is None else self.format
        parts = [
            None if self.quality is None else f"quality {self.quality}",
            self.subsampling,
            f"{self.bits} bits" if self.bits != 8 else None,
        ]
        return ", ".join([kind, *(part for part in parts if part is not None)])


def _is_lossless_webp(data: bytes) -> bool:
    """Whether the first chunk of pixels is a lossless one."""
    place = 12  # after RIFF, its size and WEBP
    while place + 8 <= len(data) and data[place : place + 4] not in (b"VP8 ", b"VP8L"):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
    return data[place : place + 4] == b"VP8L"


def _quality(image: JpegImageFile) -> int | None:
    """The quality whose table comes nearest; None where a file has no table."""
    if 0 not in image.quantization:
        return None
    found = sum(image.quantization[0])
    return 1 + int(np.argmin([abs(_sum(quality) - found) for quality in range(1, 101)]))


def _sum(quality: int) -> int:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return int(np.clip((_STANDARD * scale + 50) // 100, 1, 255).sum())
