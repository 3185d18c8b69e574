"""An outage of the service: every view shows it, waits, and continues by itself without losing anything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.helpers.browser import Watched, inspect, watch
from tests.helpers.part_images import part, varied
from tests.helpers.server_process import ServerProcess

VIEWS = {
    "/#/inspect": "Drop or paste",
    "/#/live?station=outage": "Anomalous",
    "/#/review": "No part waits for review.",
    "/#/categories": "4 references",
    "/#/categories/disc": "0.png",
    "/#/categories/disc/rejects": "Which share",
    "/#/categories/disc/settings": "Manual threshold",
    "/#/categories/disc/region": "The whole image is inspected",
    "/#/categories?new": "Name of the product",
    "/#/history?station=outage": "1–1 of 1",
    "/#/system": "Ready to inspect",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A service of this test's own, to be killed; it knows four discs and has inspected a scratched one."""
    with ServerProcess(tmp_path / "data") as running:
        running.wait_until_live()
        running.teach("disc", *(part(seed) for seed in range(4)))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.2}).raise_for_status()
        running.wait_until_calibrated("disc")
        inspect(running, 2600, "outage", scratched=True)
        yield running


@contextmanager
def back(server: ServerProcess) -> Iterator[ServerProcess]:
    """The service again, on the same data and port."""
    with ServerProcess(server.data, port=server.port) as running:
        yield running.wait_until_live()


def lost(page: Page) -> None:
    """Returns once the page has said that the service does not answer, and when it will try again."""
    expect(page.get_by_role("status").filter(has_text="Connection lost")).to_be_visible()
    expect(page.locator("#connection")).to_contain_text("Next try in")


def test_live_goes_on_when_the_service_is_back(watched: tuple[Page, Watched], server: ServerProcess) -> None:
    page, seen = watched
    watch(page, "outage")
    rows = page.get_by_role("list", name="The latest inspections").get_by_role("listitem")
    expect(rows).to_have_count(1)
    seen.away = True
    server.kill()
    state = page.locator("p.state")
    expect(state).to_have_text("The service does not respond; retrying")
    lost(page)
    with back(server) as again:
        inspect(again, 2601, "outage")
        expect(state).to_have_text("Live")
        expect(page.locator("#connection")).to_be_hidden()
        expect(rows).to_have_count(2)
        inspect(again, 2602, "outage")
        expect(rows).to_have_count(3)
        page.close()  # before the service goes again


def test_every_view_opened_in_an_outage_is_there_when_the_service_is_back(
    watched: tuple[Page, Watched], server: ServerProcess
) -> None:
    first, _ = watched
    tabs = {}
    for address in VIEWS:
        page = first.context.new_page()
        seen = Watched(page, f"http://127.0.0.1:{server.port}/")
        page.goto("/#/system" if address == "/#/inspect" else "/")
        expect(page.get_by_text("Open access")).to_be_visible()
        seen.away = True
        tabs[address] = page, seen
    server.kill()
    for address, (page, _) in tabs.items():
        page.evaluate("hash => { location.hash = hash; }", address[1:])
        expect(page.get_by_role("heading", level=1).or_(page.get_by_text("Loading")).first).to_be_visible()
        if "new" not in address:  # which asks for nothing before it is given images
            lost(page)
    with back(server):
        for address, (page, seen) in tabs.items():
            expect(page.locator("main")).to_contain_text(VIEWS[address])
            expect(page.locator("#connection")).to_be_hidden()
            expect(page.locator("main").get_by_text("Loading")).to_have_count(0)
            assert not seen.errors, (address, seen.errors)
            page.close()


def test_try_now_retries_immediately(watched: tuple[Page, Watched], server: ServerProcess) -> None:
    page, seen = watched
    page.goto("/#/categories")
    expect(page.get_by_role("article")).to_have_count(1)
    seen.away = True
    server.kill()
    page.goto("/#/history")
    lost(page)
    expect(page.locator("#connection")).to_contain_text("Next try in 8 seconds")
    with back(server):
        page.get_by_role("button", name="Try now").click()
        expect(page.get_by_text("1–1 of 1")).to_be_visible(timeout=3000)
        page.close()


