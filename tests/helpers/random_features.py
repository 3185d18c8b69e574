"""Random features with the shape of real ones: neighbouring references resemble each other, cells differ."""

from __future__ import annotations

import numpy as np
import torch

from indexer.encoders.base import Features, FeatureSpace, InputGeometry


def feature_space(
    grid: tuple[int, int] = (4, 5), layers: int = 2, dim: int = 16, global_dim: int = 12, fingerprint: str = "f" * 64
) -> FeatureSpace:
    """A feature space that no encoder made."""
    names = tuple(f"layer{index}" for index in range(layers))
    height, width = (16 * side for side in grid)
    geometry = InputGeometry((width + 8, height + 8), (4, 4, width, height), "stretch")
    return FeatureSpace("random", names, 16, dim, global_dim, geometry, fingerprint)


def random_features(space: FeatureSpace, count: int, seed: int) -> Features:
    """Unit features of `count` images."""
    rng = np.random.default_rng(seed)
    shape = (len(space.layers), space.global_grid[0] * space.global_grid[1], space.dim)
    place = np.random.default_rng(0).standard_normal(shape)  # what all images have in common
    patches = torch.from_numpy((place + rng.standard_normal((count, *shape))).astype(np.float32))
    global_descriptors = torch.from_numpy(rng.standard_normal((count, space.global_dim)).astype(np.float32))
    return Features(
        torch.nn.functional.normalize(global_descriptors, dim=-1),
        torch.nn.functional.normalize(patches, dim=-1),
        space.global_grid,
    )
