"""How long a server takes until it is ready."""

from __future__ import annotations

import hashlib
import math
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from indexer.benchmarks.cpu.plan import CpuPlan
from indexer.benchmarks.cpu.subjects import builtin_encoder
from indexer.benchmarks.server import running_server
from indexer.encoders import BUILTIN, Features, FeatureSpace
from indexer.references.reference_store import ReferenceStore
from indexer.references.source_image import SourceImage

_SEGMENT = 100  # references


def seconds_until_ready(plan: CpuPlan) -> list[float]:
    """From the start of a process until `/readyz` says so, once a round: the built-in encoder, random references."""
    space = builtin_encoder(plan).space
    settings = {"ENCODER": BUILTIN, "DEVICE": "cpu", "RESIZE": plan.resize, "CROP": plan.crop}
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fill(folder / "data", space, plan.started)
        for _ in range(plan.rounds):
            begun = time.perf_counter()
            with running_server(folder, settings):
                seconds.append(time.perf_counter() - begun)
    return seconds


def _fill(data: Path, space: FeatureSpace, count: int) -> None:
    reference_store = ReferenceStore.open(data, space)
    random = torch.Generator().manual_seed(0)
    cells = math.prod(space.global_grid)
    for first in range(0, count, _SEGMENT):
        names = [str(number) for number in range(first, min(first + _SEGMENT, count))]
        sources = [
            SourceImage(f"{name}.png", name.encode(), hashlib.sha256(name.encode()).hexdigest(), ".png", 512, 512)
            for name in names
        ]
        patches = torch.randn((len(names), len(space.layers), cells, space.dim), generator=random)
        descriptors = torch.randn((len(names), space.global_dim), generator=random)
        features = Features(F.normalize(descriptors, dim=-1), F.normalize(patches, dim=-1), space.global_grid)
        encoded = reference_store.memory.codec.encode(features)
        reference_store.add(
            "part", sources, {source.sha256: encoded.select([row]) for row, source in enumerate(sources)}
        )
    reference_store.close()
