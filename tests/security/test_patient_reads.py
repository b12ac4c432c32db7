"""A patient's app reads what is the patient's, and cannot tell whether anything else exists.

docs/explanation/access.md; hl7.org/fhir/R4/compartmentdefinition-patient.html; threats A1-A5, A7, A10-A13, S4-S8, S13,
S14, S18, S19, S28. The clinic is tests/security/clinic.py: all that belongs to p2 alone says SECRET.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.kit.client import Fhir, assert_outcome
from tests.kit.tokens import Callers
from tests.security.clinic import CPF, SECRET

FOREIGN = (
    "Patient/p2", "Patient/p3", "Observation/lab2", "Observation/vital2", "Observation/focus2", "Observation/lab3",
    "Observation/was1", "Encounter/enc2", "Appointment/app2", "Appointment/old3", "Condition/con2", "Binary/bin2",
    "Binary/bin0", "Device/dev2", "Schedule/sch2", "List/list2", "DocumentReference/doc2", "Slot/slotbusy",
)  # fmt: skip
OWN = (
    "Patient/p1", "Observation/lab1", "Observation/was2", "Encounter/enc1", "Appointment/app1", "Coverage/cov1",
    "DiagnosticReport/rep1", "Condition/hiv1", "Binary/bin1", "Device/dev0", "Schedule/sch0", "List/list1",
    "RelatedPerson/r1", "Claim/claim1", "Practitioner/doc", "Organization/org", "Slot/slotfree",
)  # fmt: skip


def seen(answer: Any) -> set[str]:
    """`Type/id` of every resource of a Bundle, of all modes."""
    assert answer.status_code == 200, answer.text
    assert SECRET not in json.dumps(answer.json().get("entry", []))  # the link to itself repeats the question
    return {
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in answer.json().get("entry", [])
        if e["resource"]["resourceType"] != "OperationOutcome"
    }


def told(answer: Any, id: str) -> tuple[Any, ...]:
    """All that an answer tells, but for what each one has of its own and the id that was asked for."""
    headers = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
    return answer.status_code, headers, answer.text.replace(id, "ID")


@pytest.mark.parametrize("target", FOREIGN)
def test_what_is_foreign_answers_as_what_does_not_exist(app: Fhir, system: Fhir, target: str) -> None:
    type, id = target.split("/")
    absent = "absent"
    assert system.get(f"/{target}").status_code == 200
    for method, path in (
        ("GET", ""), ("HEAD", ""), ("GET", "/_history"), ("GET", "/_history/1"), ("GET", "/_history/2"),
        ("GET", "?_elements=id"), ("GET", "?_summary=true"), ("GET", "/$meta"),
    ):  # fmt: skip
        foreign = app.request(method, f"/{target}{path}")
        assert foreign.status_code == 404, path
        assert told(foreign, id) == told(app.request(method, f"/{type}/{absent}{path}"), absent)
    conditional = {"if-none-match": 'W/"1"', "if-modified-since": "Thu, 01 Jan 2099 00:00:00 GMT"}
    assert app.get(f"/{target}", headers=conditional).status_code == 404


@pytest.mark.parametrize("target", OWN)
def test_what_is_ones_own_or_shared_is_read(app: Fhir, target: str) -> None:
    assert app.get(f"/{target}").status_code == 200
    assert app.get(f"/{target}/_history").status_code == 200


@pytest.mark.parametrize(
    "type", ["Group", "Person", "Task", "Subscription", "Bundle", "Linkage", "AuditEvent"]
)
def test_types_that_a_patient_does_not_reach_answer_403(app: Fhir, type: str) -> None:
    for url in (
        f"/{type}",
        f"/{type}/any",
        f"/{type}/_history",
        f"/?_type={type}",
        f"/_history?_type={type}",
    ):
        if url.startswith("/_history"):
            continue  # a history takes no _type
        assert_outcome(app.get(url), 403, "forbidden", "scope-insufficient")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("/Patient", "Patient/p1"),
        ("/Patient?name=SECRET", ""),
        (f"/Patient?identifier={CPF}|11144477735", ""),
        ("/Patient?_id=p1,p2,p3", "Patient/p1"),
        ("/Patient?birthdate=1980-01-01&_sort=-name", "Patient/p1"),
        ("/Patient?link=Patient/p1", ""),
        ("/Observation", "Observation/lab1 Observation/vital1 Observation/was2"),
        ("/Observation?subject=Patient/p2", ""),
        ("/Observation?patient=p2", ""),
        ("/Observation?patient=Patient/p2&patient=Patient/p1", ""),
        ("/Observation?subject=Patient/p2,Patient/p1", "Observation/lab1 Observation/vital1 Observation/was2"),
        ("/Observation?subject:Patient=p2", ""),
        ("/Observation?patient={base}/Patient/p2", ""),
        ("/Observation?subject=Patient/p2/_history/1", ""),
        (f"/Observation?patient:identifier={CPF}|11144477735", ""),
        ("/Observation?focus=Patient/p1", ""),
        ("/Observation?subject:missing=true", ""),
        ("/Observation?status:not=amended", "Observation/lab1 Observation/vital1 Observation/was2"),
        ("/Observation?_list=list1", "Observation/lab1"),
        ("/Observation?_list=list2", ""),
        ("/Observation?_filter=status eq final or subject eq Patient/p2",
         "Observation/lab1 Observation/vital1 Observation/was2"),
        ("/Observation?_text=SECRET", ""),
        ("/Observation?_content=SECRET", ""),
        ("/Observation?patient.name=SECRET", ""),
        ("/Observation?subject:Patient.birthdate=1980-01-01",
         "Observation/lab1 Observation/vital1 Observation/was2"),
        ("/Observation?subject:Patient._id=p2", ""),
        ("/Observation?patient.link=Patient/p1", ""),
        ("/Patient?_has:Observation:patient:code=http://loinc.org|29463-7", "Patient/p1"),
        ("/Patient?_has:Observation:patient:_id=lab2", ""),
        ("/Patient?_has:Observation:focus:_id=focus2", ""),
        ("/Practitioner?_has:Observation:performer:_id=lab2", ""),
        ("/Practitioner?_has:Observation:performer:_id=lab1", "Practitioner/doc"),
        ("/Practitioner?_has:Appointment:actor:date=gt2000", "Practitioner/doc"),
        ("/Device?patient=Patient/p2", ""),
        ("/Device?patient:missing=false", ""),
        ("/Schedule?actor=Patient/p2", ""),
        ("/Appointment?actor=Patient/p2", ""),
        ("/Appointment?actor=Practitioner/out", ""),
        ("/Slot", "Slot/slotfree"),
        ("/Slot?status=busy", ""),
        ("/Patient/p2/Observation", ""),
        ("/Patient/nobody/Observation", ""),
        ("/Patient/p2/*", "Coverage/cov1"),  # which is p1's too, and names p2 itself
        ("/Patient/nobody/*", ""),
        ("/Practitioner/doc/Observation", "Observation/lab1"),
        ("/Patient/p1/Observation", "Observation/lab1 Observation/vital1 Observation/was2"),
        ("/?_type=Patient,Encounter", "Patient/p1 Encounter/enc1"),
        ("/?_id=p1,p2,enc1,enc2,grp,task1,app2", "Patient/p1 Encounter/enc1"),
    ],
)  # fmt: skip
def test_a_search_finds_and_counts_what_is_reached_and_no_more(app: Fhir, url: str, found: str) -> None:
    url = url.replace("{base}", str(app.base_url).rstrip("/"))
    sign = "&" if "?" in url else "?"
    assert seen(app.get(url)) == set(found.split())
    size = len(found.split())
    assert app.get(f"{url}{sign}_total=accurate").json()["total"] == size
    assert app.get(f"{url}{sign}_total=estimate").json().get("total", size) == size
    assert app.get(f"{url}{sign}_summary=count").json()["total"] == size
    path, _, query = url.partition("?")
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert seen(
        app.post(f"{path.rstrip('/')}/_search", content=query.replace(" ", "%20"), headers=form)
    ) == set(found.split())
    pages = app.ids(f"{url}{sign}_count=1")
    assert set(pages) == set(found.split())
    assert len(pages) == size


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("/Coverage?_include=Coverage:subscriber", "Coverage/cov1"),
        ("/Coverage?_include=*", "Coverage/cov1 Patient/p1 Organization/org"),
        ("/DiagnosticReport?_include=DiagnosticReport:result", "DiagnosticReport/rep1 Observation/lab1"),
        ("/DiagnosticReport?_include=DiagnosticReport:result&_include:iterate=Observation:subject",
         "DiagnosticReport/rep1 Observation/lab1 Patient/p1"),
        ("/Appointment?_include=*", "Appointment/app1 Patient/p1 Practitioner/doc"),
        ("/Practitioner?_id=doc&_revinclude=Observation:performer", "Practitioner/doc Observation/lab1"),
        ("/Practitioner?_id=out&_revinclude=Appointment:actor", "Practitioner/out"),
        ("/Patient?_revinclude=Observation:focus", "Patient/p1"),
        ("/Patient?_revinclude=Patient:link", "Patient/p1"),
        ("/Patient?_revinclude=Group:member&_revinclude=Person:patient&_revinclude=Task:patient", "Patient/p1"),
        ("/Practitioner?_id=doc&_revinclude=Observation:performer&_include:iterate=Observation:subject"
         "&_revinclude:iterate=Observation:subject",
         "Practitioner/doc Observation/lab1 Patient/p1 Observation/vital1 Observation/was2"),
        ("/List?_include=List:item", "List/list1 Observation/lab1"),
        ("/Observation?_id=lab1&_revinclude=List:item", "Observation/lab1 List/list1"),
        ("/Slot?_include=Slot:schedule&_include:iterate=Schedule:actor",
         "Slot/slotfree Schedule/sch0 Practitioner/doc"),
    ],
)  # fmt: skip
def test_includes_leave_out_what_is_foreign_and_do_not_pass_through_it(
    app: Fhir, url: str, found: str
) -> None:
    assert seen(app.get(url)) == set(found.split())


@pytest.mark.parametrize(
    "url",
    ["/Patient?_has:Group:member:code=x", "/Patient?_has:Task:patient:status=requested",
     "/Observation?subject:Group._id=grp", "/Patient?_has:Observation:patient:subject:Group._id=grp",
     "/Observation?_filter=subject:Group._id eq 'grp'"],
)  # fmt: skip
def test_a_chain_over_a_type_out_of_reach_is_refused(app: Fhir, url: str) -> None:
    answer = app.get(url)
    assert answer.status_code in (400, 403), answer.text
    assert "grp" not in answer.text
    if answer.status_code == 400:
        assert "_filter" in url  # chains are no part of it where this is not understood


def test_a_chain_needs_s_on_every_type_of_its_path(callers: Callers) -> None:
    only = callers.client("ana", "patient/Observation.rs", patient="p1")
    reading = callers.client("ana", "patient/Observation.rs patient/Patient.r", patient="p1")
    both = callers.client("ana", "patient/Observation.rs patient/Patient.s", patient="p1")
    for client in (only, reading):
        for url in ("/Observation?patient.name=Abreu", "/Observation?subject.name=Abreu"):
            assert_outcome(client.get(url), 403, "forbidden", "scope-insufficient")
        assert seen(client.get("/Observation?_id=lab1&_include=Observation:subject")) == {"Observation/lab1"}
    assert "Observation/lab1" in seen(both.get("/Observation?patient.name=Abreu"))
    has = "/Patient?_has:Observation:patient:status=final"
    assert_outcome(only.get(has), 403, "forbidden", "scope-insufficient")
    lonely = callers.client("ana", "patient/Patient.rs", patient="p1")
    assert_outcome(lonely.get(has), 403, "forbidden", "scope-insufficient")
    assert_outcome(lonely.get("/Patient?_list=list1"), 403, "forbidden", "scope-insufficient")
    assert seen(both.get(has)) == {"Patient/p1"}


@pytest.mark.parametrize("url", ["/Observation?nonsense=1", "/Observation?subject:Patient.nonsense=1",
                                 "/Observation?_has:Nonsense:x:y=1", "/Observation?code:nonsense=1"])  # fmt: skip
def test_what_is_not_understood_never_widens_a_search(app: Fhir, url: str) -> None:
    assert app.get(url).status_code == 400
    lenient = app.get(url, headers={"prefer": "handling=lenient"})
    assert lenient.status_code == 400 or seen(lenient) <= {
        "Observation/lab1", "Observation/vital1", "Observation/was2",
    }  # fmt: skip


def test_a_link_of_one_token_gives_another_token_its_own_rows(
    callers: Callers, app: Fhir, system: Fhir
) -> None:
    page = system.get("/Observation?_count=1&_sort=_id").json()
    links = [link["url"] for link in page["link"] if link["relation"] == "next"]
    rest = app.ids(links[0])
    assert set(rest) <= {"Observation/lab1", "Observation/vital1", "Observation/was2"}
    assert rest
    history = system.get("/_history?_count=5").json()
    following = next(link["url"] for link in history["link"] if link["relation"] == "next")
    assert SECRET not in app.get(following).text
    bent = (
        re.sub(r"(_cursor=[^&]{12})[^&]", r"\1!", links[0])
        if "_cursor" in links[0]
        else links[0][:-6] + "!!!!!!"
    )
    assert app.get(bent).status_code == 400


def test_a_resource_that_moved_away_takes_its_past_with_it(app: Fhir, callers: Callers) -> None:
    """was1 was p1's and is p2's now; was2 the other way round. Each sees the versions that are theirs, if any."""
    for url in ("/Observation/was1", "/Observation/was1/_history", "/Observation/was1/_history/1",
                "/Observation/was1/_history/2", "/Observation/was2/_history/1"):  # fmt: skip
        assert_outcome(app.get(url), 404, "not-found", "resource-unknown")
    assert app.get("/Observation/was2/_history/2").status_code == 200
    for url in ("/Observation/was2/_history", "/Observation/_history", "/_history"):
        versions = [
            (e["resource"]["id"], e["resource"]["meta"]["versionId"])
            for e in app.get(f"{url}?_count=200").json()["entry"]
            if e["fullUrl"].endswith(("was1", "was2"))
        ]
        assert versions == [("was2", "2")]
    bia = callers.client("bia", "patient/*.rs", patient="p2")
    assert bia.get("/Observation/was1/_history/2").status_code == 200
    assert bia.get("/Observation/was1/_history/1").status_code == 404


def test_a_deletion_is_seen_by_whom_it_was_visible(callers: Callers, app: Fhir, system: Fhir) -> None:
    own = system.made({"resourceType": "Flag", "status": "active", "code": {"text": "x"},
                       "subject": {"reference": "Patient/p1"}})["id"]  # fmt: skip
    foreign = system.made({"resourceType": "Flag", "status": "active", "code": {"text": SECRET},
                           "subject": {"reference": "Patient/p2"}})["id"]  # fmt: skip
    for id in (own, foreign):
        assert system.delete(f"/Flag/{id}").status_code == 204
    assert app.get(f"/Flag/{own}").status_code == 410
    assert told(app.get(f"/Flag/{foreign}"), foreign) == told(app.get("/Flag/absent"), "absent")
    assert app.get(f"/Flag/{foreign}/_history").status_code == 404
    deleted = [e["fullUrl"].rpartition("/")[2] for e in app.get("/Flag/_history").json()["entry"]]
    assert deleted == [own, own]


def test_everything_is_of_the_patient_in_context_only(app: Fhir) -> None:
    found = seen(app.get("/Patient/p1/$everything?_count=1000"))
    assert {
        "Patient/p1",
        "Observation/lab1",
        "Practitioner/doc",
        "Organization/org",
        "Condition/hiv1",
    } <= found
    assert not found & set(FOREIGN)
    assert_outcome(app.get("/Patient/p2/$everything"), 404, "not-found", "resource-unknown")
    assert app.get("/Patient/$everything").status_code in (403, 404)
    assert app.get("/Encounter/enc2/$everything").status_code == 404


def test_everything_leaves_out_types_without_s(callers: Callers) -> None:
    narrow = callers.client("ana", "patient/Patient.r patient/Observation.rs", patient="p1")
    found = seen(narrow.get("/Patient/p1/$everything"))
    assert found == {"Observation/lab1", "Observation/vital1", "Observation/was2"} | (found & {"Patient/p1"})
    assert (
        callers.client("ana", "patient/Observation.rs", patient="p1")
        .get("/Patient/p1/$everything")
        .status_code
        == 403
    )


@pytest.mark.parametrize(
    "name", ["match", "member-match", "export", "expunge", "reindex", "nonsense", "graphql"]
)
def test_operations_that_are_not_offered_answer_no_one(app: Fhir, system: Fhir, name: str) -> None:
    for client in (app, system):
        for path in (f"/Patient/${name}", f"/${name}", f"/Patient/p1/${name}"):
            assert client.get(path).status_code in (403, 404, 405)
            assert client.post(path, json={"resourceType": "Parameters"}).status_code in (403, 404, 405)


def test_labels_in_use_are_those_of_rows_in_reach(app: Fhir, system: Fhir, callers: Callers) -> None:
    mine = {"meta": {"tag": [{"system": "urn:tags", "code": "p1-tag"}]}}
    other = {"meta": {"tag": [{"system": "urn:tags", "code": "p2-tag"}]}}
    for subject, meta in (("p1", mine), ("p2", other)):
        system.made({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"},
                     "subject": {"reference": f"Patient/{subject}"}, **meta})  # fmt: skip
    assert "p2-tag" in system.get("/Goal/$meta").text
    for url in ("/Goal/$meta", "/$meta"):
        answer = app.get(url)
        assert answer.status_code == 200
        assert "p1-tag" in answer.text
        assert "p2-tag" not in answer.text
    reading = callers.client("ana", "patient/Goal.r", patient="p1")
    assert reading.get("/Goal/$meta").status_code == 403


def test_user_scopes_of_a_patient_reach_the_own_compartments_only(callers: Callers) -> None:
    ana = callers.client("ana", "user/*.cruds")
    assert seen(ana.get("/Patient")) == {"Patient/p1"}
    assert seen(ana.get("/Observation")) == {"Observation/lab1", "Observation/vital1", "Observation/was2"}
    guardian = callers.client("guardian", "user/*.rs")
    assert seen(guardian.get("/Patient")) == {"Patient/p1", "Patient/p3"}
    assert "Observation/lab3" in seen(guardian.get("/Observation"))
    assert (
        callers.client("guardian", "patient/*.rs", patient="p3").get("/Observation/lab3").status_code == 200
    )


def test_an_app_for_a_patient_that_the_user_does_not_act_for_opens_nothing_of_theirs(
    callers: Callers,
) -> None:
    wrong = callers.client("ana", "patient/*.rs", patient="p2")
    assert wrong.get("/Observation").status_code == 403
    assert wrong.get("/Patient/p2").status_code == 403
    ehr = callers.client("doctor", "patient/*.rs", patient="p2")
    assert ehr.get("/Observation/lab2").status_code == 404
    assert seen(ehr.get("/Observation")) == set()
    linked = callers.client("doctor", "patient/*.rs", patient="p1")
    assert seen(linked.get("/Observation")) == {"Observation/lab1", "Observation/vital1", "Observation/was2"}
    assert linked.get("/Condition/hiv1").status_code == 404


def test_what_is_contained_is_found_in_own_containers_only(callers: Callers, system: Fhir) -> None:
    made = {}
    for who in ("p4", "p2"):
        inside = {"resourceType": "Observation", "id": "in", "status": "final",
                  "code": {"text": SECRET if who == "p2" else "inside"}}  # fmt: skip
        report = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"}, "contained": [inside],
                  "subject": {"reference": f"Patient/{who}"}, "result": [{"reference": "#in"}]}  # fmt: skip
        made[who] = system.made(report)["id"]
    davi = callers.client("davi", "patient/*.rs", patient="p4")
    for kind in ("container", "contained"):
        url = f"/Observation?_contained=true&_containedType={kind}&status=final"
        assert SECRET in system.get(url).text
        answer = davi.get(f"{url}&_total=accurate")
        assert answer.json()["total"] == 1
        assert SECRET not in answer.text
        assert made["p2"] not in answer.text
    narrow = callers.client("davi", "patient/Observation.rs", patient="p4")
    assert narrow.get("/Observation?_contained=true&_total=accurate").json()["total"] == 0
