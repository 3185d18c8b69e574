"""Where a search finds the codes of the references it retrieved: in the host's blocks or, some of them, on a device."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.memory.bank import MemoryBank
from indexer.memory.code_arena import CodeArena

_FIRST_BLOCK = 16  # references
_LARGEST_BLOCK = 256

_NO_SLOT = -1


class DeviceMemoryFull(RuntimeError):
    """The device has no room for a single reference's codes; nothing is lost, and the host still has them all."""


@dataclass(frozen=True)
class CodeChunk:
    """Retrieved references that lie in one tensor.

    block: uint8 (capacity, layers, cells, code_size), each code's bytes side by side. places: int64 (n,), their rows of
    the block. wanted: int64 (n,), which of the requested rows each of them is.
    """

    block: torch.Tensor
    block_rows: NDArray[np.int64]
    query_positions: NDArray[np.int64]


@dataclass(frozen=True)
class CacheStats:
    """Since the start: rows that were on the device when they were asked for, rows that were not, rows put out for
    others, bytes copied to the device. bytes_held: of the device, now; budget: the most it may become."""

    hits: int
    misses: int
    evictions: int
    bytes_copied: int
    resident_bytes: int
    budget: int


class CodeSource(Protocol):
    """Gives a search its codes. A maximum over passes is exact, so whoever holds too little gives several."""

    @property
    def stats(self) -> CacheStats:
        """What was found at hand and what was not."""
        ...

    def passes(self, memory: MemoryBank, rows: NDArray[np.int64]) -> Iterator[list[CodeChunk]]:
        """Distinct rows (k,) of a memory, each in exactly one pass; a pass is valid until the next is asked for."""
        ...


class HostCodes:
    """The memory's own blocks, in one pass: nothing moves."""

    stats = CacheStats(0, 0, 0, 0, 0, 0)

    def passes(self, memory: MemoryBank, rows: NDArray[np.int64]) -> Iterator[list[CodeChunk]]:
        """See `CodeSource.passes`."""
        chunks = []
        base = 0
        for block in memory.blocks:
            inside = np.flatnonzero((rows >= base) & (rows < base + len(block)))
            if len(inside):
                chunks.append(CodeChunk(block, rows[inside] - base, inside))
            base += len(block)
        yield chunks


