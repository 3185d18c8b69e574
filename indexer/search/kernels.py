"""The two Triton kernels of patch search: the maximum over all candidates, then the winners to full precision."""

from __future__ import annotations

import triton
import triton.language as tl

# Codec formats as compile-time constants.
FP32 = tl.constexpr(0)
FP16 = tl.constexpr(1)
INT8 = tl.constexpr(2)
BF16 = tl.constexpr(3)

NOTHING = -(2**63)  # a query without a candidate so far
_NOTHING = tl.constexpr(NOTHING)
_LARGEST = tl.constexpr(2**31 - 1)


@triton.jit
def _sortable(value):
    """float32 → int32 in the same order."""
    bits = value.to(tl.int32, bitcast=True)
    return tl.where(bits < 0, bits ^ _LARGEST, bits)


@triton.jit
def _scale_at(start, mask):
    """The float32 that four bytes hold; byte by byte, since a code of any length may start anywhere."""
    scale = tl.load(start, mask=mask, other=0).to(tl.int32)
    for place in tl.static_range(1, 4):
        scale |= tl.load(start + place, mask=mask, other=0).to(tl.int32) << (8 * place)
    return scale.to(tl.float32, bitcast=True)


@triton.jit
def _widened(upper):
    """bfloat16, which is the upper half of a float32, given as int16 → float32."""
    return (upper.to(tl.int32) << 16).to(tl.float32, bitcast=True)


