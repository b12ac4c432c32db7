"""No form of reading gives a role what its mask hides: the table of role, type and form, and every search parameter.

brazil.md section 6, P-14; docs/explanation/access.md; threats C3, C5, C6, A2-A4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.r4.definitions import Definitions
from tests.kit.client import Fhir, assert_outcome, entry
from tests.kit.tokens import Callers
from tests.security.masked import (
    CANARY,
    CODE,
    MASKED,
    PERSON,
    SHORT_CPF,
    TYPES,
    WHOLE_CPF,
    fill,
)

IDS = {"Patient": "k1", "RelatedPerson": "krel", "Encounter": "kenc", "Procedure": "kpro", "ServiceRequest": "kreq",
       "Appointment": "kapp", "Coverage": "kcov"}  # fmt: skip
READS = "user/*.rs"
CASES = [(role, type) for role, types in MASKED.items() for type in types]
# what each type is reached by from elsewhere; every role of the table may search Claims, but for reception
HOPS = {
    "Patient": ("/Claim?_id=kclaim&_include=Claim:patient", "/Encounter?_id=kenc&_include=Encounter:subject",
                "/Claim?_id=kclaim&_include=Claim:encounter&_include:iterate=Encounter:patient"),
    "Encounter": ("/Patient?_id=k1&_revinclude=Encounter:patient", "/Appointment?_id=kapp&_revinclude=Encounter:appointment",
                  "/Claim?_id=kclaim&_include=*"),
    "Coverage": ("/Patient?_id=k1&_revinclude=Coverage:beneficiary",),
    "RelatedPerson": ("/Patient?_id=k1&_revinclude=RelatedPerson:patient",),
    "Procedure": ("/Encounter?_id=kenc&_revinclude=Procedure:encounter",),
    "ServiceRequest": ("/Encounter?_id=kenc&_revinclude=*",),
    "Appointment": ("/Encounter?_id=kenc&_include=Encounter:appointment",),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def stored(system: Fhir) -> None:
    fill(system)


def member(callers: Callers, role: str, scope: str = READS, *more: str) -> Fhir:
    return callers.client("nobody", scope, sub=f"mask-{role}", roles=[role, *more])


def hidden_from(role: str) -> tuple[str, ...]:
    return (CANARY, CODE, PERSON, WHOLE_CPF) if role == "reviewer" else (CANARY, CODE)


def forms(type: str) -> Iterator[tuple[str, str]]:
    """Every URL that gives the resource out, with what must be in the answer."""
    id = IDS[type]
    here = f'"{id}"'
    for url in (f"/{type}/{id}", f"/{type}/{id}/_history/1", f"/{type}/{id}/_history", f"/{type}/_history?_count=60",
                "/_history?_count=60", f"/{type}?_id={id}", f"/{type}?_id={id}&_elements=id,reasonCode,photo,extension,name,meta",
                f"/{type}?_id={id}&_summary=data", f"/{type}?_id={id}&_summary=true", f"/{type}?_id={id}&_summary=text",
                f"/{type}?_sort=-_lastUpdated&_count=60", f"/?_type={type}&_id={id}",
                f"/{type}?_id={id}&_include=*&_revinclude=*&_include:iterate=*&_revinclude:iterate=*",
                f"/{type}/{id}?_elements=reasonCode,contact,photo,text,contained", f"/{type}/{id}?_summary=data", *HOPS[type]):  # fmt: skip
        yield url, here
    yield f"/{type}/{id}?_format=xml", f'value="{id}"'
    if type == "Patient":
        yield "/Patient/k1/$everything", here
    elif type != "Coverage":  # whose members a mask hides in part
        yield f"/Patient/k1/{type}", here
        yield "/Patient/k1/*?_count=60", here
    if type == "Encounter":
        yield "/Encounter/kenc/$everything", here


@pytest.mark.parametrize(("role", "type"), CASES)
def test_no_form_of_reading_gives_what_is_hidden(callers: Callers, role: str, type: str) -> None:
    # the desk sees Patients whole, which the words are in as well
    scope = "user/Encounter.rs user/Appointment.rs" if role == "reception" else READS
    client, told = member(callers, role, scope), 0
    for url, marker in forms(type):
        answer = client.get(url)
        if answer.status_code == 403:
            assert url in HOPS[type] or "Patient/k1" in url, url  # through a type that is closed
            continue
        assert answer.status_code == 200, (url, answer.text)
        assert marker in answer.text, url
        assert not [word for word in hidden_from(role) if word in answer.text], url
        told += 1
    assert told >= 16


@pytest.mark.parametrize("type", TYPES)
def test_every_form_of_reading_gives_it_to_who_may_see_it(system: Fhir, type: str) -> None:
    for url, marker in forms(type):
        text = system.get(url).text
        assert marker in text, url
        assert CANARY in text or "_summary=t" in url or "_elements=id" in url, url


@pytest.mark.parametrize(("role", "type"), CASES)
def test_entries_of_bundles_and_searches_by_form_hide_the_same(
    callers: Callers, role: str, type: str
) -> None:
    client, id = member(callers, role), IDS[type]
    gets = [entry("GET", url) for url in (f"{type}/{id}", f"{type}?_id={id}", f"{type}/{id}/_history")]
    answers = [client.bundle(kind, *gets) for kind in ("batch", "transaction")]
    answers.append(client.post(f"/{type}/_search", data={"_id": id}))
    answers.append(client.get(f"/{type}/{id}/$meta"))
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert f'"{id}"' in answer.text or "$meta" in str(answer.url)
        assert not [word for word in hidden_from(role) if word in answer.text], answer.text
    assert all(len(answer.json()["entry"]) == 3 for answer in answers[:2])
    assert CODE not in client.get(f"/{type}/$meta").text


def test_masked_copies_say_so_and_keep_their_version(callers: Callers, system: Fhir) -> None:
    for role, type in CASES:
        answer, whole = member(callers, role).get(f"/{type}/{IDS[type]}"), system.get(f"/{type}/{IDS[type]}")
        assert [tag["code"] for tag in answer.json()["meta"]["tag"]] == ["SUBSETTED"], (role, type)
        assert answer.headers["etag"] == whole.headers["etag"]
        assert "text" not in answer.json()
        assert member(callers, role).get(
            f"/{type}/{IDS[type]}", headers={"if-none-match": answer.headers["etag"]}
        ).status_code == 304  # fmt: skip
    plain = member(callers, "reception").get("/Encounter/kplain").json()
    assert "tag" not in plain["meta"]
    assert plain == system.get("/Encounter/kplain").json()


def test_what_the_table_gives_a_role_is_there(callers: Callers) -> None:
    """The positive side: names, identifiers and addresses for m1, class and period of a visit, codes and dates."""
    person = member(callers, "billing").get("/Patient/k1").json()
    assert (person["name"], person["identifier"][0]["value"]) == ([{"family": PERSON}], WHOLE_CPF)
    assert person["address"] == [{"city": PERSON}]
    assert not {"extension", "maritalStatus", "contact", "photo", "communication"} & person.keys()
    for role in ("reception", "billing", "manager"):
        visit = member(callers, role).get("/Encounter/kenc").json()
        assert {"status", "class", "period", "subject", "appointment"} <= visit.keys()
        assert not {"reasonCode", "diagnosis", "reasonReference", "contained"} & visit.keys()
    done = member(callers, "clerk").get("/Procedure/kpro").json()
    assert (done["performedDateTime"], done["code"]["coding"][0]["code"]) == ("2026-03-01", "shown")


def test_identifiers_are_whole_by_role_and_short_under_pseudonyms(callers: Callers) -> None:
    """C5: two roles, two renderings; and the search by a whole CPF still needs the permission to see it."""
    front = callers.client("reception", "user/*.rs").get("/Patient/k1").json()["identifier"][0]
    other = member(callers, "reviewer").get("/Patient/k1").json()["identifier"][0]
    assert (front["value"], other["value"]) == (WHOLE_CPF, SHORT_CPF)
    assert other["_value"]["extension"][0]["valueCode"] == "masked"
    for client, status in ((callers.client("reception", "user/*.rs"), 200), (member(callers, "billing"), 200),
                           (member(callers, "reviewer"), 403), (callers.client("reception", "user/Patient.r"), 403)):  # fmt: skip
        for value in (WHOLE_CPF, SHORT_CPF, f"http://rnds.saude.gov.br/fhir/r4/NamingSystem/cpf|{WHOLE_CPF}"):
            answer = client.get(f"/Patient?identifier={value}")
            assert answer.status_code == status, answer.text
            if status == 200:
                assert answer.json()["total"] == (value != SHORT_CPF)


def test_a_narrow_token_is_given_no_contact_data_of_contained_practitioners(
    callers: Callers, system: Fhir
) -> None:
    """C6, for roles that see the container whole."""
    url = "/Patient?_id=k1&_include=Patient:general-practitioner"
    for client in (
        callers.client("reception", "user/Patient.rs"),
        callers.client("system", "system/Patient.rs"),
    ):
        for answer in (client.get("/Patient/k1").json(), client.get(url).json()["entry"][0]["resource"]):
            (contained,) = answer["contained"]
            assert contained == {"resourceType": "Practitioner", "id": "gp"}
            assert answer["maritalStatus"]["text"] == CANARY  # the rest is open to them
        assert client.get(f"/Patient?_content={CANARY}&_id=k1").json()["total"] == 0
        assert client.get(f"/Patient?_text={CANARY}&_id=k1").json()["total"] == 0
    for client in (callers.client("system", "system/Patient.rs system/Practitioner.r"), system):
        assert client.get("/Patient/k1").json()["contained"][0]["telecom"][0]["value"] == CANARY
        assert "SUBSETTED" not in client.get("/Patient/k1").text


def test_audit_events_are_given_out_to_the_byte(callers: Callers, system: Fhir) -> None:
    """Their contained outcomes are of a type that the auditor's scopes do not name."""
    assert member(callers, "reception").get("/Encounter/absent-k").status_code == 404
    url = "/AuditEvent?outcome=4&_sort=-date&_count=3"
    auditor = callers.client("auditor", "user/AuditEvent.rs").get(url).json()
    whole = {e["resource"]["id"]: e["resource"] for e in system.get(f"{url}0").json()["entry"]}
    assert [e["resource"] for e in auditor["entry"]] == [whole[e["resource"]["id"]] for e in auditor["entry"]]
    assert any(
        each["resourceType"] == "OperationOutcome"
        for e in auditor["entry"]
        for each in e["resource"]["contained"]
    )


