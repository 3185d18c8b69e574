"""The frame around every view: texts, keyboard shortcuts, access, and the API page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from playwright.sync_api import Page, expect

from indexer.domain.finding import FINDING_KINDS
from indexer.domain.geometry import OnMismatch
from indexer.domain.review import REVIEW_REASONS
from indexer.domain.verdict import VERDICTS
from service.auth.roles import KEY_ROLES
from tests.helpers.accessibility import assert_accessible
from tests.helpers.console_files import console_file
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


@pytest.mark.parametrize(
    ("file", "name", "service"),
    [
        ("access.js", "ROLES", [role.word for role in KEY_ROLES]),
        ("settings.js", "FINDINGS", FINDING_KINDS),
        ("geometry.js", "ON_MISMATCH", get_args(OnMismatch)),
        ("filters.js", "REASONS", REVIEW_REASONS),
    ],
)
def test_the_console_s_lists_are_those_of_the_service(file: str, name: str, service: Sequence[str]) -> None:
    found = re.search(rf"const {name} = \[(.*)\];", (STATIC / file).read_text())
    assert found is not None
    assert sorted(re.findall(r'"(\w+)"', found[1])) == sorted(service)


def test_every_verdict_has_a_shape_a_word_and_a_meaning() -> None:
    shapes = (STATIC / "verdict.js").read_text().partition("const SHAPES = {\n")[2].partition("\n};")[0]
    assert re.findall(r"^  (\w+): ", shapes, re.MULTILINE) == list(VERDICTS)
    words = json.loads((STATIC / "strings/en.json").read_text())
    assert all(words[f"verdict.{verdict}"] and words[f"verdict.{verdict}.meaning"] for verdict in VERDICTS)


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
    script, style = (console_file(server.client, name) for name in ("main.js", "styles/base.css"))
    for path in ("/", "/docs", script, style):
        policy = server.client.get(path).raise_for_status().headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy, path
    for path in (
        "/console/main.js",
        "/console",
        script.replace("main.js", "nothing.js"),
        script.replace("main.js", ""),
    ):
        missing = server.client.get(path, follow_redirects=True)
        assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found"), path


def test_a_browser_asks_again_for_pages_only(page: Page, server: ServerProcess) -> None:
    script = console_file(server.client, "main.js")
    of_another_version = server.client.get("/console/0123456789ab/main.js")  # of a page of a replica not yet upgraded
    assert of_another_version.text == server.client.get(script).text
    for response, kept in (
        (server.client.get("/"), "no-cache"),
        (server.client.get("/docs"), "no-cache"),
        (of_another_version, "no-cache"),
        (server.client.get(script), "max-age=31536000, immutable"),
    ):
        assert response.headers["cache-control"] == kept, response.url
    page.goto("/")
    expect(page.get_by_text("Open access")).to_be_visible()
    page.wait_for_load_state("networkidle")
    before = server.log.read_text()
    page.reload()
    expect(page.get_by_text("Open access")).to_be_visible()
    page.wait_for_load_state("networkidle")
    requested = server.log.read_text().removeprefix(before)
    assert '"path": "/"' in requested
    assert "/console/" not in requested


def test_the_description_of_the_api_needs_no_other_machine(page: Page) -> None:
    page.goto("/docs")
    expect(page.get_by_text("/detect", exact=True)).to_be_visible()
