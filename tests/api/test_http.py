"""Formats, headers, limits, CORS. Sources: hl7.org/fhir/R4/http.html#mime-type, specs/security.md sections 4, 8, 9"""

from __future__ import annotations

import gzip
import json
import zlib

import httpx
import pytest

from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome
from tests.kit.server import Server

FHIR_JSON = {"content-type": "application/fhir+json"}


@pytest.mark.parametrize(
    ("accept", "query", "answered"),
    [
        ("*/*", "", "application/fhir+json"),
        ("application/json", "", "application/fhir+json"),
        ("application/fhir+xml", "", "application/fhir+xml"),
        ("text/xml;q=0.5, application/json;q=0.4", "", "application/fhir+xml"),
        ("application/fhir+json; fhirVersion=4.0", "", "application/fhir+json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", "application/fhir+json"),
        ("application/fhir+json", "_format=xml", "application/fhir+xml"),
        ("image/png", "_format=json", "application/fhir+json"),
        ("*/*", "_format=application/fhir%2Bxml", "application/fhir+xml"),
        ("*/*", "_format=application/fhir+xml", "application/fhir+xml"),
    ],
)
def test_the_format_is_the_one_asked_for(fhir: Fhir, accept: str, query: str, answered: str) -> None:
    response = fhir.get(f"/metadata?{query}", headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == answered


@pytest.mark.parametrize(
    ("accept", "query"),
    [
        ("image/png", ""),
        ("application/fhir+json; fhirVersion=3.0", ""),
        ("*/*", "_format=ttl"),
        ("text/turtle", ""),
    ],
)
def test_other_formats_are_not_acceptable(fhir: Fhir, accept: str, query: str) -> None:
    assert_outcome(
        fhir.get(f"/Patient/x?{query}", headers={"accept": accept}), 406, "not-supported", "format-unknown"
    )


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/fhir+json; charset=utf-16", "image/png", ""]
)
def test_other_bodies_are_unsupported(fhir: Fhir, content_type: str) -> None:
    response = fhir.post("/Patient", content=b"{}", headers={"content-type": content_type})
    assert_outcome(response, 415, "not-supported", "media-type-unknown")


def test_xml_in_is_json_out(fhir: Fhir) -> None:
    xml = '<Patient xmlns="http://hl7.org/fhir"><active value="true"/><name><family value="Araújo &amp; Cia"/></name></Patient>'
    response = fhir.post("/Patient", content=xml.encode(), headers={"content-type": "application/fhir+xml"})
    assert response.status_code == 201, response.text
    assert response.json()["name"] == [{"family": "Araújo & Cia"}]
    back = fhir.get(f"/Patient/{response.json()['id']}", headers={"accept": "application/fhir+xml"})
    assert '<family value="Araújo &amp; Cia"/>' in back.text


def test_xml_with_a_doctype_is_refused(fhir: Fhir) -> None:
    xml = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir"><id value="&e;"/></Patient>'
    response = fhir.post("/Patient", content=xml, headers={"content-type": "application/fhir+xml"})
    assert response.status_code == 400
    assert "root:" not in response.text


def test_gzip_works_both_ways(fhir: Fhir) -> None:
    body = gzip.compress(json.dumps(a_patient()).encode())
    response = fhir.post("/Patient", content=body, headers=FHIR_JSON | {"content-encoding": "gzip"})
    assert response.status_code == 201
    metadata = fhir.get("/metadata", headers={"accept-encoding": "gzip"})
    assert metadata.headers["content-encoding"] == "gzip"
    assert metadata.json()["fhirVersion"] == "4.0.1"
    assert "content-encoding" not in fhir.get("/metadata", headers={"accept-encoding": "identity"}).headers


def test_broken_and_unknown_encodings_are_refused(fhir: Fhir) -> None:
    broken = fhir.post("/Patient", content=b"no gzip", headers=FHIR_JSON | {"content-encoding": "gzip"})
    assert_outcome(broken, 400, "invalid", "encoding-broken")
    cut = gzip.compress(json.dumps(a_patient()).encode())[:-6]
    assert (
        fhir.post("/Patient", content=cut, headers=FHIR_JSON | {"content-encoding": "gzip"}).status_code
        == 400
    )
    unknown = fhir.post("/Patient", content=b"{}", headers=FHIR_JSON | {"content-encoding": "zstd"})
    assert_outcome(unknown, 415, "not-supported", "encoding-unknown")


