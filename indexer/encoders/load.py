"""Loads the encoder that settings name, onto the device that they name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from indexer.domain.errors import EncoderError, GeometryError
from indexer.domain.geometry import InputGeometry
from indexer.encoders.base import Encoder, EncoderSettings
from indexer.encoders.builtin.encoder import VARIANTS, BuiltinEncoder
from indexer.encoders.filterbank.encoder import FilterBankEncoder
from indexer.encoders.runtimes import check_precision
from indexer.hub.names import CHECKPOINT_SUFFIXES

BUILTIN = "builtin"
FILTER_BANK = "filterbank"


def load_encoder(settings: EncoderSettings) -> Encoder:
    """Load what the settings name. EncoderError, one line, when it cannot be loaded."""
    check_precision(settings)
    ported = settings.runtime != "torch"
    if ported and settings.compiled:
        raise EncoderError(
            f"only torch's encoders are compiled, not {settings.runtime}'s: leave TOUCHSTONE_COMPILE_ENCODER unset"
        )
    device = torch.device("cpu") if ported else choose_device(settings.device)
    try:
        geometry = InputGeometry.paper(settings.resize, settings.crop)
    except GeometryError as error:
        raise EncoderError(str(error)) from error
    if settings.model == FILTER_BANK:
        if ported:
            raise EncoderError("filterbank has no network to run elsewhere: leave TOUCHSTONE_RUNTIME unset")
        return FilterBankEncoder(geometry, device)
    if settings.model in VARIANTS:
        return BuiltinEncoder(settings, geometry, device)
    # transformers takes seconds to import: the encoders that ship with the product do without.
    try:
        from indexer.encoders.checkpoints import load_checkpoint
        from indexer.encoders.ported_vit import PortedVit
        from indexer.encoders.vit import VitEncoder
    except (ImportError, RuntimeError) as error:
        raise EncoderError(_why_not_imported(error)) from error

    in_torch = replace(settings, dtype="float32") if ported else settings
    if Path(settings.model).suffix in CHECKPOINT_SUFFIXES:
        vit = VitEncoder(load_checkpoint(Path(settings.model)), in_torch, geometry, device)
    else:
        vit = VitEncoder.pretrained(in_torch, geometry, device)
    return PortedVit(vit, settings) if ported else vit


def _why_not_imported(error: BaseException) -> str:
    """transformers imports torchvision if installed, and a build for another torch fails with an obscure error."""
    cause = error
    while (earlier := cause.__cause__ or cause.__context__) is not None:
        cause = earlier
    reason = f"transformers cannot be imported: {str(cause).partition(chr(10))[0]}"
    if "torchvision" not in str(cause):
        return reason
    return f"{reason}: the torchvision here was made for another torch; remove it (pip uninstall torchvision)"


def choose_device(name: str) -> torch.device:
    """The torch device a setting names; `auto` is CUDA when there is one. EncoderError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EncoderError(f"unknown device {name!r}: choose auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EncoderError("device 'cuda' was requested, but torch finds no CUDA device here: choose auto or cpu")
    if device.type not in ("cpu", "cuda"):
        raise EncoderError(f"device {name!r} is not supported: choose auto, cpu, cuda or cuda:N")
    return device
