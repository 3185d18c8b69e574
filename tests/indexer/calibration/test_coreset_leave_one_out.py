"""References of a condensed category are scored as new images are: in a coreset that was made without them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.calibration.serialisation import from_stored, to_stored
from indexer.domain.scoring_settings import ANYWHERE
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.search import choose_engine
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells
from tests.helpers.coresets import condensed
from tests.helpers.leave_one_out import assert_same, finished
from tests.helpers.memory_banks import filled
from tests.helpers.random_features import feature_space, random_features

ENGINE = choose_engine(torch.device("cpu"))


def searched(memory: MemoryBank, k: int = 4, rho: int = 1, before: LeaveOneOut | None = None) -> LeaveOneOut:
    return finished(leave_one_out(memory, ENGINE, "nut", k, rho, before))


def oracle(memory: MemoryBank, result: LeaveOneOut, rho: int) -> np.ndarray:
    """As the module says, in plain NumPy, for the first reference of every group: float64 (n, layers, cells)."""
    coreset, ids = memory.coresets["nut"], result.ids.tolist()
    rows = [memory.row_of(reference) for reference in ids]
    patches = torch.stack([memory.codec.decode(memory.codes_of(row)) for row in rows]).numpy().astype(np.float64)
    group = dict(zip(ids, result.groups.tolist(), strict=True))
    grid = memory.frame("nut").grid
    neighbours = neighbour_cells(grid, rho)
    beside = [index for index, reference in enumerate(ids) if reference not in coreset.references]
    best = np.full(result.best.shape, np.nan)
    for index, reference in enumerate(ids):
        if group[reference] != reference:
            continue
        for layer in range(patches.shape[1]):
            offered = []
            for cell in range(patches.shape[2]):
                owners = [ids.index(coreset.references[owner]) for owner in coreset.owners[:, layer, cell]]
                kept = [owner for owner in owners if group[ids[owner]] != reference]
                candidates = [*kept, *(other for other in beside if group[ids[other]] != reference)]
                if len(kept) < len(owners):
                    left = [ids.index(one) for one in coreset.references if group[one] != reference]
                    here = patches[:, layer, cell]
                    near = [max((here[other] @ here[owner] for owner in kept), default=-2.0) for other in left]
                    candidates.append(left[int(np.argmin(near))])
                offered.append(patches[candidates, layer, cell])
            for cell in range(patches.shape[2]):
                near = [offered[j] @ patches[index, layer, cell] for j in neighbours[cell] if j != OUTSIDE]
                best[index, layer, cell] = np.concatenate(near).max()
    return best


@pytest.mark.parametrize("rho", [0, 1, ANYWHERE])
@pytest.mark.parametrize("codec", ["fp32", "int4"])
def test_a_reference_is_searched_in_what_the_coreset_would_be_without_it(codec: str, rho: int) -> None:
    memory, _ = condensed(filled(26, codec)[0], "nut", 0.4)
    extra = random_features(memory.space, 2, 70)
    memory = memory.with_references([900, 902], ["nut", "nut"], memory.codec.encode(extra), 30)
    result = searched(memory, rho=rho)
    assert result.coreset == 1
    assert len(result.ids) == 15
    np.testing.assert_allclose(result.best, oracle(memory, result, rho), atol=1e-5)


def test_images_of_the_same_part_count_as_one() -> None:
    features = random_features(feature_space(), 9, 3)
    doubled = Features(
        features.global_descriptors.repeat_interleave(2, 0), features.patches.repeat_interleave(2, 0), features.grid
    )
    memory = MemoryBank.empty(feature_space(), "fp32")
    memory = memory.with_references(range(18), ["nut"] * 18, memory.codec.encode(doubled), 1)
    memory, _ = condensed(memory, "nut", 0.3)
    result = searched(memory)
    assert result.duplicates == 9
    counted = result.groups == result.ids
    np.testing.assert_allclose(result.best[counted], oracle(memory, result, 1)[counted], atol=1e-5)
    assert result.best[counted].max() < 0.999  # no reference meets its own other image


def test_a_coreset_is_calibrated_anew_and_so_are_the_references_once_it_is_gone() -> None:
    whole, _ = filled(26, "fp32")
    memory, _ = condensed(whole, "nut", 0.4)
    before = searched(whole)
    in_coreset = searched(memory, before=before)
    assert_same(in_coreset, searched(memory))
    assert not np.allclose(in_coreset.best, before.best)
    kept = to_stored(1, in_coreset)
    shape = (len(memory.space.layers), math.prod(memory.space.global_grid))
    assert kept.coreset == 1
    assert from_stored(kept, shape).coreset == 1
    assert_same(searched(whole, before=from_stored(kept, shape)), before)


def test_one_reference_has_nothing_to_be_compared_with() -> None:
    features = random_features(feature_space(), 1, 3)
    one = Features(features.global_descriptors.expand(4, -1), features.patches.expand(4, -1, -1, -1), features.grid)
    memory = MemoryBank.empty(feature_space(), "fp32")
    memory = memory.with_references(range(4), ["nut"] * 4, memory.codec.encode(one), 1)
    memory, _ = condensed(memory, "nut", 0.5)
    result = searched(memory)
    assert np.isnan(result.nearest).all()
    assert np.isnan(result.best).all()
