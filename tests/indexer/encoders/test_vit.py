"""Vision transformers of every supported kind, tiny and random, against what their own blocks give."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
import transformers
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from torch import nn
from torch.nn import functional as F

from indexer.domain.errors import EncoderError
from indexer.encoders import Encoder, EncoderSettings, Features, FeatureSpace, InputGeometry, load_encoder
from indexer.encoders.checkpoints import load_checkpoint
from indexer.encoders.checkpoints.dinov3 import set_periods
from indexer.encoders.position_embeddings import resize_positions
from indexer.encoders.vit import IMAGENET_MEAN, IMAGENET_STD, choose_layers
from tests.helpers.commands import run_in
from tests.helpers.forked import ForkedProcess

WIDTH, DEPTH, PATCH = 32, 4, 8
CROP = 48
SETTINGS = EncoderSettings(layers=(1, 2, 4), resize=56, crop=CROP, device="cpu")

SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": PATCH,
    # Not the crop: position embeddings have to be interpolated.
    "image_size": 32,
}


@dataclass(frozen=True)
class Kind:
    """An architecture: a tiny model of it, the tokens before its first patch, where its blocks and its norm are."""

    name: str
    build: Callable[[], Any]
    prefix: int
    blocks: str
    norm: str


def dinov2(**options: Any) -> Any:
    shape = {name: value for name, value in SHAPE.items() if name != "intermediate_size"}
    return transformers.Dinov2Model(transformers.Dinov2Config(**shape, mlp_ratio=2, **options))


def dinov2_with_registers() -> Any:
    shape = {name: value for name, value in SHAPE.items() if name != "intermediate_size"}
    config = transformers.Dinov2WithRegistersConfig(**shape, mlp_ratio=2, num_register_tokens=3)
    return transformers.Dinov2WithRegistersModel(config)


def dinov3(**options: Any) -> Any:
    return transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SHAPE, **options))


KINDS = [
    Kind("ViT and DINO", lambda: transformers.ViTModel(transformers.ViTConfig(**SHAPE)), 1, "layers", "layernorm"),
    Kind("DeiT", lambda: transformers.DeiTModel(transformers.DeiTConfig(**SHAPE)), 2, "layers", "layernorm"),
    Kind("DINOv2", dinov2, 1, "encoder.layer", "layernorm"),
    Kind("DINOv2, SwiGLU", lambda: dinov2(use_swiglu_ffn=True), 1, "encoder.layer", "layernorm"),
    Kind("DINOv2 with registers", dinov2_with_registers, 4, "encoder.layer", "layernorm"),
    Kind("DINOv3", lambda: dinov3(num_register_tokens=4), 5, "model.layer", "norm"),
    Kind(
        "DINOv3, gated",
        lambda: dinov3(num_register_tokens=2, use_gated_mlp=True, hidden_act="silu"),
        3,
        "model.layer",
        "norm",
    ),
    Kind("DINOv3 without registers", dinov3, 1, "model.layer", "norm"),
]
VIT, DINOV3 = KINDS[0], KINDS[5]


def randomised(model: Any, seed: int = 0) -> Any:
    """Every weight away from its start, or a norm applied twice or a token left in would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved tiny model of each kind."""
    root = tmp_path_factory.mktemp("models")
    saved = {}
    for index, kind in enumerate(KINDS):
        torch.manual_seed(0)
        saved[kind.name] = root / str(index)
        randomised(kind.build()).save_pretrained(saved[kind.name])
    return saved


def load(folder: Path, **changes: Any) -> Encoder:
    return load_encoder(replace(SETTINGS, model=str(folder), **changes))


def images(count: int = 2, crop: int = CROP, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, crop, crop), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def expected(
    folder: Path,
    kind: Kind,
    batch: torch.Tensor,
    layers: Sequence[int],
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Features:
    """Straight from the blocks of the model, by hooks, and the final norm once."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    if kind.norm == "norm":
        set_periods(model)  # transformers computes them in float32, Meta in bfloat16
    rows = batch.shape[-1] // PATCH
    resize_positions(model, (rows, rows))  # what they become is held to the authors' in test_checkpoints.py
    outputs: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        outputs.append(output if isinstance(output, torch.Tensor) else output[0])

    for block in model.get_submodule(kind.blocks):
        block.register_forward_hook(keep)
    pixels = (batch.numpy() / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    interpolate = {"interpolate_pos_encoding": True} if kind.blocks == "layers" else {}
    with torch.no_grad():
        model(torch.from_numpy(pixels).float(), **interpolate)
        normed = [model.get_submodule(kind.norm)(output) for output in outputs]
    patches = torch.stack([normed[layer - 1][:, kind.prefix :] for layer in layers], dim=1)
    return Features(F.normalize(normed[-1][:, 0], dim=-1), F.normalize(patches, dim=-1), (0, 0))


def close(one: Features, other: Features, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(one.global_descriptors, other.global_descriptors, atol=tolerance, rtol=0)
    torch.testing.assert_close(one.patches, other.patches, atol=tolerance, rtol=0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("crop", [32, CROP])
def test_features_are_the_blocks_outputs_normed_exactly_once(folders: dict[str, Path], kind: Kind, crop: int) -> None:
    encoder = load(folders[kind.name], crop=crop)
    batch = images(crop=crop)
    features = encoder.encode(batch)
    close(features, expected(folders[kind.name], kind, batch, (1, 2, 4)))
    rows = crop // PATCH
    assert encoder.space.global_grid == (rows, rows)
    assert encoder.space.layers == ("layer 1", "layer 2", "layer 4")
    assert (encoder.space.dim, encoder.space.global_dim) == (WIDTH, WIDTH)
    assert features.patches.shape == (2, 3, rows * rows, WIDTH)
    assert features.global_descriptors.shape == (2, WIDTH)
    assert features.patches.dtype == features.global_descriptors.dtype == torch.float32
    torch.testing.assert_close(features.patches.norm(dim=-1), torch.ones(2, 3, rows * rows))
    torch.testing.assert_close(features.global_descriptors.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_constant_images_have_finite_features_of_length_one(folders: dict[str, Path], kind: Kind) -> None:
    batch = torch.stack([torch.full((3, CROP, CROP), value, dtype=torch.uint8) for value in (0, 128, 255)])
    features = load(folders[kind.name]).encode(batch)
    torch.testing.assert_close(features.patches.norm(dim=-1), torch.ones(features.patches.shape[:-1]))
    torch.testing.assert_close(features.global_descriptors.norm(dim=-1), torch.ones(3))


def test_an_image_has_the_same_features_alone_and_in_a_batch(folders: dict[str, Path]) -> None:
    encoder = load(folders[DINOV3.name])
    batch = images(5)
    together = encoder.encode(batch)
    for index in range(5):
        close(encoder.encode(batch[index : index + 1]), together.item(index), 2e-6)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_float32_features_near_the_full_ones(
    folders: dict[str, Path], kind: Kind, dtype: str
) -> None:
    features = load(folders[kind.name], dtype=dtype).encode(images())
    full = load(folders[kind.name]).encode(images())
    assert features.patches.dtype == features.global_descriptors.dtype == torch.float32
    similarity = (features.patches * full.patches).sum(dim=-1)
    assert similarity.min() > (0.995 if dtype == "bfloat16" else 0.9999)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside torch
def test_a_compiled_encoder_sees_the_same_in_batches_of_any_size(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(model: Any, mode: str, dynamic: bool) -> Any:
        """Compiled but for its last step, generating machine code, which takes minutes on a CPU."""
        return compile_(model, backend="eager", dynamic=dynamic)

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", traced)
    plain, compiled = load(folders[DINOV3.name]), load(folders[DINOV3.name], compiled=True)
    assert compiled.space == plain.space
    batch = images(3)
    for count in (1, 3):  # 3 are filled up to 4
        features = compiled.encode(batch[:count])
        assert len(features) == count
        close(features, plain.encode(batch[:count]), 1e-4)


def test_mean_and_std_are_the_models_own_where_it_names_them(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[VIT.name], tmp_path / "vit"))
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean, "image_std": std}))
    own = load(folder)
    close(own.encode(images()), expected(folder, VIT, images(), (1, 2, 4), mean, std))
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "image_mean": mean}))
    none = load(folder)
    close(none.encode(images()), expected(folder, VIT, images(), (1, 2, 4), (0, 0, 0), (1, 1, 1)))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5], "image_std": [0.5]}))
    with pytest.raises(EncoderError, match="image_mean"):
        load(folder)
    fingerprints = {own.space.fingerprint, none.space.fingerprint, load(folders[VIT.name]).space.fingerprint}
    assert len(fingerprints) == 3


