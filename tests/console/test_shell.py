"""The frame around every view: words, keys, access, and the description of the API."""

from __future__ import annotations

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.server_process import ServerProcess

STATIC = Path(__file__).parents[2] / "service/console/static"


def test_every_text_that_the_console_asks_for_is_there_and_every_text_is_asked_for() -> None:
    words = json.loads((STATIC / "strings/en.json").read_text())
    code = "\n".join(path.read_text() for path in [*STATIC.glob("*.*"), *STATIC.glob("views/*.js")])
    forms = {re.sub(r"\.(one|other)$", "", key) for key in words}
    assert set(re.findall(r"\bt\(\s*\"([\w.-]+)\"", code)) <= forms
    quoted = set(re.findall(r"\"([\w-]+(?:\.[\w-]+)+)\"", code))
    built = {f"{each}." for each in re.findall(r"`([\w.-]+)\.\$\{|facts\(\"(\w+)\"", code) for each in each if each}
    assert {key for key in forms - quoted if not key.startswith(tuple(built))} == set()


def test_the_console_holds_no_markup_that_data_could_become() -> None:
    for path in [*STATIC.glob("*.js"), *STATIC.glob("views/*.js")]:
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text()), path


def test_question_mark_shows_every_key_and_escape_leaves(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inspect")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Inspect")
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_page_may_run_only_its_own_files(server: ServerProcess) -> None:
    for path in ("/", "/console/main.js", "/console/styles/base.css", "/docs"):
        policy = server.client.get(path).raise_for_status().headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy, path
        assert server.client.get(path).headers["cache-control"] == "no-cache"
    missing = server.client.get("/console/nothing.js")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")


def test_the_description_of_the_api_needs_no_other_machine(page: Page) -> None:
    page.goto("/docs")
    expect(page.get_by_text("/detect", exact=True)).to_be_visible()
