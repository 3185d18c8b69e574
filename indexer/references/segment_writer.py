"""Writes encoded references as a segment file."""

from __future__ import annotations

from indexer.domain.snapshot import SegmentFile
from indexer.encoders.base import FeatureSpace
from indexer.memory import EncodedReferences
from indexer.storage.segment_format import SegmentHeader
from indexer.storage.segment_store import SegmentStore


def write_segment(store: SegmentStore, encoded: EncodedReferences, space: FeatureSpace) -> SegmentFile:
    """Write references of a feature space as one durable segment. StorageFull when there is no room."""
    count, layers, _, code_size = encoded.codes.shape
    rows, columns = encoded.grid
    header = SegmentHeader(space.fingerprint, encoded.codec, layers, rows, columns, code_size, space.global_dim, count)
    return store.write(encoded.global_descriptors, encoded.codes, header)
