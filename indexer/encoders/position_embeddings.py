"""Learned position embeddings at another size than the trained one, as the authors of DINO and DINOv2 compute them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DeiTModel, Dinov2Model, PreTrainedModel, ViTModel

# Their code adds it to each side of the grid against rounding, and scales by the sum: every position is read a little
# nearer to the first one. transformers scales by the sides, which moves features by 1e-4 to 1e-3.
_OFFSET = 0.1


def resize_positions(model: PreTrainedModel, grid: tuple[int, int]) -> None:
    """Give a ViT, DeiT or DINOv2 the position embeddings of a grid (rows, columns), in place, bicubic.

    The paper's program runs all of these so. Nothing is done at the trained size, nor to other models: DINOv2 with
    registers is interpolated by its authors as by transformers, DINOv3 and BEiT have no such embeddings.
    """
    if not isinstance(model, ViTModel | DeiTModel | Dinov2Model):
        return
    embeddings = model.embeddings
    special = 2 if isinstance(model, DeiTModel) else 1
    positions = embeddings.position_embeddings.detach()  # (1, special + cells, dim)
    side = math.isqrt(positions.shape[1] - special)
    if grid == (side, side):
        return
    cells = positions[:, special:].view(1, side, side, -1).permute(0, 3, 1, 2)  # (1, dim, side, side)
    scale = tuple((count + _OFFSET) / side for count in grid)
    resized = F.interpolate(cells.float(), scale_factor=scale, mode="bicubic").to(positions.dtype)
    resized = resized.flatten(2).transpose(1, 2)
    embeddings.position_embeddings = nn.Parameter(torch.cat([positions[:, :special], resized], 1), requires_grad=False)
