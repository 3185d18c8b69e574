"""Weights as they are published, in every wrapping, give what their own library gives."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file

from indexer.domain.errors import EncoderError
from indexer.encoders import Encoder, EncoderSettings, InputGeometry, load_encoder
from indexer.encoders.checkpoints.weights import Weights
from indexer.encoders.vit import VitEncoder
from tests.helpers.published import (
    DEPTH,
    LARGER,
    NATIVE,
    PATCH,
    WIDTH,
    image,
    projected,
    published,
    recorded,
)

MODELS = published()
PLAIN, DISTILLED, BEIT, BEIT_V2, DINOV2, REGISTERS, GIANT, DINOV3, QKVB, HUGE = MODELS
Tensors = dict[str, torch.Tensor]


def load(model: Path | str, crop: int = NATIVE, **changes: Any) -> Encoder:
    settings = EncoderSettings(str(model), tuple(range(1, DEPTH + 1)), crop, crop, "cpu")
    return load_encoder(replace(settings, **changes))


def check(encoder: Encoder, architecture: str, crop: int = NATIVE, tolerance: float = 2e-5) -> None:
    """The encoder's features are those that timm itself gave for these weights."""
    features = encoder.encode(image(crop))
    cls, patches = recorded(architecture, crop)
    assert encoder.space.global_grid == (crop // PATCH, crop // PATCH)
    torch.testing.assert_close(projected(features.patches), patches, atol=tolerance, rtol=0)
    torch.testing.assert_close(projected(features.global_descriptors), cls, atol=tolerance, rtol=0)


@pytest.mark.parametrize("architecture", MODELS)
def test_a_folder_as_timm_publishes_it_gives_timms_tokens(architecture: str, tmp_path: Path) -> None:
    check(load(MODELS[architecture].save(tmp_path / "model")), architecture)


@pytest.mark.parametrize("architecture", [model for model in MODELS if "beit" not in model])
def test_at_another_size_too(architecture: str, tmp_path: Path) -> None:
    check(load(MODELS[architecture].save(tmp_path / "model"), LARGER), architecture, LARGER)


def test_beit_at_another_size_has_a_grid_of_it(tmp_path: Path) -> None:
    encoder = load(MODELS[BEIT].save(tmp_path / "model"), LARGER)
    assert encoder.encode(image(LARGER)).patches.shape == (1, DEPTH, 36, WIDTH)


def test_means_and_deviations_are_timms(tmp_path: Path) -> None:
    folder = MODELS[PLAIN].save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AssertionError):
        check(load(folder), PLAIN)
    config["pretrained_cfg"] = {"mean": [0.5]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=r"unusable mean \(0\.5,\)"):
        load(folder)


def prefixed(weights: Tensors, prefix: str) -> Tensors:
    return {prefix + name: tensor for name, tensor in weights.items()}


def head(prefix: str = "") -> Tensors:
    return {f"{prefix}head.weight": torch.ones(3, WIDTH), f"{prefix}head.bias": torch.ones(3)}


def moco(weights: Tensors) -> object:
    others = {name: tensor + 1 for name, tensor in weights.items()}
    state = prefixed(weights, "module.base_encoder.") | prefixed(others, "module.momentum_encoder.")
    state |= {"module.base_encoder.head.0.weight": torch.ones(3, 3), "module.predictor.0.weight": torch.ones(3)}
    return {
        "epoch": 300,
        "arch": "vit_base",
        "state_dict": state,
        "optimizer": {"state": {0: {"step": 1}}},
        "scaler": {},
    }


def mae(weights: Tensors) -> object:
    decoder = {
        "mask_token": torch.ones(1, 1, 8),
        "decoder_pos_embed": torch.ones(1, 17, 8),
        "decoder_blocks.0.norm1.weight": torch.ones(8),
        "decoder_pred.bias": torch.ones(8),
    }
    return {"model": weights | decoder}


def meta_dinov2(weights: Tensors) -> object:
    names = {"reg_token": "register_tokens", "mlp.fc1": "mlp.w12", "mlp.fc2": "mlp.w3"}
    for old, new in names.items():
        weights = {name.replace(old, new): tensor for name, tensor in weights.items()}
    return weights | {"mask_token": torch.ones(1, WIDTH)}


