"""Meta's own DINOv3 checkpoints, read into the transformers model of the same architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from indexer.encoders.base import EncoderError

_TOP = {
    "cls_token": "embeddings.cls_token",
    "storage_tokens": "embeddings.register_tokens",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
_IN_BLOCK = {
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.fc1": "mlp.up_proj",
    "mlp.fc2": "mlp.down_proj",
    "mlp.w1": "mlp.gate_proj",
    "mlp.w2": "mlp.up_proj",
    "mlp.w3": "mlp.down_proj",
}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def load_meta_checkpoint(path: Path) -> DINOv3ViTModel:
    """A `.pth` of Meta's DINOv3 ViTs (S, S+, B, L, H+, 7B) → the model, float32, on the CPU. EncoderError if not so."""
    path = path.expanduser()
    if not path.is_file():
        raise EncoderError(f"no checkpoint file {path}")
    try:
        # weights_only: a checkpoint is data from elsewhere and must not run code.
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, UnpicklingError) as error:
        raise EncoderError(f"{path.name} is not a readable torch checkpoint of tensors, or is cut short") from error
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise EncoderError(f"{path.name} holds no flat state dict of tensors, as Meta's released checkpoints do")
    return model_from_meta(weights)


def model_from_meta(weights: Mapping[str, torch.Tensor]) -> DINOv3ViTModel:
    """Meta's state dict → the transformers model, its shape read off the tensors. EncoderError if not one."""
    try:
        config = _config(weights)
        renamed = _renamed(weights, config)
    except KeyError as error:
        raise EncoderError(f"not a DINOv3 ViT checkpoint: it has no {error.args[0]}") from error
    model = DINOv3ViTModel(config)
    try:
        missing, unexpected = model.load_state_dict(renamed, strict=False)
    except RuntimeError as error:
        raise EncoderError("not a DINOv3 ViT checkpoint: the shapes of its tensors do not fit together") from error
    # Training alone uses the mask token.
    if missing := [name for name in missing if not name.endswith("mask_token")]:
        raise EncoderError(f"not a whole DINOv3 ViT checkpoint: {len(missing)} tensors missing, the first {missing[0]}")
    if unexpected:
        raise EncoderError(f"not a DINOv3 ViT checkpoint that can be read: what is {unexpected[0]}?")
    frequencies = 1 / weights["rope_embed.periods"].float()
    if not torch.allclose(frequencies, model.rope_embeddings.inv_freq, rtol=1e-5):
        # Rounded (bfloat16) or other periods are part of what the weights were trained with.
        model.rope_embeddings.inv_freq.copy_(frequencies)
    return model


def _config(weights: Mapping[str, torch.Tensor]) -> DINOv3ViTConfig:
    width, _, patch, _ = weights["patch_embed.proj.weight"].shape
    depth = 1 + max((int(found[1]) for name in weights if (found := _BLOCK.fullmatch(name))), default=-1)
    if depth == 0:
        raise KeyError("blocks.0")
    gated = "blocks.0.mlp.w1.weight" in weights
    hidden = weights["blocks.0.mlp.w1.weight" if gated else "blocks.0.mlp.fc1.weight"]
    registers = weights["storage_tokens"].shape[1] if "storage_tokens" in weights else 0
    key_bias = _key_bias(weights)
    return DINOv3ViTConfig(
        patch_size=patch,
        hidden_size=width,
        intermediate_size=hidden.shape[0],
        num_hidden_layers=depth,
        # One period per four values of a head: sine and cosine, rows and columns.
        num_attention_heads=width // (4 * len(weights["rope_embed.periods"])),
        hidden_act="silu" if gated else "gelu",
        use_gated_mlp=gated,
        query_bias="blocks.0.attn.qkv.bias" in weights,
        key_bias=key_bias,
        value_bias="blocks.0.attn.qkv.bias" in weights,
        proj_bias="blocks.0.attn.proj.bias" in weights,
        mlp_bias=("blocks.0.mlp.w1.bias" if gated else "blocks.0.mlp.fc1.bias") in weights,
        num_register_tokens=registers,
    )


def _key_bias(weights: Mapping[str, torch.Tensor]) -> bool:
    """Whether keys have a bias of their own: the released models mask it out."""
    if "blocks.0.attn.qkv.bias" not in weights:
        return False
    mask = weights.get("blocks.0.attn.qkv.bias_mask")
    return mask is None or bool(mask.chunk(3)[1].any())


def _renamed(weights: Mapping[str, torch.Tensor], config: DINOv3ViTConfig) -> dict[str, torch.Tensor]:
    renamed = {"embeddings.register_tokens": torch.zeros(1, 0, config.hidden_size)}
    for name, tensor in weights.items():
        block = _BLOCK.fullmatch(name)
        if block is None:
            # The norm of local crops and the mask token serve training alone; the periods are read apart.
            if name not in ("rope_embed.periods", "mask_token") and not name.startswith("local_cls_norm."):
                renamed[_TOP.get(name, name)] = tensor.float()
            continue
        prefix, inner = f"model.layer.{block[1]}.", block[2]
        if inner == "attn.qkv.bias_mask":
            continue
        if inner == "attn.qkv.bias":
            mask = weights.get(f"{name}_mask", torch.ones_like(tensor))
            # Not a product: a masked bias may hold anything.
            tensor = torch.where(mask != 0, tensor, torch.zeros_like(tensor))
        if inner.startswith("attn.qkv."):
            kind = inner.removeprefix("attn.qkv.")
            for projection, part in zip(_PROJECTIONS, tensor.float().chunk(3), strict=True):
                if kind == "weight" or projection != "k_proj" or config.key_bias:
                    renamed[f"{prefix}attention.{projection}.{kind}"] = part
            continue
        module, _, kind = inner.rpartition(".")
        target = _IN_BLOCK.get(inner) or f"{_IN_BLOCK.get(module, module)}.{kind}"
        renamed[prefix + target] = tensor.float()
    return renamed
