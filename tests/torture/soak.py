"""Hours of a shift in minutes: light, steady work, under which memory, files and threads must not grow."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import psutil

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.torture.keyed import KeyedServer

_SAMPLE_SECONDS = 5.0


def soak(folder: Path, minutes: float) -> str:
    """Detect five times a second, onboard and take back a reference every two seconds; AssertionError if memory grows.

    The first quarter warms up. Resident memory must not grow by more than 3 % from the second quarter to the last.
    """
    with KeyedServer(folder / "data").wait_until_live() as server:
        process = psutil.Process(server.process.pid)
        body = files(*(part(seed) for seed in range(20)))
        server.client.post("/references", data={"category": "disc"}, files=body).raise_for_status()
        begun = time.monotonic()
        samples: list[tuple[float, int, int, int]] = []
        slow: list[float] = []
        turn = 0
        while (now := time.monotonic() - begun) < minutes * 60:
            turn += 1
            requested = time.monotonic()
            image = part(turn % 997, scratched=turn % 5 == 0)
            server.client.post("/detect", files=files(image)).raise_for_status()
            slow.append(time.monotonic() - requested)
            if turn % 10 == 0:
                added = server.client.post(
                    "/references", data={"category": "disc"}, files=files(part(10_000 + turn))
                ).json()
                server.client.delete(f"/references/{added['results'][0]['reference_id']}").raise_for_status()
            if not samples or now - samples[-1][0] >= _SAMPLE_SECONDS:
                samples.append((now, process.memory_info().rss, process.num_fds(), process.num_threads()))
            time.sleep(max(0.0, turn * 0.2 - (time.monotonic() - begun)))
        quarter = minutes * 15
        early = [sample for sample in samples if quarter <= sample[0] < 2 * quarter]
        late = [sample for sample in samples if sample[0] >= 3 * quarter]
        resident = [statistics.median(sample[1] for sample in part_) / 2**20 for part_ in (early, late)]
        open_files = [max(sample[2] for sample in part_) for part_ in (early, late)]
        threads = [max(sample[3] for sample in part_) for part_ in (early, late)]
        assert server.client.get("/readyz").status_code == 200
        assert server.stop() == 0
    growth = (
        f"{turn} detections and {turn // 10} references added and taken back in {minutes:g} minutes; second quarter to "
        f"last: resident {resident[0]:.1f} to {resident[1]:.1f} MiB ({resident[1] / resident[0] - 1:+.2%}), open files "
        f"{open_files[0]} to {open_files[1]}, threads {threads[0]} to {threads[1]}; median answer "
        f"{statistics.median(slow) * 1000:.0f} ms"
    )
    assert resident[1] < resident[0] * 1.03, growth
    assert open_files[1] <= open_files[0] + 2, growth
    return growth
