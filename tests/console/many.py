"""Measures the latency of the history's calls over many inspections, as the console's History makes them."""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.inspection import Inspection
from tests.helpers.server_process import ServerProcess

_BATCH = 5000
_ROUNDS = 5


def made(amount: int) -> Iterator[Inspection]:
    """Inspections of ten categories and five stations over twenty days, the newest now; each with a region."""
    chance = random.Random(0)
    now = datetime.now(UTC)
    cells = {"reference_id": 1, "cell": (3, 4), "layer": "edges", "distance": 0.4}
    outline = tuple((float(x), float(y)) for x in range(8) for y in (1, 2))
    region = {
        "box": (1.0, 2.0, 30.0, 40.0),
        "area": 900.0,
        "peak": 0.5,
        "centroid": (16.0, 22.0),
        "polygon": outline,
        "nearest_patch": cells,
    }
    for index in range(amount):
        bad = chance.random() < 0.03
        yield Inspection(
            id=uuid.UUID(int=chance.getrandbits(128)).hex,
            at=now - timedelta(days=20) * (1 - index / amount),
            filename=f"part-{index:06d}.png",
            verdict="anomalous" if bad else "normal",
            score=chance.uniform(0.1, 0.3) if bad else chance.uniform(0.02, 0.08),
            version=1,
            width=1600,
            height=1200,
            category=f"product-{index % 10}",
            part_id=f"P{index:06d}",
            station=f"press-{index % 5}",
            threshold=0.09,
            p_value=0.01 if bad else chance.random(),
            regions=(region,) if bad else (),
            references=tuple({"reference_id": index, "category": "product-1", "similarity": 0.9} for index in range(5)),
            timings={"queue_ms": 1.0, "encode_ms": 20.0, "search_ms": 5.0, "total_ms": 27.0},
        )


def fill(database: str, amount: int) -> None:
    """Write the inspections into the database at an SQLAlchemy url."""
    catalogue = Catalogue.open(database)
    inspections = list(made(amount))
    for first in range(0, amount, _BATCH):
        catalogue.inspections.record(inspections[first : first + _BATCH])
    catalogue.close()


def measure(server: ServerProcess, amount: int) -> Iterator[tuple[str, float]]:
    """The milliseconds of each call, the median of some rounds."""
    deep = server.client.get("/inspections", params={"limit": 50, "until": _halfway()}).json()["next_cursor"]
    calls: dict[str, dict[str, str | int]] = {
        "newest page of 50": {},
        "a page half-way down": {"cursor": deep},
        "one category, rejects": {"category": "product-3", "verdict": "anomalous"},
        "one station": {"station": "press-2"},
        "a part's number": {"part_id": f"P{amount // 2:06d}"},
        "text, found early": {"text": "part-0"},
        "text, found once": {"text": f"{amount // 2:06d}"},
        "text, found never": {"text": "nowhere"},
    }
    for name, query in calls.items():
        yield name, _median(server, "/inspections", {"limit": 50, **query})
    yield "trend of everything", _median(server, "/inspections/trend", {"points": 80})
    yield "trend of a text", _median(server, "/inspections/trend", {"points": 80, "text": "press-2"})
    yield "everything as CSV", _median(server, "/inspections", {"format": "csv"}, rounds=1)


def _halfway() -> str:
    return (datetime.now(UTC) - timedelta(days=10)).isoformat()


def _median(server: ServerProcess, path: str, query: dict[str, str | int], rounds: int = _ROUNDS) -> float:
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        server.client.get(path, params=query).raise_for_status()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds) * 1000


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.console.many", description=__doc__)
    parser.add_argument("--inspections", type=int, default=100_000, help="how many (default 100000)")
    options = parser.parse_args()
    os.environ.setdefault("TOUCHSTONE_MIN_FREE_BYTES", "0")
    with tempfile.TemporaryDirectory() as temporary, ServerProcess(Path(temporary) / "data") as server:
        server.wait_until_live()
        fill(f"sqlite:///{temporary}/data/catalogue.sqlite", options.inspections)
        assert server.client.get("/inspections/trend").json()["total"] == options.inspections
        print("| Call | ms |\n|---|--:|")
        for name, milliseconds in measure(server, options.inspections):
            print(f"| {name} | {milliseconds:.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