# How many images share their references, and so how many programs a cell takes, changes from batch to batch, and the
# number of cells from category to category: a kernel compiled for one number would be compiled again, for a second or
# two, when another comes.
@triton.jit(do_not_specialize=["cells", "column_tiles", "together"])
def max_similarity(
    best,
    queries,
    pointers,
    owners,
    groups,
    images,
    neighbours,
    layers,
    cells,
    dim,
    column_tiles,
    together,
    FORMAT: tl.constexpr,
    CODE: tl.constexpr,
    ALIGNED: tl.constexpr,
    WIDTH: tl.constexpr,
    EVERYWHERE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """One stored cell of one layer against the queries that it is a candidate for, over one group's references.

    best: int64 (images, layers, cells), `NOTHING` at first: the similarity, sortable, above the place of its patch.
    queries: (images, layers, cells, dim), float32 for fp32 codes, else float16. pointers: int64 (references,), where
    each reference's codes begin. owners: int64 (references,), bit i set where the group's image i retrieved it.
    groups: int32 (groups + 1,), where each group's references begin. images: int32 (groups, together), −1 beyond the
    last. neighbours: int32 (cells, WIDTH), −1 outside the grid; the relation is symmetric. EVERYWHERE: every cell is a
    candidate for every other instead, whatever WIDTH and neighbours say.
    A tile is ROWS references × COLUMNS queries, DEPTH values at a time; a query of the group is one column.
    """
    cell = tl.program_id(0) // column_tiles
    layer = tl.program_id(1)
    group = tl.program_id(2)
    column = (tl.program_id(0) % column_tiles) * COLUMNS + tl.arange(0, COLUMNS)
    width = cells if EVERYWHERE else WIDTH
    seat = column // width
    seated = seat < together
    image = tl.load(images + group * together + seat, mask=seated, other=-1)
    target = column % width if EVERYWHERE else tl.load(neighbours + cell * width + column % width)
    asks = seated & (image >= 0) & (target >= 0)
    answer = (image.to(tl.int64) * layers + layer) * cells + target  # (COLUMNS,)
    inside = (layer * cells + cell).to(tl.int64) * CODE
    nearest = tl.full((COLUMNS,), float("-inf"), tl.float32)
    place = tl.zeros((COLUMNS,), tl.int32)
    stop = tl.load(groups + group + 1)
    for first in range(tl.load(groups + group), stop, ROWS):
        row = first + tl.arange(0, ROWS)
        there = row < stop
        codes = tl.load(pointers + row, mask=there, other=0) + inside  # (ROWS,)
        products = tl.zeros((ROWS, COLUMNS), tl.float32)
        for start in range(0, dim, DEPTH):
            value = start + tl.arange(0, DEPTH)
            requested = there[:, None] & (value < dim)[None, :]
            query_values = tl.load(
                queries + answer[None, :] * dim + value[:, None], mask=asks[None, :] & (value < dim)[:, None], other=0.0
            )  # (DEPTH, COLUMNS)
            if FORMAT == FP32:
                table = tl.multiple_of(codes.to(tl.pointer_type(tl.float32)), ALIGNED)
                stored = tl.load(table[:, None] + value[None, :], mask=requested, other=0.0)
                products = tl.dot(stored, query_values, products, input_precision="ieee")
            elif FORMAT == FP16:
                table = tl.multiple_of(codes.to(tl.pointer_type(tl.float16)), ALIGNED)
                stored = tl.load(table[:, None] + value[None, :], mask=requested, other=0.0)
                products = tl.dot(stored, query_values, products)
            elif FORMAT == BF16:
                table = tl.multiple_of(codes.to(tl.pointer_type(tl.int16)), ALIGNED)
                stored = _widened(tl.load(table[:, None] + value[None, :], mask=requested, other=0))
                products = tl.dot(stored.to(tl.float16), query_values, products)
            else:
                table = tl.multiple_of(codes.to(tl.pointer_type(tl.int8)), ALIGNED)
                levels = tl.load(table[:, None] + value[None, :], mask=requested, other=0)
                products = tl.dot(levels.to(tl.float16), query_values, products)
        if FORMAT == INT8:
            products *= _scale_at((codes + dim).to(tl.pointer_type(tl.uint8)), there)[:, None]
        owner = tl.load(owners + row, mask=there, other=0)
        mine = ((owner[:, None] >> seat[None, :].to(tl.int64)) & 1) != 0
        products = tl.where(mine, products, float("-inf"))
        top = tl.max(products, axis=0)
        which = first + tl.argmax(products, axis=0)
        better = top > nearest
        nearest = tl.where(better, top, nearest)
        place = tl.where(better, which.to(tl.int32), place)
    rank = _LARGEST - (place * cells + cell)  # of equals the first reference wins
    packed = (_sortable(nearest).to(tl.int64) << 32) | rank.to(tl.int64)
    tl.atomic_max(best + answer, packed, mask=asks & (nearest > float("-inf")))


@triton.jit(do_not_specialize=["cells"])
def rescore(
    best,
    queries,
    pointers,
    names,
    weights,
    similarities,
    nearest_rows,
    nearest_cells,
    fused,
    layers,
    cells,
    dim,
    FORMAT: tl.constexpr,
    CODE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """The winners of one cell of one image in float32, and their weighted distance.

    best, pointers: as in `max_similarity`. queries: float32. names: int32 (references,), the number of each
    reference in the result. weights: float32 (images, layers). similarities float32, nearest_rows and nearest_cells
    int32, each (images, layers, cells): kept where they already hold something larger. fused: float32 (images, cells).
    """
    cell = tl.program_id(0)
    image = tl.program_id(1)
    distance = 0.0
    for layer in range(layers):
        at = (image.to(tl.int64) * layers + layer) * cells + cell
        similarity = tl.load(similarities + at)
        packed = tl.load(best + at)
        if packed != _NOTHING:
            rank = _LARGEST - (packed & 0xFFFFFFFF).to(tl.int32)
            row = rank // cells
            stored_cell = rank % cells
            codes = tl.load(pointers + row) + (layer * cells + stored_cell).to(tl.int64) * CODE
            total = tl.zeros((DEPTH,), tl.float32)
            for start in range(0, dim, DEPTH):
                value = start + tl.arange(0, DEPTH)
                query_values = tl.load(queries + at * dim + value, mask=value < dim, other=0.0)
                if FORMAT == FP32:
                    stored = tl.load(codes.to(tl.pointer_type(tl.float32)) + value, mask=value < dim, other=0.0)
                elif FORMAT == FP16:
                    stored = tl.load(codes.to(tl.pointer_type(tl.float16)) + value, mask=value < dim, other=0.0)
                elif FORMAT == BF16:
                    stored = _widened(tl.load(codes.to(tl.pointer_type(tl.int16)) + value, mask=value < dim, other=0))
                else:
                    stored = tl.load(codes.to(tl.pointer_type(tl.int8)) + value, mask=value < dim, other=0)
                total += query_values * stored.to(tl.float32)
            exact = tl.sum(total)
            if FORMAT == INT8:
                exact *= _scale_at((codes + dim).to(tl.pointer_type(tl.uint8)), True)
            if exact > similarity:
                similarity = exact
                tl.store(similarities + at, exact)
                tl.store(nearest_rows + at, tl.load(names + row))
                tl.store(nearest_cells + at, stored_cell)
        distance += tl.load(weights + image * layers + layer) * (1.0 - similarity)
    tl.store(fused + image.to(tl.int64) * cells + cell, distance)
