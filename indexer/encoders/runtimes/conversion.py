"""Writes a torch network as ONNX, which both runtimes read."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from indexer.domain.errors import EncoderError

FILE = "network.onnx"
_EXPORTER = logging.getLogger("torch.onnx")


@dataclass(frozen=True)
class Network:
    """A network to convert: float32 tensors in, one or a tuple of them out.

    example: inputs for one image. varying: of each input the axis whose length is another for images of another size.
    """

    module: nn.Module
    example: tuple[torch.Tensor, ...]
    varying: tuple[int, ...]


def export(network: Network, folder: Path) -> None:
    """Write `FILE` into a folder, weights beside it. EncoderError where the exporter is missing or does not know it."""
    sizes = tuple({axis: torch.export.Dim.AUTO} for axis in network.varying)
    level = _EXPORTER.level
    _EXPORTER.setLevel(logging.ERROR)  # it names every operation of torchvision that it does without
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # what it deprecates of its own
            torch.onnx.export(
                network.module,
                network.example,
                folder / FILE,
                dynamo=True,
                dynamic_shapes=sizes,
                external_data=True,
                verbose=False,
            )
    except ImportError as error:
        raise EncoderError(
            f"converting an encoder takes a package more ({error}): pip install 'touchstone[openvino]'"
        ) from error
    except torch.onnx.OnnxExporterError as error:
        raise EncoderError(
            f"this encoder cannot be converted to ONNX ({_first_line(error)}): leave TOUCHSTONE_RUNTIME unset"
        ) from error
    finally:
        _EXPORTER.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
