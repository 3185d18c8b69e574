"""What is typed, moved or being sent is lost only when the reader says so, also when a key expires meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from indexer.catalogue.catalogue import Catalogue
from service.auth.api_key_cache import generate_api_key
from service.auth.roles import Role
from tests.helpers.browser import DESKTOP, Watched
from tests.helpers.part_images import part, varied
from tests.helpers.server_process import ServerProcess


def type_a_setting(page: Page) -> None:
    page.goto("/#/categories/disc/settings")
    page.get_by_label("References compared with").fill("7")


def type_a_defect_size(page: Page) -> None:
    page.goto("/#/categories/disc/settings")
    page.get_by_label("Smallest defect that matters").fill("9")


def move_the_rate(page: Page) -> None:
    page.goto("/#/categories/disc/rejects")
    page.get_by_label("False-reject rate").press("ArrowRight")


@pytest.mark.parametrize("change", [type_a_setting, type_a_defect_size, move_the_rate])
def test_changes_that_are_not_saved_are_left_only_when_that_is_confirmed(
    page: Page, server: ServerProcess, change: Callable[[Page], None]
) -> None:
    before = server.client.get("/categories/disc").json()
    change(page)
    history = page.get_by_role("link", name="History")
    dialog = page.get_by_role("dialog", name="Leave without saving?")
    history.click()
    dialog.get_by_role("button", name="Stay").click()
    assert "/categories/disc" in page.url
    history.click()
    dialog.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    change(page)  # and nothing is asked where nothing was changed
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_contain_text("disc")
    page.wait_for_timeout(500)
    history.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    after = server.client.get("/categories/disc").json()
    assert (after["settings"], after["geometry"]) == (before["settings"], before["geometry"])


def test_findings_saved_in_another_order_are_no_change(page: Page, server: ServerProcess) -> None:
    kept = server.client.get("/categories/plate").json()["settings"]["refuse"]
    server.client.patch("/categories/plate", json={"refuse": ["blurred", "outlier"]}).raise_for_status()
    page.goto("/#/categories/plate/settings")
    expect(page.get_by_label("References compared with")).to_be_visible()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    server.client.patch("/categories/plate", json={"refuse": kept}).raise_for_status()


def save_and_say(page: Page) -> Locator:
    """Save what the form has; the notice that says so."""
    page.get_by_role("button", name="Save", exact=True).click()
    notice = page.locator("#notices .notice").filter(has_text="Saved")
    expect(notice).to_be_visible()
    return notice


def test_undoing_a_saved_setting_leaves_what_else_is_typed(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc/settings")
    compared, radius = page.get_by_label("References compared with"), page.get_by_label("Neighbourhood")
    before = compared.input_value()
    compared.fill("7")
    notice = save_and_say(page)
    radius.fill("3")
    notice.get_by_role("button", name="Undo").click()
    expect(compared).to_have_value(before)
    expect(radius).to_have_value("3")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_enabled()
    assert server.client.get("/categories/disc").json()["settings"]["k"] == int(before)


def test_a_setting_undone_after_leaving_and_coming_back_is_shown_as_it_is_then(page: Page) -> None:
    page.goto("/#/categories/disc/settings")
    compared = page.get_by_label("References compared with")
    before = compared.input_value()
    compared.fill("7")
    notice = save_and_say(page)
    page.get_by_role("link", name="Inspected area").click()
    expect(page.locator(".region-stage")).to_be_visible()
    page.get_by_role("link", name="Settings").click()
    expect(compared).to_have_value("7")
    notice.get_by_role("button", name="Undo").click()
    expect(compared).to_have_value(before)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[ServerProcess, Catalogue, list[str]]]:
    """A service that asks for keys and knows discs, its catalogue, and the tokens of two engineers and an operator."""
    data = tmp_path / "data"
    with ServerProcess(data, ACCESS="keys") as running:
        running.wait_until_live()
        catalogue = Catalogue.open(f"sqlite:///{data}/catalogue.sqlite")
        tokens = []
        for name, role in (("anna", Role.ENGINEER), ("anna-2", Role.ENGINEER), ("otto", Role.OPERATOR)):
            made = generate_api_key(name, role)
            catalogue.api_keys.create(made.key)
            tokens.append(made.token)
        running.client.headers["Authorization"] = f"Bearer {tokens[1]}"
        running.teach("disc", *(part(seed) for seed in range(4)))
        yield running, catalogue, tokens
        catalogue.close()


@pytest.fixture
def engineer(
    browser: Browser, guarded: tuple[ServerProcess, Catalogue, list[str]]
) -> Iterator[tuple[Page, Callable[[], None]]]:
    """A page with the first engineer's key, and what ends that key."""
    server, catalogue, tokens = guarded
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.port}", viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    seen = Watched(page, f"http://127.0.0.1:{server.port}/")
    seen.expected.add(401)
    page.goto("/#/categories")
    page.get_by_role("textbox", name="API key").fill(tokens[0])
    page.keyboard.press("Enter")
    expect(page.get_by_text("anna (engineer)")).to_be_visible()

    def expire() -> None:
        [key] = [key for key in catalogue.api_keys.list() if key.name == "anna"]
        catalogue.api_keys.revoke(key.id)

    yield page, expire
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign


