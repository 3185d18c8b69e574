"""A closed loop over HTTP: clients that each send the next image when the last is answered, against a real server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import torch

from indexer.benchmarks.cpu.stages import Expectation
from indexer.benchmarks.cpu.subjects import vit_model
from indexer.benchmarks.gpu.clock import Latencies
from indexer.benchmarks.gpu.floors import Rates
from indexer.benchmarks.gpu.plan import GpuPlan
from indexer.benchmarks.gpu.report import Line, Note, Result
from indexer.benchmarks.server import photograph, running_server
from indexer.encoders import InputGeometry, preprocess
from indexer.imaging.decode import decode_image


def closed_loop(plan: GpuPlan, device: torch.device, rates: Rates) -> Iterator[Result]:
    """Every number of clients with every image size. The floor is decoding, on the threads that the server has."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(running_server(folder, _settings(plan, device, folder)))
        sides = {side: [photograph(side, seed) for seed in range(8)] for side in plan.image_sides}
        smallest = min(plan.image_sides)
        onboarding = [
            ("images", (f"{i}.jpg", photograph(smallest, 100 + i), "image/jpeg")) for i in range(plan.onboarded)
        ]
        for start in range(0, len(onboarding), 16):
            server.post(
                "/references", data={"category": "part"}, files=onboarding[start : start + 16]
            ).raise_for_status()
        for side, images in sides.items():
            decoding = _decoding(plan, images)
            yield Note(f"decoding and resizing one JPEG of {side} px", f"{decoding * 1e3:.2f} ms on one thread")
            for clients in plan.clients:
                seconds, stages, wall, refused = _loop(server, clients, plan.seconds, images)
                served = len(seconds) / wall
                limit = plan.decode_threads / decoding
                yield Line(
                    "detect over HTTP, closed loop",
                    f"{clients} clients, {side} px JPEG",
                    Latencies(tuple(seconds)),
                    floor=decoding,
                    remark=f"{stages}; {refused} refused as busy; decoding allows {limit:.0f} images/s",
                    served=served,
                )


def expectations(plan: GpuPlan, device: torch.device, results: Sequence[Result]) -> Iterator[Expectation]:
    """What HTTP keeps of the rate in process, or of the rate that decoding allows; nothing without both."""
    lines = [result for result in results if isinstance(result, Line)]
    in_process = [line.rate for line in lines if line.what.startswith("end to end")]
    served = [line for line in lines if line.what.startswith("detect over HTTP")]
    if not in_process or not served:
        return
    inside = max(in_process)
    best = max(served, key=lambda line: line.rate)
    allowed = plan.decode_threads / (best.floor or 1)
    met = best.rate >= 0.7 * min(inside, allowed) if device.type == "cuda" else None
    figure = f"{best.rate:.0f} images/s ({best.at}); {inside:.0f} in process; decoding allows {allowed:.0f}"
    yield Expectation("over HTTP within 70 % of the rate in process, or of what decoding allows", figure, met)


def _loop(
    server: httpx.Client, clients: int, duration: float, images: list[bytes]
) -> tuple[list[float], str, float, int]:
    """Seconds of every answer, where the service says that the median one's time went, seconds in all, and how often
    the server was busy."""
    end = time.perf_counter() + duration

    def client(index: int) -> tuple[list[float], list[dict[str, float]], int]:
        seconds, timings, refused = [], [], 0
        turn = 0
        while turn == 0 or time.perf_counter() < end:
            started = time.perf_counter()
            body = [("images", ("part.jpg", images[(index + turn) % len(images)], "image/jpeg"))]
            answer = server.post("/detect", data={"category": "part"}, files=body)
            turn += 1
            if answer.status_code == 503:
                refused += 1
                continue
            answer.raise_for_status()
            seconds.append(time.perf_counter() - started)
            timings.append(answer.json()["results"][0]["timings"])
        return seconds, timings, refused

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        measured = list(pool.map(client, range(clients)))
    wall = time.perf_counter() - started
    timings = [timing for _, timings_of_client, _ in measured for timing in timings_of_client]
    stages = ", ".join(f"{name} {np.median([timing[name] for timing in timings]):.3g}" for name in timings[0])
    return (
        [second for latencies, _, _ in measured for second in latencies],
        stages,
        wall,
        sum(refused for _, _, refused in measured),
    )


def _settings(plan: GpuPlan, device: torch.device, folder: Path) -> dict[str, object]:
    """The server's, with the plan's transformer of random weights."""
    vit_model(plan.vit, plan.crop).save_pretrained(folder / "model")
    return {
        "ENCODER": folder / "model",
        "DTYPE": plan.dtype,
        "DEVICE": device.type,
        "RESIZE": plan.resize,
        "CROP": plan.crop,
        "BATCH_SIZE": plan.micro_batch,
        "QUEUE_SIZE": 4 * max(plan.clients),
        "DECODE_THREADS": plan.decode_threads,
        "COMPILE_ENCODER": plan.compiled,
        "PREPROCESS_ON_DEVICE": device.type == "cuda",
    }


def _decoding(plan: GpuPlan, images: list[bytes]) -> float:
    """Seconds to decode and resize one image on this thread."""
    geometry = InputGeometry.paper(plan.resize, plan.crop)
    started = time.perf_counter()
    for data in images:
        preprocess(decode_image(data), geometry)
    return (time.perf_counter() - started) / len(images)
