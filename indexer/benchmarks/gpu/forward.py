"""Encoding, and one image's whole way in this process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import cast

import numpy as np
import torch

from indexer.benchmarks.cpu.stages import Expectation
from indexer.benchmarks.cpu.subjects import LAYERS, grow, vit_model
from indexer.benchmarks.gpu import floors
from indexer.benchmarks.gpu.clock import timed
from indexer.benchmarks.gpu.floors import Rates
from indexer.benchmarks.gpu.plan import GpuPlan
from indexer.benchmarks.gpu.report import Line, Result
from indexer.benchmarks.gpu.retrieval import engines
from indexer.encoders import Encoder, EncoderSettings, InputGeometry, load_encoder
from indexer.encoders.base import Dtype
from indexer.encoders.vit import VitEncoder
from indexer.memory import MemoryBank
from indexer.scoring.scoring import image_score, render_anomaly_map
from indexer.search import PatchQuery


def encoder_of(plan: GpuPlan, device: torch.device, compiled: bool) -> Encoder:
    """The plan's transformer with random weights."""
    settings = EncoderSettings(
        plan.vit.name,
        resize=plan.resize,
        crop=plan.crop,
        device=device.type,
        dtype=cast(Dtype, plan.dtype),
        compiled=compiled,
    )
    return VitEncoder(vit_model(plan.vit, plan.crop), settings, InputGeometry.paper(plan.resize, plan.crop), device)


def encoding(plan: GpuPlan, device: torch.device, rates: Rates) -> Iterator[Result]:
    """Every batch size: the plan's transformer as it is and compiled, then the built-in encoder in float32."""
    for compiled in (False, True) if plan.compiled else (False,):
        encoder = encoder_of(plan, device, compiled)
        for count in plan.batches:
            images = _noise(plan, count)
            yield Line(
                f"encode, {plan.vit.name} sized{', compiled' if compiled else ''}",
                f"{plan.dtype}, batch {count}",
                timed(partial(encoder.encode, images), device, plan.repeats),
                count,
                rates.floor(floors.encode(plan.vit, plan.side, count)),
                "images on the host at first",
            )
    builtin = load_encoder(EncoderSettings(resize=plan.resize, crop=plan.crop, device=device.type))
    for count in plan.batches:
        timing = timed(partial(builtin.encode, _noise(plan, count)), device, plan.repeats)
        yield Line("encode, built-in", f"float32, batch {count}", timing, count, None, "images on the host at first")


def end_to_end(plan: GpuPlan, device: torch.device, rates: Rates) -> Iterator[Result]:
    """Prepared images on the host → scores: encode, global and patch search, map, score."""
    encoder = encoder_of(plan, device, plan.compiled)
    engine = engines(device)[0]
    memory = grow(MemoryBank.empty(encoder.space), max(plan.k, plan.references // 4))
    weights = np.full(LAYERS, 1 / LAYERS, np.float32)

    def answer(images: torch.Tensor) -> list[float]:
        features = encoder.encode(images)
        described = features.global_descriptors.cpu().numpy()
        questions = [
            PatchQuery(
                features.patches[i], engine.nearest_references(memory, described[i], plan.k).rows, plan.rho, weights
            )
            for i in range(len(features))
        ]
        matches = engine.search(memory, questions)
        return [image_score(render_anomaly_map(match.fused.reshape(memory.space.global_grid))) for match in matches]

    for count in (1, plan.micro_batch):
        images = _noise(plan, count)
        forward = timed(partial(encoder.encode, images), device, plan.repeats)
        timing = timed(partial(answer, images), device, plan.repeats)
        work = floors.encode(plan.vit, plan.side, count)
        search = floors.patch_search(
            plan.side, plan.vit.dim, "fp16", plan.k, plan.rho, count, min(memory.rows, plan.k * count)
        )
        yield Line(
            "end to end, in process",
            f"batch {count}, K = {plan.k}, ρ = {plan.rho}",
            timing,
            count,
            rates.floor(work) + rates.floor(search),
            f"{memory.rows} references; {engine.name}",
        )
        on_card = device.type == "cuda"
        if count == 1:
            met = timing.median <= 0.005 if on_card else None
            yield Expectation("in-process latency ≤ 5 ms at batch 1", f"{timing.median * 1e3:.2f} ms", met)
        else:
            share = (timing.median - forward.median) / forward.median
            claim = f"retrieval, map and score ≤ 15 % of the forward pass at batch {count}"
            yield Expectation(claim, f"{share:.0%}", share <= 0.15 if on_card else None)
            rate = count / timing.median
            claim = f"≥ 600 images/s in process at {plan.crop}"
            yield Expectation(claim, f"{rate:.0f}", rate >= 600 if on_card else None)


def _noise(plan: GpuPlan, count: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, plan.crop, plan.crop), generator=random, dtype=torch.uint8)
