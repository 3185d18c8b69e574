"""Where the time of a detection goes: a real server's own measurement of every stage, and the least each could take."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import torch

from indexer.benchmarks.cpu.plan import CpuPlan, Vit
from indexer.benchmarks.cpu.subjects import builtin_encoder, encoding, vit_encoder, vit_model
from indexer.benchmarks.machine import copying
from indexer.benchmarks.server import photograph, running_server
from indexer.encoders import Encoder, InputGeometry, preprocess
from indexer.imaging.decode import read_image
from indexer.memory import Codec
from indexer.storage.durable import write_durably

# As `touchstone_stage_seconds` has them; what they leave of a client's time is "rest".
STAGES = (
    *("receive", "read", "prepare", "thumbnail", "queue", "encode", "retrieve", "patches"),
    *("score", "map", "files", "catalogue"),
)
_RECORDING = ("map", "files", "catalogue")  # the stages that follow the answer where nobody waits for them
_SAMPLE = re.compile(r'^touchstone_stage_seconds_(sum|count)\{stage="(\w+)"\} (\S+)$', re.MULTILINE)
_TOGETHER = 16  # images of one request
_CALIBRATING_SECONDS = 600


@dataclass(frozen=True)
class StageLine:
    """One line of the table, in seconds.

    what: the encoder. image: that was sent. clients: that each send the next image when the last is answered; "cold"
    for the first after a start, "floor" for what each stage takes at least; "not waiting" for one that is answered
    before the inspection is recorded. total: as a client sees it, the median.
    stages: means, by name. rate: images a second; None of one alone.
    """

    what: str
    image: str
    clients: str
    total: float | None
    stages: Mapping[str, float]
    rate: float | None = None


@dataclass(frozen=True)
class _Image:
    name: str
    suffix: str
    data: bytes


def detection_lines(plan: CpuPlan, vit: Vit | None, tick: Callable[[str], None]) -> Iterator[StageLine]:
    """Every image with every number of clients. vit: the encoder, of random weights; None for the built-in one.

    Only the built-in encoder, which takes least, is sent all images, the others the first of each size.
    """
    what = "built-in" if vit is None else f"{vit.name} sized"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tick(f"{what}: onboarding and calibrating {plan.onboarded} references")
        settings = _settings(plan, vit, folder)
        images = list(_images(plan, vit is None))
        with running_server(folder, settings) as server:
            for suffix in sorted({image.suffix for image in images}):
                _onboard(server, plan, suffix)
        for image in images:
            yield StageLine(what, image.name, "floor", None, _floors(plan, vit, image, folder))
        os.sync()  # the data sets and references written so far
        with running_server(folder, settings) as server:
            for number, image in enumerate(images):
                if number == 0:
                    tick(f"{what}: the first detection")
                    yield _line(server, what, image, "cold", 1, 1)
                _line(server, what, image, "", 1, 1)
                for clients in plan.clients:
                    tick(f"{what}: {image.name}, {clients} clients")
                    yield _line(server, what, image, str(clients), clients, max(1, plan.detections // clients))
                tick(f"{what}: {image.name}, not waiting for recording")
                yield _line(server, what, image, "1, not waiting", 1, plan.detections, wait=False)


def _settings(plan: CpuPlan, vit: Vit | None, folder: Path) -> dict[str, object]:
    settings = {"DEVICE": "cpu", "RESIZE": plan.resize, "CROP": plan.crop, "QUEUE_SIZE": 4 * max(plan.clients)}
    if vit is None:
        return settings
    vit_model(vit, plan.crop).save_pretrained(folder / "model")
    return {**settings, "ENCODER": folder / "model", "DTYPE": "float32"}


def _images(plan: CpuPlan, every: bool) -> Iterator[_Image]:
    for side in plan.image_sides:
        for suffix in (".png", ".jpg") if every else (".jpg",):
            yield _Image(f"{side} px {suffix[1:].upper()}", suffix, photograph(side, 1000, suffix))


def _onboard(server: httpx.Client, plan: CpuPlan, suffix: str) -> None:
    """References, and the calibration that follows them: none of it runs beside what is measured.

    A category for each file format: parts in another format than their references would be adapted to, in the
    background.
    """
    side, category = plan.image_sides[0], _category(suffix)
    files = [("images", (f"{i}{suffix}", photograph(side, i, suffix))) for i in range(plan.onboarded)]
    for start in range(0, len(files), _TOGETHER):
        body = files[start : start + _TOGETHER]
        server.post("/references", data={"category": category}, files=body).raise_for_status()
    end = time.monotonic() + _CALIBRATING_SECONDS
    while server.get(f"/categories/{category}").raise_for_status().json()["calibration"]["state"] == "pending":
        if time.monotonic() > end:
            raise RuntimeError("the references were not calibrated in time")
        time.sleep(0.2)


def _category(suffix: str) -> str:
    return f"part-{suffix[1:]}"


def _line(
    server: httpx.Client, what: str, image: _Image, label: str, clients: int, turns: int, *, wait: bool = True
) -> StageLine:
    form = {"category": _category(image.suffix), "wait_for_recording": str(wait).lower()}

    def client(_: int) -> list[float]:
        seconds = []
        for _ in range(turns):
            begun = time.perf_counter()
            files = {"images": (f"part{image.suffix}", image.data)}
            server.post("/detect", data=form, files=files).raise_for_status()
            seconds.append(time.perf_counter() - begun)
        return seconds

    before, begun = _scrape(server), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = [second for part in pool.map(client, range(clients)) for second in part]
    wall, after = time.perf_counter() - begun, _scrape(server)
    stages = {
        stage: (after["sum", stage] - before["sum", stage]) / max(1.0, after["count", stage] - before["count", stage])
        for stage in STAGES
    }
    if not wait:
        stages |= dict.fromkeys(_RECORDING, 0.0)
    stages["rest"] = max(0.0, sum(seconds) / len(seconds) - sum(stages.values()))
    return StageLine(what, image.name, label, median(seconds), stages, len(seconds) / wall)


def _scrape(server: httpx.Client) -> dict[tuple[str, str], float]:
    samples = defaultdict[tuple[str, str], float](float)
    for kind, stage, value in _SAMPLE.findall(server.get("/metrics").raise_for_status().text):
        samples[kind, stage] = float(value)
    return samples


def _floors(plan: CpuPlan, vit: Vit | None, image: _Image, folder: Path) -> dict[str, float]:
    """The same work alone in this process: decoding, scaling and encoding; one read of the codes; one durable write."""
    encoder: Encoder = builtin_encoder(plan) if vit is None else vit_encoder(plan, vit, torch.device("cpu"))
    space = encoder.space
    copy, copied = copying(torch.device("cpu"))
    codes = len(space.layers) * int(np.prod(space.global_grid)) * Codec("fp16", space.dim).code_size
    geometry = InputGeometry.paper(plan.resize, plan.crop)
    stored = read_image(image.data, geometries=(geometry,))
    pixels = stored.rgb()
    return {
        "read": _quickest(lambda: read_image(image.data, geometries=(geometry,)).rgb()),
        "prepare": _quickest(lambda: preprocess(pixels, geometry, stored.size)),
        "encode": _quickest(encoding(encoder)),
        "patches": _quickest(copy) * codes * min(plan.k, plan.onboarded) / copied,
        "files": _quickest(lambda: write_durably({folder / "once": image.data})),
    }


def _quickest(work: Callable[[], object]) -> float:
    """The quickest of three runs after one to warm up."""
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])
