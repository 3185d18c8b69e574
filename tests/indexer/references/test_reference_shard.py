"""A shard of a category holds its references only, follows what is added, and refuses what it holds otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.errors import ReferencesMoved
from indexer.domain.snapshot import Shard
from indexer.references.reference_shard import Coding, ReferenceShard, ShardQuery
from indexer.references.reference_store import ReferenceStore
from indexer.search import BestMatch, PatchMatches, PatchQuery, choose_engine
from tests.helpers.random_features import random_features
from tests.helpers.references import SPACE, add

WEIGHTS = np.array([0.5, 0.5], np.float32)
PATCHES = random_features(SPACE, 1, 99).patches[0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReferenceStore]:
    opened = ReferenceStore.open(tmp_path, SPACE)
    yield opened
    opened.close()


def shard_of(store: ReferenceStore, index: int = 0, count: int = 1, category: str = "disc") -> ReferenceShard:
    return ReferenceShard(store.folder, store.catalogue, Shard(category, index, count))


def query(store: ReferenceStore, *ids: int) -> ShardQuery:
    return ShardQuery(Coding.of(store.memory, "disc"), PATCHES.numpy(), np.array(ids), 1, WEIGHTS)


def searched(shard: ReferenceShard, asked: ShardQuery) -> PatchMatches:
    return shard.search(choose_engine(PATCHES.device), asked)


def expected(store: ReferenceStore, *ids: int) -> PatchMatches:
    rows = np.array([store.memory.row_of(reference_id) for reference_id in ids])
    [matches] = choose_engine(PATCHES.device).search(store.memory, [PatchQuery(PATCHES, rows, 1, WEIGHTS)])
    return matches


def match(matches: PatchMatches) -> BestMatch:
    assert matches.best_match is not None
    return matches.best_match


def test_it_finds_what_the_whole_memory_finds_in_the_order_of_the_ids(store: ReferenceStore) -> None:
    ids = add(store, "disc", *range(6))
    add(store, "plate", *range(6, 9))
    asked = (ids[4], ids[1], ids[3])
    there, here = searched(shard_of(store), query(store, *asked)), expected(store, *asked)
    assert there.similarities.tobytes() == here.similarities.tobytes()
    assert there.fused.tobytes() == here.fused.tobytes()
    retrieved = np.array(asked)[match(there).rows]
    assert (retrieved == store.memory.ids[match(here).rows]).all()
    assert (match(there).cells == match(here).cells).all()


def test_it_holds_its_share_of_one_category_and_follows_what_is_added_when_asked_for_it(store: ReferenceStore) -> None:
    ids = add(store, "disc", *range(6))
    even = [reference_id for reference_id in ids if reference_id % 2 == 0]
    shard = shard_of(store, 0, 2)
    searched(shard, query(store, *even))
    for other in (ids[0] + 1 - ids[0] % 2, *add(store, "plate", 20)):
        with pytest.raises(ReferencesMoved):
            searched(shard, query(store, other))
    later = [reference_id for reference_id in add(store, "disc", 30, 31) if reference_id % 2 == 0]
    here = expected(store, *even, *later)
    assert searched(shard, query(store, *even, *later)).similarities.tobytes() == here.similarities.tobytes()


def test_what_is_removed_is_still_found_for_snapshots_that_hold_it(store: ReferenceStore) -> None:
    ids = add(store, "disc", *range(4))
    shard, before, here = shard_of(store), query(store, *ids), expected(store, *ids)
    store.remove(ids[:1])
    add(store, "disc", 9)
    searched(shard, query(store, *ids[1:]))
    assert searched(shard, before).similarities.tobytes() == here.similarities.tobytes()


def test_codes_of_another_codec_or_encoder_are_never_compared(store: ReferenceStore) -> None:
    asked = query(store, *add(store, "disc", 1, 2))
    shard = shard_of(store)
    for coding in (
        replace(asked.coding, codec="int8"),
        replace(asked.coding, fingerprint="0" * 64),
        replace(asked.coding, geometry=replace(asked.coding.geometry, on_mismatch="letterbox")),
    ):
        with pytest.raises(ReferencesMoved, match="references of 'disc' are not held as they were"):
            searched(shard, replace(asked, coding=coding))