def test_what_is_typed_when_a_key_expires_is_there_once_another_is_given(
    engineer: tuple[Page, Callable[[], None]], guarded: tuple[ServerProcess, Catalogue, list[str]]
) -> None:
    (page, expire), (server, _, tokens) = engineer, guarded
    page.goto("/#/categories/disc/settings")
    field = page.get_by_label("References compared with")
    field.fill("7")
    expire()
    dialog = page.get_by_role("dialog", name="An API key is needed")
    expect(dialog).to_be_visible()
    dialog.get_by_label("API key").fill(tokens[1])
    page.keyboard.press("Enter")
    expect(page.get_by_text("anna-2 (engineer)")).to_be_visible()
    expect(field).to_have_value("7")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    assert server.client.get("/categories/disc").json()["settings"]["k"] == 7

    field.fill("8")
    page.get_by_role("button", name="Forget key").click()
    question = page.get_by_role("dialog", name="Leave without saving?")
    question.get_by_role("button", name="Stay").click()
    expect(field).to_have_value("8")
    page.get_by_role("button", name="Forget key").click()
    question.get_by_role("button", name="Leave").click()
    dialog.get_by_label("API key").fill(tokens[2])
    page.keyboard.press("Enter")
    expect(page.get_by_text("otto (operator)")).to_be_visible()
    expect(page.get_by_text("This needs a key with the role “engineer”.")).to_be_visible()


def test_images_are_sent_on_once_another_key_is_given(
    engineer: tuple[Page, Callable[[], None]], guarded: tuple[ServerProcess, Catalogue, list[str]], tmp_path: Path
) -> None:
    (page, expire), (server, _, tokens) = engineer, guarded
    for number in range(20):  # three requests
        (tmp_path / f"{number:02d}.png").write_bytes(varied(600 + number))
    page.goto("/#/categories?new=disc")
    expect(page.get_by_label("Choose an image")).to_be_attached()
    sent = []

    def expire_after_the_first(route: Route) -> None:
        sent.append(route)
        if len(sent) == 2:
            expire()
            page.wait_for_timeout(1500)  # a replica learns of it within a second
        route.continue_()

    page.route("**/references", expire_after_the_first)
    page.get_by_label("Choose an image").set_input_files(sorted(tmp_path.glob("*.png")))
    dialog = page.get_by_role("dialog", name="An API key is needed")
    dialog.get_by_label("API key").fill(tokens[1])
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="20 of 20 done")).to_be_visible()
    assert server.client.get("/categories/disc").json()["references"] > 8
