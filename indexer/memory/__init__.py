"""The memory bank of good parts: codes, global index and immutable snapshots."""

from indexer.memory.bank import MemoryBank
from indexer.memory.codec import CODEC_NAMES, DEFAULT_CODEC, Codec, EncodedReferences, join
from indexer.memory.global_index import RetrievedReferences

__all__ = ["CODEC_NAMES", "DEFAULT_CODEC", "Codec", "EncodedReferences", "MemoryBank", "RetrievedReferences", "join"]
