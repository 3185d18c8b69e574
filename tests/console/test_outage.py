"""Live goes on by itself when the service has been away, and loses nothing that was inspected meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import Watched
from tests.console.test_live import inspect, watch
from tests.service.pictures import part
from tests.service.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service of this module's own, to be killed."""
    with ServerProcess(tmp_path_factory.mktemp("outage") / "data", REFRESH_MS="100") as running:
        running.wait_until_live()
        running.teach("disc", *(part(seed) for seed in range(4)))
        yield running


def test_live_goes_on_when_the_service_is_back(watched: tuple[Page, Watched], server: ServerProcess) -> None:
    page, seen = watched
    inspect(server, 2600, "outage")
    watch(page, "outage")
    rows = page.get_by_role("list", name="The latest inspections").get_by_role("listitem")
    expect(rows).to_have_count(1)
    seen.away = True
    server.kill()
    state = page.locator("p.state")
    expect(state).to_have_text("The service does not answer; trying again")
    with ServerProcess(server.data, port=server.port, REFRESH_MS="100") as back:
        back.wait_until_live()
        inspect(back, 2601, "outage")
        expect(state).to_have_text("Live")
        expect(rows).to_have_count(2)
        inspect(back, 2602, "outage")
        expect(rows).to_have_count(3)
        page.close()  # before the service goes again