def test_the_fingerprint_names_what_features_depend_on_and_nothing_else(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = folders[DINOV3.name]
    first = load(folder).space.fingerprint
    assert len(bytes.fromhex(first)) == 32
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    assert load(moved).space.fingerprint == first
    others = [
        load(folder, layers=(1, 3, 4)),
        load(folder, crop=56),
        load(folder, resize=64),
        load(folder, dtype="bfloat16"),
        load(folders["DINOv3 without registers"]),
    ]
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        weight = model.model.layer[2].attention.q_proj.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    model.save_pretrained(moved)
    others.append(load(moved))
    config = json.loads((folder / "config.json").read_text())
    shutil.copy(folder / "model.safetensors", moved)
    (moved / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    others.append(load(moved))
    assert len({first, *(encoder.space.fingerprint for encoder in others)}) == len(others) + 1


def test_a_space_survives_its_json(folders: dict[str, Path]) -> None:
    space = load(folders[VIT.name]).space
    assert FeatureSpace.from_json(space.to_json()) == space
    assert space.encoder == folders[VIT.name].name  # the folder's name, not where it lies


def test_a_pooler_or_a_classifier_in_the_checkpoint_changes_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folders[VIT.name])
    bare = transformers.ViTModel(model.config, add_pooling_layer=False)
    bare.load_state_dict(model.state_dict(), strict=False)
    bare.save_pretrained(tmp_path / "bare")
    classifier = transformers.ViTForImageClassification(model.config)
    classifier.vit.load_state_dict(model.state_dict(), strict=False)
    classifier.save_pretrained(tmp_path / "classifier")
    encoders = [load(folders[VIT.name]), load(tmp_path / "bare"), load(tmp_path / "classifier")]
    assert len({encoder.space.fingerprint for encoder in encoders}) == 1
    for encoder in encoders:
        close(encoder.encode(images()), encoders[0].encode(images()), 0)


@pytest.mark.parametrize(
    ("depth", "layers"),
    [
        (1, (1,)),
        (2, (2,)),
        (4, (2, 3, 4)),
        (6, (3, 4, 5, 6)),
        (12, (4, 7, 10, 12)),
        (24, (7, 13, 19, 24)),
        (40, (11, 21, 31, 40)),
    ],
)
def test_layers_left_open_are_spread_as_in_the_paper(depth: int, layers: tuple[int, ...]) -> None:
    assert choose_layers(depth) == layers


def test_layers_left_open_are_chosen_by_depth(folders: dict[str, Path]) -> None:
    assert load(folders[VIT.name], layers=None).space.layers == ("layer 2", "layer 3", "layer 4")


@pytest.mark.parametrize("layers", [(0, 1), (1, 5), (-1,), (), (2, 1), (2, 2)])
def test_layers_that_are_not_there_are_refused(folders: dict[str, Path], layers: tuple[int, ...]) -> None:
    with pytest.raises(EncoderError, match="layers") as refusal:
        load(folders[VIT.name], layers=layers)
    one_line(refusal.value)


def one_line(error: EncoderError) -> None:
    assert "\n" not in str(error)
    assert 10 < len(str(error)) < 300


def test_a_crop_between_patches_is_refused_with_one_that_fits(folders: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match=r"whole cells of 8: for example 40"):
        load(folders[VIT.name], crop=47)
    with pytest.raises(EncoderError, match="crop"):
        load(folders[VIT.name], crop=64)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_cuda_is_an_error(folders: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match="no CUDA device"):
        load(folders[VIT.name], device="cuda")
    assert load(folders[VIT.name], device="auto").device.type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "tpu:0", "meta", ""])
