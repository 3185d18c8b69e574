"""Learned position embeddings at another size than the trained one, as the authors of DINO and DINOv2 compute them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DeiTModel, Dinov2Model, PreTrainedModel, ViTModel

# Their code adds it to each side of the grid against rounding, and scales by the sum: every position is read a little
# nearer to the first one. transformers scales by the sides, which moves features by 1e-4 to 1e-3.
_OFFSET = 0.1


def resize_positions(model: PreTrainedModel, grid: tuple[int, int]) -> None:
    """Give a ViT, DeiT or DINOv2 the position embeddings of a grid (rows, columns), in place, bicubic.

    Images of other grids get theirs as they come. The paper's program runs all of these so. Nothing is done to other
    models: DINOv2 with registers is interpolated by its authors as by transformers, DINOv3 and BEiT have no such
    embeddings.
    """
    if not isinstance(model, ViTModel | DeiTModel | Dinov2Model):
        return
    embeddings = model.embeddings
    special = 2 if isinstance(model, DeiTModel) else 1
    trained = embeddings.position_embeddings.detach()  # (1, special + cells, dim)
    patch = int(cast(int, model.config.patch_size))

    @lru_cache(maxsize=16)
    def positions(target_grid: tuple[int, int]) -> torch.Tensor:
        if target_grid == grid:
            return embeddings.position_embeddings
        there = embeddings.position_embeddings
        return _interpolated(trained, special, target_grid).to(device=there.device, dtype=there.dtype)

    embeddings.position_embeddings = nn.Parameter(_interpolated(trained, special, grid), requires_grad=False)

    def interpolate(_: torch.Tensor, height: int, width: int) -> torch.Tensor:
        return positions((height // patch, width // patch))

    # What transformers calls for an image of height × width pixels: its own interpolates otherwise than the authors.
    setattr(embeddings, "interpolate_pos_encoding", interpolate)  # noqa: B010


def _interpolated(trained: torch.Tensor, special: int, grid: tuple[int, int]) -> torch.Tensor:
    """Position embeddings (1, special + cells, dim) of a square grid → those of another grid (rows, columns)."""
    side = math.isqrt(trained.shape[1] - special)
    if grid == (side, side):
        return trained
    cells = trained[:, special:].view(1, side, side, -1).permute(0, 3, 1, 2)  # (1, dim, side, side)
    scale = tuple((count + _OFFSET) / side for count in grid)
    resized = F.interpolate(cells.float(), scale_factor=scale, mode="bicubic").to(trained.dtype)
    return torch.cat([trained[:, :special], resized.flatten(2).transpose(1, 2)], 1)
