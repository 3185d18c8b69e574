"""How far the stored patches of a memory can be from those that were encoded, as its codes tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import CorruptSegmentError
from indexer.encoders.base import FeatureSpace
from indexer.memory import Codec
from indexer.storage.segment_store import SegmentStore


@dataclass(frozen=True)
class CodeErrors:
    """The largest error of a stored patch of a category in each layer, the length of a difference of unit vectors.

    No distance of a cell in that layer differs by more from that of unrounded patches, nor a fused distance or an image
    score by more than the mean over the layers, weighted as the score's (lemma 4.1 of the paper; the references
    retrieved are the same).
    """

    category: str
    by_layer: dict[str, float]

    @property
    def largest(self) -> float:
        """The bound of every score of the category, whatever the weights of the layers."""
        return max(self.by_layer.values())


@dataclass(frozen=True)
class MemoryErrors:
    """The errors of the memory in use, for each category that has references."""

    codec: str
    categories: tuple[CodeErrors, ...]


def code_errors(folder: DataFolder, progress: Callable[[int, int], None]) -> MemoryErrors | None:
    """Read all codes of live references; None where there is no memory. Damaged segments are left out.

    Nothing of this is stored, so it is of what the memory holds now: after additions, removals and a rebuild, too.
    progress: told how many segments of how many are done.
    """
    catalogue = Catalogue.of(folder)
    try:
        memory = catalogue.memories.active()
        if memory is None:
            return None
        space = FeatureSpace.from_json(memory.space_json)
        codec = Codec.from_name(memory.codec, space.dim)
        largest: dict[str, torch.Tensor] = {}
        with folder.lock.shared():  # no file is deleted meanwhile
            store = SegmentStore(folder.root / "segments", folder.lock)
            segments = catalogue.segments.changes_since(0, memory.id).added
            for index, rows in enumerate(segments):
                progress(index, len(segments))
                try:
                    codes = store.read(rows.segment.name, rows.segment.sha256).codes
                except (CorruptSegmentError, OSError):
                    continue
                for placed in rows.rows:
                    errors = largest_errors(codec, codes[placed.row])
                    known = largest.get(placed.category, errors)
                    largest[placed.category] = torch.maximum(known, errors)
            progress(len(segments), len(segments))
    finally:
        catalogue.close()
    return MemoryErrors(
        codec.name,
        tuple(
            CodeErrors(category, dict(zip(space.layers, largest[category].tolist(), strict=True)))
            for category in sorted(largest)
        ),
    )


def largest_errors(codec: Codec, codes: NDArray[np.uint8]) -> torch.Tensor:
    """Codes of one reference, (layers, cells, code_size) → float32 (layers,): see `CodeErrors`."""
    return codec.error_bounds(torch.from_numpy(codes)).amax(dim=1)
