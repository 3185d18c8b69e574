"""How far the stored patches of a memory can be from those that were encoded, as its codes tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import CorruptSegmentError
from indexer.encoders.base import FeatureSpace
from indexer.memory import Codec
from indexer.storage.segment_store import SegmentStore


@dataclass(frozen=True)
class CodeErrors:
    """The largest error of a stored patch in each layer, the length of a difference of unit vectors.

    No distance of a cell in that layer differs by more from that of exact features, nor a fused score by more than the
    mean over the layers, weighted as the score's (lemma 4.1 of the paper; the references retrieved are the same).
    """

    codec: str
    by_layer: dict[str, float]

    @property
    def largest(self) -> float:
        """The bound of every score, whatever the weights of the layers."""
        return max(self.by_layer.values())


def code_errors(folder: DataFolder, progress: Callable[[int, int], None]) -> CodeErrors | None:
    """Read all codes of the memory in use; None where there are none. Damaged segments are left out.

    progress: told how many segments of how many are done.
    """
    catalogue = Catalogue.open(folder.database)
    try:
        memory = catalogue.memories.active()
        if memory is None:
            return None
        space = FeatureSpace.from_json(memory.space_json)
        codec = Codec.from_name(memory.codec, space.dim)
        largest = torch.full((len(space.layers),), -1.0)
        with folder.lock.shared():  # no file is deleted meanwhile
            store = SegmentStore(folder.root / "segments", folder.lock)
            segments = [usage.segment for usage in catalogue.segments.of(memory.id)]
            for number, segment in enumerate(segments):
                progress(number, len(segments))
                try:
                    codes = store.read(segment.name, segment.sha256).codes
                except (CorruptSegmentError, OSError):
                    continue
                for reference in torch.from_numpy(codes):
                    largest = torch.maximum(largest, codec.error_bounds(reference).amax(dim=1))
            progress(len(segments), len(segments))
    finally:
        catalogue.close()
    if bool((largest < 0).any()):
        return None
    return CodeErrors(codec.name, dict(zip(space.layers, largest.tolist(), strict=True)))