class DeviceCodeCache:
    """Codes of the references used last, on a device, in at most `budget` bytes; the host's blocks stay the truth.

    A slot holds one reference. Slots come in blocks that are added while there is room, and never move. A row that has
    no slot is copied into the one unused for longest, so a small budget costs time and never an answer. When the device
    refuses a block, what it gave so far is the budget from then on. Rows of a memory never change once written, so a
    copy never goes stale. What is known of slots and rows lies in arrays: a request asks for hundreds of rows, and a
    step of the interpreter for each would take longer than the search itself.

    Not thread-safe: one thread owns a device's searches.
    """

    def __init__(self, device: torch.device, budget: int) -> None:
        self._device = device
        self._budget = budget
        self._shape: tuple[int, ...] = ()
        self._limit = 0  # most slots
        self._blocks: list[torch.Tensor] = []
        self._starts = np.zeros(1, np.int64)  # each block's first slot, and one beyond the last
        self._used = np.zeros(0, np.int64)  # (slots,), the pass that last used it; 0 for a slot that holds nothing
        self._pass = 0
        self._slots: dict[weakref.ref[CodeArena], NDArray[np.int64]] = {}  # (rows,), each row's slot, or `_NO_SLOT`
        self._tenants: list[tuple[weakref.ref[CodeArena], int] | None] = []  # (slots,), the row that is in it
        self._staging: list[tuple[torch.Tensor, torch.cuda.Event]] = []
        self._hits = self._misses = self._evictions = self._moved = 0

    @property
    def stats(self) -> CacheStats:
        """The counters now."""
        held = sum(block.untyped_storage().nbytes() for block in self._blocks)
        return CacheStats(self._hits, self._misses, self._evictions, self._moved, held, self._budget)

    def passes(self, memory: MemoryBank, rows: NDArray[np.int64]) -> Iterator[list[CodeChunk]]:
        """See `CodeSource.passes`. DeviceMemoryFull when not one reference fits."""
        self._fit(memory.arena.shape)
        slots = self._slots_of(memory)
        here = slots[rows] != _NO_SLOT
        capacity = self._reserve(int(np.count_nonzero(~here)))
        # What is here goes first, lest the first pass put it out.
        order = np.concatenate([np.flatnonzero(here), np.flatnonzero(~here)])
        for start in range(0, len(order), capacity):
            yield self._held(memory, slots, rows, order[start : start + capacity])

    def _held(
        self, memory: MemoryBank, slots: NDArray[np.int64], rows: NDArray[np.int64], query_positions: NDArray[np.int64]
    ) -> list[CodeChunk]:
        """The wanted rows, no more than there are slots, brought to the device."""
        self._pass += 1
        asked = rows[query_positions]
        found = slots[asked]
        missing = asked[found == _NO_SLOT]
        self._used[found[found != _NO_SLOT]] = self._pass
        self._hits += len(asked) - len(missing)
        self._misses += len(missing)
        if len(missing):
            self._bring(memory, slots, missing)
        found = slots[asked]
        order = np.argsort(found)  # of each block in order, for whoever gathers
        found = found[order]
        edges = np.searchsorted(found, self._starts)
        return [
            CodeChunk(block, found[first:stop] - start, query_positions[order[first:stop]])
            for block, start, first, stop in zip(self._blocks, self._starts, edges, edges[1:], strict=False)
            if first < stop
        ]

    def _bring(self, memory: MemoryBank, slots: NDArray[np.int64], missing: NDArray[np.int64]) -> None:
        """Copy these rows into the slots unused for longest."""
        arena = weakref.ref(memory.arena)
        oldest = np.argsort(self._used, kind="stable")[: len(missing)]
        for row, slot in zip(missing.tolist(), oldest.tolist(), strict=True):
            if (tenant := self._tenants[slot]) is not None:
                self._slots[tenant[0]][tenant[1]] = _NO_SLOT
                self._evictions += 1
            block = int(np.searchsorted(self._starts, slot, side="right")) - 1
            self._copy(memory.codes_of(row), self._blocks[block][slot - int(self._starts[block])])
            self._tenants[slot] = (arena, row)
            slots[row] = slot
            self._used[slot] = self._pass

    def _slots_of(self, memory: MemoryBank) -> NDArray[np.int64]:
        """The slots of a memory's rows; those of memories that are no more become free."""
        for gone in [arena for arena in self._slots if arena() is None]:
            freed = self._slots.pop(gone)
            for slot in freed[freed != _NO_SLOT].tolist():
                self._tenants[slot] = None
                self._used[slot] = 0
        arena = weakref.ref(memory.arena)
        slots = self._slots.get(arena)
        if slots is None or len(slots) < memory.rows:
            known = np.zeros(0, np.int64) if slots is None else slots
            slots = np.full(max(memory.rows, 2 * len(known)), _NO_SLOT, np.int64)
            slots[: len(known)] = known
            self._slots[arena] = slots
        return slots

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Make slots of this shape; those of another are given back."""
        if shape == self._shape:
            return
        self._shape, self._blocks, self._staging = shape, [], []
        self._starts, self._used = np.zeros(1, np.int64), np.zeros(0, np.int64)
        self._slots, self._tenants = {}, []
        run = _padded(shape)
        self._limit = self._budget // run
        if self._limit == 0:
            self._shape = ()
            raise DeviceMemoryFull(f"{self._budget} bytes of the device hold no reference, which takes {run} bytes")

    def _reserve(self, missing: int) -> int:
        """Have a free slot for each of `missing` references, or as many as may be; returns all slots there are."""
        slots = len(self._used)
        free = int(np.count_nonzero(self._used == 0))
        while slots < self._limit and free < missing:
            size = min(max(slots, _FIRST_BLOCK), _LARGEST_BLOCK, self._limit - slots)
            try:
                block = self._unfilled(size)
            except torch.OutOfMemoryError as error:
                if slots == 0:
                    raise DeviceMemoryFull("the device has no memory left for a first block of references") from error
                self._limit = slots
                break
            self._blocks.append(block)
            slots += size
            free += size
            self._starts = np.append(self._starts, slots)
            self._used = np.append(self._used, np.zeros(size, np.int64))
            self._tenants.extend([None] * size)
        return slots

    def _unfilled(self, slots: int) -> torch.Tensor:
        """uint8 (slots, layers, cells, code_size); every code begins at a multiple of 16 bytes."""
        *outer, size = self._shape
        return torch.empty((slots, *outer, _aligned(size)), dtype=torch.uint8, device=self._device)[..., :size]

    def _copy(self, source: torch.Tensor, slot: torch.Tensor) -> None:
        """One reference's codes from the host to a slot; on CUDA through pinned memory, the next beside this one."""
        self._moved += source.numel()
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
    """The codes as a search on this device finds them. share: of a CUDA device's memory, the most they may take."""
    if device.type != "cuda":
        return HostCodes()
    _, total = torch.cuda.mem_get_info(device)
    return DeviceCodeCache(device, int(share * total))
