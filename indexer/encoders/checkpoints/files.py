"""From a checkpoint file to its weights: what they are wrapped in differs from project to project."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from indexer.domain.errors import EncoderError
from indexer.encoders.checkpoints.weights import Weights

_WRAPPED = ("model", "state_dict", "teacher", "module")  # by DeiT, MAE and BEiT; iBOT and MoCo v3; DINO; BEiT v2
_MOCO = "module.base_encoder."
_PREFIXES = ("", "module.", "backbone.", "module.backbone.", _MOCO)
_ANCHOR = "patch_embed.proj.weight"


def read_checkpoint(path: Path) -> Weights:
    """The encoder's weights in a torch or safetensors file, under its authors' names. EncoderError."""
    if not path.is_file():
        raise EncoderError(f"no checkpoint file {path}")
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, UnpicklingError, SafetensorError) as error:
        raise EncoderError(f"{path.name} is not a readable checkpoint of tensors, or is cut short") from error
    try:
        return unwrapped(stored)
    except EncoderError as error:
        raise EncoderError(f"{path.name}: {error}") from error


def unwrapped(stored: object) -> Weights:
    """The flat state dict inside a file's content. EncoderError when there is none."""
    while isinstance(stored, Mapping) and not any(isinstance(value, torch.Tensor) for value in stored.values()):
        inner = next((stored[name] for name in _WRAPPED if isinstance(stored.get(name), Mapping)), None)
        if inner is None:
            break
        stored = inner
    if not isinstance(stored, Mapping) or not stored:
        raise EncoderError("it holds no state dict of tensors")
    prefix = next((candidate for candidate in _PREFIXES if candidate + _ANCHOR in stored), "")
    tensors = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    if not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise EncoderError("it holds no state dict of tensors")
    # MoCo v3's ViT-S is the one published model of its width with other than 64 values a head.
    moco_small = prefix == _MOCO and tensors[_ANCHOR].shape[0] == 384
    return Weights(tensors, heads=12 if moco_small else None)


def _unpickled(path: Path) -> object:
    # weights_only: a checkpoint is data from elsewhere and must not run code. Several store their command line.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)
