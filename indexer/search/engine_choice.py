"""Chooses the patch search engine for a device."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from indexer.memory.device_cache import code_source_for
from indexer.search.engine import PatchSearchEngine
from indexer.search.native import instruction_sets
from indexer.search.native_engine import NativeEngine
from indexer.search.torch_engine import TorchEngine


def choose_engine(device: torch.device, memory_share: float = 0.5) -> PatchSearchEngine:
    """The engine the service uses on this device: Triton's on CUDA where Triton is installed, the compiled one on a CPU
    that has its instructions, else torch's.

    memory_share: the share of the device's memory that codes may take; of no meaning on the CPU.
    """
    if device.type == "cpu" and instruction_sets():
        return NativeEngine()
    codes = code_source_for(device, memory_share)
    if device.type == "cuda" and find_spec("triton"):
        from indexer.search.triton_engine import TritonEngine  # not installed everywhere, and slow to import

        return TritonEngine(device, codes)
    return TorchEngine(device, codes)
