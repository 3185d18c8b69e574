"""The console with API keys: each role sees what it may access, and a notice for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from indexer.catalogue.catalogue import Catalogue
from service.auth.api_key_cache import generate_api_key
from service.auth.roles import Role
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, Watched
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, dict[Role, str]]]:
    """A service that asks for keys and knows two plates, and a key of each role."""
    data = tmp_path_factory.mktemp("guarded") / "data"
    with ServerProcess(data, ACCESS="keys") as running:
        running.wait_until_live()
        catalogue = Catalogue.open(f"sqlite:///{data}/catalogue.sqlite")
        tokens = {}
        for role in (Role.LINE, Role.ENGINEER, Role.ADMIN):
            made = generate_api_key(f"the {role.word}", role)
            catalogue.api_keys.create(made.key)
            tokens[role] = made.token
        catalogue.close()
        running.client.headers["Authorization"] = f"Bearer {tokens[Role.ENGINEER]}"
        running.teach("plate", *(part(seed, kind=1) for seed in range(2)))
        yield running, tokens


@pytest.fixture
def visitor(browser: Browser, guarded: tuple[ServerProcess, dict[Role, str]]) -> Iterator[tuple[Page, Watched]]:
    """A page of that service, with no key yet."""
    url = f"http://127.0.0.1:{guarded[0].port}"
    context = browser.new_context(base_url=url, viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    seen = Watched(page, f"{url}/")
    seen.expected.add(401)
    yield page, seen
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign


def test_a_wrong_key_is_told_and_a_right_one_goes_on_where_one_was(
    visitor: tuple[Page, Watched], guarded: tuple[ServerProcess, dict[Role, str]]
) -> None:
    page, _ = visitor
    page.goto("/#/history")
    dialog = page.get_by_role("dialog", name="An API key is needed")
    expect(dialog.get_by_label("API key")).to_be_focused()
    assert_accessible(page)
    page.keyboard.type("ts_wrong\n")
    expect(dialog.get_by_role("alert")).to_contain_text("Unknown, expired or revoked")
    page.keyboard.type(f"{guarded[1][Role.ENGINEER]}\n")
    expect(page.get_by_text("the engineer (engineer)")).to_be_visible()
    expect(page.get_by_text("No matching inspections.").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("the engineer (engineer)")).to_be_visible()
    page.get_by_role("button", name="Forget key").click()
    expect(dialog).to_be_visible()


def test_a_key_stays_in_the_browser_only_where_that_is_wanted_and_until_it_is_forgotten(
    visitor: tuple[Page, Watched], guarded: tuple[ServerProcess, dict[Role, str]]
) -> None:
    page, _ = visitor
    dialog = page.get_by_role("dialog", name="An API key is needed")
    who = page.get_by_text("the engineer (engineer)")
    page.goto("/#/history")
    dialog.get_by_label("API key").fill(guarded[1][Role.ENGINEER])
    dialog.get_by_role("button", name="Use this key").click()
    expect(who).to_be_visible()
    page.evaluate("sessionStorage.clear()")  # as when the tab is closed
    page.reload()
    dialog.get_by_label("API key").fill(guarded[1][Role.ENGINEER])
    dialog.get_by_label("Stay signed in").check()
    assert_accessible(page)
    dialog.get_by_role("button", name="Use this key").click()
    expect(who).to_be_visible()
    page.evaluate("sessionStorage.clear()")
    page.reload()
    expect(who).to_be_visible()
    page.get_by_role("button", name="Forget key").click()
    page.reload()
    expect(dialog).to_be_visible()


def test_a_line_s_key_inspects_and_is_offered_nothing_that_it_may_not_do(
    visitor: tuple[Page, Watched], guarded: tuple[ServerProcess, dict[Role, str]], tmp_path: Path
) -> None:
    page, _ = visitor  # which may see no 403: what the key may not do is not even asked for
    image = tmp_path / "plate.png"
    image.write_bytes(part(5, kind=1))
    page.goto("/")
    page.get_by_role("textbox", name="API key").fill(guarded[1][Role.LINE])
    page.keyboard.press("Enter")
    # A script reaches the page behind the dialog while it closes, where an image would belong to the view being left.
    expect(page.get_by_text("the line (line)")).to_be_visible()
    page.get_by_label("Choose an image").set_input_files(image)
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("This needs a key with the role “operator”.")
    expect(page.locator(".stage img.part[src^=blob]")).to_be_visible()
    expect(page.locator(".inspection").get_by_role("button")).to_have_text(["−", "+", "1:1"])
    page.keyboard.press("g")
    page.keyboard.press("d")
    assert_accessible(page)

    for address, role in (
        ("/#/live", "operator"),
        ("/#/history", "operator"),
        ("/#/operator", "operator"),
        ("/#/categories?new", "engineer"),
        ("/#/categories/plate", "engineer"),
        ("/#/categories/plate/settings", "engineer"),
    ):
        page.goto(address)
        expect(page.get_by_text(f"This needs a key with the role “{role}”.")).to_be_visible()
        expect(page.locator("main").get_by_role("button")).to_have_count(0)
    page.goto("/#/categories")
    card = page.get_by_role("article").filter(has_text="plate")
    expect(card).to_contain_text("2 references")
    expect(page.get_by_role("link", name="Add product")).to_have_count(0)
    page.goto("/#/system")
    expect(page.get_by_text("This needs a key with the role “admin”.")).to_be_visible()
    expect(page.get_by_role("region", name="Health")).to_contain_text("Ready to inspect")
    expect(page.get_by_role("region", name="Versions")).to_contain_text("Encoder")
    expect(page.get_by_role("region")).to_have_count(2)
    assert_accessible(page)


def test_an_engineer_s_key_is_offered_everything_but_keys_and_the_audit_trail(
    visitor: tuple[Page, Watched], guarded: tuple[ServerProcess, dict[Role, str]]
) -> None:
    page, _ = visitor
    page.goto("/#/categories")
    page.get_by_role("textbox", name="API key").fill(guarded[1][Role.ENGINEER])
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Add product")).to_be_visible()
    page.goto("/#/categories/plate")
    expect(page.get_by_role("button", name="Remove category")).to_be_visible()
    page.goto("/#/system")
    expect(page.get_by_role("region", name="Storage")).to_be_visible()
    expect(page.get_by_text("This needs a key with the role “admin”.")).to_be_visible()
    expect(page.get_by_role("region", name="API keys")).to_have_count(0)


def test_the_key_is_kept_in_the_tab_and_in_no_address(
    visitor: tuple[Page, Watched], guarded: tuple[ServerProcess, dict[Role, str]]
) -> None:
    page, _ = visitor
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/#/system")
    token = guarded[1][Role.ADMIN]
    page.get_by_role("textbox", name="API key").fill(token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="API keys")).to_be_visible()
    assert not [url for url in requested if token in url]
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []


def test_a_key_that_no_request_can_carry_is_told_and_does_not_stop_the_page(
    visitor: tuple[Page, Watched], guarded: tuple[ServerProcess, dict[Role, str]]
) -> None:
    page, _ = visitor
    page.goto("/#/history")
    field = page.get_by_role("dialog", name="An API key is needed").get_by_label("API key")
    token = guarded[1][Role.ENGINEER]
    for wrong in (token.replace("_", "–"), f"{token}\u200b", "クロ"):  # as mail programs and documents change it
        field.fill(wrong)
        page.keyboard.press("Enter")
        assert field.evaluate("field => field.validity.patternMismatch")
        assert "ASCII" in field.get_attribute("title")
    field.fill(f"  {token} ")
    page.keyboard.press("Enter")
    expect(page.get_by_text("the engineer (engineer)")).to_be_visible()
