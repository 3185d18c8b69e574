"""The first blocks of a DINOv2 ViT-S/14, with the norms' scales and the layer scales folded into the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

PATCH = 14  # pixels of one token, along a side
WIDTH, HEADS = 384, 6
_EPSILON = 1e-6  # of the layer norms
PRODUCTS = ("attention", "output", "expand", "contract")  # a block's four matrices
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Tokens:
    """What one block gives: float32 (B, tokens, 384) of the images' patches, row by row, and (B, 384) of CLS."""

    patches: torch.Tensor
    cls: torch.Tensor


class Blocks(nn.Module):
    """The first blocks and the final norm: tokens float32 (B, count, 384), the CLS token first → what comes of each."""

    def __init__(self, weights: Mapping[str, torch.Tensor], count: int) -> None:
        """weights: as `convert` writes them. count: how many blocks are run. KeyError where one is missing."""
        super().__init__()
        self.products = nn.ModuleList(
            nn.ModuleDict({name: _product(weights, f"blocks.{index}.{name}") for name in PRODUCTS})
            for index in range(count)
        )
        self.norm = nn.LayerNorm(WIDTH, _EPSILON, device="meta")
        self.norm.weight = _fixed(weights["norm.weight"])
        self.norm.bias = _fixed(weights["norm.bias"])

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """One pass."""
        for block in self.products:
            attention, output, expand, contract = (block.get_submodule(name) for name in PRODUCTS)
            heads = attention(_standardised(states)).view(*states.shape[:2], 3, HEADS, WIDTH // HEADS)
            query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, tokens, 64)
            seen = F.scaled_dot_product_attention(query, key, value)
            states = states + output(seen.transpose(1, 2).flatten(2))
            states = states + contract(F.gelu(expand(_standardised(states))))
        normed: torch.Tensor = self.norm(states)
        return normed


class BlocksOfOne(nn.Module):
    """The same for one image, as other runtimes are given it: tokens float32 (count, 384) in and out."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """One pass."""
        normed: torch.Tensor = self.blocks(states[None])
        return normed[0]


class VisionTransformer:
    """Tokens of one block for images of one size, each seen as rows × columns tokens.

    Source: Oquab et al., "DINOv2", arXiv:2304.07193; weights: MODEL_CARD.md.
    """

    def __init__(
        self,
        weights: Mapping[str, torch.Tensor],
        blocks: Callable[[torch.Tensor], torch.Tensor],
        device: torch.device,
    ) -> None:
        """weights: as `convert` writes them. blocks: `Blocks`, or what another runtime makes of it."""
        self._patch = _product(weights, "patch").to(device)
        self._cls = weights["cls"].to(device, torch.float32)
        self._trained = weights["positions"].to(device, torch.float32).permute(2, 0, 1)[None]  # (1, 384, 37, 37)
        self._positions = lru_cache(maxsize=16)(self._interpolated)
        self._blocks = blocks

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, shape: tuple[int, int]) -> Tokens:
        """uint8 (B, 3, H, W) RGB, seen as (rows, columns) tokens → those of the last block, after the final norm."""
        rows, columns = shape
        pixels = images.to(torch.float32)
        size = (rows * PATCH, columns * PATCH)
        if tuple(images.shape[2:]) != size:
            pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        patches = pixels.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (B, 3, rows, columns, 14, 14)
        patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, rows * columns, 3 * PATCH * PATCH)
        cls = self._cls.expand(len(images), 1, WIDTH)
        states = self._blocks(torch.cat([cls, self._patch(patches) + self._positions(shape)], dim=1))
        return Tokens(states[:, 1:], states[:, 0])

    def _interpolated(self, shape: tuple[int, int]) -> torch.Tensor:
        """The position embeddings of (rows, columns) tokens: float32 (rows · columns, 384)."""
        positions = F.interpolate(self._trained, size=shape, mode="bicubic", align_corners=False)
        return positions[0].flatten(1).T.contiguous()


def _standardised(states: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(states, (WIDTH,), eps=_EPSILON)


def _product(weights: Mapping[str, torch.Tensor], name: str) -> nn.Linear:
    """Stored as int8 with a scale per output, or as float16 without."""
    weight = weights[f"{name}.weight"].to(torch.float32)
    if (scale := weights.get(f"{name}.scale")) is not None:
        weight = weight * scale[:, None]
    product = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    product.weight, product.bias = _fixed(weight.contiguous()), _fixed(weights[f"{name}.bias"])
    return product


def _fixed(values: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(torch.float32), requires_grad=False)
