"""Two houses on one server with by_organization: users see of records that name a house those of their own.

Rules: brazil.md 6 (role AND scopes AND organization AND consent); docs/decisions/0038.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from tests.kit.client import Fhir, assert_outcome, entry
from tests.kit.issuer import Issuer
from tests.kit.server import Server
from tests.kit.tokens import Callers
from tests.security.clinic import Json, appointment, encounter, patient, ref


def works_for(id: str, practitioner: str, house: str, **more: object) -> Json:
    return {
        "resourceType": "PractitionerRole", "id": id, "practitioner": ref(f"Practitioner/{practitioner}"),
        "organization": ref(f"Organization/{house}"),
    } | more  # fmt: skip


def of_house(id: str, **organization: object) -> Json:
    return patient(
        id, f"Family {id}", "52998224725", **({"managingOrganization": organization} if organization else {})
    )


def clinic(today: str) -> list[Json]:
    people = ("desk", "left", "doc", "new")
    return [
        *({"resourceType": "Organization", "id": id, "name": id} for id in ("north", "south")),
        *({"resourceType": "Practitioner", "id": id} for id in people),
        works_for("deskrole", "desk", "north"), works_for("docrole", "doc", "north"),
        works_for("leftrole", "left", "north", active=False), works_for("southrole", "other", "south"),
        of_house("n1", **ref("Organization/north")), of_house("s1", **ref("Organization/south")), of_house("none"),
        of_house("text", display="North"), of_house("named", identifier={"system": "urn:x", "value": "north"}),
        *({"resourceType": "Coverage", "id": f"c{id}", "status": "active", "beneficiary": ref(f"Patient/{id}"),
           "payor": [ref("Organization/north")]} for id in ("n1", "s1")),
        *(appointment(f"a{id}", id, "doc", today) for id in ("n1", "s1")),
        encounter("en", "n1") | {"serviceProvider": ref("Organization/north")},
        encounter("es", "n1") | {"serviceProvider": ref("Organization/south")},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def houses(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    with Server(
        tmp_path_factory.mktemp("org") / "data", by_organization="true", **issuer.settings()
    ) as server:
        made = Callers(server, issuer)
        entries = [
            entry("PUT", f"{each['resourceType']}/{each['id']}", each)
            for each in clinic(dt.datetime.now(dt.UTC).date().isoformat())
        ]
        filled = made.client("system", "system/*.cruds").bundle("transaction", *entries)
        assert filled.status_code == 200, filled.text
        yield made
        made.close()


def desk(houses: Callers, who: str = "Practitioner/desk") -> Fhir:
    return houses.client("reception", "user/*.cruds", fhirUser=who, sub=who)


def seen(client: Fhir, url: str = "/Patient") -> set[str]:
    return {each.partition("/")[2] for each in client.ids(url)}


def test_users_reach_rows_of_their_house_and_of_none(houses: Callers) -> None:
    client = desk(houses)
    assert seen(client) == {"n1", "none"}
    assert client.get("/Patient?_summary=count").json()["total"] == 2
    absent = client.get("/Patient/absent")
    for id in ("s1", "text", "named"):  # named in a way that tells no house: nobody's
        answer = client.get(f"/Patient/{id}")
        assert (answer.status_code, answer.text) == (404, absent.text)
    for id in ("n1", "none"):
        assert client.get(f"/Patient/{id}").status_code == 200


def test_hops_and_includes_stay_within_the_house(houses: Callers) -> None:
    client = desk(houses)
    assert seen(client, "/Coverage?beneficiary.family=Family") == {"cn1"}
    found = client.get("/Coverage?_include=Coverage:beneficiary").text
    assert "Patient/n1" in found
    assert "Family s1" not in found
    assert seen(client, "/Patient?_has:Coverage:beneficiary:status=active") == {"n1"}


def test_nobody_writes_for_another_house(houses: Callers) -> None:
    client = desk(houses)
    other = of_house("x", **ref("Organization/south"))
    assert_outcome(client.create(other), 403, "forbidden", "outside-permission")
    moved = client.get("/Patient/n1").json() | {"managingOrganization": ref("Organization/south")}
    assert_outcome(client.update(moved), 403, "forbidden", "outside-permission")
    assert client.create(of_house("x", **ref("Organization/north"))).status_code == 201


@pytest.mark.parametrize(
    ("who", "house"),
    [
        ("Practitioner/left", set()),  # the role has ended
        ("Practitioner/new", set()),
        ("PractitionerRole/southrole", {"s1"}),  # signs in as the role itself
        ("PractitionerRole/leftrole", set()),
    ],
)
def test_the_house_is_that_of_an_active_role(houses: Callers, who: str, house: set[str]) -> None:
    assert seen(desk(houses, who), "/Patient?_id=n1,s1,none") == {"none", *house}


def test_an_emergency_opens_the_record_of_another_house(houses: Callers) -> None:
    client = houses.client("doctor", "user/*.cruds")
    assert seen(client, "/Encounter") == {"en"}
    assert seen(client) == {"n1"}  # linked to s1, too, by an appointment: of another house
    parameters = [{"name": "patient", "valueReference": ref("Patient/s1")},
                  {"name": "reason", "valueString": "unconscious at the door"}]  # fmt: skip
    opened = client.post("/$break-glass", json={"resourceType": "Parameters", "parameter": parameters})
    assert opened.status_code == 200, opened.text
    assert seen(client) == {"n1", "s1"}
    assert client.get("/Patient/s1").status_code == 200


def test_patients_their_apps_and_services_have_no_house(houses: Callers) -> None:
    own = houses.client("ana", "user/*.rs", fhirUser="Patient/s1", acts_for=["s1"])
    assert own.get("/Patient/s1").status_code == 200
    app = houses.client("ana", "patient/*.rs", patient="s1", fhirUser="Patient/s1", acts_for=["s1"])
    assert seen(app) == {"s1"}
    assert {"n1", "s1", "text"} <= seen(houses.client("system", "system/Patient.rs"))


def test_without_the_setting_houses_make_no_difference(callers: Callers, system: Fhir) -> None:
    made = system.made({k: v for k, v in of_house("x", **ref("Organization/org")).items() if k != "id"})
    assert callers.client("reception", "user/Patient.rs").get(f"/Patient/{made['id']}").status_code == 200
