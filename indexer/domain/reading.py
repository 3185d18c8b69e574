"""How the pixels of a file are read before they are compared; stored, so that reading again gives the same pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass

from indexer.domain.bit_depth import BIT_DEPTHS, FULL, BitDepth
from indexer.domain.encoding import Encoding


@dataclass(frozen=True)
class Reading:
    """depth: bits in use, of files that hold 16 a channel; None where nobody knows. stored_as: the JPEG that finer
    images are stored as in between, since those that they are compared with were.
    """

    depth: BitDepth | None = FULL
    stored_as: Encoding | None = None

    def to_json(self) -> str:
        """As it is kept: equal readings are equal texts."""
        stored_as = None if self.stored_as is None else json.loads(self.stored_as.to_json())
        return json.dumps({"depth": self.depth, "stored_as": stored_as}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | None) -> Reading:
        """The inverse of `to_json`; None for what was kept before readings were: as the file is."""
        if text is None:
            return cls()
        stored = json.loads(text)
        depth = next((depth for depth in BIT_DEPTHS if depth == stored["depth"]), None)
        return cls(depth, None if stored["stored_as"] is None else Encoding(**stored["stored_as"]))
