"""Three times as many requests as fit, sent whether or not the earlier ones were answered, as cameras do."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.torture.keyed import KeyedServer

_QUEUE = 16


@dataclass
class _Outcome:
    """What became of the requests of one run."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted_seconds: list[float] = field(default_factory=list)
    without_retry_after: int = 0
    broken: int = 0


def overload(folder: Path, seconds: float) -> str:
    """Find the closed-loop capacity, then send 1× and 3× of it open-loop for so many seconds each."""
    with KeyedServer(folder / "data", QUEUE_SIZE=str(_QUEUE)).wait_until_live() as server:
        body = files(*(part(seed) for seed in range(30)))
        server.client.post("/references", data={"category": "disc"}, files=body).raise_for_status()
        while server.client.get("/categories/disc").json()["calibration"]["state"] != "ready":
            time.sleep(0.2)
        url, headers = str(server.client.base_url), {"Authorization": f"Bearer {server.token}"}
        capacity = asyncio.run(_capacity(url, headers, seconds / 3))
        lines = [f"capacity {capacity:.1f}/s (8 clients, closed loop)"]
        goodputs = []
        for times in (0.7, 3.0):
            outcome = asyncio.run(_open_loop(url, headers, capacity * times, seconds))
            good = outcome.statuses[200] / seconds
            goodputs.append(good / capacity)
            times_taken = sorted(outcome.accepted_seconds)
            p99 = times_taken[int(len(times_taken) * 0.99)]
            lines.append(
                f"{times:g}× offered: goodput {good:.1f}/s ({good / capacity:.0%} of capacity), accepted in "
                f"{statistics.median(times_taken) * 1000:.0f} ms median, {p99 * 1000:.0f} ms 99 %, "
                f"statuses {dict(sorted(outcome.statuses.items()))}"
            )
            assert set(outcome.statuses) <= {200, 503}, lines
            assert outcome.broken == 0, (lines, outcome.broken)
            assert outcome.without_retry_after == 0, lines
            bound = 2 + 4 * (_QUEUE + 8) / capacity  # seconds: four times what a full queue and batch take
            assert p99 < bound, (lines, bound)
        assert goodputs[1] > 0.6 * min(1.0, goodputs[0] / 0.7), lines
        return "; ".join(lines)


async def _capacity(url: str, headers: dict[str, str], seconds: float) -> float:
    answered = 0

    async def client_of_its_own(seed: int) -> None:
        nonlocal answered
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
            while time.monotonic() < end:
                response = await client.post("/detect", files=files(part(seed)))
                answered += response.status_code == 200

    end = time.monotonic() + seconds
    await asyncio.gather(*map(client_of_its_own, range(8)))
    return answered / seconds


async def _open_loop(url: str, headers: dict[str, str], rate: float, seconds: float) -> _Outcome:
    """Requests at random times (Poisson), none of which waits for another."""
    rng, outcome = random.Random(3), _Outcome()
    bodies = [files(part(seed)) for seed in range(20)]
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as client:

        async def one(body: object) -> None:
            begun = time.monotonic()
            try:
                response = await client.post("/detect", files=body)  # type: ignore[arg-type]
            except httpx.TransportError:
                outcome.broken += 1
                return
            outcome.statuses[response.status_code] += 1
            if response.status_code == 200:
                outcome.accepted_seconds.append(time.monotonic() - begun)
            elif "retry-after" not in response.headers:
                outcome.without_retry_after += 1

        begun, due, sent = time.monotonic(), 0.0, []
        while due < seconds:
            due += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, begun + due - time.monotonic()))
            sent.append(asyncio.create_task(one(bodies[len(sent) % len(bodies)])))
        await asyncio.gather(*sent)
    return outcome
