"""Merges what the shards of a memory found for one image into what a search of all of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.search.engine import BestMatch, PatchMatches


def merge_matches(parts: Sequence[PatchMatches], weights: NDArray[np.float32]) -> PatchMatches:
    """The matches of one query over all references from those over each shard's, at least one; exact.

    A maximum over parts is the maximum over all. An engine that chooses the best by other values than the similarities
    names these, and they decide. Of equals the one of the lowest cell counts, then of the lowest row, as in a search
    on one thread. weights: of the query, float32 (layers,).
    """
    if len(parts) == 1:
        return parts[0]
    rankings = np.stack([part.similarities if part.ranking is None else part.ranking for part in parts])
    similarities = np.stack([part.similarities for part in parts])
    best: NDArray[np.float32] = rankings.max(axis=0)
    matches = [part.best_match for part in parts if part.best_match is not None]
    if len(matches) < len(parts):
        return _matches(similarities.max(axis=0), weights)
    rows, cells = np.stack([match.rows for match in matches]), np.stack([match.cells for match in matches])
    last = np.iinfo(np.int64).max
    lowest = np.where(rankings == best, cells, last).min(axis=0)
    winner = np.where((rankings == best) & (cells == lowest), rows, last).argmin(axis=0)[None]
    row, cell = np.take_along_axis(rows, winner, axis=0)[0], np.take_along_axis(cells, winner, axis=0)[0]
    merged = _matches(np.take_along_axis(similarities, winner, axis=0)[0], weights)
    return replace(merged, best_match=BestMatch(row, cell), ranking=None if parts[0].ranking is None else best)


def _matches(similarities: NDArray[np.float32], weights: NDArray[np.float32]) -> PatchMatches:
    return PatchMatches(similarities, weights @ (1.0 - similarities))
