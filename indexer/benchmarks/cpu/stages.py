"""The measurements, in the order of the table."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.benchmarks.cpu.clock import Subject, Timings, time_interleaved
from indexer.benchmarks.cpu.detection import StageLine, detection_lines
from indexer.benchmarks.cpu.growth import resident_growth
from indexer.benchmarks.cpu.plan import QUICK, CpuPlan, Vit
from indexer.benchmarks.cpu.start import seconds_until_ready
from indexer.benchmarks.cpu.subjects import (
    LAYERS,
    builtin_encoder,
    cell_loop,
    devices,
    encoding,
    filled_bank,
    float_bank,
    random_features,
    space_of,
    vit_encoder,
)
from indexer.benchmarks.machine import copying, multiplying
from indexer.domain.scoring_settings import ANYWHERE
from indexer.encoders import InputGeometry, prepare
from indexer.encoders.encode_images import encode_images
from indexer.memory import Codec, MemoryBank
from indexer.search import FaissEngine, NativeEngine, PatchSearchEngine, TorchEngine, choose_engine
from indexer.search.native import instruction_sets
from indexer.storage.lock import StoreLock
from indexer.storage.segment_format import SegmentHeader
from indexer.storage.segment_store import SegmentStore

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, at which sizes, the figure with its unit, what it compares to."""

    what: str
    size: str
    figure: str
    compared: str = ""


@dataclass(frozen=True)
class Expectation:
    """A claim the product makes, the figure found, and whether it holds; None where it cannot be measured."""

    claim: str
    figure: str
    met: bool | None


Measurement = Row | Expectation | StageLine


def stages(plan: CpuPlan) -> list[tuple[str, Callable[[Tick], Iterator[Measurement]]]]:
    """Every measurement with its name; each reports its progress to its argument."""
    return [
        *((f"{vit.name} features", partial(_retrieval, plan, vit)) for vit in plan.vits),
        ("A larger memory", partial(_larger_memory, plan)),
        ("All places", partial(_all_places, plan)),
        ("Cells", partial(_cells, plan)),
        ("Appending", partial(_appending, plan)),
        ("Bytes", partial(_bytes, plan)),
        ("Start", partial(_start, plan)),
        *((f"A detection, {vit.name if vit else 'built-in'}", partial(_detection, plan, vit)) for vit in plan.served),
    ]


def _retrieval(plan: CpuPlan, vit: Vit, tick: Tick) -> Iterator[Measurement]:
    """Encoding, every engine and codec, the cell loop and the machine's own rates, in the same rounds."""
    largest = vit is plan.vits[0]
    tick("filling memories")
    space = space_of(plan, vit.dim)
    memories = {codec: filled_bank(space, codec, plan.references) for codec in ("fp16", "int8", "int4")}
    query = random_features(space, 1, seed=1)
    patches, descriptor = query.patches[0], query.global_descriptors[0].numpy()
    fp16 = memories["fp16"]
    rows = fp16.nearest_references(descriptor, plan.k).rows
    bank = float_bank(fp16)
    engines: dict[str, PatchSearchEngine] = {f"TorchEngine {device.type}": TorchEngine(device) for device in devices()}
    engines["FaissEngine cpu"] = FaissEngine()
    if instruction_sets():
        engines["NativeEngine cpu"] = NativeEngine()
    chosen = f"{type(choose_engine(torch.device('cpu'))).__name__} cpu"

    subjects: dict[str, Subject] = {"encode builtin": encoding(builtin_encoder(plan))} if largest else {}
    rates: dict[str, int] = {}
    for device in devices():
        subjects[f"encode {device.type}"] = encoding(vit_encoder(plan, vit, device))
        for name, (work, amount) in {"copy": copying(device), "multiply": multiplying(device)}.items():
            subjects[f"{name} {device.type}"] = work
            rates[f"{name} {device.type}"] = amount
    subjects["global search"] = lambda: fp16.nearest_references(descriptor, plan.k)
    for codec, memory in memories.items():
        for name, engine in engines.items():
            subjects[f"{name} {codec}"] = _searching(engine, memory, patches, rows, plan)
    subjects["cell loop"] = lambda: cell_loop(bank, patches, rows, plan)
    times = time_interleaved(subjects, plan.rounds, tick)

    at = f"N = {plan.references}, K = {plan.k}, ρ = {plan.rho}, d = {vit.dim}"
    if largest:
        yield Row("encode, built-in", f"{plan.crop} px", _time(times.median("encode builtin")))
    for device in devices():
        yield Row(
            f"encode, {vit.name} sized, {device.type}",
            f"{plan.crop} px, fp32",
            _time(times.median(f"encode {device.type}")),
        )
    yield Row("global search", f"N = {plan.references}, d = {vit.dim}", _time(times.median("global search")))
    loop = times.median("cell loop")
    yield Row("patch search, plain loop over cells", f"{at}, fp32", _time(loop))
    for codec, memory in memories.items():
        for name, engine in engines.items():
            label = f"{name} {codec}"
            device_name = "cuda" if engine.name == "torch-cuda" else "cpu"
            over, floor = _floor(times, rates, label, device_name, memory, plan)
            compared = f"{times.ratio('cell loop', label):.1f}× faster than the loop; {over:.1f}× the floor of {floor}"
            yield Row(f"patch search, {name}", f"{at}, {codec}", _time(times.median(label)), compared)
    copy, multiply = (rates[f"{name} cpu"] / times.median(f"{name} cpu") / 1e9 for name in ("copy", "multiply"))
    rates_of = "copy of 256 MiB, read + written; fp32 product of 2048²"
    yield Row("machine, beside the above", rates_of, f"{copy:.1f} GB/s; {multiply:.0f} GFLOP/s")

    faster = times.ratio("cell loop", f"{chosen} fp16")
    yield Expectation(f"patch search ≥ 25× the cell loop on CPU (d = {vit.dim}, fp16)", f"{faster:.1f}×", faster >= 25)
    quantised = times.ratio(f"{chosen} fp16", f"{chosen} int8")
    claim = f"patch search of int8 codes ≥ 1.6× faster than of fp16 on CPU (d = {vit.dim})"
    yield Expectation(claim, f"{quantised:.2f}×", quantised >= 1.6)
    if largest:
        over, _ = _floor(times, rates, f"{chosen} fp16", "cpu", fp16, plan)
        yield Expectation(
            f"patch search within 2.5× its floor on CPU (d = {vit.dim}, fp16)", f"{over:.1f}×", over <= 2.5
        )
        share = times.ratio(f"{chosen} fp16", "encode cpu")
        claim = f"patch search of all four layers under 40 % of a {vit.name} encode, same CPU"
        yield Expectation(claim, f"{share:.0%}", share < 0.4)


