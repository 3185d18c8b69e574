"""Signing in to the console at an OpenID Connect provider, and out."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser, expect

from indexer.catalogue.catalogue import Catalogue
from service.auth.api_key_cache import generate_api_key
from service.auth.roles import Role
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, Watched
from tests.helpers.oidc_provider import OidcProvider
from tests.helpers.part_images import part
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


def test_what_is_typed_when_a_session_ends_is_there_after_signing_in_again(browser: Browser, tmp_path: Path) -> None:
    with (
        OidcProvider(tmp_path) as provider,
        ServerProcess(tmp_path / "data", ACCESS="keys", **provider.settings) as running,
        closing(Catalogue.open(f"sqlite:///{tmp_path}/data/catalogue.sqlite")) as catalogue,
    ):
        running.wait_until_live()
        made = generate_api_key("anna", Role.ENGINEER)
        catalogue.api_keys.create(made.key)
        running.client.headers["Authorization"] = f"Bearer {made.token}"
        running.teach("disc", *(part(seed) for seed in range(4)))
        url = f"http://127.0.0.1:{running.port}"
        context = browser.new_context(base_url=url, viewport=DESKTOP, locale="en-GB")
        page = context.new_page()
        seen = Watched(page, f"{url}/")
        seen.expected |= {400, 401}
        enter = page.get_by_role("button", name="Sign in with Plant directory")
        page.goto("/#/categories/disc/settings")
        enter.click()
        page.get_by_role("button", name="Mia Engineer").click()
        compared, findings = page.get_by_label("References compared with"), page.get_by_label("Blurred")
        defect, unit = (
            page.get_by_label("Smallest defect that matters"),
            page.get_by_label("Unit of the smallest defect"),
        )
        compared.fill("7")
        findings.check()
        defect.fill("2")
        unit.select_option("millimetres")
        page.get_by_label("Millimetres per pixel").fill("0.5")
        page.get_by_label("Defect classes").fill("scratch\ndent")
        key = "Object.keys(sessionStorage).find((name) => name.startsWith('touchstone-key'))"
        page.evaluate(f"sessionStorage.setItem({key}, 'ended')")
        enter.click()
        page.get_by_role("button", name="Nobody").click()  # who is signed in by the next try only
        enter.click()
        page.get_by_role("button", name="Mia Engineer").click()
        expect(compared).to_have_value("7")
        expect(findings).to_be_checked()
        expect(defect).to_have_value("2")
        expect(unit).to_have_value("millimetres")
        expect(page.get_by_label("Millimetres per pixel")).to_have_value("0.5")
        expect(page.get_by_label("Defect classes")).to_have_value("scratch\ndent")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("#notices")).to_contain_text("Saved")
        settings = running.client.get("/categories/disc").json()["settings"]
        assert (settings["k"], settings["defect_classes"]) == (7, ["scratch", "dent"])
        page.reload()
        expect(compared).to_have_value("7")
        expect(defect).to_have_value("")  # typed again once only
        seen.print_state()
        context.close()
        assert not seen.errors
