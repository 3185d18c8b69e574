"""The built-in encoder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

from indexer.domain.errors import EncoderError
from indexer.encoders import EncoderSettings, InputGeometry, load_encoder
from indexer.encoders.builtin.convert import fold
from indexer.encoders.builtin.encoder import LAYER_VALUES, LAYERS, VARIANTS, WEIGHTS, BuiltinEncoder
from indexer.encoders.builtin.network import IMAGENET_MEAN, IMAGENET_STD, Blocks, VisionTransformer
from indexer.encoders.filterbank.synthetic_images import photograph, scene

CPU = torch.device("cpu")
HELD_PATCHES = [[-0.00085, 0.01224, 0.06157], [0.37005, 0.01075, -0.18403]]
HELD_GLOBALS = [0.01154, 0.06691, -0.01076, -0.07142]


@pytest.fixture(scope="module")
def encoder() -> BuiltinEncoder:
    return BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 96), CPU)


def views(seed: int, count: int, crop: int = 96, shift: float = 4.0) -> torch.Tensor:
    """Photographs of one drawn scene, uint8 (count, 3, crop, crop)."""
    rng = np.random.default_rng(seed)
    image = scene(rng, crop + 32)
    return torch.stack([torch.from_numpy(photograph(rng, image, crop, shift)).permute(2, 0, 1) for _ in range(count)])


@pytest.mark.parametrize(("model", "name"), [(None, "touchstone-builtin"), ("builtin-fine", "touchstone-builtin-fine")])
def test_nothing_configured_gives_the_built_in_encoder_and_its_finer_variant_is_a_setting_away(
    model: str | None, name: str
) -> None:
    settings = EncoderSettings(device="cpu") if model is None else EncoderSettings(model, device="cpu")
    space = load_encoder(settings).space
    assert (space.encoder, space.layers, space.global_grid, space.dim) == (name, LAYERS, (28, 28), LAYER_VALUES)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("crop", [16, 96, 112])
def test_features_have_the_announced_shape_and_unit_length(name: str, crop: int) -> None:
    encoder = BuiltinEncoder(EncoderSettings(name), InputGeometry.paper(128, crop), CPU)
    features, space = encoder.encode(views(0, 2, crop)), encoder.space
    assert space.global_grid == (crop // 16, crop // 16)
    assert features.patches.shape == (2, 2, math.prod(space.global_grid), space.dim)
    assert features.global_descriptors.shape == (2, space.global_dim)
    assert features.patches.dtype == features.global_descriptors.dtype == torch.float32
    torch.testing.assert_close(features.patches.norm(dim=-1), torch.ones(2, 2, math.prod(space.global_grid)))
    torch.testing.assert_close(features.global_descriptors.norm(dim=-1), torch.ones(2))


@pytest.mark.parametrize("value", [0, 255])
def test_a_blank_image_has_finite_features(encoder: BuiltinEncoder, value: int) -> None:
    features = encoder.encode(torch.full((1, 3, 96, 96), value, dtype=torch.uint8))
    assert torch.isfinite(features.patches).all()
    assert torch.isfinite(features.global_descriptors).all()


def test_an_answer_does_not_depend_on_the_batch(encoder: BuiltinEncoder) -> None:
    batch = views(1, 3)
    together, alone = encoder.encode(batch), encoder.encode(batch[1:2])
    assert torch.equal(together.patches[1:2], alone.patches)
    assert torch.equal(together.global_descriptors[1:2], alone.global_descriptors)


def test_a_crop_that_is_no_multiple_of_16_and_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="whole cells of 16"):
        BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 100), CPU)
    with pytest.raises(EncoderError, match=r"gone\.safetensors"):
        BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 96), CPU, tmp_path / "gone.safetensors")


@pytest.mark.parametrize("batch", [torch.zeros(1, 3, 96, 96), torch.zeros(1, 3, 80, 90, dtype=torch.uint8)])
def test_images_that_were_not_prepared_are_refused(encoder: BuiltinEncoder, batch: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        encoder.encode(batch)


def test_the_fingerprint_tells_variants_geometries_and_weights_apart(encoder: BuiltinEncoder, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    stored = bytearray(WEIGHTS.read_bytes())
    stored[-1] ^= 1
    other.write_bytes(stored)
    prints = [
        encoder.space.fingerprint,
        BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 112), CPU).space.fingerprint,
        BuiltinEncoder(EncoderSettings("builtin-fine"), InputGeometry.paper(128, 96), CPU).space.fingerprint,
        BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 96), CPU, other).space.fingerprint,
    ]
    assert len(set(prints)) == 4
    assert BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 96), CPU).space.fingerprint == prints[0]


def test_features_are_those_that_stored_memories_hold(encoder: BuiltinEncoder) -> None:
    # A change of the arithmetic that moves these figures must raise `_REVISION`; other weights bring their own.
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    image = torch.stack([(x * x + 3 * y) % 251, (x * y // 7) % 239, (2 * x + y * y // 5) % 227])[None]
    features = encoder.encode(image.to(torch.uint8))
    torch.testing.assert_close(features.patches[0, :, 14, :3], torch.tensor(HELD_PATCHES), atol=2e-4, rtol=0)
    held = features.global_descriptors[0, [0, 1, 124, 125]]
    torch.testing.assert_close(held, torch.tensor(HELD_GLOBALS), atol=2e-4, rtol=0)


def test_a_small_mark_raises_the_distance_of_its_patch_most(encoder: BuiltinEncoder) -> None:
    clean = torch.full((1, 3, 96, 96), 120, dtype=torch.uint8)
    clean[:, :, ::8] = 150
    marked = clean.clone()
    marked[:, :, 52:57, 36:42] = 20  # inside row 3, column 2
    similarity = (encoder.encode(clean).patches * encoder.encode(marked).patches).sum(-1)  # (1, layers, cells)
    assert similarity.mean(1).argmin() == 3 * 6 + 2


def test_global_descriptors_tell_scenes_apart() -> None:
    encoder = BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(224, 192), CPU)
    batch = torch.cat([views(seed, 3, 192) for seed in range(20, 32)])
    global_descriptors = encoder.encode(batch).global_descriptors
    similarity = (global_descriptors @ global_descriptors.T).fill_diagonal_(-2)
    assert torch.equal(similarity.argmax(1) // 3, torch.arange(len(batch)) // 3)


def test_the_folded_network_computes_what_transformers_does(tmp_path: Path) -> None:
    state = random_state(2)
    config = Dinov2Config(hidden_size=384, num_hidden_layers=2, num_attention_heads=6, patch_size=14, image_size=518)
    config.architectures = ["Dinov2Model"]
    config.save_pretrained(tmp_path)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = Dinov2Model.from_pretrained(tmp_path).eval()
    image = views(3, 1, 112)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.inference_mode():
        expected = model(pixel_values=(image.float() / 255 - mean) / std).last_hidden_state[0]
    weights = fold(state, 2)
    folded = VisionTransformer(weights, Blocks(weights, 2), CPU)(image, (8, 8))
    similarity = F.cosine_similarity(torch.cat([folded.cls, folded.patches[0]]), expected, dim=-1)
    assert similarity.min() > 0.999  # the matrices are rounded to int8


def random_state(blocks: int) -> dict[str, torch.Tensor]:
    """Random weights by the names that the package's file has, which are those of transformers' files."""
    random = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, 384),
        "embeddings.mask_token": (1, 384),
        "embeddings.position_embeddings": (1, 1 + 37 * 37, 384),
        "embeddings.patch_embeddings.projection.weight": (384, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": (384,),
        "layernorm.weight": (384,),
        "layernorm.bias": (384,),
    }
    products = {
        "attention.attention.query": (384, 384),
        "attention.attention.key": (384, 384),
        "attention.attention.value": (384, 384),
        "attention.output.dense": (384, 384),
        "mlp.fc1": (1536, 384),
        "mlp.fc2": (384, 1536),
    }
    for block in (f"encoder.layer.{index}." for index in range(blocks)):
        for name, shape in products.items():
            shapes |= {f"{block}{name}.weight": shape, f"{block}{name}.bias": shape[:1]}
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}{norm}.weight": (384,), f"{block}{norm}.bias": (384,)}
        shapes |= {f"{block}layer_scale{which}.lambda1": (384,) for which in (1, 2)}
    return {
        name: torch.randn(shape, generator=random) * 0.05 + (1.0 if "norm" in name or "scale" in name else 0.0)
        for name, shape in shapes.items()
    }


def test_the_shipped_weights_are_small_finite_and_say_where_they_come_from() -> None:
    assert WEIGHTS.stat().st_size < 20_000_000
    assert all(torch.isfinite(values.float()).all() for values in load_file(WEIGHTS).values())
    with safe_open(WEIGHTS, "pt") as file:
        source = json.loads(file.metadata()["source"])
    card = WEIGHTS.with_name("MODEL_CARD.md").read_text()
    assert source["package"] in card
    assert source["sha256"] in card


def test_the_network_gives_several_images_what_it_gives_each_alone() -> None:
    weights = fold(random_state(2), 2)
    network = VisionTransformer(weights, Blocks(weights, 2), CPU)
    batch = views(9, 3, 112)
    together = network(batch, (8, 8))
    for index in range(3):
        alone = network(batch[index : index + 1], (8, 8))
        torch.testing.assert_close(together.patches[index], alone.patches[0])
        torch.testing.assert_close(together.cls[index], alone.cls[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_and_cpu_agree(encoder: BuiltinEncoder) -> None:
    batch = views(5, 2)
    there = BuiltinEncoder(EncoderSettings("builtin"), InputGeometry.paper(128, 96), torch.device("cuda")).encode(batch)
    torch.testing.assert_close(there.patches.cpu(), encoder.encode(batch).patches, atol=5e-3, rtol=0)
