"""Exact patch search over the retrieved references, by interchangeable engines."""

from importlib.util import find_spec

import torch

from indexer.memory.residency import codes_on
from indexer.search.asking import Asking, answered
from indexer.search.engine import Answer, Engine, Nearest, Question
from indexer.search.faiss_engine import FaissEngine
from indexer.search.neighbourhood import neighbour_cells
from indexer.search.torch_engine import TorchEngine

__all__ = [
    "Answer", "Asking", "Engine", "FaissEngine", "Nearest", "Question", "TorchEngine", "answered", "choose_engine",
    "neighbour_cells",
]  # fmt: skip


def choose_engine(device: torch.device, memory_share: float = 0.5) -> Engine:
    """The engine the service uses on this device: Triton's on CUDA where Triton is installed, else torch's.

    memory_share: the share of the device's memory that codes may take; of no meaning on the CPU.
    """
    codes = codes_on(device, memory_share)
    if device.type == "cuda" and find_spec("triton"):
        from indexer.search.triton_engine import TritonEngine  # not installed everywhere, and slow to import

        return TritonEngine(device, codes)
    return TorchEngine(device, codes)
