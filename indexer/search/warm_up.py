"""Searches once before the first request, so that kernels are compiled by then."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional as F

from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.search.engine import PatchQuery, PatchSearchEngine


def warm_up(engine: PatchSearchEngine, memory: MemoryBank, rhos: Iterable[int]) -> None:
    """Search a bank of one reference in the same space, for 1, 2, 4, … up to `max_queries` images.

    Of the space's own grid: kernels depend on no grid.
    """
    space = memory.space
    grid = memory.frame(None).grid
    random = torch.Generator().manual_seed(0)
    patches = F.normalize(torch.randn((1, len(space.layers), grid[0] * grid[1], space.dim), generator=random), dim=-1)
    global_descriptors = F.normalize(torch.randn((1, space.global_dim), generator=random), dim=-1)
    encoded = memory.codec.encode(Features(global_descriptors, patches, grid))
    bank = MemoryBank.empty(space, memory.codec.name).with_references([1], ["warm-up"], encoded, 1)
    weights = np.full(len(space.layers), 1 / len(space.layers), np.float32)
    engine.nearest_references(bank, global_descriptors[0].numpy(), 1)
    for rho in rhos:
        for power in range(engine.max_queries.bit_length()):
            engine.search(bank, [PatchQuery(patches[0], np.zeros(1, np.int64), rho, weights)] * (1 << power))