WRAPPED: dict[str, tuple[str, str, Callable[[Tensors], object]]] = {
    "DeiT": ("deit_base_patch16_224-b5f2ef4d.pth", PLAIN, lambda weights: {"model": weights | head()}),
    "MAE": ("mae_pretrain_vit_base.pth", PLAIN, mae),
    "MoCo v3": ("vit-b-300ep.pth.tar", PLAIN, moco),
    "DINO": ("dino_vitbase16_pretrain.pth", PLAIN, lambda weights: weights),
    "DINO, all": (
        "checkpoint.pth",
        PLAIN,
        lambda weights: {
            "student": prefixed(weights, "module.backbone."),
            "epoch": 1,
            "args": argparse.Namespace(arch="vit_base"),
            "teacher": prefixed(weights, "backbone.") | {"head.mlp.0.weight": torch.ones(3)},
        },
    ),
    "iBOT": (
        "checkpoint_teacher.pth",
        PLAIN,
        lambda weights: {"state_dict": weights | {"masked_embed": torch.ones(1, WIDTH)} | head()},
    ),
    "BEiT": (
        "beit_base_patch16_224_pt22k_ft22k.pth",
        BEIT,
        lambda weights: {
            "model": weights | head() | {"blocks.0.attn.relative_position_index": torch.ones(17, 17, dtype=torch.long)}
        },
    ),
    "BEiT v2": ("beitv2.pth", BEIT_V2, lambda weights: {"module": weights | {"lm_head.weight": torch.ones(3)}}),
    "DINOv2": ("dinov2_vitb14_pretrain.pth", DINOV2, lambda weights: weights | {"mask_token": torch.ones(1, WIDTH)}),
    "DINOv2, gated": ("dinov2_vitg14_pretrain.pth", GIANT, meta_dinov2),
}


@pytest.mark.parametrize("project", WRAPPED)
def test_a_checkpoint_as_its_authors_publish_it_gives_the_same_tokens(project: str, tmp_path: Path) -> None:
    name, architecture, wrap = WRAPPED[project]
    torch.save(wrap(MODELS[architecture].weights()), tmp_path / name)
    model = MODELS[architecture]
    if model.mean[0] == 0.5:  # nothing in a checkpoint tells: it is given ImageNet's, as by the paper's program
        plain = load(model.save(tmp_path / "model"))
        published = load(tmp_path / name)
        assert plain.space.fingerprint != published.space.fingerprint
        assert torch.equal(published._mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))  # type: ignore[attr-defined]
        return
    encoder = load(tmp_path / name)
    check(encoder, architecture)
    assert encoder.space.encoder == name.removesuffix(".tar").removesuffix(".pth")


def test_the_same_weights_are_the_same_space_whatever_they_come_in(tmp_path: Path) -> None:
    weights = MODELS[PLAIN].weights()
    save_file(weights, tmp_path / "weights.safetensors")
    torch.save({"model": weights}, tmp_path / "weights.pth")
    spaces = [load(tmp_path / name).space for name in ("weights.safetensors", "weights.pth")]
    spaces.append(load(MODELS[PLAIN].save(tmp_path / "folder")).space)
    assert len({space.fingerprint for space in spaces}) == 1
    assert spaces[0].encoder == spaces[1].encoder == "weights"


def test_d_igpt_has_a_norm_without_scale_and_offset(tmp_path: Path) -> None:
    weights = MODELS[PLAIN].weights()
    bare = {name: tensor for name, tensor in weights.items() if not name.startswith("norm.")}
    torch.save(bare, tmp_path / "bare.pth")
    with pytest.raises(EncoderError, match="no final norm"):
        load(tmp_path / "bare.pth")
    pretrained = bare | {
        "ar_token": torch.ones(1, 1, 8),
        "kd_enc_norm.0.weight": torch.ones(WIDTH),
        "mask": torch.ones(4, 4),
        "decoder_pos_embed": torch.ones(1, 5, 8),
    }
    torch.save({"model": pretrained, "args": argparse.Namespace()}, tmp_path / "D-iGPT_B_PT_1K.pth")
    plain = bare | {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}
    torch.save(plain, tmp_path / "plain.pth")
    one, other = load(tmp_path / "D-iGPT_B_PT_1K.pth"), load(tmp_path / "plain.pth")
    assert one.space.fingerprint == other.space.fingerprint


def test_maes_encoder_is_whole_and_the_same_every_time(tmp_path: Path) -> None:
    """transformers' own class leaves out three patches of four, at random."""
    config = transformers.ViTMAEConfig(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=2,
        intermediate_size=4 * WIDTH,
        patch_size=PATCH,
        image_size=NATIVE,
        layer_norm_eps=1e-6,
    )
    torch.save(MODELS[PLAIN].weights(), tmp_path / "weights.pth")
    plain = load(tmp_path / "weights.pth")
    model = transformers.ViTMAEModel(config)
    model.load_state_dict(plain.model.state_dict())  # type: ignore[attr-defined]
    model.save_pretrained(tmp_path / "folder")
    pretraining = transformers.ViTMAEForPreTraining(config)  # as the hub has it, with a decoder
    pretraining.vit.load_state_dict(model.state_dict())
    pretraining.save_pretrained(tmp_path / "whole")
    for folder in ("folder", "whole"):
        check(load(tmp_path / folder), PLAIN)
        check(load(tmp_path / folder, LARGER), PLAIN, LARGER)
        assert load(tmp_path / folder).space.fingerprint == plain.space.fingerprint


class Shuffling(transformers.ViTModel):
    """Sees its patches in another order each time."""

    def forward(self, pixel_values: torch.Tensor, **options: Any) -> Any:
        return super().forward(pixel_values + torch.rand_like(pixel_values), **options)


