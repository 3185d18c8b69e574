"""Tensors by their authors' names, what can be read off them, and how they get into transformers' models."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from transformers import PretrainedConfig, PreTrainedModel

from indexer.domain.errors import EncoderError

M = TypeVar("M", bound=PreTrainedModel)

# What training, classification or reconstruction needs, and no patch or CLS token depends on.
_UNUSED = re.compile(
    r"(head|head_dist|fc_norm|mask_token|masked_embed|lm_head|cls_pt_layers|local_cls_norm|projectors|decoder_\w+|mask"
    r"|(ar|kd)_\w+)(\..*)?|.*(relative_position_index|bias_mask|rope_embed\.periods|attn\.k_bias)"
)
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class Weights:
    """A flat state dict. heads: attention heads where the file tells; else they follow from the width."""

    tensors: Mapping[str, torch.Tensor]
    heads: int | None = None

    @property
    def width(self) -> int:
        """Values of a token."""
        return int(self.tensors["patch_embed.proj.weight"].shape[0])

    @property
    def patch(self) -> int:
        """Pixels along one side of a patch."""
        return int(self.tensors["patch_embed.proj.weight"].shape[2])

    @property
    def depth(self) -> int:
        """Blocks. KeyError when there is none."""
        depth = 1 + max((int(match[1]) for name in self.tensors if (match := _BLOCK.fullmatch(name))), default=-1)
        if depth == 0:
            raise KeyError("blocks.0")
        return depth

    def heads_of_width(self, width: int) -> int:
        """Attention heads: 64 values each in all published models of this kind, but for ViT-H."""
        return self.heads or (16 if width == 1280 else width // 64)

    def side(self, special: int) -> int:
        """Patches along one side of the image that the position embeddings are for, after `special` ones."""
        cells = int(self.tensors["pos_embed"].shape[1]) - special
        side = math.isqrt(max(cells, 0))
        if side * side != cells:
            raise ValueError(f"{cells} positions are no square")
        return side

    def renamed(self, top: Mapping[str, str], in_block: Mapping[str, str], block: str) -> dict[str, torch.Tensor]:
        """Tensors under transformers' names, float32: those of a whole model, and those of `block`, formatted with its
        number. What is not named is kept under its own name, unless no token depends on it.
        """
        renamed: dict[str, torch.Tensor] = {}
        for name, tensor in self.tensors.items():
            if _UNUSED.fullmatch(name):
                continue
            match = _BLOCK.fullmatch(name)
            if match is None:
                renamed[top.get(name, name)] = tensor.float()
                continue
            module, _, kind = match[2].rpartition(".")
            target = in_block.get(match[2]) or (f"{in_block[module]}.{kind}" if module in in_block else match[2])
            renamed[block.format(match[1]) + target] = tensor.float()
        return renamed


def split_attention(
    state: dict[str, torch.Tensor], fused: str, parts: tuple[str, str, str], key_bias: bool = True
) -> None:
    """Replace each projection of query, key and value in one (`fused`) by its three `parts`, in place.

    key_bias: whether keys have a bias of their own; theirs is left out otherwise.
    """
    for name in [name for name in state if f".{fused}." in name]:
        base, _, kind = name.rpartition(f"{fused}.")
        for index, (part, tensor) in enumerate(zip(parts, state.pop(name).chunk(3), strict=True)):
            if kind == "weight" or index != 1 or key_bias:
                state[f"{base}{part}.{kind}"] = tensor


def loaded(kind: type[M], config: PretrainedConfig, state: dict[str, torch.Tensor], **options: bool) -> M:
    """The model of this configuration with these weights. EncoderError when there are more or less than it has.

    The names may be those that transformers' own checkpoints are published with, which all its versions know.
    """
    untyped: Any = kind  # transformers' types do not know what output_loading_info changes
    model, report = untyped.from_pretrained(
        None, config=config, state_dict=state, output_loading_info=True, dtype=torch.float32, **options
    )
    # transformers fills what is missing with random numbers and goes on.
    if report["mismatched_keys"]:
        raise ValueError("shapes do not fit")
    if missing := sorted(report["missing_keys"]):
        raise EncoderError(f"not a whole checkpoint: {len(missing)} tensors missing, the first {missing[0]}")
    if unexpected := sorted(report["unexpected_keys"]):
        raise EncoderError(f"not a checkpoint that can be read: unexpected tensor {unexpected[0]}")
    loaded: M = model
    return loaded
