"""What a patient's app sees is what anyone would see if nothing else existed.

Two servers: the clinic, asked by p1's app, and one that holds only what the app reaches, asked without restrictions.
Every search form gives the same resources, includes and totals on both. Threats A2-A4, A10, S4-S7.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit.client import Fhir, entry
from tests.kit.server import Server
from tests.kit.tokens import Callers
from tests.security.test_patient_reads import FOREIGN, OWN

TYPES = (
    "Patient", "Observation", "Encounter", "Appointment", "Coverage", "DiagnosticReport", "Condition", "Device",
    "Schedule", "Slot", "List", "Practitioner", "PractitionerRole", "Organization", "DocumentReference", "Claim", "RelatedPerson",
)  # fmt: skip


@pytest.fixture(scope="module")
def alone(app: Fhir, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fhir]:
    """A server with nothing but the current versions of what the app reaches, in open mode."""
    reached = [e["resource"] for type in TYPES for e in pages(app, f"/{type}?_count=200")]
    names = {f"{r['resourceType']}/{r['id']}" for r in reached}
    assert set(OWN) - {"Binary/bin1"} <= names
    assert not set(FOREIGN) & names
    with Server(tmp_path_factory.mktemp("alone") / "data") as server, Fhir(server.fhir) as client:
        done = client.bundle(
            "transaction", *(entry("PUT", f"{r['resourceType']}/{r['id']}", r) for r in reached)
        )
        assert done.status_code == 200, done.text
        yield client


def pages(client: Fhir, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        found += answer.json().get("entry", [])
        url = next((link["url"] for link in answer.json()["link"] if link["relation"] == "next"), "")
    return found


def outcome(client: Fhir, url: str) -> Any:
    """What a search says: its entries with their modes, its total; or the status of a refusal."""
    answer = client.get(url)
    if answer.status_code != 200:
        return answer.status_code
    body = answer.json()
    entries = [
        (e["search"]["mode"], e["resource"]["resourceType"], e["resource"].get("id"))
        for e in body.get("entry", [])
        if e["search"]["mode"] != "outcome"
    ]
    return sorted(entries), body.get("total")


def same(app: Fhir, alone: Fhir, url: str) -> None:
    seen = outcome(app, url)
    if seen == 403:
        return  # a hop over a type that the app may not search at all
    assert seen == outcome(alone, url), url


IDS = (
    "p1",
    "p2",
    "p3",
    "lab1",
    "lab2",
    "focus2",
    "enc1",
    "enc2",
    "doc",
    "out",
    "app1",
    "app2",
    "list1",
    "list2",
    "absent",
)
REFERENCES = [
    f"{type}/{id}" for type in ("Patient", "Observation", "Practitioner", "Encounter") for id in IDS
]
CONDITIONS = (
    *((code, value) for code in ("subject", "patient", "performer", "focus", "encounter", "actor", "result", "item",
                                 "beneficiary", "subscriber", "link", "organization", "schedule")
      for value in REFERENCES[:15]),
    *(("_id", id) for id in IDS),
    ("name", "secret"), ("name", "a"), ("birthdate", "1980-01-01"), ("birthdate", "lt1990"), ("status", "final"),
    ("status", "booked"), ("status", "free,busy"), ("category", "laboratory"), ("code", "29463-7"), ("date", "ge2020"),
    ("_content", "secret"), ("_text", "secret"), ("_tag", "x"), ("_security", "HIV"), ("_lastUpdated", "ge2020"),
    ("code-value-quantity", "29463-7$gt1"), ("identifier", "11144477735"), ("identifier", "52998224725"),
)  # fmt: skip
MODIFIERS = (
    "",
    "",
    "",
    ":missing",
    ":not",
    ":exact",
    ":contains",
    ":Patient",
    ":identifier",
    ":text",
    ":below",
)
CHAINS = (
    "subject:Patient", "patient", "subject", "performer:Practitioner", "encounter", "focus:Patient", "actor:Patient",
    "actor:Practitioner", "beneficiary:Patient", "subscriber:Patient", "result:Observation", "item:Observation",
    "link:Patient", "schedule", "subject.link:Patient", "patient.general-practitioner:Practitioner",
)  # fmt: skip
HAS = (
    "_has:Observation:patient", "_has:Observation:subject", "_has:Observation:performer", "_has:Observation:focus",
    "_has:DiagnosticReport:result", "_has:List:item", "_has:Coverage:subscriber", "_has:Coverage:beneficiary",
    "_has:Appointment:actor", "_has:Encounter:patient", "_has:Condition:patient", "_has:Patient:link",
    "_has:Schedule:actor", "_has:Device:patient", "_has:RelatedPerson:patient",
    "_has:Appointment:actor:_has:AppointmentResponse:appointment",
)  # fmt: skip
INCLUDES = (
    "_include=*", "_revinclude=*", "_include=Coverage:subscriber", "_include=DiagnosticReport:result",
    "_include=Observation:focus", "_include=List:item", "_include=Slot:schedule&_include:iterate=Schedule:actor",
    "_revinclude=Observation:performer", "_revinclude=Observation:focus", "_revinclude=Patient:link",
    "_revinclude=List:item", "_revinclude=Observation:patient&_include:iterate=*",
    "_revinclude=Appointment:actor&_include:iterate=Appointment:actor", "_revinclude:iterate=Observation:subject",
)  # fmt: skip
RESULTS = ("", "_total=accurate", "_summary=count", "_sort=_lastUpdated", "_sort=-_id", "_sort=date", "_count=1",
           "_count=0", "_elements=id", "_summary=true")  # fmt: skip


@st.composite
def searches(draw: st.DrawFn) -> str:
    """A search of one type: conditions with modifiers, chains, _has, _filter, _list, includes and controls."""
    type = draw(st.sampled_from(TYPES))
    parts = []
    for _ in range(draw(st.integers(0, 2))):
        code, value = draw(st.sampled_from(CONDITIONS))
        modifier = draw(st.sampled_from(MODIFIERS))
        value = draw(st.sampled_from(("true", "false"))) if modifier == ":missing" else value
        shape = draw(st.sampled_from(("plain", "plain", "chain", "has", "filter", "list")))
        match shape:
            case "plain":
                parts.append(f"{code}{modifier}={value}")
            case "chain":
                parts.append(f"{draw(st.sampled_from(CHAINS))}.{code}{modifier}={value}")
            case "has":
                parts.append(f"{draw(st.sampled_from(HAS))}:{code}{modifier}={value}")
            case "filter":
                negated = draw(st.booleans())
                test = f"{code} eq {value}"
                parts.append(f"_filter={f'not ({test})' if negated else test}".replace(" ", "%20"))
            case "list":
                parts.append(f"_list={draw(st.sampled_from(('list1', 'list2')))}")
    parts += draw(st.lists(st.sampled_from(INCLUDES), max_size=2))
    result = draw(st.sampled_from(RESULTS))
    return f"/{type}?{'&'.join([*parts, *([result] if result else [])])}"


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(url=searches())
def test_a_search_says_what_it_would_say_if_nothing_else_existed(app: Fhir, alone: Fhir, url: str) -> None:
    same(app, alone, url)


def test_every_chain_and_reverse_chain_says_the_same(app: Fhir, alone: Fhir) -> None:
    told = 0
    for type, hop in itertools.product(TYPES, (*CHAINS, *HAS)):
        sign = ":" if hop.startswith("_has") else "."
        url = f"/{type}?{hop}{sign}_id:not=p1"
        seen = outcome(app, url)
        if seen in (400, 403):
            continue
        told += 1
        assert seen == outcome(alone, url), url
    assert told > 30


@pytest.mark.parametrize("type", TYPES)
def test_every_include_says_the_same(app: Fhir, alone: Fhir, type: str) -> None:
    for include in INCLUDES:
        same(app, alone, f"/{type}?_total=accurate&{include}")


@pytest.mark.parametrize("owner", ["Patient/p1", "Patient/p2", "Patient/absent", "Practitioner/doc", "Encounter/enc1",
                                   "Encounter/enc2", "Device/dev2", "RelatedPerson/r1"])  # fmt: skip
def test_every_compartment_says_the_same(app: Fhir, alone: Fhir, owner: str) -> None:
    same(app, alone, f"/{owner}/*?_count=500&_type={','.join(TYPES)}")
    for type in TYPES:
        same(app, alone, f"/{owner}/{type}?_total=accurate")


def test_a_difference_would_be_found(app: Fhir, alone: Fhir, callers: Callers) -> None:
    """The test of the test: another caller's answers differ."""
    other = callers.client("system", "system/*.cruds")
    with pytest.raises(AssertionError):
        same(other, alone, "/Observation?subject=Patient/p2")
    same(app, alone, "/Observation?subject=Patient/p2")
