"""How an image file is stored: what a comparison of two images has to know besides their pixels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

_FINE = 99  # a JPEG of this quality or more keeps a sensor's noise, as lossless formats do

_ALIKE = 3  # by which the qualities of two JPEGs may differ: good parts of one then pass for the other

SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")  # those that images can be stored in again, finest first


@dataclass(frozen=True)
class Encoding:
    """An image file's format.

    format: JPEG, PNG, BMP, TIFF or WEBP. lossy: whether pixels were changed to make the file smaller. quality: of a
    JPEG, 1 to 100 as the common library counts it, estimated from its quantisation tables; None otherwise. subsampling:
    of a colour JPEG, such as 4:2:0; None of a grey one. bits: a channel, as stored.
    """

    format: str
    lossy: bool
    bits: int
    quality: int | None = None
    subsampling: str | None = None

    @property
    def fineness(self) -> int | None:
        """100 for a lossless format, the quality of a JPEG; None where it is not known."""
        return self.quality if self.lossy else 100

    @property
    def can_be_made(self) -> bool:
        """Whether an image can be stored so again: as a JPEG of known quality, grey or with one of `SAMPLINGS`."""
        return self.quality is not None and self.subsampling in (None, *SAMPLINGS)

    def is_like(self, other: Encoding) -> bool:
        """Whether images stored in these two ways can be compared: both keep the finest grain, or lose as much of it.

        Between a lossless file and a JPEG of quality 95, or between 4:4:4 and 4:2:0, every patch differs a little:
        see docs/verdicts.md.
        """
        own_fineness, other_fineness = self.fineness, other.fineness
        if own_fineness is None or other_fineness is None:
            return self.format == other.format
        if min(own_fineness, other_fineness) >= _FINE:
            return True
        samplings = {self.subsampling, other.subsampling} - {None}
        return self.lossy and other.lossy and abs(own_fineness - other_fineness) <= _ALIKE and len(samplings) < 2

    def is_finer_than(self, other: Encoding) -> bool:
        """Whether storing an image in the other way, too, would make the two comparable."""
        own_fineness, other_fineness = self.fineness, other.fineness
        if own_fineness is None or other_fineness is None or not other.can_be_made or self.is_like(other):
            return False
        if self.subsampling not in (None, *SAMPLINGS):
            return False
        samplings = [SAMPLINGS.index(encoding.subsampling or "4:4:4") for encoding in (self, other)]
        return own_fineness >= other_fineness - _ALIKE and samplings[0] <= samplings[1]

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
