"""Tokens of a foreign authorization server: what makes one good, and every way in which one is not.

RFC 8725, RFC 9068; threats B1 (algorithms), B2 (keys), B3 (claims).
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from tests.kit.audit import events_of
from tests.kit.client import assert_outcome
from tests.kit.tokens import PERSONS, Callers

SCOPE = "system/Patient.rs"


def b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def status(callers: Callers, token: str) -> int:
    answer = callers.anonymous().get("/Patient/p1", headers={"authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        assert_outcome(answer, 401, "login", "token-invalid")
    return answer.status_code


def claims(callers: Callers, **more: Any) -> dict[str, Any]:
    return callers.issuer.claims(callers.server.fhir, SCOPE, **(PERSONS["system"] | more))


def test_a_good_token_of_each_configured_algorithm_is_accepted(callers: Callers) -> None:
    issuer = callers.issuer
    assert status(callers, issuer.signed(claims(callers))) == 200
    assert status(callers, issuer.signed(claims(callers), issuer.curve, alg="ES384")) == 200
    assert status(callers, issuer.signed(claims(callers, aud=["x", callers.server.fhir]))) == 200
    assert status(callers, issuer.signed(claims(callers), header={"typ": "application/at+jwt"})) == 200


@pytest.mark.parametrize(
    "more",
    [
        {"exp": None}, {"exp": "9999999999"}, {"exp": True}, {"exp": int(time.time()) - 31}, {"iss": None},
        {"iss": "https://evil.example"}, {"aud": None}, {"aud": "https://other.example/fhir"}, {"aud": []},
        {"aud": {"x": 1}}, {"nbf": int(time.time()) + 7200}, {"nbf": "0"}, {"iat": int(time.time()) + 7200},
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"iss": ["x"]},
    ],
)  # fmt: skip
def test_claims_that_are_not_for_this_server_and_now_are_refused(
    callers: Callers, more: dict[str, Any]
) -> None:
    assert status(callers, callers.issuer.signed(claims(callers, **more))) == 401


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"}, {"typ": "refresh+jwt"}, {"typ": None}, {"kid": "../../dev/null"}, {"kid": ""}, {"kid": None},
        {"kid": ["rsa-1"]}, {"kid": "ec-1"}, {"jku": "http://127.0.0.1:1/jwks"}, {"x5u": "http://127.0.0.1:1/x"},
        {"crit": ["exp"]}, {"x5c": ["AAAA"]}, {"jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, {"unknown": 1},
        {"alg": "none"}, {"alg": "None"}, {"alg": "nOnE"}, {"alg": ""}, {"alg": None}, {"alg": "RS512"}, {"alg": "HS256"},
    ],
)  # fmt: skip
def test_a_header_that_asks_for_another_key_or_algorithm_is_refused(
    callers: Callers, header: dict[str, Any]
) -> None:
    """The signature is that of the true key over exactly this header, where the algorithm allows it."""
    head = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa-1"} | header
    head = {name: value for name, value in head.items() if value is not None}
    signed = f"{b64(head)}.{b64(claims(callers))}"
    registry = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)
    algorithm = registry.get_alg("RS256")
    token = f"{signed}.{b64(algorithm.sign(signed.encode(), callers.issuer.key))}"
    hits = callers.issuer.hits
    assert status(callers, token) == 401
    assert callers.issuer.hits - hits <= 1
    assert status(callers, f"{signed}.") == 401


def test_tricks_with_keys_are_refused(callers: Callers) -> None:
    issuer = callers.issuer
    body = claims(callers)
    symmetric = f"{b64({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'rsa-1'})}.{b64(body)}"
    mac = hmac.digest(issuer.key.as_pem(private=False), symmetric.encode(), "sha256")
    assert status(callers, f"{symmetric}.{b64(mac)}") == 401
    foreign = RSAKey.generate_key(2048, {"kid": "rsa-1"})
    assert status(callers, issuer.signed(body, foreign)) == 401
    curve = ECKey.generate_key("P-384", {"kid": "ec-1"})
    assert status(callers, issuer.signed(body, curve, alg="ES384")) == 401
    head = b64({"alg": "ES384", "typ": "at+jwt", "kid": "ec-1"})
    assert status(callers, f"{head}.{b64(body)}.{b64(bytes(96))}") == 401
    good = issuer.signed(body)
    assert status(callers, good[:-8]) == 401
    header, _, signature = good.split(".")
    assert status(callers, f"{header}.{b64(body | {'scope': 'system/*.cruds'})}.{signature}") == 401
    assert status(callers, good) == 200


def test_an_unknown_key_is_looked_for_once_a_minute(callers: Callers) -> None:
    new = RSAKey.generate_key(2048, {"kid": "rsa-2"})
    status(callers, callers.issuer.signed(claims(callers), new))  # looked for now, or within the last minute
    callers.issuer.published.append(new)
    hits = callers.issuer.hits
    for _ in range(3):
        assert status(callers, callers.issuer.signed(claims(callers), new)) == 401
    assert callers.issuer.hits == hits
    callers.issuer.published.remove(new)


@pytest.mark.parametrize(
    "token",
    ["e30.e30.e30", "e30.e30.", "W10.W10.x", "!.!.!", "eyJhbGciOiJSUzI1NiJ9..x", "\u00e9.\u00e9.\u00e9"],
)
def test_what_is_no_jwt_is_refused(callers: Callers, token: str) -> None:
    answer = callers.anonymous().get(
        "/Patient/p1", headers={"authorization": b"Bearer " + token.encode("latin-1")}
    )
    assert_outcome(answer, 401, "login", "token-invalid")


def test_the_audit_log_names_who_has_issued_a_token(callers: Callers) -> None:
    """audit.md 3.1: iss and sub of the token are system and value of the user, iss and client_id of the app."""
    nobody = callers.client("nobody", "user/Patient.rs")
    nobody.get("/Patient/p1", headers={"x-request-id": "issuer-1"})
    system = callers.client("system", "system/*.cruds system/AuditEvent.rs")
    (event, *_) = events_of(system, "issuer-1")
    client, user = event["agent"][0]["who"]["identifier"], event["agent"][2]["who"]["identifier"]
    assert user == {"system": callers.issuer.url, "value": "no"}
    assert client == {"system": callers.issuer.url, "value": "app"}
    (event, *_) = events_of(system, system.get("/Patient/p1").headers["x-request-id"])
    assert event["agent"][0]["who"]["identifier"] == {"system": callers.issuer.url, "value": "backend"}
