"""The console says what a category is searched in, has it condensed, and has all references searched again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.part_images import varied
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows eight discs, and one plate."""
    with ServerProcess(tmp_path_factory.mktemp("condensing") / "data").wait_until_live() as running:
        running.teach("disc", *map(varied, range(8)))
        running.teach("single", varied(50))
        running.wait_until_calibrated("disc")
        yield running


def test_a_category_is_condensed_and_searched_in_all_references_again(page: Page) -> None:
    page.goto("/#/categories/disc/settings")
    card = page.get_by_role("form", name="Search")
    expect(card).to_contain_text("All references are searched.")
    undo = card.get_by_role("button", name="Search all references again")
    expect(undo).to_be_hidden()
    share, condense = card.get_by_label("Share of the patches"), card.get_by_role("button", name="Condense")
    share.fill("100")
    expect(condense).to_be_disabled()
    share.fill("50")
    condense.click()
    expect(card).to_contain_text("4 of 8 patches in each place are searched; no score rises by more than 0.")
    expect(card.get_by_role("progressbar")).to_have_count(0)
    assert_accessible(page)
    undo.click()
    expect(card).to_contain_text("All references are searched.")
    expect(undo).to_be_hidden()


def test_why_a_category_is_not_condensed_is_said(page: Page) -> None:
    page.goto("/#/categories/single/settings")
    card = page.get_by_role("form", name="Search")
    card.get_by_role("button", name="Condense").click()
    expect(card).to_contain_text("saves nothing")
    expect(card).to_contain_text("All references are searched.")
