"""Formats, encodings, routes. Source: hl7.org/fhir/R4/http.html#mime-type. Hostile ones: tests/security"""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome
from tests.kit.server import Server

FHIR_JSON = {"content-type": "application/fhir+json"}


@pytest.mark.verifies("http-mime-1")
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


@pytest.mark.verifies("http-mime-2")
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


@pytest.mark.verifies("http-mime-2")
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


def test_a_url_over_the_limit_is_refused(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient?_id=" + "a," * 9000), 414, "too-long", "url-too-long")


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
