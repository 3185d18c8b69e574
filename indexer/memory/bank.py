"""The memory bank: immutable snapshots of all references, searched while the next one is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.encoders.base import Features, FeatureSpace
from indexer.memory.code_arena import CodeArena
from indexer.memory.codec import Codec, EncodedReferences
from indexer.memory.global_index import GlobalIndex, RetrievedReferences


@dataclass(frozen=True)
class MemoryBank:
    """One snapshot: row r of every table is one reference, live or removed.

    Nothing reachable from a snapshot changes after it was made. The next snapshot shares the codes of this one, so it
    costs the new reference's own bytes (and copies of the row tables, 13 bytes a row). A removed reference keeps its
    row, unsearched, until the next compaction.

    ids: int64 (rows,) reference ids. category_numbers: int32 (rows,) indices into `category_names`.
    live: bool (rows,). blocks: the arena's blocks, each uint8 (capacity, layers, cells, code_size).
    """

    space: FeatureSpace
    codec: Codec
    version: int
    ids: NDArray[np.int64]
    category_numbers: NDArray[np.int32]
    category_names: tuple[str, ...]
    live: NDArray[np.bool_]
    global_index: GlobalIndex
    blocks: tuple[torch.Tensor, ...]
    arena: CodeArena

    @classmethod
    def empty(
        cls, space: FeatureSpace, codec_name: str = "fp16", version: int = 0, folder: Path | None = None
    ) -> MemoryBank:
        """A memory of no references in this feature space. folder: where codes lie in files, else in memory."""
        codec = Codec.from_name(codec_name, space.dim)
        rows, columns = space.grid
        arena = CodeArena((len(space.layers), rows * columns, codec.code_size), folder)
        return cls(
            space,
            codec,
            version,
            ids=np.empty(0, np.int64),
            category_numbers=np.empty(0, np.int32),
            category_names=(),
            live=np.empty(0, np.bool_),
            global_index=GlobalIndex(space.global_dim),
            blocks=(),
            arena=arena,
        )

    def __len__(self) -> int:
        """Live references."""
        return int(np.count_nonzero(self.live))

    @property
    def rows(self) -> int:
        """Rows, live and removed."""
        return len(self.ids)

    @property
    def code_bytes(self) -> int:
        """Bytes of the stored codes, removed rows included."""
        return self.rows * int(np.prod(self.arena.shape))

    def with_references(
        self, ids: Sequence[int], categories: Sequence[str], encoded: EncodedReferences, version: int
    ) -> MemoryBank:
        """The snapshot with n references appended.

        ValueError unless they are in this memory's codec, and this is the newest snapshot of its arena.
        """
        if encoded.codec != self.codec.name:
            raise ValueError(f"{encoded.codec} codes do not fit a memory of {self.codec.name} codes")
        if not len(ids) == len(categories) == len(encoded):
            raise ValueError("one id, one category and one encoding per reference")
        if self.arena.rows != self.rows:
            raise ValueError("only the newest snapshot of a memory can grow")
        names = self.category_names + tuple(dict.fromkeys(c for c in categories if c not in self.category_names))
        self.arena.append(encoded.codes)
        return MemoryBank(
            self.space,
            self.codec,
            version,
            ids=np.concatenate([self.ids, np.asarray(ids, np.int64)]),
            category_numbers=np.concatenate(
                [self.category_numbers, np.asarray([names.index(c) for c in categories], np.int32)]
            ),
            category_names=names,
            live=np.concatenate([self.live, np.ones(len(ids), np.bool_)]),
            global_index=self.global_index.with_descriptors(encoded.global_descriptors),
            blocks=self.arena.blocks,
            arena=self.arena,
        )

    def without_references(self, ids: Sequence[int], version: int) -> MemoryBank:
        """The snapshot without these references; unknown ids are ignored."""
        live = self.live & ~np.isin(self.ids, np.asarray(ids, np.int64))
        return MemoryBank(
            self.space,
            self.codec,
            version,
            self.ids,
            self.category_numbers,
            self.category_names,
            live,
            self.global_index,
            self.blocks,
            self.arena,
        )

    def pooled(self, category: str) -> MemoryBank:
        """The same snapshot with all references in one category."""
        return replace(self, category_numbers=np.zeros_like(self.category_numbers), category_names=(category,))

    def with_version(self, version: int) -> MemoryBank:
        """The same references under a newer version number."""
        return self.without_references((), version)

    def rows_of(self, category: str | None = None) -> NDArray[np.int64]:
        """Rows of the live references, of one category or of all; empty for an unknown category."""
        return np.flatnonzero(self._allowed(category))

    def row_of(self, reference_id: int) -> int:
        """The row of a live reference; KeyError when there is none."""
        found = np.flatnonzero((self.ids == reference_id) & self.live)
        if len(found) == 0:
            raise KeyError(reference_id)
        return int(found[0])

    def category_of(self, row: int) -> str:
        """The category of one row."""
        return self.category_names[int(self.category_numbers[row])]

    def nearest_references(
        self, descriptor: NDArray[np.float32], k: int, category: str | None = None, exclude_rows: Sequence[int] = ()
    ) -> RetrievedReferences:
        """Global retrieval: the at most k references with the largest inner product with descriptor (global_dim,).

        category: search only its references. exclude_rows: rows to leave out, for leave-one-out scores.
        """
        allowed = self._allowed(category)
        allowed[list(exclude_rows)] = False
        return self.global_index.search(np.ascontiguousarray(descriptor, np.float32), k, allowed)

    def nearest_category(self, descriptor: NDArray[np.float32]) -> str | None:
        """The category of the reference with the largest inner product with descriptor (global_dim,); None if empty."""
        found = self.nearest_references(descriptor, 1)
        return self.category_of(int(found.rows[0])) if len(found.rows) else None

    def codes_of(self, row: int) -> torch.Tensor:
        """Codes of one row, uint8 (layers, cells, code_size), a view."""
        base = 0
        for block in self.blocks:
            if row < base + len(block):
                return block[row - base]
            base += len(block)
        raise IndexError(row)

    def features_of(self, row: int) -> Features:
        """The stored features of one reference as a batch of one, to score it against the others."""
        patches = self.codec.decode(self.codes_of(row))[None]  # (1, layers, cells, dim)
        return Features(torch.from_numpy(self.global_index.descriptor(row))[None], patches)

    def _allowed(self, category: str | None) -> NDArray[np.bool_]:
        if category is None:
            return self.live.copy()
        if category not in self.category_names:
            return np.zeros_like(self.live)
        allowed: NDArray[np.bool_] = self.live & (self.category_numbers == self.category_names.index(category))
        return allowed
