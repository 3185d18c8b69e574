"""Searches patches with torch, on CPU or CUDA: decodes a block of cells, then multiplies it with all its queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory import MemoryBank
from indexer.memory.device_cache import CodeChunk, CodeSource, code_source_for
from indexer.search.engine import PatchMatches, PatchQuery, search_by_grid
from indexer.search.gpu_global_index import GlobalRetrieval
from indexer.search.neighbourhood import OUTSIDE, covers, neighbour_cells

# Bytes of one decoded block of cells: on a CPU it should stay in the cache between decoding and the product.
_BLOCK_BYTES = {"cpu": 7 << 20, "cuda": 256 << 20}
_NO_MATCH = -2.0  # below every inner product there is


@dataclass(frozen=True)
class _Image:
    """One image's share of a search.

    patches: float32 (layers, cells, dim). selections: int64 (k,) each, rows among which the best is to be found.
    """

    patches: torch.Tensor
    selections: tuple[NDArray[np.int64], ...]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """All rows that it is compared with, each once."""
        return np.unique(np.concatenate(self.selections))


@dataclass(frozen=True)
class _Selection:
    """Among which references of a pass an image is to find the best.

    image: its number. columns: int64, places among the references of the pass; None for all of them.
    """

    image: int
    columns: torch.Tensor | None

    def best_of(self, scores: torch.Tensor, out: torch.Tensor) -> None:
        """The largest of the image's inner products (…, k) with references selected; −2 where there is none."""
        if self.columns is None:
            torch.amax(scores, dim=-1, out=out)
        elif len(self.columns):
            torch.amax(scores.index_select(-1, self.columns), dim=-1, out=out)
        else:
            out.fill_(_NO_MATCH)

    def best_of_all(self, scores: torch.Tensor, k: int, out: torch.Tensor) -> None:
        """The same over all stored cells: inner products (cells, stored cells · k)."""
        if self.columns is None:
            torch.amax(scores, dim=1, out=out)
        else:
            self.best_of(scores.view(len(scores), -1, k).amax(1), out)


