"""Caches codes on a device, least recently used evicted first; on a CPU searches read the host's blocks."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory.bank import CodeTable, MemoryBank
from indexer.memory.code_arena import CodeArena

_FIRST_BLOCK = 16  # references
_MAX_BLOCK = 256

_NO_SLOT = -1


class DeviceMemoryFull(RuntimeError):
    """The device's memory cannot hold a single reference's codes; the host still has all of them."""


@dataclass(frozen=True)
class CodeChunk:
    """Retrieved references that lie in one tensor.

    block: uint8 (capacity, layers, cells, code_size), each code's bytes side by side. block_rows: int64 (n,), their
    rows of the block. query_positions: int64 (n,), which of the requested rows each of them is.
    """

    block: torch.Tensor
    block_rows: NDArray[np.int64]
    query_positions: NDArray[np.int64]


@dataclass(frozen=True)
class CacheStats:
    """Since the start: hits, misses and evictions in rows, and bytes copied to the device. resident_bytes: reserved on
    the device now; budget: their maximum.
    """

    hits: int
    misses: int
    evictions: int
    bytes_copied: int
    resident_bytes: int
    budget: int


class CodeSource(Protocol):
    """Provides the codes of retrieved rows, in one or several passes: a maximum over passes is exact."""

    @property
    def stats(self) -> CacheStats:
        """Cache counters."""
        ...

    def passes(self, memory: MemoryBank, rows: NDArray[np.int64]) -> Iterator[list[CodeChunk]]:
        """Distinct rows (k,) of a memory, k ≥ 1, of one grid, each in exactly one pass.

        A pass is valid until the next is requested.
        """
        ...


class HostCodes:
    """The memory's own blocks, in one pass: nothing moves."""

    stats = CacheStats(0, 0, 0, 0, 0, 0)

    def passes(self, memory: MemoryBank, rows: NDArray[np.int64]) -> Iterator[list[CodeChunk]]:
        """See `CodeSource.passes`."""
        table, rows = memory.table_of(rows), memory.table_rows[rows]
        block_of_row = np.searchsorted(table.starts, rows, side="right") - 1
        chunks = []
        for number in np.unique(block_of_row):
            inside = np.flatnonzero(block_of_row == number)
            chunks.append(CodeChunk(table.blocks[number], rows[inside] - table.starts[number], inside))
        yield chunks


