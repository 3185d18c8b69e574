"""DINOv2 with and without registers, with Meta's names and timm's."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel, PreTrainedModel

from indexer.encoders.checkpoints.weights import Weights, loaded, split_attention

_TOP = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "register_tokens": "embeddings.register_tokens",
    "reg_token": "embeddings.register_tokens",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_IN_BLOCK = {
    "attn.proj": "attention.output.dense",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
}
_GATED = {"mlp.w12": "mlp.weights_in", "mlp.w3": "mlp.weights_out"}  # Meta's names
_GATED_TIMM = {"mlp.fc1": "mlp.weights_in", "mlp.fc2": "mlp.weights_out"}
_PARTS = ("attention.attention.query", "attention.attention.key", "attention.attention.value")


def build(weights: Weights) -> PreTrainedModel:
    """The model of these weights. EncoderError, KeyError or ValueError when they are none of it."""
    tensors, width = weights.tensors, weights.width
    registers = tensors.get("register_tokens", tensors.get("reg_token"))
    # timm adds the CLS token's own position to the token where there are registers.
    special = 0 if "reg_token" in tensors else 1
    first, last = (tensors.get(f"blocks.0.mlp.{name}.weight") for name in ("fc1", "fc2"))
    gated_by_timm = first is not None and last is not None and first.shape[0] == 2 * last.shape[1]
    gated = gated_by_timm or "blocks.0.mlp.w12.weight" in tensors
    shape: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": weights.depth,
        "num_attention_heads": weights.heads or width // 64,
        "mlp_ratio": 4,
        "patch_size": weights.patch,
        "image_size": weights.patch * weights.side(special),
        "qkv_bias": "blocks.0.attn.qkv.bias" in tensors,
        "layer_norm_eps": 1e-6,
        "use_swiglu_ffn": gated,
    }
    mlp = (_GATED_TIMM if gated_by_timm else _GATED) if gated else {}
    state = weights.renamed(_TOP, _IN_BLOCK | mlp, "encoder.layer.{}.")
    split_attention(state, "attn.qkv", _PARTS)
    state["embeddings.mask_token"] = torch.zeros(1, width)  # training alone uses it
    if special == 0:
        positions = state["embeddings.position_embeddings"]
        state["embeddings.position_embeddings"] = torch.cat([torch.zeros(1, 1, width), positions], dim=1)
    if registers is None:
        return loaded(Dinov2Model, Dinov2Config(**shape), state)
    config = Dinov2WithRegistersConfig(**shape, num_register_tokens=int(registers.shape[1]))
    return loaded(Dinov2WithRegistersModel, config, state)