def _floor(
    times: Timings, rates: dict[str, int], label: str, device: str, memory: MemoryBank, plan: CpuPlan
) -> tuple[float, str]:
    """How far a search is above the least time it could take, and that time in words.

    The least: one read of the retrieved codes at the copy's rate, or the products at the multiplication's, whichever
    is longer, as if both overlapped perfectly.
    """
    read = min(plan.k, memory.rows) * memory.code_bytes / memory.rows  # bytes
    products = 2 * LAYERS * min(plan.k, memory.rows) * plan.candidates * memory.space.dim
    reading = read * times.median(f"copy {device}") / rates[f"copy {device}"]
    computing = products * times.median(f"multiply {device}") / rates[f"multiply {device}"]
    words = (
        f"{_time(max(reading, computing))} ({read / 1e6:.0f} MB read in {_time(reading)}, "
        f"{products / 1e9:.1f} GFLOP in {_time(computing)})"
    )
    return times.median(label) / max(reading, computing), words


def _larger_memory(plan: CpuPlan, tick: Tick) -> Iterator[Measurement]:
    tick("filling memories")
    space = space_of(plan, plan.small_dim)
    query = random_features(space, 1, seed=1)
    descriptor = query.global_descriptors[0].numpy()
    subjects: dict[str, Subject] = {}
    counts = (plan.references, plan.many)
    for count in counts:
        memory = filled_bank(space, "fp16", count)
        rows = memory.nearest_references(descriptor, plan.k).rows
        subjects[f"{count} global"] = _retrieving(memory, descriptor, plan.k)
        for device in devices():
            engine = choose_engine(device)
            subjects[f"{count} {device.type}"] = _searching(engine, memory, query.patches[0], rows, plan)
    times = time_interleaved(subjects, plan.quick_rounds, tick)
    few, many = counts
    for count in counts:
        yield Row("global search", f"N = {count}, d = {plan.small_dim}", _time(times.median(f"{count} global")))
    for device in devices():
        grew = times.ratio(f"{many} {device.type}", f"{few} {device.type}")
        for count in counts:
            yield Row(
                f"patch search, {type(choose_engine(device)).__name__} {device.type}",
                f"N = {count}, K = {plan.k}, d = {plan.small_dim}, fp16",
                _time(times.median(f"{count} {device.type}")),
                f"{grew:.2f}× N = {few}" if count == many else "",
            )
        claim = f"patch search from N = {few} to {many} at the same K within 1.3×, {device.type}"
        yield Expectation(claim, f"{grew:.2f}×", grew <= 1.3)


