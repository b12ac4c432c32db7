"""Facts, reports, tables and alert rules, on events as the server records them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhirserver.audit.disclosure import reports, words
from fhirserver.audit.disclosure.calendar import OpeningHours
from fhirserver.audit.disclosure.facts import Fact, fact_of
from fhirserver.audit.disclosure.incidents import Incident, Subject, incident_report
from fhirserver.audit.disclosure.reports import KINDS, REPORTS, Known
from fhirserver.audit.disclosure.tables import FORMATS, Frame, Table, guarded, policy, write

START = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)  # a Tuesday, 09:00 in São Paulo
KNOWN = Known(
    START + timedelta(days=1),
    {"Practitioner/42": "Dr. Rui", "Patient/77": "Ana Souza"},
    opening=OpeningHours.parse("mo-fr 07:00-19:00"),
    threshold=3,
)


def a_fact(**given: Any) -> Fact:
    base: dict[str, Any] = {
        "id": "e1", "at": START, "type": "rest", "action": "read", "outcome": "0", "user": "Practitioner/42",
        "client": "agenda-web", "address": "203.0.113.9", "patient": "Patient/77", "types": ("Observation",),
    }  # fmt: skip
    return Fact(**base | given)


def rows(kind: str, facts: list[Fact], known: Known = KNOWN) -> list[dict[str, Any]]:
    table = REPORTS[kind](facts, known)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


EVENT: dict[str, Any] = {
    "resourceType": "AuditEvent",
    "id": "r1",
    "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
    "subtype": [
        {"system": "http://hl7.org/fhir/restful-interaction", "code": "read"},
        {"system": "https://fhirserver.example/CodeSystem/audit-subtype", "code": "denied"},
        {"system": "https://fhirserver.example/CodeSystem/audit-subtype", "code": "denied-compartment"},
    ],
    "action": "R",
    "recorded": "2026-03-01T12:00:00.123Z",
    "outcome": "4",
    "outcomeDesc": "404 not-found (denied: outside launch patient)",
    "purposeOfEvent": [{"coding": [{"code": "TREAT"}]}],
    "agent": [
        {
            "type": {"coding": [{"code": "110152"}, {"code": "110150"}]},
            "who": {"identifier": {"system": "https://clinic.example/oauth/clients", "value": "agenda-web"}},
            "requestor": False,
            "network": {"address": "203.0.113.9", "type": "2"},
        },
        {
            "type": {"coding": [{"code": "110153"}]},
            "who": {"identifier": {"value": "https://clinic.example/fhir"}},
            "requestor": False,
            "network": {"address": "https://clinic.example/fhir", "type": "5"},
        },
        {
            "type": {"coding": [{"code": "IRCP"}, {"code": "UserOauthAgent"}]},
            "who": {"reference": "Practitioner/42", "identifier": {"value": "u-42"}},
            "role": [{"coding": [{"code": "practitioner"}]}],
            "requestor": True,
        },
    ],
    "source": {"observer": {"identifier": {"value": "https://clinic.example/fhir"}}},
    "entity": [
        {
            "what": {"reference": "Observation/5/_history/2"},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2"},
            "role": {"code": "4"},
        },
        {
            "what": {"reference": "Patient/77"},
            "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1"},
            "role": {"code": "1"},
        },
        {
            "what": {"identifier": {"value": "r-0001"}},
            "type": {
                "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
                "code": "XrequestId",
            },
        },
    ],
}


def test_an_event_is_told_as_a_fact() -> None:
    fact = fact_of(EVENT)
    assert fact.at == datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)
    assert (fact.type, fact.action, fact.outcome, fact.denied) == ("rest", "read", "4", "denied-compartment")
    assert (fact.user, fact.role, fact.client) == ("Practitioner/42", "practitioner", "agenda-web")
    assert (fact.address, fact.patient, fact.request) == ("203.0.113.9", "Patient/77", "r-0001")
    assert (fact.resources, fact.types, fact.purposes) == (
        ("Observation/5/_history/2",), ("Observation",), ("TREAT",),
    )  # fmt: skip


def test_the_patients_own_report_names_people_and_no_addresses() -> None:
    table = reports.of_patient([a_fact(), a_fact(user="Patient/77", role="")], KNOWN)
    first, second = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert (first["who"], first["app"], first["data"]) == ("Dr. Rui", "agenda-web", ("Observation",))
    assert (second["who"], second["role"]) == ("Ana Souza", "self")
    assert not {"address", "patient", "event", "request"} & set(table.columns)


def test_each_report_holds_what_it_is_about_and_nothing_else() -> None:
    late = a_fact(id="late", at=START + timedelta(hours=12))
    denied = a_fact(id="denied", denied="denied-scope", outcome="4")
    sent = a_fact(
        id="sent", type="110106", action="disclose", recipient="Organization/1", purposes=("HPAYMT",)
    )
    given = a_fact(
        id="given", type="110106", action="disclose", recipient="Organization/2", purposes=("HRESCH",)
    )
    hidden = a_fact(id="hidden", patient="Patient/9")
    query = base64.b64encode(b"GET /fhir/Patient?identifier=h:0123456789abcdef").decode()
    search = a_fact(id="search", action="search-type", patient="", query=query)
    facts = [a_fact(), denied, sent, given, hidden, search, late]
    known = Known(
        KNOWN.now, KNOWN.names, opening=KNOWN.opening, protected=frozenset({"Patient/9"}), threshold=2,
        token="h:0123456789abcdef",
    )  # fmt: skip

    def ids(kind: str) -> list[str]:
        return [row["event"] for row in rows(kind, facts, known)]

    assert ids("access") == [fact.id for fact in facts]
    assert ids("denied") == ["denied"]
    assert ids("after-hours") == ["late"]
    assert ids("vip") == ["hidden"]
    assert ids("searched-for") == ["search"]
    assert [(row["event"], row["exempt"]) for row in rows("disclosures", facts)] == [
        ("sent", True),
        ("given", False),
    ]
    assert [(row["shared"], row["patients"]) for row in rows("export-volume", facts)] == [
        ("Organization/1", 1), ("Organization/2", 1),
    ]  # fmt: skip
    (activity,) = rows("user-activity", facts, known)
    assert (activity["who"], activity["events"], activity["patients"], activity["denials"]) == (
        "Dr. Rui",
        7,
        2,
        1,
    )
    assert activity["last"] == late.at
    (mass,) = rows("mass-access", facts, known)
    assert (mass["who"], mass["patients"]) == ("Dr. Rui", 2)
    assert rows("mass-access", facts, KNOWN) == []


def test_an_emergency_access_waits_for_its_review() -> None:
    start = a_fact(
        id="start",
        type="110113",
        action="110127",
        grant="btg-1",
        reason="coma",
        at=START - timedelta(hours=1),
    )
    read = a_fact(id="read", grant="btg-1")
    own = a_fact(type="110101", action="review", grant="btg-1")
    review = a_fact(type="110101", action="review", grant="btg-1", user="Practitioner/7")
    (row,) = rows("break-glass", [start, read])
    assert (row["reason"], row["events"], row["review"]) == ("coma", 1, "pending")
    assert rows("break-glass", [start, read, own])[0]["review"] == "pending"  # nobody reviews themself
    assert rows("break-glass", [start, read, review])[0]["review"] == "reviewed"
    late = Known(START + timedelta(hours=73))
    assert rows("break-glass", [start, read], late)[0]["review"] == "overdue"


def test_users_without_activity_are_told_with_their_last() -> None:
    before = [
        a_fact(user="Practitioner/1"),
        a_fact(user="Practitioner/2", at=START + timedelta(hours=1)),
        a_fact(),
    ]
    table = reports.dormant(before, [a_fact()], KNOWN)
    assert table.rows == (("Practitioner/1", START), ("Practitioner/2", START + timedelta(hours=1)))


FRAME = Frame(START, START + timedelta(days=1), START + timedelta(days=1))


def table_of(*facts: Fact) -> Table:
    return REPORTS["access"](facts, KNOWN)


def test_json_and_ndjson_tell_local_time_and_utc() -> None:
    body = json.loads(write("json", [table_of(a_fact())], FRAME))
    assert (body["report"], body["title"], body["timezone"]) == (
        "access", "Acessos aos dados do paciente", "America/Sao_Paulo",
    )  # fmt: skip
    (row,) = body["rows"]
    assert (row["when"], row["utc"]) == ("2026-03-03T09:00:00.000-03:00", "2026-03-03T12:00:00.000Z")
    assert json.loads(write("ndjson", [table_of(a_fact())], FRAME)) == row


def test_csv_has_words_of_the_language_and_no_formulas() -> None:
    table = table_of(a_fact(client="=cmd|'/c calc'!A1", address="+1", denied="denied-scope", outcome="4"))
    text = write("csv", [table], FRAME).decode("utf-8-sig")
    head, row = csv.reader(io.StringIO(text))
    cells = dict(zip(head, row, strict=True))
    assert cells["Data e hora"] == "03/03/2026 09:00:00"
    assert cells["Data e hora (UTC)"] == "2026-03-03 12:00:00"
    assert (cells["Ação"], cells["Motivo"]) == ("Leitura", "Sem permissão do aplicativo")
    assert (cells["Aplicativo"], cells["Endereço"]) == ("'=cmd|'/c calc'!A1", "'+1")
    english = Frame(FRAME.start, FRAME.end, FRAME.now, language="en")
    assert (
        write("csv", [table], english)
        .decode("utf-8-sig")
        .startswith("Date and time,Date and time (UTC),Person")
    )


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\0x"])
def test_a_cell_that_a_spreadsheet_would_run_is_guarded(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"
    assert guarded(f"x{cell}") == f"x{cell}"


def test_the_page_escapes_what_it_shows_and_allows_its_own_style_only() -> None:
    known = Known(KNOWN.now, {"Practitioner/42": "<script>alert(1)</script>"})
    page = write("html", [REPORTS["access"]([a_fact()], known)], FRAME).decode()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert '<html lang="pt-BR">' in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy() == f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    assert "Nenhum registro" in write("html", [table_of()], FRAME).decode()


def test_every_report_and_column_has_words_in_both_languages() -> None:
    for kind in (*KINDS, "access-report", "incident"):
        assert words.title(kind, "pt-BR") != kind
        assert words.title(kind, "en") != words.title(kind, "pt-BR")
    for kind in REPORTS:
        for name in REPORTS[kind]([], KNOWN).columns:
            assert words.column(name, "pt-BR") != name, name
    assert set(FORMATS) == {"json", "csv", "ndjson", "html"}


# --- incidents


def test_an_incident_affects_exactly_those_whose_data_were_given_out() -> None:
    stolen = [
        a_fact(id=str(number), patient=f"Patient/{number}", client="stolen", types=("Observation",))
        for number in range(40)
    ]
    refused = a_fact(patient="Patient/99", denied="denied-scope", outcome="4")
    money = a_fact(patient="Patient/0", types=("Invoice",))
    zone = ZoneInfo("America/Sao_Paulo")
    incident = Incident(datetime(2026, 3, 5, 17, 0, tzinfo=zone), "token stolen", "token revoked")
    subjects = {"Patient/0": Subject("Ana", "+55 11 5555", minor=True)}
    parts = incident_report([*stolen, refused, money], incident, subjects, KNOWN, "en")
    figures = dict(parts[0].rows)
    assert figures == {
        "Affected subjects": 40, "Children and adolescents": 1, "With health data (sensitive)": 40,
        "With financial data": 1, "With an unknown kind of data": 0, "Accesses in the period": 42,
        "Refused attempts": 1,
    }  # fmt: skip
    assert {row[0] for row in parts[2].rows} == {"Ana", *(f"Patient/{number}" for number in range(1, 40))}
    assert len(parts[3].rows) == 42
    assert "40" in parts[4].text
    assert "token stolen" in parts[5].text
    assert "Titulares afetados: 40" in incident_report(stolen, incident, {}, KNOWN, "pt-BR")[4].text


def test_the_deadlines_of_an_incident_skip_weekends_and_holidays() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    incident = Incident(datetime(2026, 3, 5, 17, 0, tzinfo=zone), "", "")
    assert (incident.notice_by, incident.complement_by) == (date(2026, 3, 10), date(2026, 4, 2))
    assert incident.register_until == date(2031, 3, 5)
    holiday = Incident(incident.known, "", "", [date(2026, 3, 9)])
    assert holiday.notice_by == date(2026, 3, 11)
    assert Incident(datetime(2028, 2, 29, tzinfo=zone), "", "").register_until == date(2033, 2, 28)


# --- alerts


def test_alerts_are_told_in_the_language_of_the_report_with_who_has_acknowledged_them() -> None:
    raised = a_fact(
        id="alert-1", type="110113", action="alert-mass-access", alert="mass-access", outcome="4", user="", client="",
        patient="", subject="Practitioner/42", figures=(("patients", "52"), ("most", "50")), text="as written",
    )  # fmt: skip
    foreign = a_fact(
        id="f", type="110113", alert="theirs", text="=as written elsewhere", user="", subject="bot"
    )
    taken = a_fact(
        id="note", type="110101", action="acknowledged-alert", user="Practitioner/7", patient="",
        resources=("AuditEvent/alert-1",),
    )  # fmt: skip
    table = REPORTS["alerts"]([raised, foreign, a_fact(), taken], KNOWN)
    first, second = json.loads(write("json", [table], FRAME))["rows"]
    assert (first["told"], first["subject"], first["acknowledged"]) == (
        "52 pacientes em uma hora; o limite é 50.", "Dr. Rui", "Practitioner/7",
    )  # fmt: skip
    assert (second["told"], second["acknowledged"]) == ("=as written elsewhere", "")
    english = Frame(FRAME.start, FRAME.end, FRAME.now, language="en")
    head, row, other = csv.reader(io.StringIO(write("csv", [table], english).decode("utf-8-sig")))
    cells = dict(zip(head, row, strict=True))
    assert (cells["Alert"], cells["What happened"]) == (
        "Many patients within an hour", "52 patients within an hour; the limit is 50.",
    )  # fmt: skip
    assert "'=as written elsewhere" in other
    assert "52 pacientes em uma hora" in write("html", [table], FRAME).decode()


def test_a_fact_of_an_alert_holds_its_figures_and_whom_it_is_about() -> None:
    own = "https://fhirserver.example/CodeSystem/audit-entity-type"
    event = EVENT | {
        "subtype": [
            {"system": "https://fhirserver.example/CodeSystem/audit-subtype", "code": "alert-denials"}
        ],
        "entity": [
            {
                "type": {"system": own, "code": "alert-rule"},
                "what": {"identifier": {"value": "denials"}},
                "detail": [{"type": "refusals", "valueString": "12"}, {"type": "most", "valueString": "10"}],
            },
            {
                "type": {"system": own, "code": "alert-subject"},
                "what": {"identifier": {"value": "agenda-web"}},
            },
        ],
    }
    fact = fact_of(event)
    assert (fact.alert, fact.subject) == ("denials", "agenda-web")
    assert fact.figures == (("refusals", "12"), ("most", "10"))
    assert fact.resources == ()
