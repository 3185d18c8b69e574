"""DINOv3, with Meta's names and timm's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from indexer.domain.errors import EncoderError
from indexer.encoders.checkpoints.weights import Weights, split_attention

_TOP = {
    "cls_token": "embeddings.cls_token",
    "storage_tokens": "embeddings.register_tokens",
    "reg_token": "embeddings.register_tokens",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
}
_IN_BLOCK = {
    "attn.proj": "attention.o_proj",
    "attn.q_bias": "attention.q_proj.bias",
    "attn.v_bias": "attention.v_proj.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "gamma_1": "layer_scale1.lambda1",
    "gamma_2": "layer_scale2.lambda1",
}
_MLP = {"mlp.fc1": "mlp.up_proj", "mlp.fc2": "mlp.down_proj"}
_GATED = {"mlp.w1": "mlp.gate_proj", "mlp.w2": "mlp.up_proj", "mlp.w3": "mlp.down_proj"}
_GATED_TIMM = {"mlp.fc1_g": "mlp.gate_proj", "mlp.fc1_x": "mlp.up_proj", "mlp.fc2": "mlp.down_proj"}
_PARTS = ("attention.q_proj", "attention.k_proj", "attention.v_proj")


def build(weights: Weights) -> DINOv3ViTModel:
    """The model of these weights. EncoderError, KeyError or ValueError when they are none of it."""
    tensors = {name: _masked(name, weights) for name in weights.tensors}
    mlp = next((names for names in (_GATED, _GATED_TIMM) if f"blocks.0.{next(iter(names))}.weight" in tensors), _MLP)
    config = _config(weights, next(iter(mlp)), gated=mlp is not _MLP)
    state = Weights(tensors).renamed(_TOP, _IN_BLOCK | mlp, "model.layer.{}.")
    state.setdefault("embeddings.register_tokens", torch.zeros(1, 0, config.hidden_size))
    split_attention(state, "attn.qkv", _PARTS, config.key_bias)
    model = DINOv3ViTModel(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing := [name for name in missing if not name.endswith("mask_token")]:
        raise EncoderError(f"not a whole checkpoint: {len(missing)} tensors missing, the first {missing[0]}")
    if unexpected:
        raise EncoderError(f"not a DINOv3 checkpoint that can be read: unexpected tensor {unexpected[0]}")
    set_periods(model, weights.tensors.get("rope_embed.periods"))
    return model


def set_periods(model: DINOv3ViTModel, periods: torch.Tensor | None = None) -> None:
    """Give the position embedding its periods, float32 (head_dim / 4,): those of a checkpoint, else Meta's.

    Meta's are rounded to bfloat16, and the weights were trained with them; timm's checkpoints and transformers' leave
    them out and compute them in float32.
    """
    inverse = model.rope_embeddings.inv_freq
    if periods is None:
        exponents = torch.arange(len(inverse), dtype=torch.float32) / len(inverse)
        periods = (model.config.rope_theta**exponents).to(torch.bfloat16)
    inverse.copy_(1 / periods.float())


def _config(weights: Weights, first: str, gated: bool) -> DINOv3ViTConfig:
    """first: the name of a block's first product behind its attention."""
    tensors, width = weights.tensors, weights.width
    registers = tensors.get("storage_tokens", tensors.get("reg_token"))
    biased = "blocks.0.attn.qkv.bias" in tensors
    depth = weights.depth
    return DINOv3ViTConfig(
        patch_size=weights.patch,
        hidden_size=width,
        intermediate_size=int(tensors[f"blocks.0.{first}.weight"].shape[0]),
        num_hidden_layers=depth,
        num_attention_heads=width // _head(tensors, width),
        hidden_act="silu" if gated else "gelu",
        use_gated_mlp=gated,
        query_bias=biased or "blocks.0.attn.q_bias" in tensors,
        key_bias=_key_bias(weights),
        value_bias=biased or "blocks.0.attn.v_bias" in tensors,
        proj_bias="blocks.0.attn.proj.bias" in tensors,
        mlp_bias=f"blocks.0.{first}.bias" in tensors,
        num_register_tokens=0 if registers is None else int(registers.shape[1]),
    )


def _head(tensors: Mapping[str, torch.Tensor], width: int) -> int:
    """Values of a head: four per period (sine and cosine, rows and columns), which timm leaves out."""
    if "blocks.0.gamma_1" not in tensors:
        return 4 * len(tensors["rope_embed.periods"])
    return 128 if width == 4096 else 64


def _key_bias(weights: Weights) -> bool:
    """Whether keys have a bias of their own: the released models mask it out."""
    if "blocks.0.attn.qkv.bias" not in weights.tensors:
        return False
    mask = weights.tensors.get("blocks.0.attn.qkv.bias_mask")
    return mask is None or bool(mask.chunk(3)[1].any())


def _masked(name: str, weights: Weights) -> torch.Tensor:
    """A tensor with 0 wherever Meta masks it; not a product, since a masked bias may hold anything."""
    tensor, mask = weights.tensors[name], weights.tensors.get(f"{name}_mask")
    return tensor if mask is None else torch.where(mask != 0, tensor, torch.zeros_like(tensor))
