"""Memory banks of random references, with every search engine that this machine can run."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch

from indexer.encoders import Features
from indexer.memory import Codec, MemoryBank
from indexer.search import FaissEngine, NativeEngine, PatchSearchEngine, TorchEngine
from indexer.search.native import instruction_sets
from tests.helpers.random_features import feature_space, random_features

CUDA = torch.device("cuda")
ENGINES: list[PatchSearchEngine] = [FaissEngine(), TorchEngine(torch.device("cpu"))]
ENGINES.extend(NativeEngine(instructions) for instructions in instruction_sets())
if torch.cuda.is_available():
    ENGINES.append(TorchEngine(CUDA))
if find_spec("triton"):
    from indexer.search.triton_engine import TritonEngine

    ENGINES.append(TritonEngine(CUDA if torch.cuda.is_available() else torch.device("cpu")))  # there: interpreted


def filled(
    count: int, codec: str, grid: tuple[int, int] = (4, 5), layers: int = 2, dim: int = 16, seed: int = 1
) -> tuple[MemoryBank, np.ndarray]:
    """A memory of `count` references in two alternating categories, and their exact patches."""
    space = feature_space(grid, layers, dim)
    features = random_features(space, count, seed)
    memory = MemoryBank.empty(space, codec)
    for start in range(0, count, 3):  # several appends, as in life
        stop = min(start + 3, count)
        part = features.slice(start, stop)
        names = ["bolt" if index % 2 else "nut" for index in range(start, stop)]
        memory = memory.with_references(range(100 + start, 100 + stop), names, memory.codec.encode(part), start + 1)
    return memory, features.patches.numpy()


def bound(codec: Codec, stored: np.ndarray) -> float:
    """The largest error of an inner product of stored patches (n, layers, cells, dim) with a unit vector that the codec
    allows, and 1e-5 for float32's rounding in the search."""
    features = Features(torch.zeros(len(stored), 1), torch.from_numpy(stored), (1, stored.shape[2]))
    return float(codec.error_bounds(torch.from_numpy(codec.encode(features).codes)).max()) + 1e-5
