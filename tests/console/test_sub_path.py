"""The console and the API under a path of a reverse proxy, beside other applications."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, Watched, inspect
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess
from tests.helpers.sub_path_proxy import SubPathProxy

PATH = "/plant/touchstone"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows under which path it is shown."""
    with ServerProcess(tmp_path_factory.mktemp("sub") / "data", ROOT_PATH=PATH) as running:
        running.wait_until_live()
        running.teach("disc", *(part(seed) for seed in range(24)))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.1}).raise_for_status()
        running.wait_until_calibrated("disc")
        inspect(running, 2800, "before", scratched=True)
        yield running


@pytest.fixture(scope="module", params=[True, False], ids=["stripped", "passed on"])
def proxy(request: pytest.FixtureRequest, server: ServerProcess) -> Iterator[SubPathProxy]:
    """Each kind of proxy before it."""
    with SubPathProxy({PATH: server.port}, strip=request.param) as running:
        yield running


@pytest.fixture
def visited(browser: Browser, proxy: SubPathProxy) -> Iterator[Page]:
    """A page that asks for nothing outside the path, and logs no error."""
    context = browser.new_context(base_url=proxy.url, viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    seen = Watched(page, f"{proxy.url}{PATH}")
    yield page
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign
    assert not proxy.astray


def test_every_view_works_under_a_path_and_the_api_s_description_can_be_tried_out(
    visited: Page, proxy: SubPathProxy, server: ServerProcess, scratched: Path
) -> None:
    page = visited
    page.goto(f"{PATH}/")
    expect(page.locator("header img")).to_have_js_property("complete", True)
    expect(page.locator(".bar")).to_have_css("display", "flex")
    page.get_by_label("Choose an image").set_input_files(scratched)
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Anomalous")
    expect(page.get_by_text("Distance of the worst patch")).to_be_visible()
    expect(page.locator(".stage img.heat[src^=blob]")).to_be_visible()
    assert_accessible(page)

    page.get_by_role("link", name="Live").click()
    expect(page.locator("p.state")).to_have_text("Live")
    inspect(server, 2801, "under a path")
    expect(page.get_by_role("list", name="The latest inspections")).to_contain_text("under a path")

    page.get_by_role("link", name="Categories").click()
    page.get_by_role("link", name="disc", exact=True).click()
    expect(page.locator("li.image img[src^=blob]").first).to_be_visible()
    page.get_by_role("link", name="Settings").click()
    page.get_by_label("Manual threshold").fill("2")
    expect(page.get_by_role("region", name="What this would change")).to_contain_text("would get another verdict")

    page.get_by_role("button", name="Reset").click()
    page.get_by_role("link", name="History").click()
    page.get_by_label("Station").fill("before")
    page.get_by_label("Station").press("Enter")
    expect(page.get_by_text("1–1 of 1")).to_be_visible()
    assert page.url.startswith(f"{proxy.url}{PATH}/#/history")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download as CSV").click()
    with started.value.path().open(newline="") as file:
        assert [row["station"] for row in csv.DictReader(file)] == ["before"]
    page.reload()
    expect(page.get_by_text("1–1 of 1")).to_be_visible()

    page.get_by_role("link", name="System").click()
    page.get_by_role("region", name="Memory and disk").get_by_role("link", name="API").click()
    expect(page).to_have_url(f"{proxy.url}{PATH}/docs")
    expect(page.get_by_text("/detect", exact=True)).to_be_visible()
    page.locator("#operations-health-healthz_healthz_get .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    with page.expect_response(f"{proxy.url}{PATH}/healthz") as answered:
        page.get_by_role("button", name="Execute").click()
    assert answered.value.ok


def test_a_path_without_its_slash_leads_to_the_console(visited: Page, proxy: SubPathProxy) -> None:
    visited.goto(PATH)
    expect(visited).to_have_url(f"{proxy.url}{PATH}/")
    expect(visited.get_by_role("heading", level=1)).to_have_text("Inspect")


def test_two_services_of_one_host_do_not_share_a_key(browser: Browser, server: ServerProcess, tmp_path: Path) -> None:
    with (
        ServerProcess(tmp_path / "other", ACCESS="keys") as other,
        SubPathProxy({PATH: server.port, "/other": other.wait_until_live().port}) as proxy,
    ):
        context = browser.new_context(base_url=proxy.url, viewport=DESKTOP)
        page = context.new_page()
        page.goto("/other/")
        page.get_by_role("textbox", name="API key").fill("ts_of_the_other")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Unknown, expired or revoked")
        sent: list[str | None] = []
        page.on("request", lambda request: sent.append(request.headers.get("authorization")))
        page.goto(f"{PATH}/")
        expect(page.get_by_text("Open access")).to_be_visible()
        assert sent
        assert set(sent) == {None}
        context.close()


def test_an_outage_behind_a_proxy_is_waited_out(browser: Browser, tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as first:
        first.wait_until_live()
        first.teach("disc", part(0), part(1))
        with SubPathProxy({PATH: first.port}) as proxy:
            context = browser.new_context(base_url=proxy.url, viewport=DESKTOP)
            page = context.new_page()
            page.goto(f"{PATH}/#/inspect")
            expect(page.get_by_text("Open access")).to_be_visible()
            first.kill()
            page.goto(f"{PATH}/#/categories")
            expect(page.get_by_role("status").filter(has_text="Connection lost")).to_be_visible()
            with ServerProcess(first.data, port=first.port) as again:
                again.wait_until_live()
                expect(page.get_by_role("article")).to_contain_text("2 references")
                context.close()