def test_contained_resources_of_open_types_are_masked_as_their_type(callers: Callers, system: Fhir) -> None:
    assert CANARY in str(system.get("/Claim/kclaim").json()["contained"])
    for role in ("billing", "manager", "reviewer"):
        claim = member(callers, role).get("/Claim/kclaim").json()
        assert [(each["id"], "photo" in each) for each in claim["contained"]] == [("kin", False)], role
        assert CANARY not in str(claim)


def parameters(type: str) -> Iterator[tuple[str, str]]:
    """Searches by each parameter and modifier, for values that only hidden elements hold."""
    values = {"string": (CANARY, PERSON), "token": (CODE, f"http://example.org/c|{CODE}"), "reference": ("Condition/kcon",),
              "uri": (f"urn:x:{CODE}", f"http://example.org/{CODE}"), "date": ("1900",), "quantity": ("1",)}  # fmt: skip
    for code, parameter in Definitions.load().search_parameters(type).items():
        for value in values.get(parameter.type, ("x",)):
            yield code, value
        for modifier in {
            "string": (":contains", ":exact"),
            "token": (":text",),
            "reference": (":identifier",),
        }.get(parameter.type, ()):
            yield code + modifier, CANARY if modifier != ":identifier" else CODE


# each mask once
SEARCHED = [("reception", "Encounter"), ("billing", "Patient"), ("billing", "Encounter"), ("manager", "RelatedPerson"),
            ("manager", "Procedure"), ("manager", "ServiceRequest"), ("clerk", "Procedure"), ("reviewer", "Patient"),
            ("reviewer", "Appointment"), ("reviewer", "Coverage")]  # fmt: skip


