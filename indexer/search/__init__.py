"""Exact patch search over the retrieved references, by interchangeable engines."""

import torch

from indexer.search.engine import Engine
from indexer.search.faiss_engine import FaissEngine
from indexer.search.neighbourhood import neighbour_cells
from indexer.search.torch_engine import TorchEngine

__all__ = ["Engine", "FaissEngine", "TorchEngine", "choose_engine", "neighbour_cells"]


def choose_engine(device: torch.device) -> Engine:
    """The engine the service uses on this device; docs/performance.md has the measurements behind the choice."""
    return TorchEngine(device)
