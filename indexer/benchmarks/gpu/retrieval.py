"""Global and patch search on the device, beside what else could have been done there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from indexer.benchmarks.cpu.stages import Expectation
from indexer.benchmarks.cpu.subjects import LAYERS, filled_bank, random_features, space_of
from indexer.benchmarks.gpu import floors
from indexer.benchmarks.gpu.clock import timed
from indexer.benchmarks.gpu.floors import Rates
from indexer.benchmarks.gpu.plan import GpuPlan
from indexer.benchmarks.gpu.report import Line, Note, Result
from indexer.domain.scoring_settings import ANYWHERE
from indexer.encoders import InputGeometry
from indexer.memory import MemoryBank
from indexer.search import PatchQuery, PatchSearchEngine, TorchEngine
from indexer.search.faiss_engine import layer_index
from indexer.search.neighbourhood import OUTSIDE, neighbour_cells

_WEIGHTS = np.full(LAYERS, 1 / LAYERS, np.float32)


def engines(device: torch.device) -> list[PatchSearchEngine]:
    """The engines of the device, the one the service takes first."""
    engines: list[PatchSearchEngine] = [TorchEngine(device)]
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"  # must be said before torch is imported
    if find_spec("triton") and (device.type == "cuda" or interpreted):
        from indexer.search.triton_engine import TritonEngine

        engines.insert(0, TritonEngine(device))
    return engines


def global_search(plan: GpuPlan, device: torch.device, rates: Rates) -> Iterator[Result]:
    """One image's global retrieval."""
    space = replace(
        space_of(plan, plan.vit.dim), global_geometry=InputGeometry.whole(16, 16), dim=8
    )  # only descriptors are looked at
    memory = filled_bank(space, "fp16", plan.descriptors)
    query = random_features(space, 1, 3).global_descriptors[0].numpy()
    engine = TorchEngine(device)
    where = "FAISS on the card" if getattr(engine, "_globals", None) else "FAISS on the CPU"
    yield Line(
        f"global search, {where}",
        f"N = {plan.descriptors}, d = {plan.vit.dim}, K = {plan.k}",
        timed(lambda: engine.nearest_references(memory, query, plan.k), device, plan.repeats),
        floor=rates.floor(floors.global_search(plan.descriptors, plan.vit.dim)),
    )


def patch_search(plan: GpuPlan, device: torch.device, rates: Rates) -> Iterator[Result]:
    """Every codec, K and ρ for one image; a micro-batch that shares its K and one that does not; all places; the
    alternatives.
    """
    space = space_of(plan, plan.vit.dim)
    patches = random_features(space, plan.micro_batch, 1).patches.to(device)
    for codec in plan.codecs:
        memory = filled_bank(space, codec, plan.references)
        for engine in engines(device):
            for k in plan.ks:
                for rho in plan.rhos:
                    yield _searched(plan, device, rates, engine, memory, patches[:1], [np.arange(k)], rho)
            yield from _near_the_floor(plan, device, rates, engine, memory, patches)
        service_engine, alone = engines(device)[0], [np.arange(plan.k)]
        for rows in (alone, alone * plan.micro_batch):
            yield _searched(plan, device, rates, service_engine, memory, patches[: len(rows)], rows, ANYWHERE)
        if codec == "fp16":
            yield from _alternatives(plan, device, rates, memory, patches[0])


def _near_the_floor(
    plan: GpuPlan,
    device: torch.device,
    rates: Rates,
    engine: PatchSearchEngine,
    memory: MemoryBank,
    patches: torch.Tensor,
) -> Iterator[Result]:
    """A micro-batch that shares its K and one that does not; what the service's engine was expected to reach."""
    alone = [np.arange(plan.k)]
    shared = alone * plan.micro_batch
    apart = [np.arange(i * plan.k, (i + 1) * plan.k) % plan.references for i in range(plan.micro_batch)]
    for rows, max_ratio in ((alone, 2.0), (shared, 1.3), (apart, 1.3)):
        line = _searched(plan, device, rates, engine, memory, patches[: len(rows)], rows, plan.rho)
        if len(rows) > 1:
            yield line
        if engine.name.startswith("triton"):
            distinct = len(np.unique(np.concatenate(rows)))
            work = floors.patch_search(plan.side, plan.vit.dim, memory.codec.name, plan.k, plan.rho, distinct=distinct)
            ratio = line.latencies.median / (work.bytes / rates.copy)
            claim = f"patch search ≤ {max_ratio}× its read of memory, {line.at}"
            yield Expectation(claim, f"{ratio:.2f}×", ratio <= max_ratio if device.type == "cuda" else None)


