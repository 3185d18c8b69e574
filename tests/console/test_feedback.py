"""Feedback that would change a threshold considerably: its effect is shown first, it needs a deliberate confirmation,
and it can be undone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from indexer.catalogue.catalogue import Catalogue
from service.auth.api_key_cache import generate_api_key
from service.auth.roles import Role
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, TABLET, Watched
from tests.helpers.http_service import made_from
from tests.helpers.part_images import part, varied
from tests.helpers.server_process import ServerProcess

KIND = "wheel"

# Whether each button of a dialog could not be pressed when it appeared.
_WATCH_DIALOGS = """() => {
    new MutationObserver((changes) => {
        for (const { addedNodes } of changes)
            for (const each of addedNodes)
                if (each.matches("dialog"))
                    window.atFirst = [...each.querySelectorAll("button")].map((button) => button.disabled);
    }).observe(document.body, { childList: true });
}"""


def teach(server: ServerProcess) -> None:
    server.teach(KIND, *(varied(seed) for seed in range(24)))
    server.client.patch(f"/categories/{KIND}", json={"false_reject_rate": 0.05}).raise_for_status()
    server.wait_until_calibrated(KIND)


def inspect(server: ServerProcess, image: bytes, station: str) -> str:
    files = [("images", (f"{station}.png", image, "image/png"))]
    answer = server.client.post("/detect", data={"category": KIND, "station": station}, files=files)
    found: str = answer.raise_for_status().json()["results"][0]["id"]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows 24 wheels and 6 plates, calibrated."""
    with ServerProcess(tmp_path_factory.mktemp("feedback") / "data") as running:
        running.wait_until_live()
        teach(running)
        running.teach("plate", *(part(seed, kind=1) for seed in range(6)))
        running.wait_until_calibrated("plate")
        yield running


@pytest.fixture
def seen(watched: tuple[Page, Watched]) -> Page:
    """A page whose feedback is held, which the browser logs as an error."""
    page, seen = watched
    seen.expected.add(409)
    return page


def calibration(server: ServerProcess) -> tuple[float, int]:
    server.wait_until_calibrated(KIND)
    found = server.client.get(f"/categories/{KIND}").json()
    return round(found["calibration"]["threshold"], 5), found["references"]