def _all_places(plan: CpuPlan, tick: Tick) -> Iterator[Measurement]:
    """Searches that compare every patch with those of all places: the service's engine beside torch's and the floor."""
    tick("filling memories")
    space = space_of(plan, plan.small_dim)
    patches, rows = random_features(space, 1, seed=1).patches[0], np.arange(plan.k)
    memories = {codec: filled_bank(space, codec, plan.k) for codec in ("fp16", "int8")}
    engines: dict[str, PatchSearchEngine] = {"TorchEngine": TorchEngine(torch.device("cpu"))}
    if instruction_sets():
        engines["NativeEngine"] = NativeEngine()
    everywhere = replace(plan, rho=ANYWHERE)
    subjects = {
        f"{name} {codec}": _searching(engine, memory, patches, rows, everywhere)
        for codec, memory in memories.items()
        for name, engine in engines.items()
    }
    multiply, multiplied = multiplying(torch.device("cpu"))
    times = time_interleaved({**subjects, "multiply": multiply}, plan.rounds, tick)
    operations = 2 * LAYERS * plan.k * math.prod(space.global_grid) ** 2 * space.dim
    floor = times.median("multiply") * operations / multiplied
    for codec in memories:
        for name in engines:
            label = f"{name} {codec}"
            compared = f"{times.median(label) / floor:.1f}× the floor of {_time(floor)} ({operations / 1e9:.1f} GFLOP)"
            if name != "TorchEngine":
                compared = f"{times.ratio(f'TorchEngine {codec}', label):.1f}× faster than TorchEngine; {compared}"
            at = f"K = {plan.k}, all places, d = {space.dim}, {codec}"
            yield Row(f"patch search, {name} cpu", at, _time(times.median(label)), compared)


def _cells(plan: CpuPlan, tick: Tick) -> Iterator[Measurement]:
    """Encode, search and bytes of whole images on ever larger grids, against the smallest and the floor."""
    tick("filling memories")
    encoder, engine = builtin_encoder(plan), choose_engine(torch.device("cpu"))
    subjects: dict[str, Subject] = {}
    bytes_each: dict[tuple[int, int], int] = {}
    for grid in plan.grids:
        geometry = InputGeometry.whole(16 * grid[1], 16 * grid[0])
        noise = np.random.default_rng(0).integers(0, 256, (16 * grid[0], 16 * grid[1], 3), np.uint8)
        prepared = prepare(noise, geometry, encoder.space.global_geometry)
        subjects[f"encode {grid}"] = partial(encode_images, encoder, [prepared])
        space = replace(space_of(plan, plan.small_dim), global_geometry=geometry)
        memory = filled_bank(space, "fp16", plan.k)
        bytes_each[grid] = memory.code_bytes // memory.rows
        query = random_features(space, 1, seed=1).patches[0]
        subjects[f"search {grid}"] = _searching(engine, memory, query, np.arange(plan.k), plan)
    copy, copied = copying(torch.device("cpu"))
    times = time_interleaved({**subjects, "copy": copy}, plan.rounds, tick)
    first, last = plan.grids[0], plan.grids[-1]
    for grid in plan.grids:
        cells = math.prod(grid) / math.prod(first)
        at = f"{math.prod(grid)} cells"
        for what in ("encode", "search"):
            ratio = times.ratio(f"{what} {grid}", f"{what} {first}")
            compared = "" if grid == first else f"{ratio:.1f}× the first, of {cells:.0f}× the cells"
            if what == "search":
                floor = times.median("copy") * plan.k * bytes_each[grid] / copied
                above = f"{times.median(f'search {grid}') / floor:.1f}× one read of the codes"
                compared = f"{compared}; {above}" if compared else above
            name = "encode, built-in" if what == "encode" else f"patch search, K = {plan.k}, d = {plan.small_dim}, fp16"
            yield Row(name, at, _time(times.median(f"{what} {grid}")), compared)
        yield Row("codes of a reference", at, f"{bytes_each[grid] / 1e6:.2f} MB")
    grown = math.prod(last) / math.prod(first)
    for what in ("encode", "search"):
        ratio = times.ratio(f"{what} {last}", f"{what} {first}") / grown
        max_growth = 2.5 if what == "encode" else 1.3  # windows overlap
        yield Expectation(
            f"{what} a cell of {math.prod(last)} within {max_growth}× of one of {math.prod(first)}",
            f"{ratio:.2f}×",
            ratio <= max_growth,
        )


