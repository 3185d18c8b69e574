"""Any Hugging Face vision transformer with a CLS token, as an encoder."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    DINOv3ViTModel,
    ImageProcessingMixin,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging
from transformers.utils.hub import cached_file

from indexer.domain.errors import EncoderError
from indexer.domain.geometry import InputGeometry
from indexer.encoders.base import (
    MAX_PASS_CELLS,
    EncoderSettings,
    Features,
    FeatureSpace,
    checked_geometry,
    geometry_facts,
    grid_of,
)
from indexer.encoders.checkpoints.dinov3 import set_periods
from indexer.encoders.position_embeddings import resize_positions
from indexer.encoders.timm_models import is_timm, load_timm
from indexer.hub.names import CONFIG, WEIGHTS, repository_of
from indexer.hub.published import gated

logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading, which takes a second
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_FINAL_NORMS = ("layernorm", "norm", "layer_norm")
# Built by some classes on every load, absent from some checkpoints, and of no effect on tokens.
_UNUSED = ("pooler.", "mask_token")
# What shapes the forward pass beside the weights.
_FINGERPRINTED = ("model_type", "patch_size", "num_attention_heads", "hidden_act", "layer_norm_eps", "rope_theta")
_OF_MAE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
    "image_size",
    "patch_size",
    "num_channels",
    "qkv_bias",
)
_SUFFIX = re.compile(r"(\.(pth|pt|tar|safetensors))+$")
_BLOCK = 1 << 24


class VitEncoder:
    """A frozen vision transformer: ViT, DINO, MAE, DeiT, BEiT, DINOv2 with or without registers, DINOv3.

    The tokens of each layer asked for go through the model's own final layer norm, once. CLS, register and distillation
    tokens are no patches. The global descriptor is the last layer's CLS token after that norm.
    Windows of another size than the model was trained on have its position embeddings interpolated.

    Several threads may encode at once; a compiled encoder lets one in at a time.
    """

    space: FeatureSpace
    device: torch.device

    def __init__(
        self,
        model: PreTrainedModel,
        settings: EncoderSettings,
        geometry: InputGeometry,
        device: torch.device,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        """EncoderError where the model is not such a transformer, or layers or global geometry do not fit it."""
        self.device = device
        self.max_pass_cells = MAX_PASS_CELLS
        self.norm = _final_norm(model)
        patch = _patch(model)
        resize_positions(model, checked_geometry(geometry, patch).grid(patch))
        depth = int(model.config.num_hidden_layers)
        self.layers = choose_layers(depth) if settings.layers is None else _checked_layers(settings.layers, depth)
        self._depth = depth
        module: nn.Module = model  # transformers wraps its own `to` without types
        module.train(False).to(device=device, dtype=getattr(torch, settings.dtype))
        self.model = model
        self._call: Callable[..., Any] = model
        self._compiled = settings.compiled
        self._turn = threading.Lock() if settings.compiled else nullcontext()
        if settings.compiled:
            mode = "reduce-overhead" if device.type == "cuda" else "default"  # the former records CUDA graphs
            self._call = torch.compile(model, mode=mode, dynamic=False)
        self._dtype = settings.dtype
        self.inputs: dict[str, bool] = {"output_hidden_states": True, "return_dict": True}
        if "interpolate_pos_encoding" in inspect.signature(model.forward).parameters:
            self.inputs["interpolate_pos_encoding"] = True
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)
        self.space = FeatureSpace(
            encoder=_name(settings.model),
            layers=tuple(f"layer {layer}" for layer in self.layers),
            patch=patch,
            dim=int(model.config.hidden_size),
            global_dim=int(model.config.hidden_size),
            global_geometry=geometry,
            fingerprint=_fingerprint(self.model, self.layers, geometry, tuple(mean), tuple(std), settings.dtype),
        )
        self._check_forward()

    @classmethod
    def pretrained(cls, settings: EncoderSettings, geometry: InputGeometry, device: torch.device) -> VitEncoder:
        """Load a hub id, a model of timm's or a local folder, with its own mean and std where it names them."""
        name = settings.model
        folder = Path(name).expanduser()
        local = folder.is_dir()
        if not local and (name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name):
            raise EncoderError(f"no model folder {name}: give an existing folder, a hub id or a checkpoint file")
        if local and not (folder / CONFIG).is_file():
            raise EncoderError(f"the folder {name} holds no {CONFIG}: it is no model of transformers or timm")
        source = str(folder) if local else repository_of(name)
        try:
            config = Path(str(cached_file(source, CONFIG)))
            if is_timm(json.loads(config.read_text(encoding="utf-8"))):
                cached_file(source, WEIGHTS)
                model, mean, std = load_timm(config.parent)
            else:
                model = _transformer(source, name)
                mean, std = _normalisation(source)
        except EncoderError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, HFValidationError, SafetensorError) as error:
            raise EncoderError(_reason(error, name, local)) from error
        return cls(model, settings, geometry, device, mean, std)

    @torch.inference_mode()
    def encode(self, batch: torch.Tensor) -> Features:
        """See `Encoder.encode`."""
        count, grid = len(batch), grid_of(batch, self.space.patch)
        if self._compiled and (lacking := bucket(count) - count):
            batch = torch.cat([batch, batch[-1:].expand(lacking, -1, -1, -1)])
        with self._turn:
            states, last = self._forward(batch, self._call)
        cells = grid[0] * grid[1]
        picked = [last if layer == self._depth else self.norm(states[layer]) for layer in self.layers]
        patches = torch.stack([tokens[:, -cells:] for tokens in picked], dim=1)  # (B, layers, cells, dim)
        descriptors = F.normalize(last[:count, 0].float(), dim=-1)
        return Features(descriptors, F.normalize(patches[:count].float(), dim=-1), grid)

    def _forward(self, batch: torch.Tensor, call: Callable[..., Any]) -> tuple[Sequence[torch.Tensor], torch.Tensor]:
        """Hidden states (B, tokens, dim), 0 = embeddings, and the last one after the final norm."""
        output = call(pixel_values=self.normalised(batch).to(self.model.dtype), **self.inputs)
        return output.hidden_states, output.last_hidden_state

    def normalised(self, batch: torch.Tensor) -> torch.Tensor:
        """Windows uint8 (B, 3, H, W) → float32 on the encoder's device, as the model was trained on."""
        if self.device.type == "cuda" and batch.device.type == "cpu":
            batch = batch.contiguous().pin_memory()
        return (batch.to(self.device, non_blocking=True).float() / 255 - self._mean) / self._std

    @torch.inference_mode()
    def _check_forward(self) -> None:
        """One real pass: the tokens are those expected, the last state is normed once, and every value is finite."""
        width, height = self.space.global_geometry.size
        cells = (width // self.space.patch) * (height // self.space.patch)
        ramp = torch.arange(width, dtype=torch.float32).mul(255 / width).to(torch.uint8)
        states, last = self._forward(ramp.expand(1, 3, height, width), self.model)
        _, repeated = self._forward(ramp.expand(1, 3, height, width), self.model)
        tokens = _prefix(self.model) + cells
        name = type(self.model).__name__
        if len(states) != self._depth + 1 or any(state.shape[1] != tokens for state in states):
            raise EncoderError(f"{name} does not give CLS, special and {cells} patch tokens in every layer")
        if not all(torch.isfinite(state).all() for state in (*states, last)):
            raise EncoderError(
                f"{self.space.encoder}: values are not finite in {self._dtype}: try float32 or check the file"
            )
        wide = torch.finfo(self.model.dtype).eps * 64
        if not torch.allclose(last, repeated, rtol=wide, atol=wide):
            raise EncoderError(
                f"{name} gives different features for the same image each time, as with patches masked at random"
            )
        # Whether the last hidden state is before or after the norm differs between architectures and versions.
        if not any(torch.allclose(end, last, rtol=wide, atol=wide) for end in (self.norm(states[-1]), states[-1])):
            raise EncoderError(f"{name} does not end in the layer norm that its intermediate layers would go through")


def bucket(count: int) -> int:
    """The batch size that `count` images are filled up to when the encoder is compiled: the next power of two."""
    return 1 << (count - 1).bit_length()


def choose_layers(depth: int) -> tuple[int, ...]:
    """Four 1-based layers spread as in the paper: 4, 7, 10, 12 of 12; 7, 13, 19, 24 of 24. Fewer in shallow models."""
    # 1 + ⌈depth/4 + i·(3·depth/4 − 1)/3⌉ for i = 0 … 3, in integers.
    return tuple(sorted({min(depth, 1 - (-(3 * depth + i * (3 * depth - 4)) // 12)) for i in range(4)}))


def _checked_layers(layers: tuple[int, ...], depth: int) -> tuple[int, ...]:
    if not layers or any(not 1 <= layer <= depth for layer in layers):
        raise EncoderError(f"layers {list(layers)} are out of range: this model has layers 1 to {depth}")
    if list(layers) != sorted(set(layers)):
        raise EncoderError(f"layers {list(layers)} must increase, each named once")
    return layers


def _transformer(source: str, name: str) -> PreTrainedModel:
    """A model in transformers' own format. EncoderError when weights are missing."""
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    kind: Any = AutoModel
    if config.model_type == "vit_mae":
        # MAE's own class leaves out patches at random; its encoder is a ViT.
        config, kind = ViTConfig(**{name: getattr(config, name) for name in _OF_MAE}), ViTModel
    model, loading = kind.from_pretrained(
        source, config=config, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(key for key in loading["missing_keys"] if not any(part in key for part in _UNUSED))
    mismatched = sorted(str(key) for key in loading["mismatched_keys"])
    if missing or mismatched:
        # transformers fills these with random numbers and goes on.
        broken = [*missing, *mismatched]
        raise EncoderError(f"the weights of {name} are incomplete: {len(broken)} missing, the first {broken[0]}")
    if isinstance(model, DINOv3ViTModel):
        set_periods(model)
    loaded: PreTrainedModel = model
    return loaded


def _final_norm(model: PreTrainedModel) -> nn.Module:
    """The norm at the end of a transformer with a CLS token."""
    named = any(name.split(".")[-1] == "cls_token" for name, _ in model.named_parameters())
    for name in _FINAL_NORMS:
        norm = getattr(model, name, None)
        if named and isinstance(norm, nn.Module) and hasattr(model.config, "num_hidden_layers"):
            return norm
    raise EncoderError(
        f"{type(model).__name__} is not supported: it must be a vision transformer with a CLS token and a final norm"
    )


def _patch(model: PreTrainedModel) -> int:
    """Pixels along the side of a patch."""
    size = getattr(model.config, "patch_size", None)
    height, width = (size, size) if isinstance(size, int) else tuple(size or (0, 0))
    if not height or height != width:
        raise EncoderError(f"{type(model).__name__} is not supported: it names no size of square patches")
    return int(height)


def _prefix(model: PreTrainedModel) -> int:
    """Tokens before the first patch: CLS, distillation, registers."""
    distilled = any(name.split(".")[-1] == "distillation_token" for name, _ in model.named_parameters())
    return 1 + int(distilled) + int(getattr(model.config, "num_register_tokens", 0))


def _normalisation(source: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std in [0, 1] that the model was trained with; ImageNet's where its files do not say."""
    try:
        names, _ = ImageProcessingMixin.get_image_processor_dict(source)
    except OSError:
        return IMAGENET_MEAN, IMAGENET_STD
    if not names.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = names.get("image_mean", IMAGENET_MEAN), names.get("image_std", IMAGENET_STD)
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise EncoderError(f"unusable image_mean {mean} or image_std {std} in the model's preprocessor_config.json")
    return tuple(map(float, mean)), tuple(map(float, std))


def _fingerprint(
    model: PreTrainedModel,
    layers: Sequence[int],
    geometry: InputGeometry,
    mean: Sequence[float],
    std: Sequence[float],
    dtype: str,
) -> str:
    """sha256 (hex) of everything that a feature depends on: weights byte for byte, and how they are used."""
    facts = {
        "layers": list(layers),
        "geometry": geometry_facts(geometry),
        "mean": list(mean),
        "std": list(std),
        "dtype": dtype,
        "model": {name: getattr(model.config, name, None) for name in _FINGERPRINTED},
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in _weights(model):
        digest.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        for start in range(0, len(data), _BLOCK):
            digest.update(data[start : start + _BLOCK].data)
    return digest.hexdigest()


def _weights(model: PreTrainedModel) -> Iterator[tuple[str, torch.Tensor]]:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return ((name, named[name]) for name in sorted(named) if not any(part in name for part in _UNUSED))


def _name(model: str) -> str:
    """A hub id as it is; of a path only its last part, since answers of the service show this name."""
    path = Path(model).expanduser()
    return _SUFFIX.sub("", path.resolve().name) if path.exists() else model


def _reason(error: BaseException, name: str, local: bool) -> str:
    """One line for what transformers and the hub raise."""
    causes: list[Any] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if isinstance(error, EncoderError):
        return str(error)
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return f"{gated(name)}, or give a local folder"
    if any(isinstance(cause, RepositoryNotFoundError | HFValidationError) for cause in causes):
        return f"{name} is neither a folder here nor a model on the hub (a private one needs HF_TOKEN)"
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if not local and isinstance(error, OSError):
        return f"{name} is no folder here and the hub cannot be reached: give a local folder ({first})"
    return f"the model {name} cannot be loaded: {first}"