def test_an_unknown_device_is_refused(folders: dict[str, Path], device: str) -> None:
    with pytest.raises(EncoderError, match="device"):
        load(folders[VIT.name], device=device)


@pytest.mark.parametrize("name", ["./no/such/folder", "/no/such/folder", "~/no-such-folder", "a/b/c"])
def test_a_missing_folder_is_an_error_without_a_request_to_the_hub(name: str) -> None:
    with pytest.raises(EncoderError, match="no model folder"):
        load_encoder(replace(SETTINGS, model=name))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EncoderError, match="cannot be loaded") as refusal:
        load(tmp_path)
    one_line(refusal.value)


def test_weights_cut_short_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders[DINOV3.name], tmp_path / "cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(EncoderError, match="cannot be loaded") as refusal:
        load(folder)
    one_line(refusal.value)
    weights.unlink()
    with pytest.raises(EncoderError, match="cannot be loaded") as refusal:
        load(folder)
    one_line(refusal.value)


def test_weights_that_lack_a_tensor_are_refused_rather_than_filled_with_noise(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    model = transformers.AutoModel.from_pretrained(folders[DINOV3.name])
    weights = model.state_dict()
    del weights["model.layer.1.mlp.up_proj.weight"]
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(EncoderError, match=r"incomplete: 1 .*layer\.1\.mlp\.up_proj"):
        load(tmp_path)


def test_values_that_are_not_finite_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folders[VIT.name])
    with torch.no_grad():
        model.layers[1].mlp.fc1.weight.fill_(math.nan)
    model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="not finite in float32"):
        load(tmp_path)


