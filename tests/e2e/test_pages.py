"""The pages of the API's documentation work in a browser, with scripts of this server alone."""

from __future__ import annotations

import os
import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.kit.server import Server

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None and not os.environ.get("CI"), reason="no chromium is installed")
def test_the_documentation_shows_its_routes_and_asks_nobody_else(server: Server) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        asked, complaints = list[str](), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(f"{server.root}/docs")
        page.wait_for_selector(".opblock")
        assert page.locator(".opblock").count() > 10
        browser.close()
    assert complaints == []
    assert all(url.startswith(server.root) for url in asked)
    assert len(asked) > 3
