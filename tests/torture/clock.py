"""The wall clock jumps an hour ahead and a day back under a running service."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.torture.keyed import KeyedServer

_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_JUMPS = ("+3600", "-86400", "+0")


def clock(folder: Path) -> str:
    """Needs libfaketime (Debian's package), which moves the wall clock here and leaves the monotonic one alone."""
    assert _FAKETIME, "install libfaketime"
    offset = folder / "offset"
    offset.write_text("+0")
    preload = {
        "LD_PRELOAD": str(_FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with KeyedServer(folder / "data", environment=preload).wait_until_live() as server:
        body = files(*(part(seed) for seed in range(6)))
        server.client.post("/references", data={"category": "disc"}, files=body).raise_for_status()
        server.wait_until_calibrated("disc")
        score, seen, seconds = server.score(part(99)), [], []
        for index, jump in enumerate(_JUMPS):
            server.wait_until_calibrated("disc")
            offset.write_text(jump)
            begun = time.monotonic()
            assert server.score(part(99)) == score
            seconds.append(time.monotonic() - begun)
            added = server.client.post("/references", data={"category": "disc"}, files=files(part(100 + index)))
            assert added.json()["added"] == 1
            server.client.delete(f"/references/{added.json()['results'][0]['reference_id']}").raise_for_status()
            assert server.client.get("/readyz").status_code == 200
            newest = [inspection["at"] for inspection in server.client.get("/inspections").json()["inspections"]]
            seen.append(newest)
            moved = max(abs(datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds() for at in newest)
            if jump != "+0":
                assert moved > 3000, "the clock did not jump"
        assert len(seen[-1]) == 1 + len(_JUMPS), "an inspection is missing from the history"
        assert server.stop() == 0
    return (
        f"jumps of {', '.join(_JUMPS[:-1])} s and back: the same score each time, onboarding and removal work, every "
        f"inspection is in the history; slowest detection {max(seconds) * 1000:.0f} ms"
    )
