"""BEiT and BEiT v2, with the names of their authors and of timm."""

from __future__ import annotations

import math

from transformers import BeitConfig, BeitModel

from indexer.encoders.checkpoints.weights import Weights, loaded, split_attention

_TOP = {
    "cls_token": "embeddings.cls_token",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "rel_pos_bias.relative_position_bias_table": "encoder.relative_position_bias.relative_position_bias_table",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
_IN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "gamma_1": "lambda_1",
    "gamma_2": "lambda_2",
    "attn.q_bias": "attention.attention.query.bias",
    "attn.v_bias": "attention.attention.value.bias",
    "attn.proj": "attention.output.dense",
    "attn.relative_position_bias_table": "attention.attention.relative_position_bias.relative_position_bias_table",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_PARTS = ("attention.attention.query", "attention.attention.key", "attention.attention.value")


def build(weights: Weights) -> BeitModel:
    """The model of these weights. EncoderError, KeyError or ValueError when they are none of it.

    Fine-tuned for the mean of its patches it has no norm of tokens, and they are taken as they are, as by timm and the
    paper's program.
    """
    tensors = weights.tensors
    shared = "rel_pos_bias.relative_position_bias_table" in tensors
    table = tensors[
        "rel_pos_bias.relative_position_bias_table" if shared else "blocks.0.attn.relative_position_bias_table"
    ]
    config = BeitConfig(
        hidden_size=weights.width,
        num_hidden_layers=weights.depth,
        num_attention_heads=int(table.shape[1]),
        intermediate_size=int(tensors["blocks.0.mlp.fc1.weight"].shape[0]),
        patch_size=weights.patch,
        image_size=weights.patch * _side(int(table.shape[0])),
        layer_norm_eps=1e-6,
        layer_scale_init_value=0.1 if "blocks.0.gamma_1" in tensors else 0.0,
        use_absolute_position_embeddings="pos_embed" in tensors,
        use_relative_position_bias=not shared,
        use_shared_relative_position_bias=shared,
        use_mean_pooling="norm.weight" not in tensors,
    )
    state = weights.renamed(_TOP, _IN_BLOCK, "encoder.layer.{}.")
    split_attention(state, "attn.qkv", _PARTS)
    return loaded(BeitModel, config, state, add_pooling_layer=False)


def _side(distances: int) -> int:
    """Patches along one side of the image that a table of (2 · side − 1)² + 3 relative positions is for."""
    along = math.isqrt(distances - 3)
    if along * along != distances - 3 or along % 2 == 0:
        raise ValueError(f"{distances} relative positions are of no square")
    return (along + 1) // 2
