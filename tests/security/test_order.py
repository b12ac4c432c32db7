"""Who gets 401, 403 and 404: decided in this order, before anything is looked at.

docs/explanation/access.md; RFC 6750 section 3; threats S1-S3, S24, B4, B17, E4, A6.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys

import pytest

from tests.kit.client import assert_outcome
from tests.kit.tokens import Callers
from tests.security.clinic import observation

PLAIN = 'Bearer realm="fhir"'
INVALID_REQUEST = f'{PLAIN}, error="invalid_request"'
INVALID_TOKEN = f'{PLAIN}, error="invalid_token"'
INSUFFICIENT = f'{PLAIN}, error="insufficient_scope"'
ROUTES = (
    "/Patient",
    "/Patient/p1",
    "/",
    "/_history",
    "/Patient/p1/$everything",
    "/nonsense",
    "/Patient/no-such",
)


@pytest.mark.parametrize("url", ROUTES)
@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Digest x", "token"])
def test_without_a_token_everything_answers_401_and_a_plain_challenge(
    callers: Callers, url: str, authorization: str | None
) -> None:
    headers = {"authorization": authorization} if authorization else {}
    answer = callers.anonymous().get(url, headers=headers)
    assert_outcome(answer, 401, "login", "token-missing")
    assert answer.headers["www-authenticate"] == PLAIN


@pytest.mark.parametrize("path", ["/fhir/metadata", "/healthz", "/readyz"])
def test_discovery_and_health_are_public(callers: Callers, path: str) -> None:
    assert callers.anonymous().get(callers.server.root + path).status_code == 200
    assert callers.anonymous().options("/Patient").status_code == 204
    assert callers.anonymous().post("/metadata").status_code == 405


def test_a_token_in_the_url_or_in_the_body_is_not_looked_at(callers: Callers) -> None:
    token = callers.token("system", "system/*.cruds")
    assert callers.anonymous().get(f"/Patient?access_token={token}").status_code == 401
    answer = callers.anonymous().post("/Patient/_search", data={"access_token": token})
    assert_outcome(answer, 401, "login", "token-missing")
    assert token not in callers.server.log.read_text()


def test_an_authorization_header_that_is_empty_double_or_huge_answers_400(callers: Callers) -> None:
    token = callers.token("system", "system/*.cruds")
    empty = callers.anonymous().get("/Patient", headers={"authorization": "Bearer"})
    assert_outcome(empty, 400, "invalid", "token-empty")
    assert empty.headers["www-authenticate"] == INVALID_REQUEST
    for value in (f"Bearer {token}, Bearer {token}", "Bearer " + "x" * 9000):
        answer = callers.anonymous().get("/Patient", headers={"authorization": value})
        assert_outcome(answer, 400, "invalid", "authorization-malformed")
        assert answer.headers["www-authenticate"] == INVALID_REQUEST
    connection = http.client.HTTPConnection("127.0.0.1", callers.server.port, timeout=30)
    connection.putrequest("GET", "/fhir/Patient")
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Authorization", f"Bearer {token}")
    connection.endheaders()
    answered = connection.getresponse()
    assert answered.status == 400
    assert (
        json.loads(answered.read())["issue"][0]["details"]["coding"][0]["code"] == "authorization-malformed"
    )
    connection.close()


@pytest.mark.parametrize("token", ["unknown", "a.b.c", "..", "x" * 4000, "\xff"])
@pytest.mark.parametrize("url", ROUTES)
def test_a_token_that_is_none_of_ours_answers_401(callers: Callers, token: str, url: str) -> None:
    answer = callers.anonymous().get(url, headers={"authorization": b"Bearer " + token.encode("latin-1")})
    assert_outcome(answer, 401, "login", "token-invalid")
    assert answer.headers["www-authenticate"] == INVALID_TOKEN


@pytest.mark.parametrize(
    ("person", "scope", "claims"),
    [
        ("ana", "patient/*.rs", {}),
        ("ana", "openid patient/Observation.r", {}),
        ("ana", "patient/*.rs", {"patient": ""}),
        ("ana", "patient/*.rs", {"patient": "../p2"}),
        ("ana", "user/*.rs", {"fhirUser": None}),
        ("ana", "user/*.rs", {"fhirUser": "https://elsewhere.example/fhir/Patient/p1"}),
        ("ana", "user/*.rs", {"fhirUser": "patient/p1"}),
    ],
)
def test_a_token_that_names_no_patient_where_it_must_opens_nothing(
    callers: Callers, person: str, scope: str, claims: dict[str, str | None]
) -> None:
    for url in ("/Patient", "/Observation/lab1", "/", "/Practitioner"):
        answer = callers.client(person, scope, **claims).get(url)
        assert_outcome(answer, 401, "login", "token-invalid")
    assert callers.client(person, scope, patient="p1").get("/Observation/lab1").status_code == 200


@pytest.mark.parametrize(
    "scope",
    ["", "openid", "openid profile offline_access launch/patient", "__introspect", "user/Procedure.rs",
     "user/Observation.cud", "system/*.cruds", "patient/observation.rs", "PATIENT/*.rs", "user/*.rs?", ".", "user/.rs"],
)  # fmt: skip
def test_without_a_scope_for_it_an_interaction_answers_403(callers: Callers, scope: str) -> None:
    client = callers.client("doctor", scope)
    for url in ("/Observation", "/Observation/lab1", "/Observation/no-such", "/Observation/lab1/_history"):
        answer = client.get(url)
        assert_outcome(answer, 403, "forbidden", "scope-insufficient")
        assert answer.headers["www-authenticate"] == INSUFFICIENT
        assert client.head(url).status_code == 403
    assert callers.client("doctor", "user/Observation.rs").get("/Observation/lab1").status_code == 200


def test_a_user_has_no_system_scopes_and_a_backend_no_user_scopes(callers: Callers) -> None:
    assert callers.client("doctor", "system/*.cruds").get("/Patient").status_code == 403
    assert callers.client("system", "user/*.cruds").get("/Patient").status_code == 403
    assert callers.client("system", "patient/*.cruds", patient="p1").get("/Patient").status_code == 403
    assert callers.client("system", "system/Patient.s").get("/Patient").status_code == 200


def test_the_identity_scope_opens_the_own_resource_and_nothing_else(callers: Callers) -> None:
    doctor = callers.client("doctor", "openid fhirUser")
    assert doctor.get("/Practitioner/doc").status_code == 200
    assert doctor.head("/Practitioner/doc").status_code == 200
    for url in ("/Practitioner/out", "/Practitioner", "/Practitioner/doc/_history", "/Patient/p1"):
        assert doctor.get(url).status_code in (403, 404), url
    assert callers.client("ana", "openid fhirUser", patient="p1").get("/Patient/p1").status_code == 200
    assert callers.client("ana", "openid", patient="p1").get("/Patient/p1").status_code == 403


def test_a_body_out_of_reach_is_refused_alike_under_every_id(callers: Callers) -> None:
    client = callers.client("doctor", "user/Observation.u")
    ids = ("lab4", "lab2", "absent")  # of a linked patient, of another one, of nobody
    outside = [client.update(observation(id, "p2")) for id in ids]
    for answer in outside:
        assert_outcome(answer, 403, "forbidden", "outside-permission")
        assert "etag" not in answer.headers
    assert len({answer.text for answer in outside}) == 1
    within = [client.update(observation(id, "p4")) for id in ids]
    assert [answer.status_code for answer in within] == [200, 404, 404]
    assert within[1].text == within[2].text


def test_what_is_stored_is_judged_for_those_who_may_read_it(callers: Callers) -> None:
    for letters in ("c", "u", "cuds"):
        for query in ("", "?mode=delete", "?mode=profile"):
            answer = callers.client("system", f"system/Observation.{letters}").get(
                f"/Observation/lab1/$validate{query}"
            )
            assert_outcome(answer, 403, "forbidden", "scope-insufficient")
    readers = callers.client("doctor", "user/Observation.ru")
    assert readers.get("/Observation/lab4/$validate").status_code == 200
    hidden, absent = (readers.get(f"/Observation/{id}/$validate") for id in ("lab2", "absent"))
    assert (hidden.status_code, hidden.text) == (404, absent.text)


def test_verbs_in_disguise_change_nothing(callers: Callers) -> None:
    reader = callers.client("doctor", "user/Observation.rs")
    for headers in ({"x-http-method-override": "DELETE"}, {"x-method-override": "PUT"}):
        assert reader.get("/Observation/lab1", headers=headers).status_code == 200
    assert (
        reader.get("/Observation/lab1?_method=DELETE", headers={"prefer": "handling=lenient"}).status_code
        == 200
    )
    assert reader.request("TRACE", "/Observation/lab1").status_code in (405, 501)
    assert reader.request("GET", "/Observation/lab1", json=observation("lab1", "p2")).status_code == 200
    assert reader.delete("/Observation/lab1").status_code == 403
    assert reader.get("/Observation/lab1").status_code == 200


def test_a_token_of_the_command_line_opens_what_it_says(callers: Callers) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FHIRSERVER_")}
    command = [sys.executable, "-m", "fhirserver", "token", "--scope", "system/Patient.rs"]
    made = subprocess.run(
        [*command, "--data-dir", str(callers.server.data_dir)],
        env=clean, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    headers = {"authorization": f"Bearer {made.stdout.strip()}"}
    assert callers.anonymous().get("/Patient/p2", headers=headers).status_code == 200
    assert callers.anonymous().get("/Observation/lab1", headers=headers).status_code == 403
    worse = {"authorization": f"Bearer {made.stdout.strip()}x"}
    assert callers.anonymous().get("/Patient/p2", headers=worse).status_code == 401
