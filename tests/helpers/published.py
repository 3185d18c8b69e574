"""Tiny models as timm publishes them, with weights that follow from their names, and what timm itself makes of them.

`python -m tests.helpers.published` records the latter anew; it needs timm. Nothing else here does.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

RECORDED = Path(__file__).with_name("published.safetensors")
WIDTH, DEPTH, PATCH, NATIVE, LARGER = 128, 2, 8, 32, 48
_PROJECTED = 8  # values recorded of a token's 128


@dataclass(frozen=True)
class Published:
    """A tiny model of one architecture. architecture, mean, std: as in timm's config.json. shapes: of its weights."""

    architecture: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shapes: dict[str, list[int]]

    def weights(self) -> dict[str, torch.Tensor]:
        """The state dict under timm's names."""
        return {name: drawn(name, shape) for name, shape in self.shapes.items()}

    def save(self, folder: Path) -> Path:
        """A folder as a hub repository of timm's holds it."""
        folder.mkdir(parents=True)
        config = {"architecture": self.architecture, "pretrained_cfg": {"mean": self.mean, "std": self.std}}
        (folder / "config.json").write_text(json.dumps(config))
        save_file(self.weights(), folder / "model.safetensors")
        return folder


def published() -> dict[str, Published]:
    """By architecture, what was recorded with timm."""
    with safe_open(RECORDED, "pt") as file:
        stored = json.loads(file.metadata()["models"])
    return {name: Published(**fields) for name, fields in stored.items()}


def recorded(architecture: str, crop: int) -> tuple[torch.Tensor, torch.Tensor]:
    """timm's last CLS token (1, 8) and its patches (1, layers, cells, 8): normed, of length 1, projected."""
    with safe_open(RECORDED, "pt") as file:
        return file.get_tensor(f"{architecture} {crop} cls"), file.get_tensor(f"{architecture} {crop} patches")


def drawn(name: str, shape: list[int]) -> torch.Tensor:
    """Values that differ from start in every weight, or a norm applied twice or a token left in would not show."""
    around = 1.0 if ("norm" in name and name.endswith("weight")) or "gamma" in name else 0.0
    spread = {1: 0.2, 2: 0.09}.get(len(shape), 0.3)
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy((around + spread * values).astype(np.float32))


def image(crop: int) -> torch.Tensor:
    """uint8 (1, 3, crop, crop)."""
    return torch.from_numpy(np.random.RandomState(crop).randint(0, 256, (1, 3, crop, crop)).astype(np.uint8))


def projected(tokens: torch.Tensor) -> torch.Tensor:
    """Unit vectors (…, 128) → (…, 8), in which any change of a token shows."""
    matrix = np.random.RandomState(0).standard_normal((WIDTH, _PROJECTED)).astype(np.float32)
    return tokens @ torch.from_numpy(matrix)


