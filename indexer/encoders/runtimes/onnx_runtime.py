"""ONNX Runtime: float32 or int8 on a CPU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from indexer.domain.errors import EncoderError
from indexer.encoders.base import EncoderSettings
from indexer.encoders.runtimes.conversion import FILE
from indexer.encoders.runtimes.stored_network import stored_network

_REVISION = 1  # of how a network is quantised


class OnnxRuntime:
    """Loads networks for the CPU."""

    def __init__(self, settings: EncoderSettings) -> None:
        """EncoderError for another device."""
        if settings.device not in ("auto", "cpu"):
            raise EncoderError(f"onnxruntime runs on the CPU here, not on {settings.device!r}: choose auto or cpu")
        self._quantised = settings.dtype == "int8"

    def load(self, network: Path, keep: Path | None) -> _Session:
        """See `Runtime.load`."""
        with ExitStack() as stack:
            if self._quantised:
                name = f"{network.name}-onnxruntime-int8-{_REVISION}"
                network = stack.enter_context(stored_network(keep, name, partial(_quantise, network)))
            return _Session(network / FILE)


def _quantise(network: Path, folder: Path) -> None:
    """Write a network with weights as int8, a scale for each output; values are rounded as they come.

    Nothing is fitted to images, so features of one encoder are comparable whatever it has seen.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to prepare the network, which the exporter has done
    try:
        quantize_dynamic(
            network / FILE,
            folder / FILE,
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=True,
        )
    finally:
        root.setLevel(level)


class _Session:
    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self._names = [model_input.name for model_input in self._session.get_inputs()]

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        values = {name: tensor.contiguous().numpy() for name, tensor in zip(self._names, inputs, strict=True)}
        return [torch.from_numpy(output) for output in self._session.run(None, values)]


def create(settings: EncoderSettings) -> OnnxRuntime:
    """The runtime. EncoderError as its constructor."""
    return OnnxRuntime(settings)
