"""The compliance officer's day in a real browser: sign in, find, open an event, check the log, download a report."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.kit.builders import a_patient
from tests.kit.oauth import PASSWORD, Realm, code_of

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IN_CI = bool(os.environ.get("CI") or os.environ.get("FHIRSERVER_CI"))


@pytest.mark.skipif(BROWSER is None and not IN_CI, reason="no chromium is installed")
def test_an_auditor_signs_in_finds_an_event_checks_the_log_and_takes_a_report_home(
    realm: Realm, tmp_path: Path
) -> None:
    auditor = realm.user("auditor", display="Clara Nunes")
    assert auditor.totp is not None
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
        fhir.get(f"Patient/{patient}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_context(locale="en", accept_downloads=True).new_page()
        complaints, asked = list[str](), list[str]()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: asked.append(request.url))

        page.goto(f"{realm.server.root}/console")
        page.fill("#username", auditor.name)
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.fill("#code", code_of(auditor.totp))
        page.keyboard.press("Enter")
        page.wait_for_selector("h1:has-text('Who did what')")
        assert "Clara Nunes" in page.inner_text("header")

        page.fill("input[name=patient]", patient)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"td:has-text('Patient/{patient}')")
        _keep(page, "find")
        page.click("tbody tr:has-text('Read') a")
        page.wait_for_selector(".proof")
        assert f"Patient/{patient}" in page.inner_text(".sentence")
        _keep(page, "event")

        page.click("nav >> text=Integrity")
        page.click("text=Check now")
        page.wait_for_selector("text=What was checked")
        _keep(page, "integrity")

        for name in ("Denied", "Emergencies", "Alerts", "Volumes"):
            page.click(f"nav >> text={name}")
            assert page.get_attribute(f"nav a:has-text('{name}')", "aria-current") == "page"
            _keep(page, name.lower())
        page.click("nav >> text=Reports")
        _keep(page, "reports")
        page.select_option("select[name=kind]", "user-activity")
        page.select_option("select[name=format]", "csv")
        with page.expect_download() as download:
            page.click("text=Run the report")
        file = tmp_path / download.value.suggested_filename
        download.value.save_as(file)
        assert file.name == "user-activity.csv"
        assert file.read_text("utf-8-sig").startswith("Person,")

        page.click("header >> text=Sign out")
        page.wait_for_selector("h1:has-text('Sign out')")
        page.goto(f"{realm.server.root}/console/events")
        assert "/console/events" in page.url
        browser.close()
    assert complaints == []
    assert all(url.startswith(realm.server.root) for url in asked)


def _keep(page: Page, name: str) -> None:
    """Pictures of the page to look at, where SCREENSHOTS names a folder: wide, on a phone, on paper, in Portuguese."""
    folder = os.environ.get("SCREENSHOTS")
    if folder is None:
        return
    for width, kind in ((1280, "wide"), (390, "phone")):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=f"{folder}/{name}-{kind}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="print")
    page.screenshot(path=f"{folder}/{name}-print.png", full_page=True)
    page.emulate_media(media="screen")
