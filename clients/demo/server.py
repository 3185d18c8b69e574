"""The few calls of the HTTP API that the demo's tour makes, as any program would make them."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from clients.demo.factory import Sample

MAP_SIDE = 256


class DemoFailed(Exception):
    """Why the demo cannot go on, in one line."""


class ServerUnreachable(DemoFailed):
    """There is no server at the address."""


@dataclass(frozen=True)
class Inspected:
    """A rendered part and what the server said of it; `map` float32 (256, 256), `latency_ms` of the whole request."""

    sample: Sample
    name: str
    verdict: str
    score: float
    threshold: float | None
    map: NDArray[np.float32]
    overlay: NDArray[np.uint8]
    latency_ms: float


class Server:
    """A running service. Every call may raise DemoFailed."""

    def __init__(self, url: str) -> None:
        # It is on this machine: a proxy would not find it.
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(120.0, connect=5.0), trust_env=False)
        self.url = url

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON answer, asked for again while the server is busy. Raises DemoFailed with the server's own words."""
        while True:
            try:
                answer = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                raise ServerUnreachable(f"no server at {self.url}: {error}") from error
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                break
            time.sleep(min(float(answer.headers["retry-after"]), 5.0))
        if answer.is_error:
            try:
                problem = answer.json()
                words = f"{problem['title']}: {problem.get('detail', '')}"
            except (ValueError, KeyError, TypeError):
                words = answer.text[:200]
            raise DemoFailed(f"{method} {path} answered {answer.status_code}: {words}")
        return answer.json()

    def wait_until_ready(self, seconds: float) -> None:
        """Wait for /readyz; raises ServerUnreachable when nobody answers in time."""
        patience = time.monotonic() + seconds
        said = "no answer"
        while time.monotonic() < patience:
            try:
                answer = self._http.get("/readyz")
            except httpx.TransportError as error:
                said = str(error)
            else:
                if answer.is_success:
                    return
                said = f"/readyz says {answer.status_code}"
            time.sleep(0.2)
        raise ServerUnreachable(f"no server ready at {self.url} ({said}); start one with `touchstone serve`")

    def onboard(self, product: str, pictures: Sequence[tuple[str, bytes]]) -> tuple[int, int]:
        """Add references; returns how many were added and how many were there already."""
        files = [("images", (name, data, "image/png")) for name, data in pictures]
        answer = self.ask("POST", "/references", data={"category": product}, files=files)
        if answer["refused"]:
            refused = next(each for each in answer["results"] if each["status"] == "refused")
            raise DemoFailed(f"reference {refused['filename']} of {product} was refused: {refused['detail']}")
        return answer["added"], answer["duplicates"]

    def accept(self, product: str, false_reject_rate: float) -> None:
        """Say what share of good parts may be rejected."""
        self.ask("PATCH", f"/categories/{product}", json={"false_reject_rate": false_reject_rate})

    def wait_until_calibrated(self, product: str, seconds: float = 900) -> None:
        """Wait until the threshold rests on every reference there is."""
        patience = time.monotonic() + seconds
        while self.ask("GET", f"/categories/{product}")["calibration"]["state"] != "ready":
            if time.monotonic() > patience:
                raise DemoFailed(f"the calibration of {product} was not ready after {seconds:.0f} s")
            time.sleep(0.3)

    def inspect(self, product: str, name: str, sample: Sample) -> Inspected:
        """Inspect one part."""
        fields = {"category": product, "part_id": name, "station": "demo", "map": "raw", "overlay": "true"}
        picture = encode(sample.image)
        begin = time.perf_counter()
        answer = self.ask("POST", "/detect", data=fields, files=[("images", (f"{name}.png", picture, "image/png"))])
        latency_ms = (time.perf_counter() - begin) * 1000
        found = answer["results"][0]
        values = np.load(io.BytesIO(base64.b64decode(found["map"]["data"])), allow_pickle=False)
        overlay = cv2.imdecode(np.frombuffer(base64.b64decode(found["overlay"]), np.uint8), cv2.IMREAD_COLOR_RGB)
        if overlay is None or values.shape != (MAP_SIDE, MAP_SIDE):
            raise DemoFailed(f"the answer for {name} has no readable map or overlay")
        return Inspected(
            sample, name, found["verdict"], found["score"], found["threshold"], values.astype(np.float32),
            overlay.astype(np.uint8), latency_ms,
        )  # fmt: skip


def encode(image: NDArray[np.uint8]) -> bytes:
    """An RGB picture as PNG; the same picture always gives the same bytes."""
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise DemoFailed("a picture could not be encoded")
    return data.tobytes()
