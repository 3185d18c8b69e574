"""Parts that lie anywhere are told from aligned ones by their references."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from indexer.calibration.alignment import Alignment, measure_alignment
from indexer.domain.roi import RegionOfInterest
from indexer.domain.scoring_settings import ANYWHERE, ScoringSettings
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from tests.helpers.random_features import feature_space

GRID = (6, 8)
CELLS = GRID[0] * GRID[1]


def patches_of(count: int, where: Callable[[int], np.ndarray], noise: float = 0.1) -> torch.Tensor:
    """Images of one part whose cells lie `where` says, and differ a little."""
    part = np.random.default_rng(0).standard_normal((CELLS, 16))
    rng = np.random.default_rng(1)
    images = [part[where(image)] + noise * rng.standard_normal((CELLS, 16)) for image in range(count)]
    return torch.from_numpy(np.stack(images).astype(np.float32))[:, None]


def memory_of(patches: torch.Tensor) -> MemoryBank:
    space = feature_space(GRID, layers=1)
    count = len(patches)
    descriptors = torch.nn.functional.normalize(torch.randn(count, space.global_dim), dim=-1)
    features = Features(descriptors, torch.nn.functional.normalize(patches, dim=-1), GRID)
    memory = MemoryBank.empty(space, "fp16")
    return memory.with_references(range(count), ["nut"] * count, memory.codec.encode(features), 1)


def measured(memory: MemoryBank, region: RegionOfInterest | None = None) -> Alignment | None:
    steps, shares = measure_alignment(memory, "nut", ScoringSettings(region=region)), []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            assert shares == sorted(shares)
            assert shares[-1:] in ([1.0], [])
            result: Alignment | None = end.value
            return result


def aligned(_: int) -> np.ndarray:
    return np.arange(CELLS)


def anywhere(image: int) -> np.ndarray:
    return np.random.default_rng(image).permutation(CELLS)


def test_aligned_parts_and_parts_that_lie_anywhere_are_told_apart() -> None:
    alike = measured(memory_of(patches_of(12, aligned)))
    scattered = measured(memory_of(patches_of(12, anywhere)))
    assert alike is not None
    assert scattered is not None
    assert alike.references == scattered.references == 8
    assert alike.distance_left > 0.9
    assert alike.advice(1) is None
    assert scattered.distance_left < 0.1
    assert alike.distance_in_place < 0.06 < scattered.distance_in_place < 1
    assert "rho to 255" in (scattered.advice(1) or "")
    assert scattered.advice(ANYWHERE) is None


def test_aligned_parts_of_which_much_looks_alike_get_no_advice() -> None:
    """On a plain background what is left of the distance is little, too: of so many like patches one is nearer."""

    background = np.arange(CELLS) % GRID[1] < 6
    cells = np.where(background, 0, np.arange(CELLS))
    rng = np.random.default_rng(2)
    light = rng.normal(0, 0.4, (8, 1, CELLS, 3)) @ rng.standard_normal((3, 16)) * background[:, None]  # in a few ways
    patches = patches_of(8, lambda _: cells, noise=0.01) + torch.from_numpy(light.astype(np.float32))
    alignment = measured(memory_of(patches))
    assert alignment is not None
    assert alignment.distance_left < 0.75
    assert alignment.distance_in_place < 0.06
    assert alignment.advice(1) is None


def test_only_what_is_inspected_counts() -> None:
    """The left half is aligned, the right half is not."""

    def half(image: int) -> np.ndarray:
        cells = np.arange(CELLS).reshape(GRID)
        cells[:, 4:] = np.random.default_rng(image).permutation(cells[:, 4:].ravel()).reshape(6, 4)
        return cells.ravel()

    memory = memory_of(patches_of(8, half))
    left = RegionOfInterest((((0.0, 0.0), (0.45, 0.0), (0.45, 1.0), (0.0, 1.0)),))
    everywhere, inside = measured(memory), measured(memory, left)
    assert everywhere is not None
    assert inside is not None
    assert everywhere.distance_left < 0.3
    assert inside.distance_left > 0.9


@pytest.mark.parametrize("count", [0, 3])
def test_few_references_say_nothing(count: int) -> None:
    memory = memory_of(patches_of(4, aligned)).without_references(range(count, 4), 2)
    assert measured(memory) is None


def test_copies_of_one_image_say_nothing() -> None:
    assert measured(memory_of(patches_of(6, aligned, noise=0.0))) is None
