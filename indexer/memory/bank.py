"""The memory bank: immutable snapshots of all references, searched while the next one is built."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.domain.coreset import CoresetContent
from indexer.domain.geometry import Frame, InputGeometry
from indexer.domain.snapshot import Shard
from indexer.encoders.base import Features, FeatureSpace
from indexer.memory.code_arena import CodeArena
from indexer.memory.codec import Codec, EncodedReferences
from indexer.memory.global_index import GlobalIndex, RetrievedReferences

_MAX_PATCHES = 1 << 24  # of a layer and cell in a coreset; tells the ids of its rows from another's


@dataclass(frozen=True)
class CodeTable:
    """The codes of all references of one grid.

    grid: (rows, columns) of cells. arena: where the codes are written; blocks: its blocks, each uint8 (capacity,
    layers, cells, code_size); rows: how many of its rows this snapshot knows; starts: int64 (blocks + 1,), the first
    row of each block, and one beyond the last.
    """

    grid: tuple[int, int]
    arena: CodeArena
    blocks: tuple[torch.Tensor, ...] = ()
    rows: int = 0
    starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    def codes_of(self, row: int) -> torch.Tensor:
        """Codes of one row of the arena, uint8 (layers, cells, code_size), a view."""
        block = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.blocks[block][row - int(self.starts[block])]

    def appended(self, codes: NDArray[np.uint8], *, in_place: bool) -> tuple[CodeTable, NDArray[np.int64]]:
        """The table with codes (n, layers, cells, code_size) appended, and their rows; in_place: see `CodeArena`.

        ValueError unless it is the newest.
        """
        if self.arena.rows != self.rows:
            raise ValueError("only the newest snapshot of a memory can grow")
        first = self.arena.append(codes, in_place=in_place)
        fresh = self.arena.blocks[len(self.blocks) :]
        ends = self.starts[-1] + np.cumsum([len(block) for block in fresh], dtype=np.int64)
        starts = np.concatenate([self.starts, ends])
        table = replace(self, blocks=self.arena.blocks, rows=self.arena.rows, starts=starts)
        return table, np.arange(first, first + len(codes))


@dataclass(frozen=True)
class CoresetRows:
    """A coreset in a snapshot. id: of its record. rows: int64 (patches,), its rows of the bank, none of one that is not
    searched yet; the rest as in `CoresetContent`.
    """

    id: int
    rows: NDArray[np.int64]
    references: NDArray[np.int64]
    owners: NDArray[np.int32]
    grid: tuple[int, int]

    def owner_of(self, row: int, layer: int, cell: int) -> int:
        """The id of the reference whose patch that is."""
        return int(self.references[self.owners[row - self.rows[0], layer, cell]])


@dataclass(frozen=True)
class MemoryBank:
    """One snapshot: row r of every table is one reference, live or removed, or so many patches of a coreset.

    Nothing reachable from a snapshot changes after it was made. The next snapshot shares the codes of this one, so it
    costs the new reference's own bytes (and copies of the row tables, 25 bytes a row). A removed reference keeps its
    row, unsearched, until the next compaction. A row of a coreset holds patches of several references, is never
    retrieved, and has a negative id, the same in every process.

    ids: int64 (rows,) reference ids. category_numbers: int32 (rows,) indices into `category_names`.
    live: bool (rows,). tables: one of codes for each grid; table_numbers: int32 (rows,) indices into them, and
    table_rows: int64 (rows,) rows of their arenas. geometries: by category, of those that have one of their own; the
    others have the space's. coresets: by category, of those that have one all of whose references are live. mapped:
    whether codes are searched in mapped segment files rather than in memory.
    """

    space: FeatureSpace
    codec: Codec
    version: int
    ids: NDArray[np.int64]
    category_numbers: NDArray[np.int32]
    category_names: tuple[str, ...]
    live: NDArray[np.bool_]
    global_index: GlobalIndex
    tables: tuple[CodeTable, ...]
    table_numbers: NDArray[np.int32]
    table_rows: NDArray[np.int64]
    geometries: Mapping[str, InputGeometry] = field(default_factory=dict)
    coresets: Mapping[str, CoresetRows] = field(default_factory=dict)
    mapped: bool = False

    @classmethod
    def empty(
        cls, space: FeatureSpace, codec_name: str = "fp16", version: int = 0, *, mapped: bool = False
    ) -> MemoryBank:
        """A memory of no references in this feature space. mapped: see `CodeArena`."""
        return cls(
            space,
            Codec.from_name(codec_name, space.dim),
            version,
            ids=np.empty(0, np.int64),
            category_numbers=np.empty(0, np.int32),
            category_names=(),
            live=np.empty(0, np.bool_),
            global_index=GlobalIndex(space.global_dim),
            tables=(),
            table_numbers=np.empty(0, np.int32),
            table_rows=np.empty(0, np.int64),
            mapped=mapped,
        )

    def __len__(self) -> int:
        """Live references."""
        return int(np.count_nonzero(self.live))

    @property
    def rows(self) -> int:
        """Rows, live and removed, and of coresets."""
        return len(self.ids)

    @property
    def removed(self) -> int:
        """Rows that nothing reads any more."""
        return self.rows - len(self) - sum(len(coreset.rows) for coreset in self.coresets.values())

    @property
    def code_bytes(self) -> int:
        """Bytes of the codes that are searched, removed rows included, but not those that a coreset stands for."""
        searched = np.ones(self.rows, np.bool_)
        for coreset in self.coresets.values():
            searched &= ~np.isin(self.ids, coreset.references)
        counts = np.bincount(self.table_numbers[searched], minlength=len(self.tables))
        return sum(
            int(count) * int(np.prod(table.arena.shape)) for count, table in zip(counts, self.tables, strict=True)
        )

    @property
    def live_categories(self) -> tuple[str, ...]:
        """The categories that have live references."""
        numbers = np.unique(self.category_numbers[self.live])
        return tuple(self.category_names[int(category_number)] for category_number in numbers)

    def geometry_of(self, category: str | None) -> InputGeometry:
        """How images of a category are inspected; of all, and of an unknown one, as the space says."""
        return self.geometries.get(category or "", self.space.global_geometry)

    def frame(self, category: str | None, image_size: tuple[int, int] | None = None) -> Frame:
        """The cells of an image (width, height) of a category, of one that fits when None. OtherProportions."""
        return self.geometry_of(category).frame(self.space.patch, image_size)

    def with_geometries(self, geometries: Mapping[str, InputGeometry]) -> MemoryBank:
        """The same references, their categories inspected so."""
        return replace(self, geometries=dict(geometries))

    def with_references(
        self,
        ids: Sequence[int],
        categories: Sequence[str],
        encoded: EncodedReferences,
        version: int,
        *,
        in_place: bool | None = None,
    ) -> MemoryBank:
        """The snapshot with n references appended. in_place: see `CodeArena`; None where the memory is mapped.

        ValueError unless they are in this memory's codec, and this is the newest snapshot of its arenas.
        """
        if encoded.codec != self.codec.name:
            raise ValueError(f"{encoded.codec} codes do not fit a memory of {self.codec.name} codes")
        if not len(ids) == len(categories) == len(encoded):
            raise ValueError("one id, one category and one encoding per reference")
        names = self.category_names + tuple(dict.fromkeys(c for c in categories if c not in self.category_names))
        index = next((i for i, table in enumerate(self.tables) if table.grid == encoded.grid), len(self.tables))
        table = self.tables[index] if index < len(self.tables) else self._new_table(encoded.grid)
        table, table_rows = table.appended(encoded.codes, in_place=self.mapped if in_place is None else in_place)
        tables = (*self.tables[:index], table, *self.tables[index + 1 :])
        return replace(
            self,
            version=version,
            ids=np.concatenate([self.ids, np.asarray(ids, np.int64)]),
            category_numbers=np.concatenate(
                [self.category_numbers, np.asarray([names.index(c) for c in categories], np.int32)]
            ),
            category_names=names,
            live=np.concatenate([self.live, np.ones(len(ids), np.bool_)]),
            global_index=self.global_index.with_descriptors(encoded.global_descriptors),
            tables=tables,
            table_numbers=np.concatenate([self.table_numbers, np.full(len(ids), index, np.int32)]),
            table_rows=np.concatenate([self.table_rows, table_rows]),
        )

    def with_coreset(
        self, category: str, coreset_id: int, coreset: CoresetContent, shard: Shard | None = None
    ) -> MemoryBank:
        """The snapshot whose searches of a category are in a coreset, and in the references that this lacks.

        shard: enter its rows only, for a process that is told what to search. ValueError unless the coreset is of this
        memory and, without a shard of several, all its references are live ones of the category and of its grid.
        """
        if (coreset.fingerprint, coreset.codec) != (self.space.fingerprint, self.codec.name):
            raise ValueError(f"the coreset of {category!r} is of another memory")
        whole = shard is None or shard.count == 1
        rows = self.rows_of(category)
        rows = rows[np.isin(self.ids[rows], coreset.references)]
        if whole and (len(rows) != len(coreset.references) or self.table_of(rows).grid != coreset.grid):
            raise ValueError(f"references that the coreset of {category!r} stands for are gone")
        # The same ids in every process: shards are asked for rows by id.
        ids = -(coreset_id * _MAX_PATCHES + np.arange(1, len(coreset.codes) + 1))
        here = np.ones(len(ids), np.bool_) if shard is None else ids % shard.count == shard.number
        nothing = np.zeros((int(here.sum()), self.space.global_dim), np.float32)
        codes = coreset.codes if here.all() else coreset.codes[here]
        encoded = EncodedReferences(nothing, codes, self.codec.name, coreset.grid)
        grown = self.with_references(ids[here].tolist(), [category] * len(codes), encoded, self.version)
        added = np.arange(self.rows, grown.rows)
        live = grown.live.copy()
        live[added] = False
        entered = CoresetRows(coreset_id, added, coreset.references, coreset.owners[here], coreset.grid)
        return replace(grown, live=live, coresets={**self.coresets, category: entered})

    def as_condensed(self, category: str, coreset_id: int, coreset: CoresetContent) -> MemoryBank:
        """The snapshot as it will be with a coreset, whose codes it does not hold: to score references, not images."""
        entered = CoresetRows(coreset_id, np.empty(0, np.int64), coreset.references, coreset.owners, coreset.grid)
        return replace(self, coresets={**self.coresets, category: entered})

    def without_coresets(self, categories: Collection[str]) -> MemoryBank:
        """The snapshot that searches the references of these categories themselves."""
        return replace(self, coresets={name: kept for name, kept in self.coresets.items() if name not in categories})

    def without_references(self, ids: Sequence[int], version: int) -> MemoryBank:
        """The snapshot without these references, nor coresets that stand for one; unknown ids are ignored."""
        gone = np.asarray(ids, np.int64)
        live = self.live & ~np.isin(self.ids, gone)
        coresets = {
            name: coreset for name, coreset in self.coresets.items() if not np.isin(coreset.references, gone).any()
        }
        return replace(self, version=version, live=live, coresets=coresets)

    def pooled(self, category: str) -> MemoryBank:
        """The same snapshot with all references in one category, and no coresets."""
        numbers = np.zeros_like(self.category_numbers)
        return replace(self, category_numbers=numbers, category_names=(category,), coresets={})

    def with_version(self, version: int) -> MemoryBank:
        """The same references under a newer version number."""
        return replace(self, version=version)

    def discard_later(self) -> None:
        """Forget codes that were appended after this snapshot, none of which may have been published."""
        for table in self.tables:
            table.arena.truncate(table.rows)

    def rows_of(self, category: str | None = None) -> NDArray[np.int64]:
        """Rows of the live references, of one category or of all; empty for an unknown category."""
        return np.flatnonzero(self._allowed(category))

    def row_of(self, reference_id: int) -> int:
        """The row of a live reference; KeyError when there is none."""
        rows = np.flatnonzero((self.ids == reference_id) & self.live)
        if len(rows) == 0:
            raise KeyError(reference_id)
        return int(rows[0])

    def category_of(self, row: int) -> str:
        """The category of one row."""
        return self.category_names[int(self.category_numbers[row])]

    def nearest_references(
        self,
        descriptor: NDArray[np.float32],
        k: int,
        category: str | None = None,
        exclude_rows: Sequence[int] = (),
        grid: tuple[int, int] | None = None,
    ) -> RetrievedReferences:
        """Global retrieval: the at most k references with the largest inner product with descriptor (global_dim,).

        category: search only its references. exclude_rows: rows to leave out, for leave-one-out scores. grid: search
        only references of this grid, for a patch search among them.
        """
        allowed = self.allowed_rows(category, exclude_rows, grid)
        return self.global_index.search(np.ascontiguousarray(descriptor, np.float32), k, allowed)

    def allowed_rows(
        self, category: str | None, exclude_rows: Sequence[int], grid: tuple[int, int] | None
    ) -> NDArray[np.bool_]:
        """bool (rows,): those that `nearest_references` searches."""
        allowed = self._allowed(category)
        allowed[list(exclude_rows)] = False
        if grid is not None and any(table.grid != grid for table in self.tables):
            allowed &= np.array([table.grid == grid for table in self.tables])[self.table_numbers]
        return allowed

    def searched_rows(
        self, category: str | None, retrieved: NDArray[np.int64], grid: tuple[int, int], *, all_present: bool = True
    ) -> NDArray[np.int64]:
        """The rows whose patches are searched for an image of this grid: the retrieved ones, at least one.

        Of a category with a coreset all of that, and the references that it does not stand for, whatever was retrieved:
        only then is a patch searched whenever one that it stands for would be. all_present: False while references are
        left out, which a coreset cannot do without.
        """
        coreset = self.searched_coreset(category, grid) if all_present else None
        if coreset is None:
            return retrieved
        return np.concatenate([coreset.rows, self._beside_coresets[category or ""]])

    def searched_coreset(self, category: str | None, grid: tuple[int, int]) -> CoresetRows | None:
        """The coreset that images of this grid are searched in; None where they are searched in the references."""
        coreset = self.coresets.get(category or "")
        return coreset if coreset is not None and coreset.grid == grid else None

    def searchable_rows(self, category: str) -> int:
        """How many rows of a category an image can be compared with."""
        coreset = self.coresets.get(category)
        if coreset is None:
            return len(self.rows_of(category))
        return len(coreset.rows) + len(self._beside_coresets[category])

    def reference_at(self, row: int, layer: int, cell: int) -> int:
        """The id of the reference that the patch of a row is of."""
        if self.ids[row] >= 0:
            return int(self.ids[row])
        return self.coresets[self.category_of(row)].owner_of(row, layer, cell)

    @cached_property
    def _beside_coresets(self) -> dict[str, NDArray[np.int64]]:
        """The rows of each category with a coreset that this does not stand for, of its grid."""
        beside = {}
        for category, coreset in self.coresets.items():
            rows = self.rows_of(category)
            rows = rows[~np.isin(self.ids[rows], coreset.references)]
            of_grid = np.array([table.grid == coreset.grid for table in self.tables])
            beside[category] = rows[of_grid[self.table_numbers[rows]]]
        return beside

    def nearest_category(self, descriptor: NDArray[np.float32]) -> str | None:
        """The category of the reference with the largest inner product with descriptor (global_dim,); None if empty."""
        nearest = self.nearest_references(descriptor, 1)
        return self.category_of(int(nearest.rows[0])) if len(nearest.rows) else None

    def table_of(self, rows: NDArray[np.int64]) -> CodeTable:
        """The table that rows, at least one, lie in. ValueError when they are of different grids."""
        numbers = self.table_numbers[rows]
        if (numbers != numbers[0]).any():
            raise ValueError("references of different grids cannot be searched together")
        return self.tables[int(numbers[0])]

    def codes_table(self, row: int) -> CodeTable:
        """The table that one row lies in."""
        return self.tables[int(self.table_numbers[row])]

    def codes_of(self, row: int) -> torch.Tensor:
        """Codes of one row, uint8 (layers, cells, code_size), a view."""
        return self.codes_table(row).codes_of(int(self.table_rows[row]))

    def features_of(self, row: int) -> Features:
        """The stored features of one reference as a batch of one, to score it against the others."""
        table = self.codes_table(row)
        patches = self.codec.from_basis(self.codec.decode(table.codes_of(int(self.table_rows[row]))))
        return Features(torch.from_numpy(self.global_index.descriptor(row))[None], patches[None], table.grid)

    def _new_table(self, grid: tuple[int, int]) -> CodeTable:
        shape = len(self.space.layers), grid[0] * grid[1], self.codec.code_size
        return CodeTable(grid, CodeArena(shape))

    def _allowed(self, category: str | None) -> NDArray[np.bool_]:
        if category is None:
            return self.live.copy()
        if category not in self.category_names:
            return np.zeros_like(self.live)
        allowed: NDArray[np.bool_] = self.live & (self.category_numbers == self.category_names.index(category))
        return allowed
