"""Encoders in OpenVINO and ONNX Runtime, against torch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from indexer.domain.errors import EncoderError, FeatureSpaceMismatch
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder
from indexer.encoders.runtimes import PRECISIONS
from indexer.encoders.windows import encode_in_windows
from indexer.references.reference_store import ReferenceStore

PATCH, CROP = 8, 48
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": PATCH,
    "image_size": 32,
}
MODELS: dict[str, Callable[[], Any]] = {
    "ViT": lambda: transformers.ViTModel(transformers.ViTConfig(**SHAPE)),
    "DINOv2 with registers": lambda: transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(
            **{name: value for name, value in SHAPE.items() if name != "intermediate_size"}, mlp_ratio=2
        )
    ),
    "DINOv3": lambda: transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SHAPE, num_register_tokens=4)),
}
RUNTIMES = ("openvino", "onnxruntime")
REDUCED = [(runtime, dtype) for runtime in RUNTIMES for dtype in PRECISIONS[runtime] if dtype != "float32"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests keep converted networks, so that each is converted once."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of each kind, every weight away from its start."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, build in MODELS.items():
        model = build()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(root / name)
    return {name: root / name for name in MODELS}


def images(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (count, 3, height, width), generator=generator).to(torch.uint8)


def apart(one: Features, other: Features) -> float:
    patches = (one.patches - other.patches).abs().max()
    descriptors = (one.global_descriptors - other.global_descriptors).abs().max()
    return float(max(patches, descriptors))


def load_vit(folder: Path, converted: Path | None = None, **changes: Any) -> Encoder:
    settings = EncoderSettings(str(folder), layers=(1, 2), resize=56, crop=CROP, device="cpu", converted=converted)
    return load_encoder(replace(settings, **changes))


def load_builtin(converted: Path | None = None, **changes: Any) -> Encoder:
    settings = EncoderSettings("builtin", resize=128, crop=96, device="cpu", converted=converted)
    return load_encoder(replace(settings, **changes))


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", MODELS)
def test_in_float32_features_of_any_size_are_torchs_and_so_is_the_space(
    folders: dict[str, Path], converted: Path, name: str, runtime: str
) -> None:
    plain, ported = load_vit(folders[name]), load_vit(folders[name], converted, runtime=runtime)
    assert ported.space == plain.space
    for batch in (images(2, CROP, CROP), images(1, 32, 32), images(1, 24, 80)):
        features, expected = ported.encode(batch), plain.encode(batch)
        assert features.grid == expected.grid
        assert apart(features, expected) < 1e-4


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_builtin_encoders_memory_is_the_same_in_every_runtime(converted: Path, runtime: str) -> None:
    plain, ported = load_builtin(), load_builtin(converted, runtime=runtime)
    assert ported.space == plain.space
    for batch in (images(2, 96, 96), images(1, 64, 192)):
        assert apart(ported.encode(batch), plain.encode(batch)) < 1e-4


def test_large_images_are_encoded_in_windows_as_with_torch(converted: Path) -> None:
    plain, ported = load_builtin(), load_builtin(converted, runtime="openvino")
    plain.max_pass_cells = ported.max_pass_cells = 144
    large = images(1, 18 * 16, 14 * 16)[0]
    assert float((encode_in_windows(ported, large) - encode_in_windows(plain, large)).abs().max()) < 1e-4


@pytest.mark.parametrize(("runtime", "dtype"), REDUCED)
def test_below_float32_features_are_near_and_their_space_is_another(
    folders: dict[str, Path], converted: Path, runtime: str, dtype: str
) -> None:
    for plain, ported in (
        (load_builtin(), load_builtin(converted, runtime=runtime, dtype=dtype)),
        (load_vit(folders["DINOv3"]), load_vit(folders["DINOv3"], converted, runtime=runtime, dtype=dtype)),
    ):
        features, expected = ported.encode(images(1, 96, 96)), plain.encode(images(1, 96, 96))
        assert 1e-5 < apart(features, expected) < 0.1
        assert float((features.patches * expected.patches).sum(-1).min()) > 0.99
        assert ported.space.fingerprint != plain.space.fingerprint
        assert ported.space.encoder == f"{plain.space.encoder} ({runtime}, {dtype})"


def test_every_runtime_and_precision_below_float32_has_a_space_of_its_own(converted: Path) -> None:
    spaces = {load_builtin(converted, runtime=runtime, dtype=dtype).space.fingerprint for runtime, dtype in REDUCED}
    assert len(spaces) == len(REDUCED)


def test_a_memory_of_another_precision_is_refused_with_the_way_out(converted: Path, tmp_path: Path) -> None:
    int8, full = (load_builtin(converted, runtime="openvino", dtype=dtype).space for dtype in ("int8", "float32"))
    ReferenceStore.open(tmp_path, load_builtin().space).close()
    with pytest.raises(
        FeatureSpaceMismatch, match=r"\(openvino, int8\).*with that encoder, or run `touchstone rebuild`"
    ):
        ReferenceStore.open(tmp_path, int8)
    ReferenceStore.open(tmp_path, full).close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_image_has_the_same_features_alone_and_in_a_batch(converted: Path, runtime: str) -> None:
    encoder = load_builtin(converted, runtime=runtime)
    batch = images(3, 96, 96)
    assert apart(encoder.encode(batch).item(1), encoder.encode(batch[1:2])) == 0


def test_what_was_converted_is_kept_and_a_damaged_one_is_converted_again(
    folders: dict[str, Path], converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, kept = folders["ViT"], tmp_path / "data" / "converted"
    first = load_vit(folder, converted, runtime="openvino").encode(images(1, CROP, CROP))
    load_vit(folder, converted, runtime="onnxruntime", dtype="int8")
    shutil.copytree(converted, kept)
    exports: list[int] = []
    original = torch.onnx.export

    def counted(*arguments: Any, **options: Any) -> Any:
        exports.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(torch.onnx, "export", counted)
    for runtime, dtype in (("openvino", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "int8")):
        load_vit(folder, kept, runtime=runtime, dtype=dtype)
    assert len(exports) == 0  # either runtime reads the same file
    for weights in (path / "network.onnx.data" for path in kept.iterdir() if "int8" not in path.name):
        damaged = bytearray(weights.read_bytes())
        damaged[-1] ^= 1
        weights.write_bytes(damaged)
    assert apart(load_vit(folder, kept, runtime="openvino").encode(images(1, CROP, CROP)), first) == 0
    assert len(exports) == 1
    assert {path.name[0] for path in kept.iterdir()} & {"."} == set()  # nothing half written is left


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    monkeypatch.setitem(sys.modules, runtime, None)
    for module in ("openvino_runtime", "onnx_runtime"):
        monkeypatch.delitem(sys.modules, f"indexer.encoders.runtimes.{module}", raising=False)
    with pytest.raises(EncoderError, match=rf"{runtime} is not installed .*pip install 'touchstone\[{runtime}\]'"):
        load_builtin(runtime=runtime)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "int8"}, r"torch does not compute in int8.*TOUCHSTONE_RUNTIME=openvino or onnxruntime"),
        ({"runtime": "openvino", "dtype": "float16"}, r"choose float32 or bfloat16 or int8.*TOUCHSTONE_RUNTIME=torch"),
        ({"runtime": "onnxruntime", "dtype": "bfloat16"}, "TOUCHSTONE_RUNTIME=torch or openvino"),
        ({"runtime": "openvino", "compiled": True}, "TOUCHSTONE_COMPILE_ENCODER"),
        ({"runtime": "openvino", "device": "NPU"}, "no device 'NPU' here, only CPU"),
        ({"runtime": "onnxruntime", "device": "cuda"}, "not on 'cuda'"),
        ({"runtime": "openvino", "model": "filterbank"}, "filterbank has no network"),
    ],
)
def test_what_a_runtime_cannot_do_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(EncoderError, match=said) as refusal:
        load_builtin(**changes)
    assert "\n" not in str(refusal.value)


def test_beit_stays_in_torch(tmp_path: Path) -> None:
    model = transformers.BeitModel(transformers.BeitConfig(**{**SHAPE, "image_size": CROP}))
    model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="BEiT runs in torch only"):
        load_vit(tmp_path, runtime="openvino")
