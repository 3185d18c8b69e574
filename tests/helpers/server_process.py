"""A real server process to start, talk to and kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx

from service.cli.app import app
from tests.helpers.forked import ForkedProcess
from tests.helpers.new_catalogue import new_data_folder

START_SECONDS = 180  # far more than it takes, for a machine that has other things to do


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _serve(arguments: Sequence[str]) -> None:
    app(["serve", *arguments])


class ServerProcess:
    """`touchstone serve`, with arguments if there are any, on a data folder, at the tests' small geometry.

    environment: variables that may be read as early as modules are imported; with it the process is no fork, but a
    fresh `python -m service`, which makes its own data folder if there is none.
    """

    process: subprocess.Popen[bytes] | ForkedProcess

    def __init__(
        self,
        data: Path,
        *arguments: str,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        **more: str,
    ) -> None:
        self.data = data
        self.port = port or free_port()
        self.log = data.parent / f"{data.name}-{self.port}.log"
        settings = {
            "DATA": str(data),
            "PORT": str(self.port),
            "RESIZE": "128",
            "CROP": "112",
            "DEVICE": "cpu",
            "ACCESS": "open",
            **more,
        }
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **{f"TOUCHSTONE_{k}": v for k, v in settings.items()}}
        if environment is None:
            if not arguments and "DATABASE_URL" not in more:
                new_data_folder(data)
            self.process = ForkedProcess(_serve, arguments, environment=variables, output=self.log)
        else:
            command = [sys.executable, "-m", "service", *arguments]
            with self.log.open("wb") as log:
                variables |= environment
                self.process = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def wait_until_live(self) -> ServerProcess:
        """Return once it answers; AssertionError with its log if it ends first or takes too long."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.client.get("/healthz").status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.05)
        self.kill()
        raise AssertionError(f"not live after {START_SECONDS} s: {self.log.read_text()}")

    def teach(self, category: str, *images: bytes) -> None:
        """Make images references of a category, all of which must be accepted."""
        files = [("images", (f"{index}.png", data, "image/png")) for index, data in enumerate(images)]
        response = self.client.post("/references", data={"category": category}, files=files)
        assert response.status_code == 200, response.text
        assert response.json()["added"] == len(images)

    def wait_until_calibrated(self, category: str) -> None:
        """Return once the category's threshold rests on every reference there is."""
        end = time.monotonic() + START_SECONDS
        while self.client.get(f"/categories/{category}").json()["calibration"]["state"] != "ready":
            assert time.monotonic() < end, f"{category} was not calibrated in time"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, at once."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.client.close()
        return code

    def references(self) -> dict[int, str]:
        """Every live reference's id and file name."""
        filenames: dict[int, str] = {}
        parameters: dict[str, str] = {}
        while True:
            page = self.client.get("/references", params=parameters).json()
            for reference in page["references"]:
                assert reference["id"] not in filenames
                filenames[reference["id"]] = reference["filename"]
            if page["next_cursor"] is None:
                return filenames
            parameters = {"cursor": page["next_cursor"]}

    def score(self, image: bytes) -> float:
        """The score of one image."""
        response = self.client.post("/detect", files=[("images", ("probe.png", image, "image/png"))])
        assert response.status_code == 200, response.text
        score: float = response.json()["results"][0]["score"]
        return score