def no_cls() -> list[Any]:
    """Models without what is needed: no CLS token, no patches at all."""
    swin = transformers.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2])
    text: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    return [
        transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SHAPE)),
        transformers.SwinModel(swin),
        transformers.ResNetModel(transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1])),
        transformers.BertModel(transformers.BertConfig(vocab_size=50, **text)),
    ]


@pytest.mark.parametrize("model", no_cls(), ids=lambda model: type(model).__name__)
def test_an_architecture_that_cannot_do_it_is_named_and_refused(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=type(model).__name__) as refusal:
        load(tmp_path)
    one_line(refusal.value)


def from_the_hub(error: type[HfHubHTTPError]) -> OSError:
    """What transformers raises when the hub answers so."""
    response: Any = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))
    wrapped = OSError("You are trying to access a gated repo.\nMake sure to have access to it.")
    wrapped.__cause__ = error("403", response=response)
    return wrapped


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (from_the_hub(GatedRepoError), r"gated: accept its licence on huggingface\.co/some/model and set HF_TOKEN"),
        (from_the_hub(RepositoryNotFoundError), "neither a folder here nor a model on the hub"),
        (OSError("We couldn't connect to 'https://huggingface.co'.\nCheck your connection."), "cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, error: OSError, words: str) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("indexer.encoders.vit.cached_file", refuse)
    with pytest.raises(EncoderError, match=words) as refusal:
        load_encoder(replace(SETTINGS, model="some/model"))
    one_line(refusal.value)


def test_without_a_network_a_hub_id_fails_at_once_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "parts/part").mkdir(parents=True)
    (tmp_path / "parts/part/one.png").write_bytes(b"")
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    errors = tmp_path / "errors"
    command = ("index", "parts", "--encoder", "facebook/dinov3-vitb16-pretrain-lvd1689m", "--data", "data")
    process = ForkedProcess(run_in, tmp_path, *command, environment=environment, errors=errors)
    assert process.wait(120) == 2
    [line] = errors.read_text().splitlines()
    assert line.startswith("touchstone: ")
    assert "the hub cannot be reached: give a local folder" in line


