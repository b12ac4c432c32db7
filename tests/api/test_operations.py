"""$everything, $meta, $meta-add, $meta-delete, compartment search, metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.builders import SYSTEM, a_patient, an_observation
from tests.kit.client import Fhir, assert_outcome, unique

FHIR_JSON = {"content-type": "application/fhir+json"}


def a_record(fhir: Fhir) -> tuple[str, set[str]]:
    """A patient with an encounter, observations and a practitioner; `Patient/id` and all `Type/id` of the record."""
    doctor = fhir.made({"resourceType": "Practitioner", "name": [{"family": unique("Lima")}]})
    patient = fhir.made(a_patient(generalPractitioner=[{"reference": f"Practitioner/{doctor['id']}"}]))
    reference = f"Patient/{patient['id']}"
    encounter = fhir.made(
        {
            "resourceType": "Encounter",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": reference},
            "period": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T10:30:00Z"},
        }
    )
    in_encounter = {"encounter": {"reference": f"Encounter/{encounter['id']}"}}
    old = fhir.made(an_observation(reference, effectiveDateTime="2020-01-01"))
    new = fhir.made(an_observation(reference, effectiveDateTime="2026-03-01", **in_encounter))
    fhir.made(an_observation(f"Patient/{fhir.made(a_patient())['id']}"))
    record = {f"{r['resourceType']}/{r['id']}" for r in (doctor, patient, encounter, old, new)}
    return reference, record


def all_of(fhir: Fhir, url: str) -> list[str]:
    found: list[str] = []
    while url:
        body = fhir.get(url).json()
        assert body.get("type") == "searchset", body
        found += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in body.get("entry", [])]
        url = next((link["url"] for link in body["link"] if link["relation"] == "next"), "")
    return found


@pytest.mark.verifies("operation-everything-1")
def test_everything_holds_the_record_and_what_it_refers_to(fhir: Fhir) -> None:
    reference, record = a_record(fhir)
    assert set(all_of(fhir, f"/{reference}/$everything")) == record


def test_everything_in_small_pages_is_complete(fhir: Fhir) -> None:
    reference, record = a_record(fhir)
    found = all_of(fhir, f"/{reference}/$everything?_count=1")
    members = [f for f in found if not f.startswith("Practitioner/")]
    assert set(found) == record
    assert len(members) == len(set(members))


@pytest.mark.verifies("operation-everything-1")
def test_everything_can_be_narrowed(fhir: Fhir) -> None:
    reference, _ = a_record(fhir)
    kinds = {f.split("/")[0] for f in all_of(fhir, f"/{reference}/$everything?_type=Observation,Patient")}
    assert kinds == {"Observation", "Patient"}
    dated = all_of(fhir, f"/{reference}/$everything?start=2025-01-01&_type=Observation")
    assert len(dated) == 1


def test_everything_of_an_encounter(fhir: Fhir) -> None:
    _, record = a_record(fhir)
    encounter = next(r for r in record if r.startswith("Encounter/"))
    found = all_of(fhir, f"/{encounter}/$everything")
    assert encounter in found
    assert sum(f.startswith("Observation/") for f in found) == 1


def test_everything_refuses_the_unknown(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient/nobody/$everything"), 404, "not-found", "resource-unknown")
    assert_outcome(fhir.get("/Observation/x/$everything"), 404, "not-found", "operation-unknown")
    reference, _ = a_record(fhir)
    assert_outcome(fhir.get(f"/{reference}/$everything?x=1"), 400, "not-supported", "parameter-unknown")


@pytest.mark.verifies("http-search-2")
def test_compartment_search_finds_only_what_belongs(fhir: Fhir) -> None:
    reference, record = a_record(fhir)
    observations = {r for r in record if r.startswith("Observation/")}
    assert set(fhir.ids(f"/{reference}/Observation")) == observations
    assert set(fhir.ids(f"/{reference}/Observation?code=29463-7")) == observations
    assert fhir.ids(f"/{reference}/Observation?code=1234-5") == []
    assert fhir.ids("/Patient/nobody/Observation") == []
    assert {r for r in record if not r.startswith("Practitioner")} == set(fhir.ids(f"/{reference}/*"))


def labels(**sets: Any) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": sets}]}


@pytest.mark.verifies("operation-meta-1")
def test_meta_is_read_added_and_removed(fhir: Fhir) -> None:
    tag = {"system": SYSTEM, "code": unique("tag")}
    url = f"/Patient/{fhir.made(a_patient())['id']}"
    added = fhir.post(f"{url}/$meta-add", json=labels(tag=[tag]), headers=FHIR_JSON)
    assert added.json()["parameter"][0]["valueMeta"]["tag"] == [tag]
    fhir.post(f"{url}/$meta-add", json=labels(tag=[tag | {"display": "again"}]), headers=FHIR_JSON)
    assert fhir.get(f"{url}/$meta").json()["parameter"][0]["valueMeta"]["tag"] == [tag]
    assert fhir.ids(f"/Patient?_tag={SYSTEM}|{tag['code']}") == [url[1:]]
    assert tag in fhir.get("/Patient/$meta").json()["parameter"][0]["valueMeta"]["tag"]
    fhir.post(f"{url}/$meta-delete", json=labels(tag=[tag]), headers=FHIR_JSON)
    assert "tag" not in fhir.get(f"{url}/$meta").json()["parameter"][0]["valueMeta"]
    assert fhir.ids(f"/Patient?_tag={SYSTEM}|{tag['code']}") == []


def test_meta_refuses_nonsense(fhir: Fhir) -> None:
    url = f"/Patient/{fhir.made(a_patient())['id']}"
    response = fhir.post(f"{url}/$meta-add", json={"resourceType": "Parameters"}, headers=FHIR_JSON)
    assert_outcome(response, 400, "invalid", "parameters-invalid")
    assert_outcome(fhir.get(f"{url}/$meta-add"), 405, "not-supported", "method-not-allowed")
    assert_outcome(fhir.get("/Patient/nobody/$meta"), 404, "not-found", "resource-unknown")


@pytest.mark.verifies("http-capabilities-1")
def test_metadata_declares_what_is_there(fhir: Fhir) -> None:
    statement = fhir.get("/metadata").json()
    assert statement["resourceType"] == "CapabilityStatement"
    rest = statement["rest"][0]
    by_type = {r["type"]: r for r in rest["resource"]}
    assert len(by_type) == 146
    assert {p["name"] for p in by_type["Patient"]["searchParam"]} >= {
        "_id",
        "identifier",
        "name",
        "birthdate",
    }
    for parameter in by_type["Patient"]["searchParam"]:
        if parameter["type"] in ("string", "token"):
            assert fhir.get(f"/Patient?{parameter['name']}=x").status_code == 200, parameter