class DeviceCodeCache:
    """An LRU cache of codes on a device, in at most `budget` bytes; the host's blocks stay the source.

    A slot holds one reference; references of one size, as those of a category are, share a pool of slots. Slots come in
    blocks that are added within the budget, and never move. A row that has no slot is copied into the least recently
    used one of its pool, so a small budget costs time but never a result. A pool below its equal share of the budget
    has slots of other pools released, of the least recently used pool first. If the device cannot allocate a block, the
    bytes reserved so far become the budget. Rows of a memory bank never change once written, so a copy never goes
    stale. Slots and rows are tracked in arrays: a request has hundreds of rows, and a step of the interpreter for each
    would take longer than the search itself.

    Not thread-safe: one thread owns a device's searches.
    """

    def __init__(self, device: torch.device, budget: int) -> None:
        self._device = device
        self._budget = budget
        self._pools: dict[tuple[int, ...], _Pool] = {}  # by the shape of a reference's codes, last used last
        self._hits = self._misses = self._evictions = self._moved = 0

    @property
    def stats(self) -> CacheStats:
        """The counters now."""
        pools = self._pools.values()
        evictions = self._evictions + sum(pool.evictions for pool in pools)
        moved = self._moved + sum(pool.moved for pool in pools)
        return CacheStats(self._hits, self._misses, evictions, moved, self._resident_bytes(), self._budget)

    def passes(self, memory: MemoryBank, rows: NDArray[np.int64]) -> Iterator[list[CodeChunk]]:
        """See `CodeSource.passes`. DeviceMemoryFull when not one reference fits."""
        table = memory.table_of(rows)
        pool = self._pool(table.arena.shape)
        rows = memory.table_rows[rows]
        slots = pool.slots_of(table)
        here = slots[rows] != _NO_SLOT
        capacity = self._reserve(pool, int(np.count_nonzero(~here)))
        # Cached rows come first, or the first pass might evict them.
        order = np.concatenate([np.flatnonzero(here), np.flatnonzero(~here)])
        for start in range(0, len(order), capacity):
            positions = order[start : start + capacity]
            missing = int(np.count_nonzero(slots[rows[positions]] == _NO_SLOT))
            self._hits += len(positions) - missing
            self._misses += missing
            yield pool.acquire(table, slots, rows, positions)

    def _pool(self, shape: tuple[int, ...]) -> _Pool:
        """The slots of this shape, which become the most recently used ones. DeviceMemoryFull."""
        pool = self._pools.pop(shape, None) or _Pool(self._device, shape)
        if pool.slot_bytes > self._budget:
            raise DeviceMemoryFull(
                f"{self._budget} bytes of the device hold no reference, which takes {pool.slot_bytes} bytes"
            )
        self._pools[shape] = pool
        return pool

    def _reserve(self, pool: _Pool, missing: int) -> int:
        """Have a free slot for each of `missing` references, or as many as fit; returns the number of all slots."""
        needed = len(pool) - pool.free + missing
        share = max(1, self._budget // len(self._pools) // pool.slot_bytes)
        for shape in list(self._pools)[:-1]:
            if self._limit(pool) >= min(needed, share):
                break
            released = self._pools.pop(shape)
            self._evictions += released.evictions + released.occupied
            self._moved += released.moved
        try:
            return pool.reserve(missing, self._limit(pool))
        except torch.OutOfMemoryError as error:
            if not len(pool):
                raise DeviceMemoryFull("the device has no memory left for a first block of references") from error
            self._budget = self._resident_bytes()
            return len(pool)

    def _limit(self, pool: _Pool) -> int:
        """Slots that a pool may have beside the others."""
        return (self._budget - self._resident_bytes() + pool.resident_bytes) // pool.slot_bytes

    def _resident_bytes(self) -> int:
        return sum(pool.resident_bytes for pool in self._pools.values())


class _Pool:
    """The slots for references of one size."""

    def __init__(self, device: torch.device, shape: tuple[int, ...]) -> None:
        self._device = device
        self._shape = shape
        self.slot_bytes = _padded(shape)
        self.evictions = self.moved = 0
        self._blocks: list[torch.Tensor] = []
        self._starts = np.zeros(1, np.int64)  # each block's first slot, and one beyond the last
        self._used = np.zeros(0, np.int64)  # (slots,), the pass that last used it; 0 for a slot that holds nothing
        self._pass = 0
        self._slots: dict[weakref.ref[CodeArena], NDArray[np.int64]] = {}  # (rows,), each row's slot, or `_NO_SLOT`
        self._occupants: list[tuple[weakref.ref[CodeArena], int] | None] = []  # (slots,), the row it holds
        self._staging: list[tuple[torch.Tensor, torch.cuda.Event]] = []

    def __len__(self) -> int:
        """Slots."""
        return len(self._used)

    @property
    def free(self) -> int:
        """Slots that hold nothing."""
        return int(np.count_nonzero(self._used == 0))

    @property
    def occupied(self) -> int:
        """Slots that hold a reference."""
        return len(self) - self.free

    @property
    def resident_bytes(self) -> int:
        """Bytes reserved on the device."""
        return sum(block.untyped_storage().nbytes() for block in self._blocks)

    def slots_of(self, table: CodeTable) -> NDArray[np.int64]:
        """The slots of a table's rows; those of banks that were garbage-collected become free."""
        for dead in [arena for arena in self._slots if arena() is None]:
            freed = self._slots.pop(dead)
            for slot in freed[freed != _NO_SLOT].tolist():
                self._occupants[slot] = None
                self._used[slot] = 0
        arena = weakref.ref(table.arena)
        slots = self._slots.get(arena)
        if slots is None or len(slots) < table.rows:
            previous = np.zeros(0, np.int64) if slots is None else slots
            slots = np.full(max(table.rows, 2 * len(previous)), _NO_SLOT, np.int64)
            slots[: len(previous)] = previous
            self._slots[arena] = slots
        return slots

    def reserve(self, missing: int, limit: int) -> int:
        """Grow to at most `limit` slots so that `missing` are free; returns all slots. OutOfMemoryError of torch."""
        slots, free = len(self), self.free
        while slots < limit and free < missing:
            size = min(max(slots, _FIRST_BLOCK), _MAX_BLOCK, limit - slots)
            self._blocks.append(self._unfilled(size))
            slots += size
            free += size
            self._starts = np.append(self._starts, slots)
            self._used = np.append(self._used, np.zeros(size, np.int64))
            self._occupants.extend([None] * size)
        return slots

    def acquire(
        self, table: CodeTable, slots: NDArray[np.int64], rows: NDArray[np.int64], query_positions: NDArray[np.int64]
    ) -> list[CodeChunk]:
        """Chunks of these rows of the arena, at most as many as there are slots, loaded into the cache."""
        self._pass += 1
        requested = rows[query_positions]
        slots_found = slots[requested]
        missing = requested[slots_found == _NO_SLOT]
        self._used[slots_found[slots_found != _NO_SLOT]] = self._pass
        if len(missing):
            self._load(table, slots, missing)
        slots_found = slots[requested]
        order = np.argsort(slots_found)  # ascending within each block, for gathering
        slots_found = slots_found[order]
        edges = np.searchsorted(slots_found, self._starts)
        return [
            CodeChunk(block, slots_found[first:stop] - start, query_positions[order[first:stop]])
            for block, start, first, stop in zip(self._blocks, self._starts, edges, edges[1:], strict=False)
            if first < stop
        ]

    def _load(self, table: CodeTable, slots: NDArray[np.int64], missing: NDArray[np.int64]) -> None:
        """Copy these rows into the least recently used slots."""
        arena = weakref.ref(table.arena)
        least_recent = np.argsort(self._used, kind="stable")[: len(missing)]
        for row, slot in zip(missing.tolist(), least_recent.tolist(), strict=True):
            if (occupant := self._occupants[slot]) is not None:
                self._slots[occupant[0]][occupant[1]] = _NO_SLOT
                self.evictions += 1
            block = int(np.searchsorted(self._starts, slot, side="right")) - 1
            self._copy(table.codes_of(row), self._blocks[block][slot - int(self._starts[block])])
            self._occupants[slot] = (arena, row)
            slots[row] = slot
            self._used[slot] = self._pass

    def _unfilled(self, slots: int) -> torch.Tensor:
        """uint8 (slots, layers, cells, code_size); every code begins at a multiple of 16 bytes."""
        *outer, size = self._shape
        return torch.empty((slots, *outer, _aligned(size)), dtype=torch.uint8, device=self._device)[..., :size]

    def _copy(self, source: torch.Tensor, slot: torch.Tensor) -> None:
        """One reference's codes from the host to a slot; on CUDA through pinned memory, the next beside this one."""
        self.moved += source.numel()
        if self._device.type != "cuda":
            slot.copy_(source)
            return
        if len(self._staging) < 2:
            buffer = torch.zeros((*source.shape[:-1], _aligned(source.shape[-1])), dtype=torch.uint8, pin_memory=True)
            self._staging.append((buffer, torch.cuda.Event()))  # type: ignore[no-untyped-call]
        buffer, sent = self._staging.pop(0)
        sent.synchronize()
        buffer[..., : source.shape[-1]].copy_(source)
        slot.as_strided(buffer.shape, buffer.stride()).copy_(buffer, non_blocking=True)
        sent.record()
        self._staging.append((buffer, sent))


def _aligned(size: int) -> int:
    """Bytes from one code to the next: a card reads 16 at a time where codes begin at a multiple of that."""
    return -(-size // 16) * 16


def _padded(shape: Sequence[int]) -> int:
    """Bytes of a slot for one reference's codes (layers, cells, code_size)."""
    return math.prod(shape[:-1]) * _aligned(shape[-1])


def code_source_for(device: torch.device, share: float = 0.5) -> CodeSource:
    """The codes as a search on this device finds them. share: maximum fraction of a CUDA device's memory."""
    if device.type != "cuda":
        return HostCodes()
    _, total = torch.cuda.mem_get_info(device)
    return DeviceCodeCache(device, int(share * total))
