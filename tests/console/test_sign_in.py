"""Signing in to the console at an OpenID Connect provider, and out."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, Watched
from tests.helpers.oidc_provider import OidcProvider
from tests.helpers.server_process import ServerProcess


def test_people_sign_in_come_back_to_where_they_were_and_sign_out(browser: Browser, tmp_path: Path) -> None:
    with (
        OidcProvider(tmp_path) as provider,
        ServerProcess(tmp_path / "data", ACCESS="keys", **provider.settings) as running,
    ):
        running.wait_until_live()
        url = f"http://127.0.0.1:{running.port}"
        context = browser.new_context(base_url=url, viewport=DESKTOP, locale="en-GB")
        page = context.new_page()
        seen = Watched(page, f"{url}/")
        seen.expected |= {400, 401, 403}
        dialog = page.get_by_role("dialog", name="An API key is needed")
        enter = dialog.get_by_role("button", name="Sign in with Plant directory")
        page.goto("/#/history?station=press-4")
        expect(enter).to_be_visible()
        assert_accessible(page)
        enter.click()
        page.get_by_role("button", name="Nobody").click()
        expect(dialog.get_by_role("alert")).to_contain_text("signed nobody in")
        enter.click()
        page.get_by_role("button", name="Gast").click()
        expect(dialog.get_by_role("alert")).to_contain_text("'Gast' is in no group")
        enter.dblclick()
        page.get_by_role("button", name="Mia Engineer").click()
        expect(page.get_by_text("Mia Engineer (engineer)")).to_be_visible()
        expect(page).to_have_url(f"{url}/#/history?station=press-4")
        assert page.evaluate("localStorage.length") == 0
        page.reload()
        expect(page.get_by_text("Mia Engineer (engineer)")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(dialog).to_be_visible()
        page.goto("/?state=stale&code=x#/history")
        expect(dialog.get_by_role("alert")).to_contain_text("Sign in again")
        provider.kill()
        seen.expected.add(503)
        enter.click()
        expect(dialog.get_by_text("does not answer")).to_be_visible()
        expect(dialog.get_by_label("API key")).to_be_enabled()
        seen.print_state()
        context.close()
        assert not seen.errors
        assert all(other.startswith(provider.issuer) for other in seen.foreign)