@pytest.mark.parametrize(("role", "type"), SEARCHED)
def test_no_search_parameter_finds_what_is_hidden(
    callers: Callers, system: Fhir, role: str, type: str
) -> None:
    """A differential: what the system finds by the words of hidden elements, the role does not, by no form."""
    client, found, refused = member(callers, role), 0, 0
    for code, value in parameters(type):
        if role != "reviewer" and value == PERSON:
            continue
        plain = f"/{type}?_id={IDS[type]}&{code}={value}"
        path = code.partition(":")[0]
        for url in (plain, f"/{type}?_id={IDS[type]}&_filter={path}%20eq%20%22{value}%22",
                    f"/Patient?_has:{type}:patient:{code}={value}"):  # fmt: skip
            answer = client.get(url)
            assert answer.status_code in (200, 400, 403), (url, answer.text)
            assert answer.status_code != 200 or matches(answer.json()) == 0, url
            if answer.status_code == 403 and "parameter-masked" in answer.text:
                refused += 1
                found += matches(system.get(url).json()) if url == plain else 0
    assert refused > 10
    assert found > (0 if type in ("Appointment", "Coverage", "RelatedPerson") else 3)


def matches(body: dict[str, Any]) -> int:
    return sum(e.get("search", {}).get("mode") == "match" for e in body.get("entry", ()))


