"""OpenVINO: float32, bfloat16 or int8 on a CPU; on its GPUs and NPUs by name, which nobody has tried."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import torch
from openvino import opset13

from indexer.domain.errors import EncoderError
from indexer.encoders.base import EncoderSettings
from indexer.encoders.runtimes.conversion import FILE

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}  # int8: of what is no product of matrices
_GROUP = 64  # values of a token that share a scale where products are int8
_LEVELS = 127


class OpenVino:
    """Compiles networks for one device of OpenVINO's."""

    def __init__(self, settings: EncoderSettings) -> None:
        """EncoderError where there is no such device, or it does not compute at that precision."""
        self._core = openvino.Core()
        self._device = "CPU" if settings.device in ("auto", "cpu") else settings.device
        if self._device.split(".")[0] not in {name.split(".")[0] for name in self._core.available_devices}:
            there = ", ".join(self._core.available_devices)
            raise EncoderError(f"OpenVINO finds no device {settings.device!r} here, only {there}: choose auto")
        self._dtype = settings.dtype
        if self._dtype == "bfloat16":
            offered = self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES")
            if "BF16" not in offered:
                raise EncoderError("this device has no bfloat16: choose TOUCHSTONE_DTYPE=float32 or int8")

    def load(self, network: Path, keep: Path | None) -> _Compiled:
        """See `Runtime.load`; nothing of it takes long enough to be kept."""
        model = self._core.read_model(network / FILE)
        properties = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self._dtype],  # left open, it is bfloat16 where there is some
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self._device == "CPU":
            properties["INFERENCE_NUM_THREADS"] = str(torch.get_num_threads())
            properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(_GROUP if self._dtype == "int8" else 0)
        if self._dtype == "int8":
            _compress(model)
        try:
            return _Compiled(self._core.compile_model(model, self._device, properties))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EncoderError(f"OpenVINO cannot compile the encoder for {self._device}: {reason}") from error


class _Compiled:
    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._request = compiled.create_infer_request()
        self._turn = threading.Lock()  # a request holds one answer

    def __call__(self, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with self._turn:
            outputs = self._request.infer([tensor.contiguous().numpy() for tensor in inputs], share_inputs=True)
        return [torch.from_numpy(values) for values in outputs.to_tuple()]


def _compress(model: openvino.Model) -> None:
    """Weights of products as int8, with a scale for each output: then a CPU rounds tokens to int8 as they come.

    Nothing is fitted to images, so features of one encoder are comparable whatever it has seen.
    """
    for product in model.get_ordered_ops():
        if product.get_type_name() != "MatMul":
            continue
        weights = product.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or len(weights.get_output_shape(0)) != 2:
            continue
        values = weights.data
        inputs = 1 if product.get_attributes()["transpose_b"] else 0
        scales = np.maximum(np.abs(values).max(axis=inputs, keepdims=True), 1e-12).astype(np.float32) / _LEVELS
        levels = opset13.constant(np.round(values / scales).astype(np.int8))
        restored = opset13.multiply(opset13.convert(levels, "f32"), opset13.constant(scales))
        product.input(1).replace_source_output(restored.output(0))


def create(settings: EncoderSettings) -> OpenVino:
    """The runtime. EncoderError as its constructor."""
    return OpenVino(settings)