def test_a_model_with_random_features_is_refused() -> None:
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, patch_size=8, image_size=32
    )
    settings = EncoderSettings("random", None, NATIVE, NATIVE, "cpu")
    with pytest.raises(EncoderError, match="different features for the same image each time"):
        VitEncoder(Shuffling(config), settings, InputGeometry.paper(NATIVE, NATIVE), torch.device("cpu"))


def test_beit_of_transformers_gives_the_same_tokens(tmp_path: Path) -> None:
    plain = load(MODELS[BEIT].save(tmp_path / "timm"))
    plain.model.save_pretrained(tmp_path / "folder")  # type: ignore[attr-defined]
    (tmp_path / "folder/preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    check(load(tmp_path / "folder"), BEIT)


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("gone", ["blocks.1.attn.proj.weight", "cls_token", "blocks.1.norm2.bias"])
def test_weights_that_are_not_whole_are_refused(architecture: str, gone: str, tmp_path: Path) -> None:
    weights = MODELS[architecture].weights()
    del weights[gone]
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(EncoderError, match="1 tensors missing") as refusal:
        load(tmp_path / "weights.pth")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("architecture", MODELS)
def test_weights_of_something_more_are_refused(architecture: str, tmp_path: Path) -> None:
    torch.save(MODELS[architecture].weights() | {"norm_pre.weight": torch.ones(WIDTH)}, tmp_path / "weights.pth")
    with pytest.raises(EncoderError, match=r"unexpected tensor norm_pre\.weight"):
        load(tmp_path / "weights.pth")


def test_other_rotary_embeddings_than_dinov3s_are_refused(tmp_path: Path) -> None:
    model = replace(MODELS[DINOV3], architecture="vit_base_patch16_rope_reg1_gap_256")
    with pytest.raises(EncoderError, match="other position embeddings"):
        load(model.save(tmp_path / "model"))


def test_a_timm_folder_that_is_cut_or_lacks_its_weights_is_refused(tmp_path: Path) -> None:
    folder = MODELS[PLAIN].save(tmp_path / "model")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(EncoderError, match=r"model\.safetensors is not a readable checkpoint"):
        load(folder)
    file.unlink()
    with pytest.raises(EncoderError) as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(EncoderError):
        load(folder)


def test_timm_names_are_models_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the hub's cache as its client lays it out: a folder that was carried to a plant without internet."""
    snapshot = tmp_path / "hub/models--timm--vit_base_patch16_dinov3.lvd1689m/snapshots/abc"
    MODELS[DINOV3].save(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc")
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("timm:vit_base_patch16_dinov3.lvd1689m", "timm/vit_base_patch16_dinov3.lvd1689m"):
        encoder = (
            load(Path(name)) if "/" not in name else load_encoder(EncoderSettings(name, (1, 2), NATIVE, NATIVE, "cpu"))
        )
        check(encoder, DINOV3)
        assert encoder.space.encoder == name


@pytest.mark.parametrize(("width", "heads"), [(192, 3), (384, 6), (768, 12), (1024, 16), (1280, 16), (1536, 24)])
def test_heads_follow_from_the_width(width: int, heads: int) -> None:
    assert Weights({}).heads_of_width(width) == heads


def test_moco_v3s_small_model_has_heads_of_its_own(tmp_path: Path) -> None:
    from indexer.encoders.checkpoints.files import unwrapped

    small = {"module.base_encoder.patch_embed.proj.weight": torch.ones(384, 3, 16, 16)}
    assert unwrapped({"state_dict": small}).heads == 12
    assert unwrapped({"patch_embed.proj.weight": torch.ones(384, 3, 16, 16)}).heads is None


def test_nothing_of_timm_or_torchvision_is_imported(tmp_path: Path) -> None:
    folder = MODELS[PLAIN].save(tmp_path / "model")
    program = f"""
import sys
from indexer.encoders import EncoderSettings, load_encoder
load_encoder(EncoderSettings({str(folder)!r}, None, 32, 32, "cpu"))
assert not {{"timm", "torchvision"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_torchvision_that_was_made_for_another_torch_is_named(tmp_path: Path) -> None:
    """A package index has no torchvision for the torch without CUDA: the one it gives fails when it is imported."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    (tmp_path / "torchvision-0.28.0.dist-info").mkdir()
    (tmp_path / "torchvision-0.28.0.dist-info/METADATA").write_text("Name: torchvision\nVersion: 0.28.0\n")
    folder = MODELS[PLAIN].save(tmp_path / "model")
    command = [sys.executable, "-m", "service.cli", "index", str(tmp_path), "--encoder", str(folder)]
    command += ["--data", str(tmp_path / "data")]
    (tmp_path / "part").mkdir()
    (tmp_path / "part/one.png").write_bytes(b"")
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if "touchstone: " in line]
    assert "operator torchvision::nms does not exist" in line
    assert "pip uninstall torchvision" in line
    assert "Traceback" not in done.stderr
