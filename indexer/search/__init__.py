"""Exact patch search over the retrieved references, by interchangeable engines."""

from indexer.search.batched_search import SearchCoroutine, run_batched
from indexer.search.engine import BestMatch, PatchMatches, PatchQuery, PatchSearchEngine, best_similarities
from indexer.search.engine_choice import choose_engine
from indexer.search.faiss_engine import FaissEngine
from indexer.search.native_engine import NativeEngine
from indexer.search.neighbourhood import neighbour_cells
from indexer.search.torch_engine import TorchEngine

__all__ = [
    "BestMatch",
    "FaissEngine",
    "NativeEngine",
    "PatchMatches",
    "PatchQuery",
    "PatchSearchEngine",
    "SearchCoroutine",
    "TorchEngine",
    "best_similarities",
    "choose_engine",
    "neighbour_cells",
    "run_batched",
]
