"""The operator's screen: the last part, readable from two metres, the shift's counters, and labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from indexer.catalogue.catalogue import Catalogue
from indexer.imaging.encode import encode_jpeg
from service.auth import Role, generate_api_key
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import Watched, report_station
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

SIZES: tuple[ViewportSize, ...] = ({"width": 1024, "height": 768}, {"width": 1920, "height": 1080})


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A service that asks for keys and knows 24 discs, and an operator's key."""
    data = tmp_path_factory.mktemp("operator") / "data"
    with ServerProcess(data, ACCESS="keys") as running:
        running.wait_until_live()
        catalogue = Catalogue.open(f"sqlite:///{data}/catalogue.sqlite")
        keys = {role: generate_api_key(role.word, role) for role in (Role.OPERATOR, Role.ENGINEER)}
        for made in keys.values():
            catalogue.api_keys.create(made.key)
        catalogue.close()
        running.client.headers["Authorization"] = f"Bearer {keys[Role.ENGINEER].token}"
        running.teach("disc", *(part(seed) for seed in range(24)))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.05}).raise_for_status()
        running.wait_until_calibrated("disc")
        yield running, keys[Role.OPERATOR].token


@pytest.fixture
def screen(browser: Browser, plant: tuple[ServerProcess, str]) -> Iterator[tuple[Page, Watched]]:
    """The operator's page, with no key yet."""
    url = f"http://127.0.0.1:{plant[0].port}"
    context = browser.new_context(base_url=url, viewport=SIZES[0], locale="en-GB")
    page = context.new_page()
    seen = Watched(page, f"{url}/")
    seen.expected.add(401)
    yield page, seen
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign


def inspect(server: ServerProcess, number: int, *, scratched: bool = False, station: str = "press-1") -> None:
    """Inspect a disc whose part number is `D` and the number."""
    files = [("images", (f"{number}.png", part(number, scratched=scratched), "image/png"))]
    form = {"category": "disc", "station": station, "part_id": f"D{number}"}
    server.client.post("/detect", data=form, files=files).raise_for_status()


def test_scans_that_follow_each_other_fast_each_count_and_the_counters_begin_at_midnight(
    screen: tuple[Page, Watched], plant: tuple[ServerProcess, str]
) -> None:
    (page, _), (server, token) = screen, plant
    for number in range(7400, 7403):
        inspect(server, number, station="press-4")
    page.clock.install()
    page.goto("/operator?station=press-4")
    page.get_by_role("textbox", name="API key").fill(token)
    page.keyboard.press("Enter")
    last = page.get_by_role("region", name="Verdict")
    expect(last).to_contain_text("D7402")
    figures = page.locator(".figure strong")
    expect(figures.nth(0)).to_have_text("3")

    held: list[Route] = []
    page.route("**/inspections?part_id=D7400*", lambda route: held.append(route))
    page.keyboard.type("D7400\n")
    page.keyboard.type("D7401\n")  # before the first is answered
    expect(last).to_contain_text("D7401")
    held.pop().continue_()
    page.wait_for_timeout(300)
    expect(last).to_contain_text("D7401")

    page.clock.fast_forward("25:00:00")  # the screen is left on over midnight
    expect(figures.nth(0)).to_have_text("0")


def test_an_operator_sees_the_last_part_judges_it_scans_another_and_outlives_a_restart(
    screen: tuple[Page, Watched], plant: tuple[ServerProcess, str], tmp_path: Path
) -> None:
    (page, watched), (server, token) = screen, plant
    for number in range(7000, 7003):
        inspect(server, number)
    inspect(server, 7003, station="press-2")
    report_station(server, "press-1", sends_frames=True)
    page.goto("/operator?station=press-1")
    page.get_by_role("textbox", name="API key").fill(token)
    page.keyboard.press("Enter")
    last = page.get_by_role("region", name="Verdict")
    expect(last).to_contain_text("D7002")
    camera = page.locator("details.camera")
    camera.locator("summary").click()
    expect(camera).to_contain_text("Waiting for the camera's image")
    data = encode_jpeg(np.full((480, 640, 3), 90, np.uint8), 70)
    files = {"images": ("frame.jpg", data, "image/jpeg")}
    server.client.put("/stations/press-1/frame", files=files).raise_for_status()
    expect(camera.get_by_role("img", name="Camera of press-1")).to_have_js_property("naturalWidth", 640)
    figures = page.locator(".figure strong")
    good = sum(
        inspection["verdict"] == "normal"
        for inspection in server.client.get("/inspections", params={"station": "press-1"}).json()["inspections"]
    )
    expect(figures).to_have_text(["3", str(good), str(3 - good), f"{round(1000 * good / 3) / 10:g}%"])

    inspect(server, 7100, scratched=True)
    expect(last).to_contain_text("D7100")
    word = last.locator(".word")
    expect(word).to_have_text("NG")
    expect(last.locator(".warmed img[src^=blob]")).to_have_count(2)  # with its heat
    expect(figures.nth(0)).to_have_text("4")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for size in SIZES:
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
            assert float(word.evaluate("word => parseFloat(getComputedStyle(word).fontSize)")) >= 60
            page.screenshot(path=tmp_path / f"operator-{size['width']}-{scheme}.png")
        assert_accessible(page)

    inspect(server, 7200)
    expect(word).to_have_text("OK")
    expect(last).to_contain_text("D7200")
    page.keyboard.type("D7100\n")  # as a scanner does, wherever the focus is
    expect(last).to_contain_text("An earlier part")
    expect(last).to_contain_text("D7100")
    assert_accessible(page)
    page.keyboard.press("F2")
    expect(last).to_contain_text("Defect confirmed")
    inspect(server, 7201)  # which leaves the earlier part where it is
    expect(figures.nth(0)).to_have_text("6")
    expect(last).to_contain_text("D7100")
    page.get_by_role("button", name="Undo").last.click()
    expect(last).not_to_contain_text("Defect confirmed")
    page.get_by_role("button", name="Back to the last part").click()
    expect(last).to_contain_text("D7201")
    page.get_by_role("button", name="Mark as good").click()
    expect(last).to_contain_text("Marked as good")
    expect(page.locator("#notices")).to_contain_text("once an engineer approves it")
    assert server.client.get("/categories/disc").json()["references"] == 24
    assert server.client.get("/review", params={"reason": "feedback"}).json()["waiting"] == 1
    page.keyboard.press("F8")
    expect(last).not_to_contain_text("Marked as good")
    assert server.client.get("/review", params={"reason": "feedback"}).json()["waiting"] == 0
    page.keyboard.type("D9999\n")
    expect(page.locator("#notices")).to_contain_text("No inspection of part D9999.")

    watched.away = True
    server.kill()
    with ServerProcess(server.data, port=server.port, ACCESS="keys") as again:
        again.wait_until_live()
        again.client.headers["Authorization"] = server.client.headers["Authorization"]
        again.wait_until_calibrated("disc")
        inspect(again, 7300, scratched=True)
        expect(last).to_contain_text("D7300")
        expect(word).to_have_text("NG")
        expect(figures.nth(0)).to_have_text("7")
        expect(page.locator("p.state")).to_have_text("Live")
        page.get_by_role("button", name="New shift").click()
        expect(figures.nth(0)).to_have_text("0")
        page.close()  # before the service goes again