def _searched(
    plan: GpuPlan,
    device: torch.device,
    rates: Rates,
    engine: PatchSearchEngine,
    memory: MemoryBank,
    patches: torch.Tensor,
    rows: list[NDArray[np.int64]],
    rho: int,
) -> Line:
    questions = [PatchQuery(patch, row, rho, _WEIGHTS) for patch, row in zip(patches, rows, strict=True)]
    k, distinct = len(rows[0]), len(np.unique(np.concatenate(rows)))
    work = floors.patch_search(plan.side, plan.vit.dim, memory.codec.name, k, rho, len(rows), distinct)
    sharing = "" if len(rows) == 1 else f", {len(rows)} images, {distinct} references in all"
    return Line(
        f"patch search, {engine.name}",
        f"{memory.codec.name}, K = {k}, {'all places' if rho == ANYWHERE else f'ρ = {rho}'}{sharing}",
        timed(lambda: engine.search(memory, questions), device, plan.repeats),
        len(rows),
        rates.floor(work),
        f"{work.bytes / 1e6:.0f} MB, {work.operations / 1e9:.1f} GFLOP",
    )


def _alternatives(
    plan: GpuPlan, device: torch.device, rates: Rates, memory: MemoryBank, patches: torch.Tensor
) -> Iterator[Result]:
    """The same answer by other means, for fp16 codes at the plan's K and ρ."""
    rows = np.arange(plan.k)
    floor = rates.floor(floors.patch_search(plan.side, plan.vit.dim, "fp16", plan.k, plan.rho))
    bank = torch.stack([memory.features_of(int(row)).patches[0] for row in rows], dim=2).to(device)
    half = bank.half()
    at = f"fp16, K = {plan.k}, ρ = {plan.rho}"
    engine = engines(device)[0]
    question = PatchQuery(patches, rows, plan.rho, _WEIGHTS)
    engine_timing = timed(lambda: engine.search(memory, [question]), device, plan.repeats)
    alternatives: dict[str, tuple[str, Callable[[], object]]] = {
        "cell loop, as the released program": (at.replace("fp16", "fp32"), lambda: _cell_loop(plan, bank, patches)),
        "torch.bmm on gathered copies": (at, lambda: _gathered(plan, half, patches)),
        "FAISS IVF, preassigned lists": (
            f"{at}, lists filled before",
            _faiss_ivf(device, memory, patches, rows, plan.rho),
        ),
    }
    for name, (where, work) in alternatives.items():
        try:
            timing = timed(work, device, plan.few_repeats)
        except (RuntimeError, NotImplementedError) as error:
            yield Note(name, f"not measured: {str(error).splitlines()[0]}")
            continue
        faster = timing.median / engine_timing.median
        yield Line(name, where, timing, floor=floor, remark=f"{faster:.1f}× the time of {engine.name}")
        if name.startswith("cell loop"):
            met = faster >= 200 if device.type == "cuda" else None
            yield Expectation("patch search ≥ 200× the cell loop", f"{faster:.0f}×", met)


@torch.inference_mode()
def _cell_loop(plan: GpuPlan, bank: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """One Python iteration per layer and cell; bank: float32 (layers, cells, k, dim)."""
    best = torch.empty(queries.shape[:2], device=queries.device)
    neighbours = [row[row != OUTSIDE].tolist() for row in neighbour_cells((plan.side, plan.side), plan.rho)]
    for layer in range(len(queries)):
        for cell, near in enumerate(neighbours):
            best[layer, cell] = (bank[layer, near].flatten(0, 1) @ queries[layer, cell]).max()
    return best.cpu()


@torch.inference_mode()
def _gathered(plan: GpuPlan, bank: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """All neighbours' rows copied side by side, one batched product a layer; bank: float16 (layers, cells, k, dim)."""
    table = torch.from_numpy(neighbour_cells((plan.side, plan.side), plan.rho).copy()).to(bank.device)
    best = []
    for layer in range(len(queries)):
        rows = bank[layer, table.clamp_min(0)]  # (cells, neighbours, k, dim), the copy
        products = torch.bmm(rows.flatten(1, 2), queries[layer].half()[..., None]).view(*table.shape, -1)
        best.append(products.masked_fill(table[..., None] == OUTSIDE, -2).amax(dim=(1, 2)))
    return torch.stack(best).cpu()


def _faiss_ivf(
    device: torch.device, memory: MemoryBank, patches: torch.Tensor, rows: NDArray[np.int64], rho: int
) -> Callable[[], object]:
    """Per layer an inverted-file index whose lists are the cells and hold the K references only."""
    keys = np.ascontiguousarray(neighbour_cells(memory.space.global_grid, rho))
    distances = np.zeros(keys.shape, np.float32)
    asking = np.ascontiguousarray(patches.cpu().numpy())
    retrieved = [memory.codes_of(int(row)) for row in rows]
    lists = max(keys.shape)
    indices: list[faiss.IndexIVF] = []

    def search() -> object:
        if not indices:
            indices.extend(layer_index(memory.codec, lists, [codes[i] for codes in retrieved]) for i in range(LAYERS))
            if device.type == "cuda":
                if not hasattr(faiss, "StandardGpuResources"):
                    raise NotImplementedError("this FAISS was built without CUDA")
                resources = faiss.StandardGpuResources()
                indices[:] = [faiss.index_cpu_to_gpu(resources, 0, index) for index in indices]
            for index in indices:
                index.nprobe = keys.shape[1]
        return [index.search_preassigned(asking[i], 1, keys, distances) for i, index in enumerate(indices)]

    return search
