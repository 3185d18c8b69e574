"""The demo's calls of the HTTP API, without the Python client: any program can make them."""

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


class DemoFailed(Exception):
    """The demo cannot continue; the message says why in one line."""


class ServerUnreachable(DemoFailed):
    """No server responds at the URL."""


@dataclass(frozen=True)
class InputGeometry:
    """How a product is inspected: the image is scaled to `resized`, of which `window` is looked at."""

    resized: tuple[int, int]  # (width, height)
    window: tuple[int, int, int, int]  # (left, top, width, height)


@dataclass(frozen=True)
class InspectedPart:
    """A rendered part and its detection; `map` float32 (256, 256), `latency_ms` of the whole request."""

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
        # A proxy would not reach a server on this machine.
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(120.0, connect=5.0), trust_env=False)
        self.url = url

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON response; retried while the server is busy. DemoFailed with the server's error message."""
        while True:
            try:
                response = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                raise ServerUnreachable(f"no server at {self.url}: {error}") from error
            if response.status_code != 503 or "retry-after" not in response.headers:
                break
            time.sleep(min(float(response.headers["retry-after"]), 5.0))
        if response.is_error:
            try:
                problem = response.json()
                message = f"{problem['title']}: {problem.get('detail', '')}"
            except (ValueError, KeyError, TypeError):
                message = response.text[:200]
            raise DemoFailed(f"{method} {path} returned {response.status_code}: {message}")
        return response.json()

    def wait_until_ready(self, seconds: float) -> None:
        """Wait for /readyz. ServerUnreachable when it does not succeed in time."""
        deadline = time.monotonic() + seconds
        status = "no response"
        while time.monotonic() < deadline:
            try:
                response = self._http.get("/readyz")
            except httpx.TransportError as error:
                status = str(error)
            else:
                if response.is_success:
                    return
                status = f"/readyz returned {response.status_code}"
            time.sleep(0.2)
        raise ServerUnreachable(f"no server ready at {self.url} ({status}); start one with `touchstone serve`")

    def onboard(self, product: str, images: Sequence[tuple[str, bytes]]) -> tuple[int, int]:
        """Add references; returns how many were added, and how many are duplicates."""
        files = [("images", (name, data, "image/png")) for name, data in images]
        response = self.request("POST", "/references", data={"category": product}, files=files)
        if response["rejected"]:
            rejected = next(result for result in response["results"] if result["status"] == "rejected")
            raise DemoFailed(f"reference {rejected['filename']} of {product} was rejected: {rejected['detail']}")
        return response["added"], response["duplicates"]

    def geometry(self, product: str) -> InputGeometry:
        """How a product is inspected."""
        geometry = self.request("GET", f"/categories/{product}")["geometry"]
        return InputGeometry(tuple(geometry["resized"]), tuple(geometry["window"]))

    def set_false_reject_rate(self, product: str, rate: float) -> None:
        """Set the share of good parts that may be rejected."""
        self.request("PATCH", f"/categories/{product}", json={"false_reject_rate": rate})

    def wait_until_calibrated(self, product: str, seconds: float = 900) -> None:
        """Wait until the threshold is based on every reference."""
        deadline = time.monotonic() + seconds
        while self.request("GET", f"/categories/{product}")["calibration"]["state"] != "ready":
            if time.monotonic() > deadline:
                raise DemoFailed(f"the calibration of {product} was not ready after {seconds:.0f} s")
            time.sleep(0.3)

    def inspect(self, product: str, name: str, sample: Sample) -> InspectedPart:
        """Inspect one part."""
        fields = {"category": product, "part_id": name, "station": "demo", "map": "raw", "overlay": "true"}
        image = encode_png(sample.image)
        start = time.perf_counter()
        response = self.request("POST", "/detect", data=fields, files=[("images", (f"{name}.png", image, "image/png"))])
        latency_ms = (time.perf_counter() - start) * 1000
        detection = response["results"][0]
        values = np.load(io.BytesIO(base64.b64decode(detection["map"]["data"])), allow_pickle=False)
        overlay = cv2.imdecode(np.frombuffer(base64.b64decode(detection["overlay"]), np.uint8), cv2.IMREAD_COLOR_RGB)
        if overlay is None or values.ndim != 2:
            raise DemoFailed(f"the response for {name} has no readable map or overlay")
        return InspectedPart(
            sample=sample,
            name=name,
            verdict=detection["verdict"],
            score=detection["score"],
            threshold=detection["threshold"],
            map=values.astype(np.float32),
            overlay=overlay.astype(np.uint8),
            latency_ms=latency_ms,
        )


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """An RGB image as PNG; deterministic."""
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise DemoFailed("an image could not be encoded")
    return data.tobytes()
