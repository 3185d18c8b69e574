"""Models that timm publishes, from its hub repositories or folders of the same files, without timm itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import DINOv3ViTModel, PreTrainedModel

from indexer.domain.errors import EncoderError
from indexer.encoders.checkpoints import model_of
from indexer.encoders.checkpoints.files import read_checkpoint
from indexer.hub.names import CONFIG, WEIGHTS


def is_timm(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is one of timm's: it names an architecture where transformers names a model type."""
    return "architecture" in config and "model_type" not in config


def load_timm(folder: Path) -> tuple[PreTrainedModel, tuple[float, ...], tuple[float, ...]]:
    """The model in a folder with timm's config.json and weights, and its mean and std. EncoderError."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    mean, std = (tuple(config.get("pretrained_cfg", {}).get(name, ())) for name in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise EncoderError(f"unusable mean {mean} or std {std} in {folder / CONFIG}")
    model = model_of(read_checkpoint(folder / WEIGHTS))
    if isinstance(model, DINOv3ViTModel) and "dinov3" not in config["architecture"]:
        raise EncoderError(f"timm's {config['architecture']} is not supported: it has other position embeddings")
    return model, mean, std
