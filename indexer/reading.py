"""How the pixels of a file are taken before they are compared; kept, so that reading it again gives the same pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.depth import BIT_DEPTHS, FULL, BitDepth
from indexer.encoding import Encoding
from indexer.images import ImageRefused, Stored


@dataclass(frozen=True)
class Reading:
    """depth: bits in use, of files that hold 16 a channel; None where nobody knows. stored_as: the JPEG that finer
    images are stored as in between, since those that they are compared with were.
    """

    depth: BitDepth | None = FULL
    stored_as: Encoding | None = None

    def of(self, stored: Stored) -> Reading:
        """What of it applies to one image: an image that is coarse enough is not stored again."""
        again = self.stored_as is not None and stored.encoding.is_finer_than(self.stored_as)
        return Reading(self.depth if stored.largest is not None else FULL, self.stored_as if again else None)

    def pixels(self, stored: Stored) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) RGB. ImageRefused when the depth that it takes is not known, or too small."""
        if self.depth is None:
            if stored.largest is not None:
                raise ImageRefused(
                    "depth-unknown",
                    "It has 16 bits a channel, and the categories' files have different numbers of bits: name the "
                    "category, or say bit_depth.",
                )
            return stored.rgb()
        image = stored.rgb(self.depth)
        return image if self.stored_as is None else self.stored_as.applied_to(image)

    def to_json(self) -> str:
        """As it is kept: equal readings are equal texts."""
        stored_as = None if self.stored_as is None else json.loads(self.stored_as.to_json())
        return json.dumps({"depth": self.depth, "stored_as": stored_as}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Reading:
        """The inverse of `to_json`; None for what was kept before readings were: as the file is."""
        if text is None:
            return cls()
        kept = json.loads(text)
        depth = next((depth for depth in BIT_DEPTHS if depth == kept["depth"]), None)
        return cls(depth, None if kept["stored_as"] is None else Encoding(**kept["stored_as"]))