class TorchEngine(GlobalRetrieval):
    """Every stored cell is decoded once and multiplied with the queries of all the cells it is a candidate for."""

    max_queries = 1  # batching saves decoding, but a single image should not wait for it

    def __init__(self, device: torch.device, codes: CodeSource | None = None) -> None:
        """codes: source of codes that the device can read."""
        super().__init__(device)
        self.name = f"torch-{device.type}"
        self.codes = codes or code_source_for(device)
        self._device = device

    def max_similarity(
        self, memory: MemoryBank, queries: torch.Tensor, rows: NDArray[np.int64], rho: int
    ) -> NDArray[np.float32]:
        """See `PatchSearchEngine.max_similarity`."""
        [[best]] = self._search_group(memory, [_Image(queries, (rows,))], rho)
        return best

    def search(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """See `PatchSearchEngine.search`."""
        return search_by_grid(memory, queries, partial(self._search_one_grid, memory))

    def _search_one_grid(self, memory: MemoryBank, queries: Sequence[PatchQuery]) -> list[PatchMatches]:
        """The matches of queries of one grid.

        Images that share most of their references form a group, whose references are decoded once. An image that is
        searched in several sets of references is multiplied once with all of them; queries that differ only in their
        weights are searched once.
        """
        keys = [
            (patch_query.rho, patch_query.patches.data_ptr(), patch_query.rows.tobytes()) for patch_query in queries
        ]
        distinct = dict(zip(keys, queries, strict=True))
        best: dict[tuple[int, int, bytes], NDArray[np.float32]] = {}
        for rho in {patch_query.rho for patch_query in queries}:
            keys_of_image: dict[int, list[tuple[int, int, bytes]]] = {}
            for key in distinct:
                if key[0] == rho:
                    keys_of_image.setdefault(key[1], []).append(key)
            by_image = list(keys_of_image.values())
            images = [
                _Image(distinct[image_keys[0]].patches, tuple(distinct[key].rows for key in image_keys))
                for image_keys in by_image
            ]
            for group in _group_images(images):
                matches = self._search_group(memory, [images[index] for index in group], rho)
                for index, similarities in zip(group, matches, strict=True):
                    best |= zip(by_image[index], similarities, strict=True)
        return [
            PatchMatches(best[key], query.weights @ (1.0 - best[key])) for key, query in zip(keys, queries, strict=True)
        ]

    @torch.inference_mode()
    def _search_group(self, memory: MemoryBank, images: Sequence[_Image], rho: int) -> list[list[NDArray[np.float32]]]:
        """For each image and each of its selections the largest inner products, float32 (layers, cells); all references
        are decoded once.
        """
        rows = np.unique(np.concatenate([image.rows for image in images]))
        grid = memory.table_of(rows).grid
        over = self._search_all_cells if covers(grid, rho) else self._search_neighbourhood
        layers, cells, _ = images[0].patches.shape
        best = np.full((sum(len(image.selections) for image in images), layers, cells), _NO_MATCH, np.float32)
        queries = [memory.codec.to_basis(image.patches.to(self._device, torch.float32)) for image in images]
        for chunks in self.codes.passes(memory, rows):
            rows_there = rows[np.concatenate([chunk.query_positions for chunk in chunks])]
            selections = [
                _Selection(index, self._columns(rows_there, selected))
                for index, image in enumerate(images)
                for selected in image.selections
            ]
            np.maximum(best, over(memory, grid, queries, selections, chunks, rho), out=best)
        in_order = iter(best)
        return [list(islice(in_order, len(image.selections))) for image in images]

    def _search_neighbourhood(
        self,
        memory: MemoryBank,
        grid: tuple[int, int],
        queries: Sequence[torch.Tensor],
        selections: Sequence[_Selection],
        chunks: list[CodeChunk],
        rho: int,
    ) -> NDArray[np.float32]:
        """The references of one pass, within the neighbourhood of every cell: (selections, layers, cells)."""
        layers, cells, dim = queries[0].shape
        neighbours = torch.from_numpy(neighbour_cells(grid, rho).copy()).to(self._device)
        inside = neighbours != OUTSIDE
        targets = neighbours.clamp_min(0)
        blocks = _Blocks(memory, chunks, self._device)
        products = torch.empty((blocks.step, neighbours.shape[1], blocks.k), device=self._device)
        similarities = torch.empty(
            (len(selections), cells, neighbours.shape[1]), device=self._device
        )  # stored, query cells
        best = torch.full((len(selections), layers, cells), _NO_MATCH, device=self._device)
        for layer in range(layers):
            for start in range(0, cells, blocks.step):
                stop = min(start + blocks.step, cells)
                stored = blocks.decoded(layer, start, stop)  # (count, k, dim)
                for image, chosen in groupby(enumerate(selections), lambda pair: pair[1].image):
                    asking = queries[image][layer].index_select(0, targets[start:stop].flatten())
                    asking = asking.view(stop - start, -1, dim)  # (count, (2ρ+1)², dim)
                    scores = torch.bmm(asking, stored.transpose(1, 2), out=products[: stop - start])
                    for index, selection in chosen:
                        selection.best_of(scores, similarities[index, start:stop])
            similarities.masked_fill_(~inside, _NO_MATCH)
            best[:, layer].scatter_reduce_(
                1, targets.flatten().expand(len(selections), -1), similarities.flatten(1), "amax"
            )
        return best.cpu().numpy()

    def _search_all_cells(
        self,
        memory: MemoryBank,
        grid: tuple[int, int],
        queries: Sequence[torch.Tensor],
        selections: Sequence[_Selection],
        chunks: list[CodeChunk],
        rho: int,
    ) -> NDArray[np.float32]:
        """The references of one pass, where every cell is a candidate for every other: (selections, layers, cells)."""
        layers, cells, _ = queries[0].shape
        blocks = _Blocks(memory, chunks, self._device)
        cells_at_once = max(1, _BLOCK_BYTES[self._device.type] // (4 * cells * blocks.k))  # keep products in the cache
        similarities = torch.empty((cells,), device=self._device)
        best = torch.full((len(selections), layers, cells), _NO_MATCH, device=self._device)
        for layer in range(layers):
            for start in range(0, cells, blocks.step):
                stored = blocks.decoded(layer, start, min(start + blocks.step, cells))
                for image, chosen in groupby(enumerate(selections), lambda pair: pair[1].image):
                    asking = list(chosen)
                    for part in torch.split(stored, cells_at_once):
                        scores = queries[image][layer] @ part.flatten(0, 1).T  # (cells, count · k)
                        for index, selection in asking:
                            selection.best_of_all(scores, blocks.k, similarities)
                            torch.maximum(best[index, layer], similarities, out=best[index, layer])
        return best.cpu().numpy()

    def _columns(self, there: NDArray[np.int64], selected: NDArray[np.int64]) -> torch.Tensor | None:
        """Where selected rows stand among those of a pass; None where all of these are selected."""
        members = np.isin(there, selected)
        return None if members.all() else torch.from_numpy(np.flatnonzero(members)).to(self._device)


class _Blocks:
    """Decodes the references of one pass, some cells at a time, into buffers that are reused: fresh ones would cost a
    page fault for every page.

    k: how many references. step: maximum cells at a time.
    """

    def __init__(self, memory: MemoryBank, chunks: Sequence[CodeChunk], device: torch.device) -> None:
        cells, size = chunks[0].block.shape[2:]
        self._codec = memory.codec
        self._picked = [(chunk.block, torch.from_numpy(chunk.block_rows).to(device)) for chunk in chunks]
        self.k = sum(len(chunk.block_rows) for chunk in chunks)
        self.step = max(1, min(cells, _BLOCK_BYTES[device.type] // (4 * self.k * self._codec.dim)))
        self._codes = torch.empty(self.k * self.step * size, dtype=torch.uint8, device=device)
        self._decoded = torch.empty((self.step, self.k, self._codec.dim), device=device)

    def decoded(self, layer: int, start: int, stop: int) -> torch.Tensor:
        """Cells start … stop − 1 of a layer, float32 (count, k, dim); valid until the next call."""
        size = self._codec.code_size
        codes = self._codes[: self.k * (stop - start) * size].view(self.k, stop - start, size)
        filled = 0
        for block, index in self._picked:
            torch.index_select(block[:, layer, start:stop], 0, index, out=codes[filled : filled + len(index)])
            filled += len(index)
        return self._codec.decode(codes.transpose(0, 1), out=self._decoded[: stop - start])


def _group_images(images: Sequence[_Image]) -> list[list[int]]:
    """Group the images that share most references: one joins while the union is at most a third larger than each own.

    With less in common, products with others' references would cost more than decoding saves.
    """
    groups: list[list[int]] = []
    unions: list[NDArray[np.int64]] = []
    for index, image in enumerate(images):
        for number, group in enumerate(groups):
            joined = np.union1d(unions[number], image.rows)
            if 3 * len(joined) <= 4 * min(len(images[other].rows) for other in (*group, index)):
                unions[number] = joined
                group.append(index)
                break
        else:
            groups.append([index])
            unions.append(image.rows)
    return groups
