"""`python -m indexer.benchmarks.runtimes`: what an image takes to encode in each runtime, beside torch."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

from indexer.benchmarks.cpu.clock import time_interleaved
from indexer.benchmarks.machine import describe
from indexer.encoders import Encoder, EncoderSettings, load_encoder
from indexer.encoders.runtimes import PRECISIONS
from indexer.progress import progress


def main(
    encoder: Annotated[list[str] | None, typer.Argument(help="As TOUCHSTONE_ENCODER; default: builtin.")] = None,
    crop: Annotated[int, typer.Option(help="Side in pixels of the image.")] = 448,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every encoder runs once.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Of the CPU.")] = 2,
    processor_time: Annotated[
        bool, typer.Option("--processor-time", help="Of all threads, in place of elapsed time; with --threads 1.")
    ] = False,
    layers: Annotated[str | None, typer.Option(help="1-based layers of a transformer, comma separated.")] = None,
) -> None:
    """Print a Markdown table: milliseconds, and the median of the rounds' own ratios to torch in float32.

    On a busy machine, processor time of one thread is the fairer measure. The image is noise: accuracy is measured by
    `touchstone evaluate`.
    """
    torch.set_num_threads(threads)
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, crop, crop), dtype=np.uint8)
    image = torch.from_numpy(noise)
    picked = tuple(map(int, layers.split(","))) if layers else None
    measured = "processor" if processor_time else "elapsed"
    print(f"{describe()}; {measured} time, {threads} threads, {rounds} rounds, {crop} × {crop} pixels\n")
    print(
        "| encoder | runtime | precision | ms, median | ms, least | share of torch, float32 | least cosine of a patch |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    with TemporaryDirectory() as converted, progress() as shown:
        for model in encoder or ["builtin"]:
            base = EncoderSettings(model, picked, crop, crop, "cpu", converted=Path(converted))
            subjects = _subjects(base)
            task = shown.task(model, total=len(subjects) * (rounds + 1))
            timings = time_interleaved(
                {name: partial(subject.encode, image) for name, subject in subjects.items()},
                rounds,
                partial(task.advance, 1),
                time.process_time if processor_time else time.perf_counter,
            )
            expected = subjects["torch, float32"].encode(image).patches
            for name, subject in subjects.items():
                runtime, dtype = name.split(", ")
                seconds = timings.seconds[name]
                cosine = float((subject.encode(image).patches * expected).sum(-1).min())
                print(
                    f"| {Path(model).name} | {runtime} | {dtype} | {1e3 * timings.median(name):.0f} | "
                    f"{1e3 * min(seconds):.0f} | {timings.ratio(name, 'torch, float32'):.2f} | {cosine:.5f} |",
                    flush=True,
                )


def _subjects(base: EncoderSettings) -> dict[str, Encoder]:
    """The encoder in every runtime and precision that a CPU is good for."""
    return {
        f"{runtime}, {dtype}": load_encoder(replace(base, runtime=runtime, dtype=dtype))
        for runtime, precisions in PRECISIONS.items()
        for dtype in precisions
        if dtype != "float16" and (base.model.startswith("builtin"), runtime, dtype) != (True, "torch", "bfloat16")
    }


if __name__ == "__main__":
    typer.run(main)
