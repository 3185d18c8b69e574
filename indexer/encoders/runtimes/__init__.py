"""Runtimes that carry out a transformer's blocks in torch's stead: OpenVINO and ONNX Runtime."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import torch
from torch.nn import functional as F

from indexer.domain.errors import EncoderError
from indexer.encoders.base import Dtype, EncoderSettings, FeatureSpace, RuntimeName
from indexer.encoders.runtimes.conversion import Network, export
from indexer.encoders.runtimes.stored_network import stored_network

Run = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]  # float32 inputs → float32 outputs

PRECISIONS: Mapping[RuntimeName, tuple[Dtype, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "openvino": ("float32", "bfloat16", "int8"),
    "onnxruntime": ("float32", "int8"),
}
_MODULES: Mapping[RuntimeName, str] = {"openvino": "openvino_runtime", "onnxruntime": "onnx_runtime"}
_REVISION = 1  # of the conversion and of how int8 is computed: raise it when features change
# What a converted network may differ by from torch's, as 1 − cosine of a token: rounding, or else another network.
_TOLERANCES: Mapping[Dtype, float] = {"float32": 1e-6, "bfloat16": 0.01, "int8": 0.05}


class Runtime(Protocol):
    """Loads networks that `export` wrote."""

    def load(self, network: Path, keep: Path | None) -> Run:
        """The network in a folder, ready to run; keep: where forms of it that take long to make may be stored."""
        ...


def check_precision(settings: EncoderSettings) -> None:
    """EncoderError where the runtime does not compute at the precision asked for."""
    offered = PRECISIONS[settings.runtime]
    if settings.dtype in offered:
        return
    others = [name for name, precisions in PRECISIONS.items() if settings.dtype in precisions]
    raise EncoderError(
        f"the runtime {settings.runtime} does not compute in {settings.dtype}: choose {_either(offered)}, or "
        f"TOUCHSTONE_RUNTIME={_either(others)}"
    )


def in_runtime(space: FeatureSpace, settings: EncoderSettings) -> FeatureSpace:
    """The feature space of an encoder whose blocks another runtime carries out; space: with torch, in float32.

    In float32 it is the same. Below that, features are rounded otherwise by each runtime: a space of its own.
    """
    if settings.runtime == "torch" or settings.dtype == "float32":
        return space
    facts = json.dumps([space.fingerprint, settings.runtime, settings.dtype, _REVISION])
    return replace(
        space,
        encoder=f"{space.encoder} ({settings.runtime}, {settings.dtype})",
        fingerprint=hashlib.sha256(facts.encode()).hexdigest(),
    )


def convert(settings: EncoderSettings, fingerprint: str, build: Callable[[], Network]) -> Run:
    """Have a runtime carry out a network, which is converted the first time and then read from `settings.converted`.

    fingerprint: of the encoder in float32; what was converted is kept under it. EncoderError in one line when the
    runtime is not installed, or does not give what torch does.
    """
    runtime = _load_runtime(settings)

    def write(folder: Path) -> None:
        network = build()
        export(network, folder)
        _check(runtime.load(folder, None), network, settings)

    with stored_network(settings.converted, f"{fingerprint[:32]}-{_REVISION}", write) as folder:
        return runtime.load(folder, settings.converted)


def _load_runtime(settings: EncoderSettings) -> Runtime:
    name = settings.runtime
    try:
        module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    except ImportError as error:
        raise EncoderError(f"{name} is not installed ({error}): pip install 'touchstone[{name}]'") from error
    return cast(Runtime, module.create(settings))


@torch.inference_mode()
def _check(run: Run, network: Network, settings: EncoderSettings) -> None:
    output = network.module(*network.example)
    expected = (output,) if isinstance(output, torch.Tensor) else output
    for actual, reference in zip(run(network.example), expected, strict=True):
        distance = float((1 - F.cosine_similarity(actual.double(), reference.double(), dim=-1)).max())
        if not distance <= _TOLERANCES[settings.dtype]:
            raise EncoderError(
                f"{settings.runtime} in {settings.dtype} gives other features than torch for this encoder (1 − cosine "
                f"of {distance:.2g}): leave TOUCHSTONE_RUNTIME unset"
            )


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
