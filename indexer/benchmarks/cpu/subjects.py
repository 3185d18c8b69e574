"""What is measured: memories of random features, encoders of random weights, and the plain loop to compare with."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from indexer.benchmarks.cpu.plan import CpuPlan, Vit
from indexer.benchmarks.gpu.plan import GpuPlan
from indexer.encoders import Encoder, EncoderSettings, Features, FeatureSpace, InputGeometry, load_encoder
from indexer.memory import EncodedReferences, MemoryBank
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # seconds to import

LAYERS = 4
_BATCH = 20


def devices() -> tuple[torch.device, ...]:
    """The CPU, and CUDA where there is one."""
    return tuple(torch.device(name) for name in (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]))


def builtin_encoder(plan: CpuPlan) -> Encoder:
    """The built-in encoder on the CPU."""
    return load_encoder(EncoderSettings(resize=plan.resize, crop=plan.crop, device="cpu"))


def vit_model(vit: Vit, crop: int) -> PreTrainedModel:
    """A DINOv3 of this shape with random weights: it sees nothing, and costs what the trained one costs."""
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    config = DINOv3ViTConfig(
        hidden_size=vit.dim,
        intermediate_size=4 * vit.dim,
        num_hidden_layers=vit.depth,
        num_attention_heads=vit.heads,
        num_register_tokens=4,
        patch_size=16,
        image_size=crop,
    )
    return DINOv3ViTModel(config)


def vit_encoder(plan: CpuPlan, vit: Vit, device: torch.device) -> Encoder:
    """An encoder around such a model, in float32."""
    from indexer.encoders.vit import VitEncoder

    settings = EncoderSettings(model=vit.name, resize=plan.resize, crop=plan.crop, device=device.type)
    return VitEncoder(vit_model(vit, plan.crop), settings, InputGeometry.paper(plan.resize, plan.crop), device)


def encoding(encoder: Encoder) -> Callable[[], object]:
    """Encode one image of noise; on CUDA the answer's arrival on the host ends it."""
    width, height = encoder.space.global_geometry.size
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
    image = torch.from_numpy(noise)
    return lambda: encoder.encode(image).global_descriptors.cpu()


def space_of(plan: CpuPlan | GpuPlan, dim: int) -> FeatureSpace:
    """A feature space of the plan's grid, four layers and `dim` values per patch and per global descriptor."""
    names = tuple(f"layer {index + 1}" for index in range(LAYERS))
    return FeatureSpace("random", names, 16, dim, dim, InputGeometry.paper(plan.resize, plan.crop), "0" * 64)


def random_features(space: FeatureSpace, count: int, seed: int = 0) -> Features:
    """Unit features of `count` images."""
    random = torch.Generator().manual_seed(seed)
    patches = torch.randn((count, LAYERS, math.prod(space.global_grid), space.dim), generator=random)
    global_descriptors = torch.randn((count, space.global_dim), generator=random)
    return Features(F.normalize(global_descriptors, dim=-1), F.normalize(patches, dim=-1), space.global_grid)


def grow(memory: MemoryBank, count: int) -> MemoryBank:
    """The memory with `count` references more. Few patterns repeat: only where the bytes lie matters to a clock."""
    encoded = memory.codec.encode(random_features(memory.space, min(count, _BATCH)))
    start = memory.rows
    while memory.rows < start + count:
        size = min(_BATCH, start + count - memory.rows)
        fresh = np.random.default_rng(memory.rows).standard_normal((size, memory.space.global_dim), dtype=np.float32)
        fresh /= np.linalg.norm(fresh, axis=1, keepdims=True)
        ids = range(memory.rows, memory.rows + size)
        part = EncodedReferences(fresh, encoded.codes[:size], encoded.codec, encoded.grid)
        memory = memory.with_references(ids, ["part"] * size, part, memory.version + 1)
    return memory


def filled_bank(space: FeatureSpace, codec: str, count: int) -> MemoryBank:
    """A memory of `count` random references."""
    return grow(MemoryBank.empty(space, codec), count)


def float_bank(memory: MemoryBank) -> torch.Tensor:
    """Every patch of a memory as float32 (layers, cells, rows, dim): a bank per layer and cell, as published."""
    bank = torch.empty((LAYERS, math.prod(memory.space.global_grid), memory.rows, memory.space.dim))
    for row in range(memory.rows):
        bank[:, :, row] = memory.features_of(row).patches[0]
    return bank


@torch.inference_mode()
def cell_loop(bank: torch.Tensor, queries: torch.Tensor, rows: NDArray[np.int64], plan: CpuPlan) -> torch.Tensor:
    """The method as its released program runs it: one Python iteration per layer and cell.

    bank: float32 (layers, cells, rows, dim). queries: float32 (layers, cells, dim). rows: int64 (k,).
    Returns the best inner products, float32 (layers, cells), as every engine does.
    """
    neighbours = [torch.from_numpy(row[row != OUTSIDE]) for row in neighbour_cells((plan.side, plan.side), plan.rho)]
    requested = torch.from_numpy(rows)
    best = torch.empty(queries.shape[:2])
    for layer in range(len(queries)):
        for cell, near in enumerate(neighbours):
            candidates = bank[layer, near[:, None], requested[None, :]].flatten(0, 1)  # (neighbours · k, dim)
            best[layer, cell] = (candidates @ queries[layer, cell]).max()
    return best