def test_bodies_over_the_limit_are_refused_also_compressed(fhir: Fhir) -> None:
    limit = 10 * 2**20
    plain = fhir.post("/Patient", content=b" " * (limit + 1), headers=FHIR_JSON)
    assert_outcome(plain, 413, "too-long", "body-too-large")
    bomb = zlib.compress(b" " * (limit * 20))
    response = fhir.post("/Patient", content=bomb, headers=FHIR_JSON | {"content-encoding": "deflate"})
    assert_outcome(response, 413, "too-long", "body-too-large")


def test_a_url_over_the_limit_is_refused(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient?_id=" + "a," * 9000), 414, "too-long", "url-too-long")


def test_the_request_id_is_echoed_when_harmless(fhir: Fhir) -> None:
    assert fhir.get("/metadata", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for hostile in ("a b", "x" * 65, "<script>"):
        answered = fhir.get("/metadata", headers={"x-request-id": hostile}).headers["x-request-id"]
        assert answered != hostile
        assert len(answered) == 32


def test_security_headers_are_on_every_answer(fhir: Fhir) -> None:
    for response in (
        fhir.get("/metadata"),
        fhir.get("/Patient/nobody"),
        fhir.get("/nothing"),
        fhir.post("/Patient"),
    ):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert response.headers["referrer-policy"] == "no-referrer"


def test_cors_knows_its_origins_exactly(fhir: Fhir) -> None:
    good = fhir.get("/metadata", headers={"origin": "https://app.example"})
    assert good.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in good.headers
    for origin in ("https://app.example.evil.example", "http://app.example", "null"):
        assert "access-control-allow-origin" not in fhir.get("/metadata", headers={"origin": origin}).headers
    asked = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    preflight = fhir.options("/Patient/1", headers=asked)
    assert preflight.status_code == 204
    assert "PUT" in preflight.headers["access-control-allow-methods"]


def test_methods_that_a_route_does_not_take_are_named(fhir: Fhir) -> None:
    assert_outcome(
        fhir.post("/metadata", headers=FHIR_JSON, content=b"{}"), 405, "not-supported", "method-not-allowed"
    )
    assert_outcome(fhir.request("TRACE", "/Patient/1"), 405, "not-supported", "method-unknown")
    tricked = fhir.get("/Patient/nobody", headers={"x-http-method-override": "DELETE"})
    assert tricked.status_code == 404


def test_pretty_is_indented_and_equal(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    pretty, plain = fhir.get(f"/Patient/{id}?_pretty=true"), fhir.get(f"/Patient/{id}")
    assert "\n  " in pretty.text
    assert pretty.json() == plain.json()


def test_binary_comes_and_goes_in_its_own_format(fhir: Fhir) -> None:
    html = b"<html><script>alert(1)</script></html>"
    created = fhir.post("/Binary", content=html, headers={"content-type": "text/html"})
    assert created.status_code == 201
    url = f"/Binary/{created.json()['id']}"
    assert created.json()["contentType"] == "text/html"
    native = fhir.get(url, headers={"accept": "text/html"})
    assert native.content == html
    assert native.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in native.headers["content-security-policy"]
    assert fhir.get(url).json()["resourceType"] == "Binary"


def test_health_and_documents_are_at_the_root(server: Server) -> None:
    assert httpx.get(f"{server.root}/healthz").json() == {"status": "alive"}
    assert httpx.get(f"{server.root}/readyz").json() == {"status": "ready"}
    assert "fhirserver_requests_total" in httpx.get(f"{server.root}/metrics").text
    assert httpx.get(f"{server.root}/openapi.json").json()["openapi"].startswith("3.1")
    assert httpx.get(f"{server.root}/docs").status_code == 200
