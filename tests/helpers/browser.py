"""A page of the console with its errors and requests recorded, at desktop and tablet size."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

from playwright.sync_api import ConsoleMessage, Page, Request, ViewportSize, expect

from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

DESKTOP: ViewportSize = {"width": 1440, "height": 900}
TABLET: ViewportSize = {"width": 820, "height": 1180}


def chromium() -> str | None:
    """The system's Chromium: the one that draws no windows, where it is installed, takes a third of the CPU time."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


class Watched:
    """What a page did that it may not do, for a test to find nothing in."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self._url = page, url
        self._unanswered: list[Request] = []
        self.expected: set[int] = set()  # statuses that the test provokes, which the browser logs as errors
        self.away = False  # whether the test has taken the service away, which the browser logs as errors, too
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._answered)

    def print_state(self) -> None:
        """Print what tells why a test has failed: the notices, and the requests that wait for an answer."""
        if not self.page.is_closed():
            print("notices:", self.page.locator("#notices").all_inner_texts())
            print("unanswered:", [f"{request.method} {request.url}" for request in self._unanswered])

    def _said(self, message: ConsoleMessage) -> None:
        provoked = any(f"status of {status}" in message.text for status in self.expected)
        provoked = provoked or (self.away and "net::ERR_" in message.text)
        if message.type in ("error", "warning") and not provoked:
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        self._unanswered.append(request)
        if not request.url.startswith((self._url, "blob:", "data:")):
            self.foreign.append(request.url)

    def _answered(self, request: Request) -> None:
        self._unanswered.remove(request)


def inspect(server: ServerProcess, seed: int, station: str, *, scratched: bool = False) -> str:
    """Send a disc to the service; returns the inspection's id."""
    files = [("images", (f"{seed}.png", part(seed, scratched=scratched), "image/png"))]
    response = server.client.post(
        "/detect", data={"category": "disc", "station": station}, files=files
    ).raise_for_status()
    inspection_id: str = response.json()["results"][0]["id"]
    return inspection_id


def report_station(server: ServerProcess, name: str, *, sends_frames: bool, **more: object) -> None:
    """Report a station of a line agent that has had no part, with what else it says."""
    body = {"started_at": datetime.now(UTC).isoformat(), "parts": 0, "last_part": None, "components": []}
    report = {**body, "sends_frames": sends_frames, **more}
    server.client.put(f"/stations/{name}", json=report).raise_for_status()


def watch(page: Page, station: str) -> None:
    """Open the live view of a station."""
    page.goto(f"/#/live?station={station}")
    expect(page.get_by_role("status").get_by_text("Live", exact=True)).to_be_visible()