@pytest.mark.parametrize("type", TYPES)
def test_hidden_parameters_are_refused_in_every_form(callers: Callers, type: str) -> None:
    """Whatever the answer would be: none, all, an order, a count."""
    client = member(callers, "manager")
    hidden = {"Patient": "general-practitioner", "Encounter": "reason-code", "Procedure": "reason-code",
              "ServiceRequest": "body-site", "RelatedPerson": "_tag"}[type]  # fmt: skip
    for query in (f"{hidden}=x", f"{hidden}:missing=true", f"{hidden}:missing=false", f"{hidden}:not=x&_summary=count",
                  f"_sort={hidden}", f"_sort=-_lastUpdated,{hidden}", f"_filter={hidden}%20pr%20true",
                  f"_filter=not%20({hidden}%20pr%20true)", "_content=x", "_text=x", "_tag=x", "_profile=x", "_source=x",
                  "_tag:not=x"):  # fmt: skip
        if ":not" in query and hidden == "general-practitioner" and not query.startswith("_"):
            continue  # a reference has no :not
        assert_outcome(client.get(f"/{type}?{query}"), 403, "forbidden", "parameter-masked")
    for url in ("/Claim?patient.general-practitioner=x", "/Claim?encounter.reason-code:missing=true",
                "/Claim?_filter=encounter.reason-code%20pr%20true", "/Patient?_has:Encounter:patient:reason-code=x",
                "/Claim?encounter.patient.general-practitioner.name=x", "/Practitioner/kdoc/Patient"):  # fmt: skip
        assert_outcome(client.get(url), 403, "forbidden", "parameter-masked")
    assert_outcome(client.get(f"/{type}?_contained=true&_id=x"), 403, "forbidden", "contained-masked")
    assert client.get(f"/{type}?_sort=-_lastUpdated&_security:not=x").status_code == 200