def record() -> None:
    """Write what timm makes of all architectures. Its own position embeddings are kept at their native size; at another
    they are set to those that the models' authors interpolate, which timm does in a way of its own.
    """
    from timm.layers import SwiGLUPacked
    from timm.models.beit import Beit
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    half = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    shape: dict[str, Any] = {"patch_size": PATCH, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 2, "num_classes": 0}
    relative: dict[str, Any] = {**shape, "use_abs_pos_emb": False, "init_values": 0.1}
    dinov3: dict[str, Any] = {
        **shape,
        "init_values": 1e-5,
        "use_rot_pos_emb": True,
        "use_abs_pos_emb": False,
        "num_reg_tokens": 4,
        "use_fc_norm": False,
        "rope_type": "dinov3",
        "rope_temperature": 100,
        "rope_rotate_half": True,
        "norm_layer": partial(torch.nn.LayerNorm, eps=1e-5),
        "qkv_bias": False,
    }
    gated = {"mlp_layer": SwiGLUPacked, "mlp_ratio": 5.375, "act_layer": torch.nn.SiLU}
    models: dict[str, tuple[Any, dict[str, Any], Any]] = {
        "vit_base_patch16_224": (VisionTransformer, shape, imagenet),
        "deit_base_distilled_patch16_224": (VisionTransformerDistilled, shape, imagenet),
        "beit_base_patch16_224": (Beit, {**relative, "use_rel_pos_bias": True}, half),
        "beitv2_base_patch16_224": (
            Beit,
            {**relative, "use_shared_rel_pos_bias": True, "global_pool": "token"},
            imagenet,
        ),
        "vit_base_patch14_dinov2": (VisionTransformer, {**shape, "init_values": 1e-5}, imagenet),
        "vit_base_patch14_reg4_dinov2": (
            VisionTransformer,
            {**shape, "init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True},
            imagenet,
        ),
        "vit_giant_patch14_dinov2": (VisionTransformer, {**shape, "init_values": 1e-5, **gated}, imagenet),
        "vit_base_patch16_dinov3": (Eva, dinov3, imagenet),
        "vit_base_patch16_dinov3_qkvb": (Eva, {**dinov3, "qkv_bias": True}, imagenet),
        "vit_huge_plus_patch16_dinov3": (
            Eva,
            {**dinov3, "swiglu_mlp": True, "swiglu_align_to": 8, "mlp_ratio": 3},
            imagenet,
        ),
    }
    tensors: dict[str, torch.Tensor] = {}
    described: dict[str, dict[str, Any]] = {}
    for name, (kind, options, (mean, std)) in models.items():
        for crop in (NATIVE, LARGER):
            if crop == LARGER and "beit" in name:  # each library has a way of its own for relative positions
                continue
            model = kind(img_size=crop, **options).eval()
            native = kind(img_size=NATIVE, **options).state_dict()
            shapes = {key: list(value.shape) for key, value in native.items() if value.is_floating_point()}
            weights = {key: drawn(key, shape) for key, shape in shapes.items()}
            if "pos_embed" in weights:
                weights["pos_embed"] = _resampled(weights["pos_embed"], crop // PATCH, registers="reg4" in name)
            model.load_state_dict(weights, strict=False)
            if "dinov3" in name:  # Meta's are rounded
                model.rope.periods.copy_(model.rope.periods.bfloat16())
                model.rope._cache_embed([crop // PATCH, crop // PATCH])
            pixels = (image(crop).float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
            with torch.inference_mode():
                layers = model.forward_intermediates(
                    pixels,
                    indices=list(range(DEPTH)),
                    norm=True,
                    return_prefix_tokens=True,
                    output_fmt="NLC",
                    intermediates_only=True,
                )
            patches = torch.stack([projected(F.normalize(tokens, dim=-1)) for tokens, _ in layers], dim=1)
            cls = projected(F.normalize(layers[-1][1][:, 0], dim=-1))
            tensors |= {f"{name} {crop} cls": cls, f"{name} {crop} patches": patches}
            described[name] = {"architecture": name, "mean": mean, "std": std, "shapes": shapes}
    save_file(tensors, RECORDED, {"models": json.dumps(described)})


def _resampled(positions: torch.Tensor, side: int, registers: bool) -> torch.Tensor:
    """Position embeddings (1, special + cells, width) for another grid.

    As `interpolate_pos_encoding` of facebookresearch/dino and of facebookresearch/dinov2, whose models are made with
    interpolate_offset=0.1 and interpolate_antialias=False, but those with registers with 0.0 and True.
    """
    cells = (NATIVE // PATCH) ** 2
    special, grid = positions[:, :-cells], positions[:, -cells:]
    grid = grid.reshape(1, NATIVE // PATCH, NATIVE // PATCH, -1).permute(0, 3, 1, 2)
    if side != NATIVE // PATCH:
        scale = (side + (0.0 if registers else 0.1)) / (NATIVE // PATCH)
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", antialias=registers)
    return torch.cat([special, grid.flatten(2).transpose(1, 2)], dim=1)


if __name__ == "__main__":
    record()