def _appending(plan: CpuPlan, tick: Tick) -> Iterator[Measurement]:
    tick("filling memories")
    space = space_of(plan, plan.vits[-1].dim)
    # A virtual machine's first touch of a page is paid to its host: have every page touched before the clock runs.
    needed = (
        (sum(plan.append) + 4 * plan.quick_rounds)
        * LAYERS
        * math.prod(space.global_grid)
        * Codec("fp16", space.dim).code_size
    )
    torch.ones(needed, dtype=torch.uint8)
    memories = {count: filled_bank(space, "fp16", count) for count in plan.append}
    encoded = memories[plan.append[0]].codec.encode(random_features(space, 1))

    def append(count: int) -> None:
        memory = memories[count]
        memories[count] = memory.with_references([memory.rows], ["part"], encoded, memory.version + 1)

    subjects: dict[str, Subject] = {str(count): partial(append, count) for count in plan.append}
    times = time_interleaved(subjects, plan.quick_rounds, tick)
    few, many = plan.append
    for count in plan.append:
        compared = f"{times.ratio(str(many), str(few)):.2f}× N = {few}" if count == many else ""
        at = f"N = {count}, d = {space.dim}, fp16"
        yield Row("append one reference", at, _time(times.median(str(count))), compared)


def _bytes(plan: CpuPlan, tick: Tick) -> Iterator[Measurement]:
    vit = plan.vits[0]
    at = f"{vit.name}, {plan.crop} px, fp16"
    memory = filled_bank(space_of(plan, vit.dim), "fp16", 1)
    encoded = memory.codec.encode(random_features(memory.space, 1))
    tick("writing a segment")
    with tempfile.TemporaryDirectory() as folder:
        lock = StoreLock(Path(folder) / "lock")
        header = SegmentHeader(
            memory.space.fingerprint,
            "fp16",
            LAYERS,
            *memory.space.global_grid,
            memory.codec.code_size,
            memory.space.global_dim,
            1,
        )
        with lock.shared():
            on_disk = (
                SegmentStore(Path(folder) / "segments", lock)
                .write(encoded.global_descriptors, encoded.codes, header)
                .size
            )
    in_memory = memory.code_bytes + encoded.global_descriptors.nbytes
    yield Row("a reference on disk", at, f"{on_disk / 1e6:.2f} MB", "without its original image")
    yield Row("a reference in memory", at, f"{in_memory / 1e6:.2f} MB")
    tick(f"adding {plan.growth} references in a fresh process")
    grew = resident_growth(vit.dim, plan == QUICK)
    shown = "not measured here" if grew is None else f"{grew:.3f}×"
    yield Row("resident memory over codes added", f"{plan.growth} references, {at}", shown)
    largest = max(on_disk, in_memory)
    yield Expectation(f"≤ 4.9 MB a reference ({at})", f"{largest / 1e6:.2f} MB", largest <= 4.9e6)
    claim = "resident memory grows by at most 1.15× the codes as references are added"
    yield Expectation(claim, shown, None if grew is None else grew <= 1.15)


def _start(plan: CpuPlan, tick: Tick) -> Iterator[Measurement]:
    tick(f"starting a server of {plan.started} references {plan.rounds} times")
    seconds = median(seconds_until_ready(plan))
    at = f"{plan.started} references, {plan.crop} px, fp16"
    yield Row("a server's start until it is ready, built-in", at, _time(seconds))
    yield Expectation(f"ready within 2.5 s (built-in, {plan.started} references)", _time(seconds), seconds <= 2.5)


def _detection(plan: CpuPlan, vit: Vit | None, tick: Tick) -> Iterator[Measurement]:
    """Detections over HTTP in their stages, and how far the whole is above the encoding that it cannot do without."""
    lines = list(detection_lines(plan, vit, tick))
    yield from lines
    smallest = {line.clients: line for line in lines if line.image == lines[0].image}
    encode, one, many = (smallest[clients] for clients in ("floor", str(plan.clients[0]), str(plan.clients[-1])))
    least = encode.stages["encode"]
    what, total, rate = one.what, one.total or 0.0, many.rate or 0.0
    claim = f"a detection by one client within 1.3× encoding alone and 15 ms ({what}, {one.image})"
    yield Expectation(claim, f"{_time(total)}, encoding {_time(least)}", total <= 1.3 * least + 0.015)
    claim = f"{many.clients} clients get ≥ 80 % of what encoding alone allows ({what}, {many.image})"
    yield Expectation(claim, f"{rate * least:.0%}", rate * least >= 0.8)


def _searching(
    engine: PatchSearchEngine, memory: MemoryBank, patches: torch.Tensor, rows: NDArray[np.int64], plan: CpuPlan
) -> Subject:
    return lambda: engine.max_similarity(memory, patches, rows, plan.rho)


def _retrieving(memory: MemoryBank, descriptor: NDArray[np.float32], k: int) -> Subject:
    return lambda: memory.nearest_references(descriptor, k)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
