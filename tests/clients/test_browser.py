"""A real browser (Chromium): sign-in, second factor, consent and patient picker, by keyboard, with and without scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import PASSWORD, Realm, code_of

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")  # its event loop runs in this thread until it ends
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        reason = "chromium is needed for the browser test (Debian: apt-get install chromium)"
        if os.environ.get("CI") or os.environ.get("FHIRSERVER_CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


def type_in(page: Page, user: UserRecord) -> None:
    """As people do: both fields and Enter, no mouse."""
    page.locator("input[name=username]").focus()  # the page has the focus there, but perhaps not yet
    page.keyboard.type(user.name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")


def callback(realm: Realm) -> str:
    """An address of another origin that answers: the server's own under its other name."""
    return f"http://localhost:{realm.server.port}/healthz"


def callback_of(page: Page) -> dict[str, str]:
    page.wait_for_url("http://localhost:*/healthz?**")
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_reception_picks_a_patient_by_keyboard(
    chromium: Browser, realm: Realm, patients: tuple[str, str], *, scripts: bool
) -> None:
    app = realm.app(redirect_uris=(callback(realm),), name="Agenda")
    context = chromium.new_context(locale="pt-BR", java_script_enabled=scripts)
    page = context.new_page()
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(app.url("openid launch/patient patient/Appointment.rs"))
    assert page.title().startswith("Entrar")
    type_in(page, realm.user("reception"))
    page.locator("#q").focus()
    page.keyboard.type("lima")
    page.keyboard.press("Enter")
    page.get_by_label("Bia Lima").check()
    page.get_by_role("button", name="Permitir", exact=True).press("Enter")
    answer = callback_of(page)
    assert app.redeem(answer["code"]).json()["patient"] == patients[1]
    assert all(
        url.startswith((realm.server.root, callback(realm)))
        for url in asked
        if not url.endswith("favicon.ico")
    )
    assert not [text for text in problems if "Content Security Policy" in text]
    context.close()


def test_a_doctor_gives_a_code_and_signs_out(chromium: Browser, realm: Realm) -> None:
    doctor: Any = realm.user("practitioner")
    context = chromium.new_context(locale="en", viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(f"{realm.server.root}/auth/apps")
    type_in(page, doctor)
    page.locator("#code").focus()
    page.keyboard.type(code_of(doctor.totp))
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Apps with access")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    cookies = context.cookies()
    assert all(cookie["httpOnly"] and cookie["sameSite"] == "Lax" for cookie in cookies)
    page.get_by_role("link", name="Sign out").press("Enter")
    page.get_by_role("button", name="Sign out").press("Enter")
    page.wait_for_selector("text=You are signed out")
    page.goto(f"{realm.server.root}/auth/apps")
    assert page.get_by_label("Password").is_visible()
    context.close()


def test_a_first_party_app_is_reached_straight_from_the_sign_in(chromium: Browser, realm: Realm) -> None:
    """Chromium applies form-action to the redirects behind a form: the sign-in page must allow them, too."""
    app, doctor = realm.app(redirect_uris=(callback(realm),), first_party=True), realm.user("practitioner")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(app.url("openid"))
    type_in(page, doctor)
    page.locator("#code").focus()
    page.keyboard.type(code_of(doctor.totp or ""))
    page.keyboard.press("Enter")
    assert "code" in callback_of(page)
    context.close()


def test_labels_names_and_languages_are_there_for_screen_readers(chromium: Browser, realm: Realm) -> None:
    context = chromium.new_context(locale="pt-BR")
    page = context.new_page()
    page.goto(f"{realm.server.root}/auth/apps")
    assert page.locator("html").get_attribute("lang") == "pt-BR"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden])')].filter(i => !i.labels.length && !i.ariaLabel).length"
    )
    assert unnamed == 0
    page.get_by_role("link", name="English").click()
    assert page.locator("html").get_attribute("lang") == "en"
    context.close()