def test_the_built_in_encoder_does_without_transformers() -> None:
    script = (
        "import sys; from indexer.encoders import *\n"
        "load_encoder(EncoderSettings(resize=64, crop=64, device='cpu'))\n"
        "print('transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# Meta's checkpoints ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MetaShape:
    """A DINOv3 of Meta's, by what differs between the released ones."""

    name: str
    gated: bool = False
    registers: int = 4
    biased: bool = True
    key_bias: bool = False
    base: float = 100.0
    heads: int = 2


META = [
    MetaShape("mlp, as S, B and L"),
    MetaShape("SwiGLU, as S+ and H+", gated=True),
    MetaShape("no bias in attention, as 7B", gated=True, biased=False),
    MetaShape("no registers", registers=0),
    MetaShape("keys with a bias", key_bias=True),
    MetaShape("other periods", base=40.0),
    MetaShape("one head", heads=1),
]


def meta_weights(shape: MetaShape, seed: int = 0) -> dict[str, torch.Tensor]:
    """A random state dict with the names of the public release."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int, middle: float = 0.0) -> torch.Tensor:
        return torch.randn(size, generator=generator) * 0.2 + middle

    hidden = 48
    head = WIDTH // shape.heads
    weights = {
        "cls_token": draw(1, 1, WIDTH),
        "mask_token": draw(1, WIDTH),
        "patch_embed.proj.weight": draw(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": draw(WIDTH),
        "rope_embed.periods": shape.base ** (torch.arange(head // 4) * 4 / head),
        "norm.weight": draw(WIDTH, middle=1.0),
        "norm.bias": draw(WIDTH),
    }
    if shape.registers:
        weights["storage_tokens"] = draw(1, shape.registers, WIDTH)
    if not shape.biased:
        weights |= {"local_cls_norm.weight": draw(WIDTH), "local_cls_norm.bias": draw(WIDTH)}
    for index in range(DEPTH):
        block = {
            "norm1.weight": draw(WIDTH, middle=1.0),
            "norm1.bias": draw(WIDTH),
            "attn.qkv.weight": draw(3 * WIDTH, WIDTH),
            "attn.proj.weight": draw(WIDTH, WIDTH),
            "attn.proj.bias": draw(WIDTH),
            "ls1.gamma": draw(WIDTH, middle=0.5),
            "norm2.weight": draw(WIDTH, middle=1.0),
            "norm2.bias": draw(WIDTH),
            "ls2.gamma": draw(WIDTH, middle=0.5),
        }
        if shape.biased:
            block["attn.qkv.bias"] = draw(3 * WIDTH)
            if not shape.key_bias:
                mask = torch.ones(3 * WIDTH)
                mask[WIDTH : 2 * WIDTH] = 0
                block["attn.qkv.bias_mask"] = mask
        sizes = {"fc1": (hidden, WIDTH), "fc2": (WIDTH, hidden)}
        if shape.gated:
            sizes = {"w1": (hidden, WIDTH), "w2": (hidden, WIDTH), "w3": (WIDTH, hidden)}
        for name, size in sizes.items():
            block[f"mlp.{name}.weight"] = draw(*size)
            block[f"mlp.{name}.bias"] = draw(size[0])
        weights |= {f"blocks.{index}.{name}": tensor for name, tensor in block.items()}
    return weights


def meta_forward(weights: dict[str, torch.Tensor], shape: MetaShape, batch: torch.Tensor) -> list[torch.Tensor]:
    """DINOv3 in float64 and plain words: the tokens (B, 1 + registers + cells, dim) after every block, normed."""
    w = {name: tensor.double() for name, tensor in weights.items()}
    mean, std = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = (batch.double() / 255 - mean) / std
    count, side, head = len(batch), batch.shape[-1] // PATCH, WIDTH // shape.heads
    grid = F.conv2d(pixels, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=PATCH)
    special = torch.cat([w["cls_token"], w.get("storage_tokens", torch.zeros(1, 0, WIDTH).double())], dim=1)
    tokens = torch.cat([special.expand(count, -1, -1), grid.flatten(2).transpose(1, 2)], dim=1)

    along = (torch.arange(side).double() + 0.5) / side * 2 - 1
    positions = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).reshape(-1, 2, 1)
    angles = (2 * math.pi * positions / w["rope_embed.periods"]).flatten(
        1
    )  # (cells, head / 2): row, then column angles
    turns = torch.polar(torch.ones_like(angles), angles)

    def turned(x: torch.Tensor) -> torch.Tensor:
        # A pair is value i and value i + head/2: one complex number, turned by its angle. Special tokens are not.
        patches = x[..., special.shape[1] :, :]
        pairs = torch.complex(patches[..., : head // 2], patches[..., head // 2 :]) * turns
        return torch.cat([x[..., : special.shape[1], :], torch.cat([pairs.real, pairs.imag], dim=-1)], dim=-2)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    layers = []
    for index in range(DEPTH):
        at = f"blocks.{index}."
        qkv = norm(tokens, f"{at}norm1") @ w[f"{at}attn.qkv.weight"].T
        if shape.biased:
            qkv = qkv + w[f"{at}attn.qkv.bias"] * w.get(f"{at}attn.qkv.bias_mask", 1)
        query, key, value = qkv.view(count, -1, 3, shape.heads, head).permute(2, 0, 3, 1, 4)
        attention = (turned(query) @ turned(key).transpose(-1, -2) / head**0.5).softmax(dim=-1)
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        tokens = tokens + linear(mixed, f"{at}attn.proj") * w[f"{at}ls1.gamma"]
        x = norm(tokens, f"{at}norm2")
        if shape.gated:
            x = linear(F.silu(linear(x, f"{at}mlp.w1")) * linear(x, f"{at}mlp.w2"), f"{at}mlp.w3")
        else:
            x = linear(F.gelu(linear(x, f"{at}mlp.fc1")), f"{at}mlp.fc2")
        tokens = tokens + x * w[f"{at}ls2.gamma"]
        layers.append(norm(tokens, "norm"))
    return layers


def save_meta(weights: object, folder: Path) -> Path:
    path = folder / "dinov3_tiny.pth"
    torch.save(weights, path)
    return path


@pytest.mark.parametrize("shape", META, ids=lambda shape: shape.name)
def test_metas_checkpoints_give_metas_features_in_every_layer(shape: MetaShape, tmp_path: Path) -> None:
    weights = meta_weights(shape)
    encoder = load(save_meta(weights, tmp_path), layers=(1, 2, 3, 4))
    layers = meta_forward(weights, shape, images())
    patches = torch.stack([layer[:, 1 + shape.registers :] for layer in layers], dim=1)
    truth = Features(F.normalize(layers[-1][:, 0], dim=-1).float(), F.normalize(patches, dim=-1).float(), (0, 0))
    close(encoder.encode(images()), truth, 3e-6)
    assert encoder.space.encoder == "dinov3_tiny"


def test_a_meta_checkpoint_and_its_transformers_folder_are_the_same_space(tmp_path: Path) -> None:
    weights = meta_weights(META[0])
    weights["rope_embed.periods"] = weights["rope_embed.periods"].bfloat16()  # as in Meta's own
    load_checkpoint(save_meta(weights, tmp_path)).save_pretrained(tmp_path / "folder")
    from_meta, from_folder = load(save_meta(weights, tmp_path)), load(tmp_path / "folder")
    assert from_meta.space.fingerprint == from_folder.space.fingerprint
    close(from_meta.encode(images()), from_folder.encode(images()), 0)


def test_a_masked_key_bias_may_hold_anything(tmp_path: Path) -> None:
    weights = meta_weights(META[0])
    clean = load(save_meta(weights, tmp_path)).encode(images())
    for index in range(DEPTH):
        weights[f"blocks.{index}.attn.qkv.bias"][WIDTH : 2 * WIDTH] = math.nan
    close(load(save_meta(weights, tmp_path)).encode(images()), clean, 0)


def test_a_half_precision_checkpoint_is_read(tmp_path: Path) -> None:
    weights = {name: tensor.bfloat16() for name, tensor in meta_weights(META[0]).items()}
    rounded = {name: tensor.float() for name, tensor in weights.items()}
    encoder = load(save_meta(weights, tmp_path), layers=(4,))
    layers = meta_forward(rounded, META[0], images())
    torch.testing.assert_close(
        encoder.encode(images()).patches[:, 0], F.normalize(layers[3][:, 5:], dim=-1).float(), atol=3e-6, rtol=0
    )


def without(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda weights: {key: tensor for key, tensor in weights.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("blocks.2.attn.proj.weight"), "1 tensors missing"),
        (without("norm.weight"), "1 tensors missing"),
        (without("patch_embed.proj.weight"), r"it has no patch_embed\.proj\.weight"),
        (without("rope_embed.periods"), r"it has no rope_embed\.periods"),
        (lambda weights: {**weights, "cls_norm.weight": torch.ones(WIDTH)}, r"unexpected tensor cls_norm\.weight"),
        (lambda weights: {**weights, "norm.weight": torch.ones(7)}, "do not fit together"),
        (lambda _weights: {"stages.0.weight": torch.ones(3)}, "not a vision transformer's checkpoint"),
        (lambda weights: {"others": weights}, "no state dict of tensors"),
        (lambda weights: {"model": {"step": 3}}, "no state dict of tensors"),
        (lambda weights: {**weights, "step": 3}, "no state dict of tensors"),
        (lambda weights: list(weights.values()), "no state dict of tensors"),
        (lambda _weights: {}, "no state dict of tensors"),
    ],
)
def test_a_checkpoint_that_is_something_else_is_refused(
    change: Callable[[dict[str, torch.Tensor]], object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match=words) as refusal:
        load(save_meta(change(meta_weights(META[0])), tmp_path))
    one_line(refusal.value)


def test_a_checkpoint_that_is_missing_cut_or_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no checkpoint file"):
        load(tmp_path / "none.pth")
    path = save_meta(meta_weights(META[0]), tmp_path)
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"not a checkpoint", bytes(5000)):
        path.write_bytes(data)
        with pytest.raises(EncoderError, match="not a readable checkpoint of tensors") as refusal:
            load(path)
        one_line(refusal.value)


class Opens:
    """A pickle that would run something when loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = save_meta({"cls_token": Opens(target)}, tmp_path)
    with pytest.raises(EncoderError):
        load(path)
    assert not target.exists()


def test_geometry_travels_into_the_space(folders: dict[str, Path]) -> None:
    assert load(folders[VIT.name]).space.global_geometry == InputGeometry.paper(56, CROP)
