"""A product that a service knows: good discs, with a calibrated threshold."""

from __future__ import annotations

import time

from tests.helpers.part_images import part
from touchstone_client import Client


def onboard_discs(url: str) -> None:
    """Onboard 24 good discs as category `disc`, at a false-reject rate of 5 %, and wait for the calibration."""
    with Client(url) as client:
        client.onboard("disc", [part(seed) for seed in range(24)])
        client.update_category("disc", false_reject_rate=0.05)
        deadline = time.monotonic() + 60
        while client.category("disc").calibration.state != "ready":
            assert time.monotonic() < deadline, "not calibrated"
            time.sleep(0.05)