def test_one_press_on_a_wrong_product_changes_nothing_and_shows_what_it_would_do(
    seen: Page, server: ServerProcess
) -> None:
    page, before = seen, calibration(server)
    inspection = inspect(server, part(50, kind=1), "wrong")
    said: list[Route] = []

    def late_at_first(route: Route) -> None:
        said.append(route)
        if len(said) == 1:
            page.wait_for_timeout(500)
        route.continue_()

    page.route("**/feedback", late_at_first)  # before the page is loaded: requests may pass it by at first
    page.goto("/#/live?station=wrong")
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Unknown part")
    for _ in range(3):  # before the service has answered
        page.keyboard.press("g")
    dialog = page.get_by_role("dialog", name="Confirm before this becomes a reference")
    expect(dialog).to_have_count(1)
    expect(dialog).to_contain_text(f"Threshold {before[0]:.4f} → ")
    expect(dialog).to_contain_text("would be Normal: defects that are found today would pass")
    expect(dialog).to_contain_text("The image fits plate better than wheel.")
    expect(dialog).to_contain_text("looks like none of the references of wheel")
    expect(dialog.locator("img[src^=blob]")).to_have_count(2)
    assert_accessible(page)
    # Keys and clicks that were meant for the page do not confirm: at once, and by whatever has the focus.
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    for key in ("g", "Enter", "g", "Enter"):
        page.keyboard.press(key)
        expect(dialog).to_have_count(0 if key == "Enter" else 1)
        if key == "Enter":
            expect(page.locator("dialog")).to_have_count(0)  # it is closed a moment before the page knows
            page.keyboard.press("g")
            expect(dialog).to_have_count(1)
    expect(dialog.get_by_role("button", name="Add as reference")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_timeout(300)
    assert len(said) == 3, "the two presses before the first answer ask nothing once the dialog is left"
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Mark as good")).to_have_attribute("aria-pressed", "false")
    assert server.client.get(f"/inspections/{inspection}").json()["label"] is None
    assert calibration(server) == before


def test_what_was_confirmed_is_seen_as_from_feedback_and_undone_there(seen: Page, server: ServerProcess) -> None:
    page, before = seen, calibration(server)
    inspection = inspect(server, varied(60, scratched=True), "confirmed")
    page.goto(f"/#/history/{inspection}")
    page.evaluate(_WATCH_DIALOGS)
    page.get_by_role("button", name="Mark as good").dblclick()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Threshold")
    assert page.evaluate("atFirst") == [False, True], "nothing can be confirmed in the first moment"
    told = dialog.locator(".large").inner_text()
    dialog.get_by_role("button", name="Add as reference").click()  # waits until it may be
    expect(page.get_by_text("this will not be rejected again")).to_be_visible()
    after = calibration(server)
    assert f"{before[0]:.4f} → {after[0]:.4f}" in told
    assert after[1] == before[1] + 1

    page.goto(f"/#/categories/{KIND}")
    page.get_by_role("button", name="From feedback").click()
    tile = page.locator("li.image")
    expect(tile).to_have_count(1)
    expect(tile).to_contain_text("confirmed.png")
    assert_accessible(page)
    tile.get_by_role("button", name="Undo feedback").click()
    expect(tile).to_have_count(0)
    assert calibration(server) == before
    assert server.client.get(f"/inspections/{inspection}").json()["label"] is None
    page.locator("#notices").get_by_role("button", name="Undo").last.click()
    expect(tile).to_have_count(1)
    assert list(made_from(server.client, KIND).values()) == [inspection]
    tile.get_by_role("link", name="From feedback").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("confirmed.png")
    page.get_by_role("button", name="Mark as good").click()  # which takes it back
    expect(page.get_by_text("Feedback undone.")).to_be_visible()
    assert calibration(server) == before


def test_the_reference_of_an_inspection_that_is_no_longer_called_good_is_taken_back_by_itself(
    seen: Page, server: ServerProcess
) -> None:
    inspection = inspect(server, varied(61), "alone")
    server.client.post(f"/inspections/{inspection}/feedback", json={"label": "good", "confirm": True})
    [reference] = made_from(server.client, KIND)
    server.client.delete(f"/references/{reference}").raise_for_status()
    server.client.post(f"/references/{reference}/restore").raise_for_status()
    seen.goto(f"/#/categories/{KIND}")
    seen.get_by_role("button", name="From feedback").click()
    seen.locator("li.image").get_by_role("button", name="Undo feedback").click()
    expect(seen.locator("li.image")).to_have_count(0)
    assert made_from(server.client, KIND) == {}
    server.client.post(f"/inspections/{inspection}/feedback", json={"label": "none"}).raise_for_status()


def test_a_good_part_needs_no_question_and_two_presses_say_it_once(seen: Page, server: ServerProcess) -> None:
    inspection = inspect(server, varied(80), "fine")
    seen.goto(f"/#/history/{inspection}")
    button = seen.get_by_role("button", name="Mark as good")
    button.dblclick()
    expect(seen.get_by_text("this will not be rejected again")).to_be_visible()
    expect(button).to_have_attribute("aria-pressed", "true")
    seen.wait_for_timeout(500)
    assert server.client.get(f"/inspections/{inspection}").json()["label"] == "good"
    server.client.post(f"/inspections/{inspection}/feedback", json={"label": "none"}).raise_for_status()


def test_the_class_of_a_confirmed_defect_is_chosen_by_a_digit_and_can_be_changed(
    seen: Page, server: ServerProcess
) -> None:
    seen.goto(f"/#/categories/{KIND}/settings")
    seen.get_by_role("textbox", name="Defect classes").fill("scratch\n\n dent ")
    seen.get_by_role("button", name="Save").click()
    expect(seen.get_by_text("Saved.")).to_be_visible()
    assert server.client.get(f"/categories/{KIND}").json()["settings"]["defect_classes"] == ["scratch", "dent"]
    inspection = inspect(server, varied(63, scratched=True), "named")
    for slow in ("**/feedback", f"**/categories/{KIND}"):
        seen.route(slow, lambda route: (seen.wait_for_timeout(1000), route.continue_()))
    seen.goto(f"/#/history/{inspection}")
    confirm = seen.get_by_role("button", name="Confirm defect")
    expect(confirm).to_be_visible()
    seen.keyboard.press("d")
    seen.keyboard.press("2")  # before the service has answered
    expect(seen.get_by_text("Defect class: dent.")).to_be_visible()
    expect(seen.get_by_role("button", name="dent")).to_have_attribute("aria-pressed", "true")
    comment = seen.get_by_role("textbox", name="Comment")
    comment.fill("near the hub")
    comment.press("Enter")
    expect(seen.get_by_text("Comment saved.")).to_be_visible()
    assert_accessible(seen)
    found = server.client.get(f"/inspections/{inspection}").json()
    assert (found["label"], found["defect_class"], found["comment"]) == ("defect", "dent", "near the hub")
    seen.get_by_role("button", name="scratch").click()
    expect(seen.get_by_text("Defect class: scratch.")).to_be_visible()
    seen.goto("/#/history?station=named&defect_class=scratch")
    row = seen.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("Defect confirmed: scratch")
    expect(row).to_contain_text("near the hub")
    seen.locator("h1").click()
    seen.keyboard.press("2")  # which names no class any more
    expect(seen.get_by_role("heading", level=1)).to_have_text("Live")


def test_a_class_chosen_while_a_comment_is_being_saved_is_saved_too(seen: Page, server: ServerProcess) -> None:
    server.client.patch(f"/categories/{KIND}", json={"defect_classes": ["scratch", "dent"]}).raise_for_status()
    for delay in (
        0,
        500,
    ):  # milliseconds that the button is held: the comment's answer comes before and after the click
        inspection = inspect(server, varied(64 + delay, scratched=True), f"held-{delay}")
        seen.goto(f"/#/history/{inspection}")
        seen.get_by_role("button", name="Confirm defect").click()
        seen.get_by_role("textbox", name="Comment").press_sequentially("near the hub")
        seen.get_by_role("button", name="dent").click(delay=delay)
        expect(seen.get_by_role("button", name="dent")).to_have_attribute("aria-pressed", "true")
        stored = server.client.get(f"/inspections/{inspection}").json()
        assert (stored["defect_class"], stored["comment"]) == ("dent", "near the hub")
        expect(seen.get_by_role("textbox", name="Comment")).to_have_value("near the hub")


def test_the_question_fits_a_tablet(seen: Page, server: ServerProcess) -> None:
    seen.set_viewport_size(TABLET)
    inspection = inspect(server, part(51, kind=1), "tablet")
    seen.goto(f"/#/history/{inspection}")
    seen.get_by_role("button", name="Mark as good").click()
    dialog = seen.get_by_role("dialog")
    expect(dialog.locator("img[src^=blob]")).to_have_count(2)
    box = dialog.get_by_role("button", name="Add as reference").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < TABLET["height"]
    dialog.get_by_role("button", name="Cancel").click()


def test_where_it_is_reserved_an_engineer_sees_the_effect_and_cannot_confirm(browser: Browser, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, ACCESS="keys", CONFIRM_ROLE="admin") as running:
        running.wait_until_live()
        catalogue = Catalogue.open(f"sqlite:///{data}/catalogue.sqlite")
        made = generate_api_key("engineer", Role.ENGINEER)
        catalogue.api_keys.create(made.key)
        catalogue.close()
        running.client.headers["Authorization"] = f"Bearer {made.token}"
        teach(running)
        inspection = inspect(running, varied(60, scratched=True), "reserved")
        context = browser.new_context(base_url=f"http://127.0.0.1:{running.port}", viewport=DESKTOP, locale="en-GB")
        page = context.new_page()
        page.goto(f"/#/history/{inspection}")
        page.get_by_role("textbox", name="API key").fill(made.token)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Mark as good").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Threshold")
        expect(dialog).to_contain_text("Only a key with the role “admin” may confirm this.")
        expect(dialog.get_by_role("button")).to_have_text(["Close"])
        assert_accessible(page)
        dialog.get_by_role("button", name="Close").click()
        assert running.client.get(f"/inspections/{inspection}").json()["label"] is None
        context.close()
