"""Errors and headers: security.md section 9 (I1, I2, I4, I5, I8), attack by attack.

Rule: an answer or a log line never repeats what a caller sent in a wrong place, and never shows the inside of the
server; a fault is answered and leaves the server alive; browsers are told to stay out.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhirserver.app import Application
from fhirserver.http import logs
from fhirserver.http.render import Renderer
from fhirserver.store import Store
from fhirserver.validation import Validator
from tests.kit.builders import a_patient
from tests.kit.client import JSON, Fhir, entry
from tests.kit.server import Server

CANARY = "52998224725"  # a CPF that nobody has
FHIR_JSON = {"content-type": JSON}
FHIR_XML = {"content-type": "application/fhir+xml"}
PATCH = {"content-type": "application/json-patch+json"}


def attempts(fhir: Fhir) -> Iterator[httpx.Response]:
    """The canary in every place where a request can be wrong."""
    get = fhir.get
    yield get(f"/{CANARY}")
    yield get(f"/Patient/{CANARY}!")
    yield get(f"/Patient/x/_history/{CANARY}!")
    yield get(f"/Patient/x/${CANARY}")
    yield get(f"/Patient?{CANARY}=1")
    yield get(f"/Patient?name:{CANARY}=1")
    yield get(f"/Patient?_has:{CANARY}:patient:code=1")
    for name in (
        "birthdate",
        "_lastUpdated",
        "_count",
        "_total",
        "_summary",
        "_sort",
        "_include",
        "_type",
        "_filter",
        "_cursor",
    ):
        yield get("/Patient", params={name: f"{CANARY}$"})
    yield get("/RiskAssessment", params={"probability": f"{CANARY}x"})
    yield get("/Observation", params={"code-value-quantity": CANARY, "subject": f"{CANARY}/x"})
    yield get("/Location", params={"near": CANARY})
    yield get("/Patient/x/_history", params={"_since": CANARY})
    yield get(f"/Patient/x?_summary={CANARY}")
    yield get(f"/metadata?_format={CANARY}")
    yield get("/metadata", headers={"accept": f"x/{CANARY}"})
    yield get("/Patient", headers={"authorization": f"Bearer {CANARY}"})
    yield get("/Patient", headers={"authorization": CANARY})
    yield fhir.post("/Patient", content=b"{}", headers={"content-type": CANARY})
    yield fhir.post("/Patient", content=b"{}", headers=FHIR_JSON | {"content-encoding": CANARY})
    yield fhir.post(
        "/Patient",
        content=gzip.compress(CANARY.encode())[:-4],
        headers=FHIR_JSON | {"content-encoding": "gzip"},
    )
    for body in (
        f'{{"{CANARY}":', f'{{"a":"{CANARY}","a":1}}', f'{{"resourceType":"{CANARY}"}}', f'"{CANARY}"',
        f'{{"resourceType":"Patient","{CANARY}":1}}', f'{{"resourceType":"Patient","gender":"{CANARY}"}}',
        f'{{"resourceType":"Patient","birthDate":"{CANARY}"}}', f'{{"resourceType":"Patient","id":"{CANARY}!"}}',
        f'{{"resourceType":"Patient","active":"{CANARY}"}}',
        f'{{"resourceType":"Patient","link":[{{"other":{{"reference":"{CANARY}/1"}},"type":"seealso"}}]}}',
        f'{{"resourceType":"Patient","text":{{"status":"generated","div":"<div>{CANARY}"}}}}',
        f'{{"resourceType":"Patient","contained":[{{"resourceType":"{CANARY}"}}]}}',
        f'{{"resourceType":"Patient","photo":[{{"data":"{CANARY}!"}}]}}',
    ):  # fmt: skip
        yield fhir.post("/Patient", content=body, headers=FHIR_JSON)
    for xml in (
        f"<Patient>{CANARY}", f'<Patient xmlns="http://hl7.org/fhir"><x{CANARY} value="1"/></Patient>',
        f'<Patient xmlns="http://hl7.org/fhir"><gender value="{CANARY}"/></Patient>',
        f'<Patient xmlns="http://hl7.org/fhir" a="{CANARY}">{CANARY}</Patient>',
    ):  # fmt: skip
        yield fhir.post("/Patient", content=xml, headers=FHIR_XML)
    yield fhir.create(a_patient(), If_None_Exist=f"{CANARY}={CANARY}")
    yield fhir.put(f"/Patient?{CANARY}=1", json=a_patient())
    yield fhir.update(a_patient(id="i1"), If_Match=f'W/"{CANARY}"')
    made = fhir.made(a_patient())
    url = f"/Patient/{made['id']}"
    for operation in (
        {"op": CANARY},
        {"op": "add", "path": f"/{CANARY}/x", "value": 1},
        {"op": "replace", "path": "/gender", "value": CANARY},
    ):
        yield fhir.patch(url, json=[operation], headers=PATCH)
    part = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": f"Patient.{CANARY}("}]
    yield fhir.patch(
        url,
        json={"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]},
        headers=FHIR_JSON,
    )
    for one in (
        entry("GET", f"{CANARY}/x"),
        entry("POST", "Patient", {"resourceType": "Patient", "gender": CANARY}),
        entry(CANARY, "Patient/1"),
    ):
        for kind in ("batch", "transaction"):
            yield fhir.bundle(kind, one)
    yield fhir.post(f"{url}/$meta-add", json={"resourceType": CANARY}, headers=FHIR_JSON)
    yield get(f"{url}/$everything?{CANARY}=1")
    yield get(f"{url}/$everything?start={CANARY}")


def test_i1_no_answer_and_no_log_line_repeats_what_was_wrong(server: Server, fhir: Fhir) -> None:
    before = server.log.stat().st_size
    statuses = []
    for response in attempts(fhir):
        statuses.append(response.status_code)
        told = response.text.replace(json.dumps(f"{server.fhir}"), "")
        if response.status_code != 200 or "-response" in told:
            assert CANARY not in told, (response.request.url, told)
            assert "Traceback" not in told
            assert "/site-packages/" not in told
            assert ".py" not in told
        assert response.status_code < 500, told
    assert sum(400 <= status < 500 for status in statuses) > len(statuses) * 0.8
    assert CANARY.encode() not in server.log.read_bytes()[before:]


def test_i1_control_a_sound_value_comes_back_to_who_stored_it(fhir: Fhir) -> None:
    made = fhir.made(a_patient(identifier=[{"system": "urn:cpf", "value": CANARY}]))
    assert fhir.get(f"/Patient/{made['id']}").json()["identifier"][0]["value"] == CANARY


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("owner", "name"), [(Store, "read"), (Store, "create"), (Validator, "validate"), (Renderer, "answer")],
    ids=["handler", "committer", "validator", "serializer"],
)  # fmt: skip
async def test_i2_a_fault_anywhere_is_answered_and_told_to_the_log_alone(
    application: Application,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    transport = httpx.ASGITransport(application.asgi, raise_app_exceptions=True)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x/fhir", headers=FHIR_JSON) as client:
        sound = await client.post("/Patient", json=a_patient())
        url = f"/Patient/{sound.json()['id']}"

        def broken(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"secret {CANARY}")

        logs.configure("INFO")
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, broken)
            responses = [
                await client.get(url),
                await client.post("/Patient", json=a_patient()),
                await client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [
                    {"resource": a_patient(), "request": {"method": "POST", "url": "Patient"}}]}),
            ]  # fmt: skip
        failed = [response for response in responses if response.status_code == 500]
        assert failed
        for response in failed:
            assert response.json()["issue"][0]["details"]["coding"][0]["code"] == "internal"
            assert CANARY not in response.text
            assert response.headers["x-content-type-options"] == "nosniff"
        assert (await client.get(url)).status_code == 200  # alive
    for handler in logging.getLogger().handlers:
        handler.flush()
    told = capsys.readouterr()
    assert "RuntimeError" in told.out + told.err
    assert CANARY not in told.out + told.err


def test_i4_headers_are_on_every_answer(server: Server, fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    root = server.root
    answers = [
        fhir.get(f"/Patient/{id}"), fhir.get("/Patient"), fhir.get("/metadata"), fhir.head(f"/Patient/{id}"),
        fhir.get("/Patient/nobody"), fhir.get("/nothing"), fhir.post("/Patient"), fhir.options("/Patient"),
        fhir.get("/metadata", headers={"accept": "x/y"}), fhir.delete(f"/Patient/{id}"), fhir.get(f"/Patient/{id}"),
        fhir.request("TRACE", "/Patient"), fhir.bundle("batch"),
        *(httpx.get(f"{root}{path}") for path in ("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/nothing")),
        httpx.post(f"{root}/healthz"), httpx.head(f"{root}/healthz"),
    ]  # fmt: skip
    for response in answers:
        assert response.headers["cache-control"] == "no-store", response.url
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["referrer-policy"] == "no-referrer"
        assert len(response.headers["x-request-id"]) == 32
        assert not any(mark in response.headers.get("server", "") for mark in "0123456789/")
        assert "x-powered-by" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "null", "https://evil.example", "http://app.example", "https://app.example.evil.example",
        "https://evil-app.example", "https://app.example:8443", "https://APP.example", "*", "",
    ],
)  # fmt: skip
def test_i5_other_origins_are_not_let_in(fhir: Fhir, origin: str) -> None:
    asked = {"origin": origin, "access-control-request-method": "DELETE"}
    for response in (fhir.get("/metadata", headers=asked), fhir.options("/Patient/1", headers=asked)):
        assert not [name for name in response.headers if name.startswith("access-control-")]


def test_i5_control_the_configured_origin_is_let_in_without_credentials(fhir: Fhir) -> None:
    asked = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    for response in (fhir.get("/metadata", headers=asked), fhir.get("/Patient/nobody", headers=asked)):
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in response.headers
        assert "Origin" in response.headers["vary"]
    preflight = fhir.options("/Patient/1", headers=asked)
    assert preflight.status_code == 204
    assert "PUT" in preflight.headers["access-control-allow-methods"]
    assert "if-match" in preflight.headers["access-control-allow-headers"]


def test_i8_the_charset_is_stated_and_other_formats_are_refused(fhir: Fhir) -> None:
    for accept in (JSON, "application/fhir+xml", "*/*"):
        assert (
            fhir.get("/metadata", headers={"accept": accept})
            .headers["content-type"]
            .endswith("; charset=utf-8")
        )
    assert fhir.get("/Patient", headers={"accept": "application/pdf"}).status_code == 406
    for media in (
        "text/html",
        "application/fhir+json; charset=iso-8859-1",
        "multipart/form-data; boundary=x",
    ):
        assert fhir.post("/Patient", content=b"{}", headers={"content-type": media}).status_code == 415
