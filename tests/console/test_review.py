"""The review queue by keyboard: one by one, many at once, with undo, and through an outage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from indexer.catalogue.catalogue import Catalogue
from service.auth import Role, generate_api_key
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, TABLET, Watched
from tests.helpers.http_service import inspect, made_from
from tests.helpers.part_images import part, varied
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, dict[Role, str]]]:
    """A service that asks for keys and knows 24 discs, and a key of each role."""
    data = tmp_path_factory.mktemp("review") / "data"
    with ServerProcess(data, ACCESS="keys") as running:
        running.wait_until_live()
        catalogue = Catalogue.open(f"sqlite:///{data}/catalogue.sqlite")
        keys = {role: generate_api_key(role.word, role) for role in (Role.OPERATOR, Role.ENGINEER)}
        for made in keys.values():
            catalogue.api_keys.create(made.key)
        catalogue.close()
        running.client.headers["Authorization"] = f"Bearer {keys[Role.ENGINEER].token}"
        running.teach("disc", *(varied(seed) for seed in range(24)))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.05}).raise_for_status()
        running.wait_until_calibrated("disc")
        yield running, {role: made.token for role, made in keys.items()}


@pytest.fixture
def console(browser: Browser, plant: tuple[ServerProcess, dict[Role, str]]) -> Iterator[tuple[Page, Watched]]:
    """The Review page, with an engineer's key."""
    server, tokens = plant
    url = f"http://127.0.0.1:{server.port}"
    context = browser.new_context(base_url=url, viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    seen = Watched(page, f"{url}/")
    seen.expected.add(401)
    page.goto("/#/review")
    page.get_by_role("textbox", name="API key").fill(tokens[Role.ENGINEER])
    page.keyboard.press("Enter")
    yield page, seen
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign


def rows(page: Page) -> Locator:
    return page.get_by_role("list", name="Parts that wait for review").get_by_role("listitem")


def labels(server: ServerProcess, *ids: str) -> list[str | None]:
    return [server.client.get(f"/inspections/{each}").json()["label"] for each in ids]


def test_another_search_that_begins_while_a_part_is_decided_is_shown(
    console: tuple[Page, Watched], plant: tuple[ServerProcess, dict[Role, str]]
) -> None:
    (page, _), (server, _) = console, plant
    server.client.patch("/categories/disc", json={"review_band": 1}).raise_for_status()
    expect(page.get_by_text("No part waits for review.")).to_be_visible()
    decided, left = (inspect(server.client, varied(seed), category="disc")["id"] for seed in (91, 90))
    page.reload()
    expect(rows(page)).to_have_count(2)
    held: list[Route] = []
    page.route("**/review", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    rows(page).filter(has=page.locator("button")).last.get_by_role("button").click()
    page.keyboard.press("x")
    eventually(lambda: held or page.wait_for_timeout(20), "the page decides")
    page.get_by_label("Reason").select_option("unfamiliar")
    expect(rows(page)).to_have_count(0)
    held.pop().continue_()
    expect(page.locator("#notices")).to_contain_text("Undo")
    page.get_by_label("Reason").select_option("")
    expect(rows(page)).to_have_count(1)
    answer = {"inspections": [decided, left], "decision": "dismiss"}
    server.client.post("/review", json=answer).raise_for_status()
    server.client.patch("/categories/disc", json={"review_band": 0}).raise_for_status()


def test_an_engineer_decides_what_waits_by_keyboard_and_takes_it_back(
    console: tuple[Page, Watched], plant: tuple[ServerProcess, dict[Role, str]]
) -> None:
    (page, watched), (server, tokens) = console, plant
    badge = page.locator("nav .count")
    expect(page.get_by_text("No part waits for review.")).to_be_visible()
    expect(badge).to_be_hidden()
    assert_accessible(page)

    server.client.patch("/categories/disc", json={"review_band": 1}).raise_for_status()
    near = [inspect(server.client, varied(seed), category="disc")["id"] for seed in range(80, 84)]
    wrong = inspect(server.client, part(50, kind=1), category="disc")["id"]
    operator = {"Authorization": f"Bearer {tokens[Role.OPERATOR]}"}
    marked = near.pop()
    server.client.post(f"/inspections/{marked}/feedback", json={"label": "good"}, headers=operator).raise_for_status()
    assert made_from(server.client) == {}
    page.get_by_role("button", name="Show what has changed").click()
    expect(rows(page)).to_have_count(5)
    expect(badge).to_contain_text("5")
    for scheme, size in (("light", DESKTOP), ("dark", TABLET)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size(size)
        expect(page.locator(".stage img[src^=blob]").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert_accessible(page)
    page.set_viewport_size(DESKTOP)

    # The unknown part is the newest: it does not become a reference without a question, which is answered with no.
    expect(rows(page).first).to_contain_text("Unknown part")
    page.keyboard.press("g")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("looks like none of the references of disc")
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(rows(page)).to_have_count(4)
    assert labels(server, wrong) == ["defect"]

    expect(rows(page).first).to_contain_text("Marked by an operator")
    page.keyboard.press("g")
    expect(page.locator("#notices")).to_contain_text("1 part became a reference.")
    assert list(made_from(server.client).values()) == [marked]
    page.keyboard.press("u")
    expect(rows(page)).to_have_count(4)
    assert made_from(server.client) == {}

    # Several at once: the second and the third, by keyboard.
    for key in ("j", "s", "j", "s"):
        page.keyboard.press(key)
    expect(page.locator(".waiting input:checked")).to_have_count(2)
    page.keyboard.press("x")
    expect(rows(page)).to_have_count(2)
    expect(badge).to_contain_text("2")
    page.locator("#notices").get_by_role("button", name="Undo").last.click()
    expect(rows(page)).to_have_count(4)
    page.get_by_label("Reason").select_option("feedback")
    expect(rows(page)).to_have_count(1)
    page.get_by_label("Reason").select_option("")

    # The service goes away: what was decided meanwhile is decided when it is back.
    expect(rows(page)).to_have_count(4)
    watched.away = True
    server.kill()
    page.keyboard.press("a")
    page.keyboard.press("x")
    expect(page.get_by_role("status").filter(has_text="Connection lost")).to_be_visible()
    with ServerProcess(server.data, port=server.port, ACCESS="keys") as again:
        again.wait_until_live()
        expect(page.get_by_text("No part waits for review.")).to_be_visible()
        again.client.headers["Authorization"] = server.client.headers["Authorization"]
        assert again.client.get("/review").json()["waiting"] == 0
        assert labels(again, marked, *near) == ["good", None, None, None]
        page.close()  # before the service goes again
