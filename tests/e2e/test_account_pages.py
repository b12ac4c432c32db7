"""A newcomer's first day in a real browser without scripts, by keyboard: an own password, and later another one."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.kit.oauth import OWN, PASSWORD, Realm

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IN_CI = bool(os.environ.get("CI") or os.environ.get("FHIRSERVER_CI"))


@pytest.mark.skipif(BROWSER is None and not IN_CI, reason="no chromium is installed")
def test_a_newcomer_chooses_a_password_and_changes_it_without_scripts(realm: Realm) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for locale, choose, change, changed in (
            ("pt-BR", "Escolha a sua senha", "Mudar a senha", "A senha foi mudada"),
            ("en-US", "Choose your password", "Change password", "The password was changed"),
        ):
            newcomer = realm.user(must_change=True)
            page = browser.new_context(locale=locale, java_script_enabled=False).new_page()
            complaints, asked = list[str](), list[str]()
            page.on("console", lambda message, into=complaints: into.append(message.text))
            page.on("request", lambda request, into=asked: into.append(request.url))

            page.goto(f"{realm.server.root}/auth/password")
            for typed in (newcomer.name, PASSWORD):
                page.keyboard.type(typed)
                page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            page.wait_for_selector(f"h1:has-text('{choose}')")
            page.fill("#password", OWN)
            page.keyboard.press("Tab")
            page.keyboard.type(OWN)
            page.keyboard.press("Enter")
            page.wait_for_selector(f"h1:has-text('{change}')")
            page.focus("#current")
            for typed in (OWN, PASSWORD, PASSWORD):
                page.keyboard.type(typed)
                page.keyboard.press("Tab")
            page.keyboard.press("Space")  # apps that work without the user
            assert page.is_checked("input[name=everywhere]")
            page.keyboard.press("Enter")
            page.wait_for_selector(f"[role=status]:has-text('{changed}')")
            assert complaints == []
            assert all(url.startswith(realm.server.root) for url in asked)
        browser.close()
