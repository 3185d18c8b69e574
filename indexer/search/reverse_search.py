"""Reverse search: what one reference contributes to the scores of others, for incremental calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.search.neighbourhood import OUTSIDE, covers, neighbour_cells

_BLOCK_BYTES = 4 << 20  # decoded codes of one block of cells, so that it stays in the cache


@torch.inference_mode()
def reverse_similarities(memory: MemoryBank, features: Features, rows: Sequence[int], rho: int) -> NDArray[np.float32]:
    """What one image is to several references: the largest inner product of each of their patches with its patches.

    features: the one image's, as a batch of one. rows: k rows of the memory, of its grid. The engines ask the
    other way round: there one image's patches look for the best among many references. Returns float32 (k, layers,
    cells).
    """
    offered = memory.codec.to_basis(features.patches[0].to("cpu", torch.float32))  # (layers, cells, dim)
    codes = [memory.codes_of(int(row)) for row in rows]
    if covers(features.grid, rho):
        return np.stack([_over_all_cells(memory.codec.decode(code), offered).numpy() for code in codes])
    neighbours = torch.from_numpy(neighbour_cells(features.grid, rho).copy())  # (cells, n)
    outside = neighbours == OUTSIDE
    targets = neighbours.clamp_min(0)
    layers, cells, dim = offered.shape
    step = max(1, min(cells, _BLOCK_BYTES // (4 * len(rows) * dim)))
    best = torch.empty((len(rows), layers, cells))
    for layer in range(layers):
        for start in range(0, cells, step):
            stop = min(start + step, cells)
            query_patches = memory.codec.decode(torch.stack([code[layer, start:stop] for code in codes], dim=1))
            candidates = offered[layer, targets[start:stop]]  # (step, n, dim)
            products = torch.bmm(candidates, query_patches.transpose(1, 2))  # (step, n, k)
            products.masked_fill_(outside[start:stop, :, None], -2.0)
            best[:, layer, start:stop] = products.amax(dim=1).T
    result: NDArray[np.float32] = best.numpy()
    return result


@torch.inference_mode()
def max_similarity_at(
    memory: MemoryBank, features: Features, rows: NDArray[np.int64], rho: int, where: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """`PatchSearchEngine.max_similarity` for some cells only.

    Returns float32 (m,), for the True cells of where, bool (layers, cells), in order.

    features: one image's, as a batch of one. rows: the references among which the best is sought.
    """
    layers, cells = np.nonzero(where)
    queries = memory.codec.to_basis(features.patches[0].to("cpu", torch.float32)[layers, cells])  # (m, dim)
    best = torch.full((len(cells),), -2.0)
    if covers(features.grid, rho):
        for layer in np.unique(layers):
            chosen = torch.from_numpy(np.flatnonzero(layers == layer))
            for row in rows:
                stored = memory.codec.decode(memory.codes_of(int(row))[layer])
                best[chosen] = torch.maximum(best[chosen], _over_all_cells(queries[chosen], stored))
        return best.numpy()
    table = neighbour_cells(features.grid, rho)
    around = np.where(table[cells] == OUTSIDE, cells[:, None], table[cells])  # (m, n): each cell is its own neighbour
    candidates = len(rows) * around.shape[1]
    step = max(1, _BLOCK_BYTES // (4 * candidates * memory.space.dim))
    for start in range(0, len(cells), step):
        part = slice(start, start + step)
        codes = _codes_at(memory, rows, layers[part], around[part])  # (step, k · n, code_size)
        stored = memory.codec.decode(codes)
        best[part] = torch.bmm(stored, queries[part, :, None]).amax(dim=(1, 2))
    result: NDArray[np.float32] = best.numpy()
    return result


def _over_all_cells(query_patches: torch.Tensor, offered: torch.Tensor) -> torch.Tensor:
    """The largest inner product of each patch (…, n, dim) with any of (…, cells, dim), (…, n), some at a time."""
    step = max(1, _BLOCK_BYTES // (4 * offered.shape[-2]))
    parts = torch.split(query_patches, step, dim=-2)
    return torch.cat([(part @ offered.transpose(-1, -2)).amax(dim=-1) for part in parts], dim=-1)


def _codes_at(
    memory: MemoryBank, rows: NDArray[np.int64], layers: NDArray[np.int64], cells: NDArray[np.int64]
) -> torch.Tensor:
    """Codes of k rows at (m,) layers and (m, n) cells: uint8 (m, k · n, code_size), in any order of k and n."""
    parts, base = [], 0
    codes, rows = memory.table_of(rows), memory.table_rows[rows]
    for block in codes.blocks:
        inside = rows[(rows >= base) & (rows < base + len(block))] - base
        base += len(block)
        if len(inside):
            positions = (inside[None, :, None] * block.shape[1] + layers[:, None, None]) * block.shape[2] + cells[
                :, None
            ]
            flat = torch.from_numpy(positions.ravel())
            parts.append(block.view(-1, block.shape[3]).index_select(0, flat).view(len(layers), -1, block.shape[3]))
    return torch.cat(parts, dim=1)


@torch.inference_mode()
def differences(memory: MemoryBank, features: Features, rows: Sequence[int], rho: int) -> NDArray[np.float64]:
    """How far an image is from several references where they differ most, layers alike: float64 (k,).

    Arguments as for `reverse_similarities`. The mean of the largest 1 % of the fused distances of each reference's
    cells, 0 in those that show nothing of a letterboxed one.
    """
    similarities = reverse_similarities(memory, features, rows, rho)
    for similar, row in zip(similarities, rows, strict=True):
        shown = memory.codec.decode(memory.codes_of(int(row))[0]).any(dim=-1).numpy()  # (cells,)
        similar[:, ~shown] = 1.0
    fused = 1.0 - similarities.mean(axis=1, dtype=np.float64)  # (k, cells)
    count = max(1, fused.shape[1] // 100)
    largest: NDArray[np.float64] = np.partition(fused, -count, axis=1)[:, -count:].mean(axis=1)
    return largest
