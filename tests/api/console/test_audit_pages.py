"""The compliance officer's pages over HTTP: who gets in, what is shown, what is refused, and that looks are audited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from fhirserver.console.audittold import Told
from fhirserver.console.charts import bars
from tests.kit.alerting import raised_now
from tests.kit.builders import a_patient
from tests.kit.client import unique
from tests.kit.oauth import Person, Realm
from tests.kit.officer import COOKIE, an_officer, csrf_of

DCM = "http://dicom.nema.org/resources/ontology/DCM"
PAGES = ("events", "emergencies", "alerts", "volumes", "reports", "integrity")


@pytest.fixture(scope="module")
def officer(realm: Realm) -> Person:
    return an_officer(realm)


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


def looked_up(realm: Realm, id: str) -> list[dict[str, Any]]:
    with realm.fhir(realm.token("system/AuditEvent.rs")) as fhir:
        bundle = fhir.get("AuditEvent", params={"patient": f"Patient/{id}", "_count": "100"}).json()
    return [entry["resource"] for entry in bundle.get("entry", [])]


def an_opened_record(realm: Realm, patient: str, reason: str) -> None:
    doctor = realm.user("practitioner", fhir_user="Practitioner/doc")
    token = realm.token("user/*.rs", user=doctor.name)
    parameters = [
        {"name": "patient", "valueReference": {"reference": f"Patient/{patient}"}},
        {"name": "reason", "valueString": reason},
    ]
    with realm.fhir(token) as fhir:
        body = {"resourceType": "Parameters", "parameter": parameters}
        assert fhir.post("$break-glass", json=body).status_code == 200


@pytest.mark.parametrize("page", PAGES)
def test_each_page_opens_for_an_auditor_in_both_languages(officer: Person, page: str) -> None:
    for language, word in (("pt", "Auditoria"), ("en", "Audit")):
        response = officer.open(f"/console/{page}?lang={language}")
        assert response.status_code == 200
        assert f"<strong>{word}</strong>" in response.text
        assert "<script" not in response.text
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy


@pytest.mark.parametrize("page", PAGES)
def test_nobody_sees_a_page_without_a_session(realm: Realm, page: str) -> None:
    for cookie in ("", "forged", "f" * 43, "\xff"):
        headers = {"cookie": f"{COOKIE}={cookie}".encode("latin-1")} if cookie else {}
        response = httpx.get(f"{realm.server.root}/console/{page}", headers=headers)
        assert response.status_code == 303
        assert response.headers["location"].startswith("/console/sign-in?back=%2Fconsole%2F")


@pytest.mark.parametrize("role", ["practitioner", "reception", "manager", "admin", "billing"])
def test_other_roles_are_told_that_the_pages_are_for_auditors(realm: Realm, role: str) -> None:
    person = an_officer(realm, realm.user(role))
    assert person.page is not None
    assert person.page.status_code == 403
    assert "These pages are for auditors" in person.page.text
    assert httpx.get(f"{realm.server.root}/console/events", cookies=person.http.cookies).status_code == 303


def test_looks_are_recorded_with_the_address_that_a_trusted_proxy_tells(realm: Realm) -> None:
    user = realm.user("auditor")
    person = Person(realm.server.root, **{"x-forwarded-for": "198.51.100.99"})
    person.open("/console")
    assert person.sign_in(user).status_code == 200
    with realm.fhir(realm.token("system/AuditEvent.rs")) as fhir:
        query = {"agent:identifier": user.id, "_count": "50"}
        events = [entry["resource"] for entry in fhir.get("AuditEvent", params=query).json()["entry"]]
    kinds = {event["subtype"][0]["code"] for event in events}
    assert {"110122", "ITI-71", "search-type"} <= kinds  # signed in, code redeemed, looked
    addresses = {agent.get("network", {}).get("address") for event in events for agent in event["agent"]}
    assert addresses == {"198.51.100.99", realm.server.fhir, None}


def test_the_browser_gets_no_token_and_a_cookie_that_scripts_cannot_read(realm: Realm) -> None:
    person = Person(realm.server.root)
    response = person.http.get(f"{realm.server.root}/console/sign-in")
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    person = an_officer(realm)
    value = person.http.cookies[COOKIE]
    with realm.fhir(value) as fhir:
        assert fhir.get("AuditEvent").status_code == 401


def test_an_answer_with_another_state_or_from_another_browser_signs_nobody_in(realm: Realm) -> None:
    person = Person(realm.server.root)
    person.http.get(f"{realm.server.root}/console/sign-in")
    for query in ("code=x&state=other", "code=x", ""):
        response = person.http.get(f"{realm.server.root}/console/callback?{query}")
        assert response.status_code == 400
    response = httpx.get(f"{realm.server.root}/console/callback?code=x&state=y")
    assert response.status_code == 400


def test_the_way_back_leads_to_our_pages_only(realm: Realm) -> None:
    for back, end in (
        ("https://evil.example/console/", "/console/events"),
        ("//evil.example", "/console/events"),
        ("/console/../\\evil", "/console/events"),
        ("/console/alerts", "/console/alerts"),
    ):
        person = Person(realm.server.root)
        person.http.get(f"{realm.server.root}/console/sign-in", params={"back": back})
        person = Person(realm.server.root)
        person.open(f"/console/sign-in?back={back}")
        response = person.sign_in(realm.user("auditor"))
        assert response.status_code == 200
        assert str(response.request.url) == f"{realm.server.root}{end}"


def test_after_sign_out_the_session_and_its_token_are_over(realm: Realm) -> None:
    person = an_officer(realm)
    cookie = person.http.cookies[COOKIE]
    wrong = person.http.post(f"{realm.server.root}/console/sign-out", data={"csrf": "0" * 64})
    assert wrong.status_code == 403
    assert person.http.get(f"{realm.server.root}/console/events").status_code == 200
    done = person.http.post(f"{realm.server.root}/console/sign-out", data={"csrf": csrf_of(person)})
    assert done.headers["location"].startswith("/auth/logout")
    again = httpx.get(f"{realm.server.root}/console/events", headers={"cookie": f"{COOKIE}={cookie}"})
    assert again.status_code == 303


def test_who_loses_the_account_loses_the_pages_within_seconds(realm: Realm) -> None:
    user = realm.user("auditor")
    person = an_officer(realm, user)
    assert person.open("/console/events").status_code == 200
    realm.store.users.change(user.id, disabled=True)
    until(lambda: person.http.get(f"{realm.server.root}/console/events").status_code == 303)


def test_an_access_is_found_by_patient_and_the_look_itself_is_recorded(realm: Realm, officer: Person) -> None:
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
        fhir.get(f"Patient/{patient}")
    page = officer.open(f"/console/events?patient={patient}")
    assert page.text.count('<td data-label="Date and time">') == 2
    assert ">Read<" in page.text.replace("\n", "")
    other = officer.open(f"/console/events?patient={unique('p')}")
    assert "No event matches" in other.text
    with realm.fhir(realm.token("system/AuditEvent.rs")) as fhir:
        query = {"agent:identifier": "console", "_sort": "-date", "_count": "5"}
        looks = fhir.get("AuditEvent", params=query).json()["entry"]
    assert any("query" in entity for entity in looks[0]["resource"]["entity"])
    assert looks[0]["resource"]["agent"][0]["who"]["identifier"]["value"] == "console"


def test_each_filter_takes_and_leaves(realm: Realm, officer: Person) -> None:
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
    client = realm.token("system/Observation.rs")
    with realm.fhir(client) as narrow:
        assert narrow.get(f"Patient/{patient}").status_code == 403
    for query, expected in (
        ("", True),
        ("&outcome=0", True),
        ("&outcome=12", False),
        ("&denied=1", True),
        ("&purpose=BTG", False),
        ("&person=Practitioner/nobody", False),
        ("&app=nothing", False),
        ("&to=2020-01-01", False),
    ):
        page = officer.open(f"/console/events?patient={patient}{query}")
        assert ("<table" in page.text) is expected, query


def test_people_without_a_record_are_called_by_the_name_of_their_account(
    realm: Realm, officer: Person
) -> None:
    manager = realm.user("manager")
    with realm.fhir(realm.token("user/*.rs", user=manager.name)) as fhir:
        assert fhir.get("Patient?_count=1").status_code == 200
    for person, expected in ((manager.name, True), (manager.id, True), (f"{manager.name}-x", False)):
        cells = officer.open(f"/console/events?person={person}").text.partition("<tbody>")[2]
        assert (f">{manager.name} <small>" in cells) is expected, person
        assert manager.id not in cells
    officer.open(f"/console/events?person={manager.name}")
    assert officer.page is not None
    link = re.search(r'href="(/console/events/[^"]+)"', officer.page.text)
    assert link is not None
    shown = officer.open(link[1]).text
    assert f"<strong>{manager.name}</strong>" in shown
    assert f"{manager.name} ({manager.id})" in shown


def test_numbers_are_written_as_in_the_language_of_the_page() -> None:
    written = {language: Told(ZoneInfo("UTC"), language).number(1_234_567) for language in ("pt", "en")}
    assert written == {"pt": "1.234.567", "en": "1,234,567"}
    assert ">20.000<" in bars("x", [("a", 19_900)], Told(ZoneInfo("UTC"), "pt").number)


def test_what_is_typed_wrongly_is_told_and_never_an_error_of_the_server(officer: Person) -> None:
    for query in (
        "patient=a/b",
        "from=yesterday",
        "from=2026-03-02&to=2026-03-01",
        "_cursor=x",
        "to=9999-12-31",
    ):
        page = officer.open(f"/console/events?{query}")
        assert page.status_code == 400, query
        assert "The request was not understood" in page.text
    assert officer.open("/console/events/nothing-here").status_code == 404
    assert officer.open("/console/events/a%20b").status_code == 404
    assert officer.open("/console/report?kind=nothing").status_code == 400


def test_what_others_have_written_is_shown_as_text(realm: Realm, officer: Person) -> None:
    bad = '"><script>alert(1)</script>'
    for name in ("person", "app", "from", "lang", "outcome", "purpose"):
        page = officer.http.get(f"{realm.server.root}/console/events", params={name: bad})
        assert "<script>alert" not in page.text
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
    an_opened_record(realm, patient, f"unconscious {bad}")
    page = officer.open("/console/emergencies")
    assert f"unconscious {bad}" in unescape(page.text)
    assert "<script>alert" not in page.text


def test_paging_shows_every_event_once(realm: Realm, officer: Person) -> None:
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
        for _ in range(60):
            fhir.get(f"Patient/{patient}")
    page = officer.open(f"/console/events?patient={patient}&outcome=0&lang=en")
    rows = re.findall(r"/console/events/([^?\"]+)\?lang", page.text)
    more = re.search(r'rel="next" href="([^"]+)"', page.text)
    assert more is not None
    page = officer.open(unescape(more[1]))
    rows += re.findall(r"/console/events/([^?\"]+)\?lang", page.text)
    assert 61 <= len(rows) == len(set(rows))


def test_one_event_tells_who_did_what_and_that_it_is_sealed(realm: Realm, officer: Person) -> None:
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
    (made,) = looked_up(realm, patient)[-1:]
    until(lambda: "is in the sealed log" in officer.open(f"/console/events/{made['id']}").text)
    assert officer.page is not None
    assert re.search(r"Sealed in the checkpoint of size \d+, position \d+", officer.page.text)
    assert f"Patient/{patient}" in officer.page.text
    assert "<dt>Date and time</dt>" in officer.page.text


def test_an_emergency_is_reviewed_once_by_somebody_else(realm: Realm, officer: Person) -> None:
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
    an_opened_record(realm, patient, unique("unconscious at the door"))
    page = officer.open("/console/emergencies")
    event = re.findall(r'action="/console/reviews/([^?"]+)\?', page.text)[0]
    for form, status in (({"note": "x"}, 403), ({"note": "x", "csrf": "0" * 64}, 403)):
        response = officer.http.post(f"{realm.server.root}/console/reviews/{event}", data=form)
        assert response.status_code == status
    assert f"/console/reviews/{event}?" in officer.open("/console/emergencies").text
    form = {"csrf": csrf_of(officer), "note": "asked at the ward, as it should be", "page": "emergencies"}
    response = officer.http.post(f"{realm.server.root}/console/reviews/{event}", data=form)
    assert response.headers["location"].startswith("/console/emergencies?done=1")
    page = officer.open("/console/emergencies")
    assert f"/console/reviews/{event}?" not in page.text
    assert f"/console/events/{event}?" in page.text
    nothing = officer.http.post(f"{realm.server.root}/console/reviews/none", data=form)
    assert nothing.status_code == 404


def test_an_alert_is_acknowledged(realm: Realm, officer: Person) -> None:
    with realm.fhir() as fhir:
        patient = fhir.made(a_patient())["id"]
    an_opened_record(realm, patient, unique("unconscious again"))
    raised = raised_now(realm.server.data_dir)
    (alert,) = [
        one.id() for one in raised if (one.rule, one.patient) == ("break-glass", f"Patient/{patient}")
    ]
    pages = [unescape(officer.open(f"/console/alerts?lang={language}").text) for language in ("en", "pt")]
    for page, sentence in zip(
        pages, ("An emergency access was begun.", "Um acesso de emergência foi iniciado."), strict=True
    ):
        assert f"/console/reviews/{alert}?" in page
        assert sentence in page
    event = unescape(officer.open(f"/console/events/{alert}?lang=pt").text)
    assert "Um acesso de emergência foi iniciado." in event
    assert "An emergency access" not in event.partition("<details>")[0]
    officer.open("/console/alerts?lang=en")
    form = {"csrf": csrf_of(officer), "note": "seen", "page": "alerts"}
    assert officer.http.post(f"{realm.server.root}/console/reviews/{alert}", data=form).status_code == 303
    after = officer.open("/console/alerts")
    assert f"/console/reviews/{alert}?" not in after.text
    assert "Acknowledged by" in after.text


def test_the_log_is_verified_on_demand(realm: Realm, officer: Person) -> None:
    before = officer.open("/console/integrity")
    assert "What was checked" not in before.text
    assert officer.http.post(f"{realm.server.root}/console/integrity").status_code == 403
    form = {"csrf": csrf_of(officer)}
    page = officer.http.post(f"{realm.server.root}/console/integrity?lang=en", data=form)
    assert page.status_code == 200
    assert "What was checked" in page.text
    assert re.search(r"Events checked</dt><dd>[1-9]\d*</dd>", page.text)


@pytest.mark.parametrize(
    ("format", "media"),
    [
        ("html", "text/html"),
        ("csv", "text/csv"),
        ("json", "application/json"),
        ("ndjson", "application/x-ndjson"),
    ],
)
def test_a_report_is_shown_or_downloaded(realm: Realm, officer: Person, format: str, media: str) -> None:
    response = officer.open(f"/console/report?kind=user-activity&format={format}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(media)
    downloads = format != "html"
    assert ("content-disposition" in response.headers) is downloads


@pytest.mark.parametrize("path", ["AuditEvent/$alerts", "AuditEvent/$verify", "AuditEvent/x/$review"])
def test_the_operations_behind_the_pages_are_for_auditors(realm: Realm, path: str) -> None:
    token = realm.token("user/*.cruds", user=realm.user("practitioner", fhir_user="Practitioner/p").name)
    with realm.fhir(token) as fhir:
        method = "GET" if path.endswith("alerts") else "POST"
        assert fhir.request(method, path).status_code == 403
    with realm.fhir(realm.token("system/AuditEvent.rs")) as fhir:
        expected = 404 if "/x/" in path else 200
        assert fhir.request(method, path).status_code == expected