def test_of_several_types_those_are_left_out_whose_hidden_elements_are_asked_for(
    callers: Callers, system: Fhir
) -> None:
    url = f"/?_type=Patient,Organization&_tag=http://example.org/c|{CODE}"
    answer = member(callers, "manager").get(url).json()
    assert matches(answer) == 0
    (outcome,) = [e["resource"] for e in answer["entry"]]
    assert re.search("Left out.*: Patient$", outcome["issue"][0]["details"]["text"])
    assert matches(system.get(url).json()) == 2


def test_hidden_references_are_no_stepping_stones(callers: Callers, system: Fhir) -> None:
    for url, hidden in (
        ("/Patient?_id=k1&_include=Patient:general-practitioner", "kdoc"),
        ("/Patient?_id=k1&_include=*", "kdoc"),
        (
            "/Encounter?_id=kenc&_include=Encounter:subject&_include:iterate=Patient:general-practitioner",
            "kdoc",
        ),
        ("/Practitioner?_id=kdoc&_revinclude=Patient:general-practitioner", "k1"),
    ):
        for client, told in (
            (system, True),
            (member(callers, "billing"), False),
            (member(callers, "manager"), False),
        ):
            answer = client.get(url).json()
            assert (hidden in {e["resource"]["id"] for e in answer["entry"]}) is told, url
    url = "/Encounter?_id=kenc&_include=Encounter:reason-reference"
    assert "kcon" in {e["resource"]["id"] for e in system.get(url).json()["entry"]}
    both = member(callers, "reception", READS, "practitioner")
    for client in (member(callers, "reception"), both):
        assert {e["resource"]["id"] for e in client.get(url).json()["entry"]} == {"kenc"}
    back = "/Condition?_id=kcon&_revinclude=Encounter:reason-reference"
    assert len(system.get(back).json()["entry"]) == 3
    doctor = callers.client(
        "nobody", READS, sub="kdoc", fhirUser="Practitioner/kdoc", roles=["practitioner", "reception"]
    )
    assert {e["resource"]["id"] for e in doctor.get(back).json()["entry"]} == {"kcon", "kenc"}
    assert "kcon" in {e["resource"]["id"] for e in doctor.get(url).json()["entry"]}


def test_a_second_role_shows_whole_what_it_shows_whole(callers: Callers) -> None:
    """A practitioner who works at the desk: their own patients' visits whole, those of others masked, searches among theirs."""
    both = callers.client(
        "nobody", READS, sub="kdoc", fhirUser="Practitioner/kdoc", roles=["practitioner", "reception"]
    )
    assert both.get("/Encounter/kenc").json()["reasonCode"][0]["text"] == CANARY
    assert CANARY not in both.get("/Encounter/kenc2").text
    assert both.get("/Encounter/kenc2").json()["meta"]["tag"][0]["code"] == "SUBSETTED"
    for query in (f"reason-code={CODE}", "reason-code:missing=false", f"_content={CANARY}"):
        ids = {e["resource"]["id"] for e in both.get(f"/Encounter?{query}").json().get("entry", ())}
        assert "kenc2" not in ids, query
        assert "kenc" in ids or query.startswith("_content"), query
    alone = callers.client("nobody", READS, sub="kdoc", fhirUser="Practitioner/kdoc", roles=["reception"])
    assert CANARY not in alone.get("/Encounter/kenc").text


def test_a_scope_cannot_ask_for_what_is_hidden(callers: Callers) -> None:
    for role, scope, status in (
        ("reception", f"user/Encounter.rs?reason-code={CODE}", 403),
        ("reception", "user/Encounter.rs?status=finished", 200),
        ("practitioner", f"user/Encounter.rs?reason-code={CODE}", 200),
    ):
        client = callers.client("nobody", scope, sub=f"mask-{role}", roles=[role])
        assert client.get("/Encounter").status_code == status, (role, scope)
