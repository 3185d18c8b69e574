"""ViT as timm, DINO, iBOT, MoCo v3, MAE, D-iGPT and DeiT have it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DeiTConfig, DeiTModel, PreTrainedModel, ViTConfig, ViTModel

from indexer.domain.errors import EncoderError
from indexer.encoders.checkpoints.weights import Weights, loaded, split_attention

_TOP = {
    "cls_token": "embeddings.cls_token",
    "dist_token": "embeddings.distillation_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_IN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_PARTS = ("attention.attention.query", "attention.attention.key", "attention.attention.value")


def build(weights: Weights) -> PreTrainedModel:
    """The model of these weights. EncoderError, KeyError or ValueError when they are none of it."""
    tensors, width = weights.tensors, weights.width
    distilled = "dist_token" in tensors
    shape: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": weights.depth,
        "num_attention_heads": weights.heads_of_width(width),
        "intermediate_size": int(tensors["blocks.0.mlp.fc1.weight"].shape[0]),
        "patch_size": weights.patch,
        "image_size": weights.patch * weights.side(2 if distilled else 1),
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "layer_norm_eps": 1e-6,
    }
    state = weights.renamed(_TOP, _IN_BLOCK, "encoder.layer.{}.")
    split_attention(state, "attn.qkv", _PARTS)
    if "norm.weight" not in tensors:
        state |= _norm_of_digpt(weights)
    if distilled:
        return loaded(DeiTModel, DeiTConfig(**shape), state, add_pooling_layer=False)
    return loaded(ViTModel, ViTConfig(**shape), state, add_pooling_layer=False)


def _norm_of_digpt(weights: Weights) -> dict[str, torch.Tensor]:
    """D-iGPT's pre-training has no final norm; the paper's program then normalises without scale and offset."""
    if not any(name.startswith(("ar_", "kd_")) for name in weights.tensors):
        raise EncoderError("its patches have no final norm: it was trained for their mean, which is not used here")
    return {"layernorm.weight": torch.ones(weights.width), "layernorm.bias": torch.zeros(weights.width)}