def test_a_part_dropped_in_an_outage_is_inspected_once_when_the_service_is_back(
    watched: tuple[Page, Watched], server: ServerProcess, tmp_path: Path
) -> None:
    page, seen = watched
    image = tmp_path / "late.png"
    image.write_bytes(part(2610))
    page.goto("/")
    expect(page.get_by_label("Product").get_by_role("option", name="disc")).to_be_attached()
    seen.away = True
    server.kill()
    page.get_by_label("Choose an image").set_input_files(image)
    lost(page)
    with back(server) as again:
        expect(page.get_by_role("region", name="Verdict")).to_be_visible()
        found = again.client.get("/inspections").json()["inspections"]
        assert [each["filename"] for each in found].count("late.png") == 1
        expect(page.locator(".stage img.heat[src^=blob]")).to_be_attached()
        page.close()


def test_the_wizard_waits_for_the_service_and_then_sends_the_rest(
    watched: tuple[Page, Watched], server: ServerProcess, tmp_path: Path
) -> None:
    page, seen = watched
    for index in range(40):
        (tmp_path / f"ring-{index:02d}.png").write_bytes(varied(index))
    sent: list[Route] = []

    def hold_the_second(route: Route) -> None:
        sent.append(route)
        if len(sent) == 1 or seen.away:
            route.continue_()

    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("ring")
    page.route("**/references", hold_the_second)  # the second request is on its way when the service goes
    page.get_by_label("Choose an image").set_input_files(sorted(tmp_path.glob("*.png")))
    expect(page.get_by_role("status").filter(has_text="8 of 40 done")).to_be_visible()
    seen.away = True
    server.kill()
    for route in sent[1:]:
        route.continue_()
    lost(page)
    expect(page.locator(".notice")).to_have_count(0)
    with back(server) as again:
        # Which of a request's images were added before the service went away, and are known now, is chance.
        expect(page.get_by_role("status").filter(has_text="40 of 40 done")).to_contain_text("0 rejected")
        assert again.client.get("/categories/ring").json()["references"] == 40
        expect(page.get_by_label("False-reject rate: drag")).to_be_visible()
        page.close()


def test_a_repeated_failure_is_logged_once(watched: tuple[Page, Watched], server: ServerProcess) -> None:
    page, seen = watched
    page.goto("/#/categories/disc")
    tiles = page.locator(".images > li.image")
    expect(tiles).to_have_count(4)
    page.wait_for_load_state("networkidle")
    seen.away = True
    server.kill()
    for tile in tiles.all():
        tile.get_by_role("button", name="Remove").click()
    expect(page.locator(".notice")).to_have_count(1)
    expect(page.locator(".notice")).to_contain_text("(4×)")
    expect(tiles).to_have_count(4)
    page.close()


def test_a_view_that_gets_another_response_shows_it_and_retries(
    watched: tuple[Page, Watched], server: ServerProcess
) -> None:
    page, _ = watched
    broken = threading.Event()

    def once(route: Route) -> None:
        if not broken.is_set():
            broken.set()
            route.fulfill(status=200, content_type="application/json", body='{"categories": [')
        else:
            route.continue_()

    page.route("**/categories", once)
    page.goto("/#/categories")
    expect(page.get_by_role("alert")).to_contain_text("Something other than Touchstone answered")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("article")).to_have_count(1)


def test_a_batch_goes_on_when_the_service_is_back(
    watched: tuple[Page, Watched], server: ServerProcess, tmp_path: Path
) -> None:
    page, seen = watched
    paths = [tmp_path / f"batch-{number:02d}.png" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(part(2650 + number, scratched=number == 3))
    page.goto("/")
    page.get_by_label("Product").select_option("disc")
    seen.away = True
    server.kill()
    page.get_by_label("Choose an image").set_input_files(paths)
    lost(page)
    with back(server) as again:
        expect(page.get_by_text("8 of 8 done")).to_be_visible()
        expect(page.locator("#connection")).to_be_hidden()
        query = {"text": "batch-", "limit": 100}
        found = again.client.get("/inspections", params=query).json()["inspections"]
        assert sorted(inspection["filename"] for inspection in found) == [path.name for path in paths]
        page.close()  # before the service goes again
