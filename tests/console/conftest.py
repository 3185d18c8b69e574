"""A browser at a running service; its pages may neither log errors nor send requests to other hosts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.helpers.browser import DESKTOP, Watched, chromium
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

# How long a page may take to show what is waited for: long, for a machine that has other things to do.
expect.set_options(timeout=30_000)


# The browser's driver runs an event loop in this thread: it must end with this folder's tests.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, with no window."""
    with sync_playwright() as driver:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # which asks nobody
        arguments = [*camera, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        launched = driver.chromium.launch(executable_path=chromium(), args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service with open access that knows 24 good discs and 6 plates, calibrated at a false-reject rate of 5 %."""
    with ServerProcess(tmp_path_factory.mktemp("console") / "data") as running:
        running.wait_until_live()
        for name, kind, amount in (("disc", 0, 24), ("plate", 1, 6)):
            running.teach(name, *(part(seed, kind=kind) for seed in range(amount)))
            running.client.patch(f"/categories/{name}", json={"false_reject_rate": 0.05}).raise_for_status()
            running.wait_until_calibrated(name)
        yield running


@pytest.fixture
def watched(browser: Browser, server: ServerProcess) -> Iterator[tuple[Page, Watched]]:
    """A fresh page, with what it did wrong; a test that says nothing else wants it to have done nothing wrong."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    seen = Watched(page, f"http://127.0.0.1:{server.port}/")
    yield page, seen
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign


@pytest.fixture
def page(watched: tuple[Page, Watched]) -> Page:
    """A fresh page at desktop size."""
    return watched[0]


@pytest.fixture(scope="package")
def scratched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of a scratched disc, on disk."""
    path = tmp_path_factory.mktemp("images") / "scratched.png"
    path.write_bytes(part(1000, scratched=True))
    return path
