"""`python -m indexer.benchmarks.large_memory`: what a memory larger than the machine costs, in mapped segment files."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, TypeVar

import numpy as np
import torch
import typer

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import NewReference
from indexer.domain.scoring_settings import ScoringSettings
from indexer.domain.snapshot import SegmentFile
from indexer.encoders import FeatureSpace
from indexer.memory import Codec, EncodedReferences, MemoryBank
from indexer.references.reference_store import ReferenceStore
from indexer.references.segment_writer import write_segment
from indexer.references.source_image import SourceImage
from indexer.search import choose_engine
from indexer.storage.segment_store import SegmentStore

# A ViT-B/16 at 448 pixels, int4: 1.22 MB a reference.
SPACE = FeatureSpace(
    "synthetic-vit-b16",
    ("4", "7", "10", "12"),
    patch=16,
    dim=768,
    global_dim=768,
    global_geometry=InputGeometry((448, 448), (0, 0, 448, 448), "stretch"),
    fingerprint="0" * 64,
)
CODEC = "int4"
_SEGMENT = 256  # references, as compaction leaves them
_SCALE = np.float32(0.0006)  # of a random code of 768 levels: about unit length
_COLD = 5  # categories that are searched after their pages were dropped

T = TypeVar("T")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def build(
    data: Annotated[Path, typer.Argument(help="Data folder to create.")],
    categories: Annotated[int, typer.Option(help="Categories.")] = 30,
    references: Annotated[int, typer.Option(help="References of each.")] = 1216,
    distinct: Annotated[
        int, typer.Option(help="Categories with files of their own; the others are hard links to these.")
    ] = 8,
) -> None:
    """Make a data folder of random codes, by seed; 1.22 MB on the disk for each distinct reference."""
    folder = DataFolder.created(data, None)
    catalogue = Catalogue.of(folder)
    memory = catalogue.memories.ensure(SPACE.to_json(), SPACE.fingerprint, CODEC)
    store = SegmentStore(data / "segments", folder.lock)
    sizes = [min(_SEGMENT, references - first) for first in range(0, references, _SEGMENT)]
    written: dict[tuple[int, int], SegmentFile] = {}
    with folder.lock.shared():
        for category in range(categories):
            for index, size in enumerate(sizes):
                at = (category % distinct, index)
                if category < distinct:
                    written[at] = write_segment(store, _random(size, 1000 * category + index), SPACE)
                    segment = written[at]
                else:
                    segment = _linked(data / "segments", written[at], f"{category}-{index}.segment")
                names = [f"{category}-{index}-{row}" for row in range(size)]
                images = [NewReference(_digest(name), ".png", f"{name}.png", 448, 448) for name in names]
                catalogue.references.append(
                    f"product-{category}", segment, images, memory.id, SPACE.global_geometry.to_json()
                )
    catalogue.close()


@app.command()
def measure(data: Annotated[Path, typer.Argument(help="Data folder that `build` made.")]) -> None:
    """Open it, search a cold and a warm category, add and remove a reference: the table of docs/scale.md."""
    files = list((data / "segments").iterdir())
    _drop(files)
    store, opening = _timed(lambda: ReferenceStore.open(data, SPACE, mmap_codes=True))
    memory = store.memory
    print(f"{len(memory)} references, {memory.code_bytes / 1e9:.1f} GB of codes, {len(files)} segments")
    print("| | |\n|---|---|")
    _row("opening", f"{opening:.1f} s")
    _row("resident memory after opening", _resident())
    engine = choose_engine(torch.device("cpu"))
    query = _random(1, 999_999)
    patches = memory.codec.from_basis(memory.codec.decode(torch.from_numpy(query.codes[0])))
    descriptor = query.global_descriptors[0]
    settings = ScoringSettings()

    def search(category: str) -> None:
        retrieved = store.memory.nearest_references(descriptor, settings.k, category)
        engine.max_similarity(store.memory, patches, retrieved.rows, settings.rho)

    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    read = 0
    for index in range(_COLD):
        before = _bytes_read()
        for state in seconds:
            seconds[state].append(_timed(partial(search, f"product-{index}"))[1])
        read += _bytes_read() - before
    for state, times in seconds.items():
        _row(
            f"search of {settings.k} references, {state} (median; least to most of {_COLD} categories)",
            f"{1e3 * median(times):.0f} ms; {1e3 * min(times):.0f} to {1e3 * max(times):.0f} ms",
        )
    _row("read from the disk for a cold one", f"{read / _COLD / 1e6:.0f} MB")
    copied = _resident_copy(store.memory, "product-0", settings.k, descriptor)
    rows = copied.rows_of()
    compare = partial(engine.max_similarity, copied, patches, rows, settings.rho)
    copies = [_timed(compare)[1] for _ in range(_COLD)]
    _row("the same references in memory", f"{1e3 * median(copies):.0f} ms")
    del copied, compare
    _row("resident memory after the searches", _resident())
    name = f"late {time.time_ns()}"
    source = SourceImage("late.png", name.encode(), _digest(name), ".png", 448, 448)
    added, adding = _timed(lambda: store.add("product-0", [source], {source.sha256: query}))
    _, removing = _timed(lambda: store.remove([added.outcomes[0].reference_id]))
    _row("adding a reference, until it is published", f"{1e3 * adding:.0f} ms")
    _row("removing it", f"{1e3 * removing:.0f} ms")
    [first, *_] = store.catalogue.segments.of(store.memory_id)
    _drop(files)
    segments = SegmentStore(data / "segments", store.files)
    _, verifying = _timed(lambda: segments.verify(first.segment.name, first.segment.sha256))
    _row("verifying, without pauses", f"{first.segment.size / verifying / 1e9:.2f} GB/s")
    _drop(files)
    reading = _timed(lambda: segments.read(first.segment.name, first.segment.sha256))[1]
    _row("loading into memory, for comparison", f"{first.segment.size / reading / 1e9:.2f} GB/s")
    _row("resident memory at the end", _resident())
    store.close()


def _random(count: int, seed: int) -> EncodedReferences:
    """References of random codes and descriptors."""
    codec = Codec.from_name(CODEC, SPACE.dim)
    random = np.random.default_rng(seed)
    shape = (count, len(SPACE.layers), int(np.prod(SPACE.global_grid)), codec.code_size)
    codes = np.frombuffer(random.bytes(int(np.prod(shape))), np.uint8).reshape(shape).copy()
    codes[..., -4:] = np.frombuffer(_SCALE.tobytes(), np.uint8)
    descriptors = random.standard_normal((count, SPACE.global_dim), dtype=np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return EncodedReferences(descriptors, codes, codec.name, SPACE.global_grid)


def _linked(folder: Path, segment: SegmentFile, name: str) -> SegmentFile:
    """The same file under another name."""
    os.link(folder / segment.name, folder / name)
    return SegmentFile(name, segment.sha256, segment.size, segment.count)


def _resident_copy(memory: MemoryBank, category: str, k: int, descriptor: np.ndarray) -> MemoryBank:
    """A memory of what is retrieved in a category, in memory."""
    rows = memory.nearest_references(descriptor, k, category).rows
    codes = np.stack([memory.codes_of(int(row)).numpy() for row in rows])
    descriptors = np.stack([memory.global_index.descriptor(int(row)) for row in rows])
    encoded = EncodedReferences(descriptors, codes, memory.codec.name, SPACE.global_grid)
    return MemoryBank.empty(SPACE, memory.codec.name).with_references(
        range(len(rows)), [category] * len(rows), encoded, 1
    )


def _drop(files: list[Path]) -> None:
    """Drop the pages of files from the system's cache, those that are not mapped."""
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _resident() -> str:
    """Resident memory: the process's own, and pages of files, which the system takes back when it needs them."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, mapped = (int(status[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return f"{own:.0f} MiB and {mapped:.0f} MiB of pages of files"


def _bytes_read() -> int:
    """What this process has had read from disks so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    app()
