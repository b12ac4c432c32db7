"""Injection and parsers: security.md section 8 (H1-H5, H7-H9, H11), attack by attack, over real HTTP.

Rule: what a caller sends is data. It becomes no operator of the database, no entity, no script, no header, no path,
no line of a log; and authorisation, validation and storage see one and the same object.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.kit.builders import SYSTEM, a_patient
from tests.kit.client import JSON, Fhir, assert_outcome, unique
from tests.kit.server import Server

FHIR_JSON = {"content-type": JSON}
FHIR_XML = {"content-type": "application/fhir+xml"}
PATCH = {"content-type": "application/json-patch+json"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("name[$ne]=x", 400),
        ("_id[$gt]=", 400),
        ("name.$ne=x", 400),
        ("$where=sleep(1000)", 400),
        ("_sort=$where", 400),
        ("_elements=__proto__", 400),
        ("_elements=$where", 400),
        ('identifier={"$gt":""}', 200),
        ("_id=$gt", 200),
        ("name=$ne", 200),
        ('_content={"$gt":""}', 200),
        ("_has:Observation:patient:$where=1", 400),
        ("ix.name=x", 400),
        ("raw=x", 400),
        ("_filter=name eq {$ne:1}", 200),
        ("_filter=$where eq 1", 400),
        ("_include=Patient:$lookup", 400),
        ("_type=$in", 400),
    ],
)
def test_h1_operators_in_a_query_are_text_or_refused(fhir: Fhir, query: str, status: int) -> None:
    fhir.made(a_patient(identifier=[{"system": SYSTEM, "value": "a"}]))
    response = fhir.get(f"/Patient?{query}")
    assert response.status_code == status, response.text
    if status == 200:
        assert "entry" not in response.json()


def test_h1_operators_in_a_body_or_a_patch(fhir: Fhir) -> None:
    for key in ("$where", "a.b", "$set", "__proto__", "_id"):
        response = fhir.create(a_patient() | {key: {"$gt": ""}})
        assert response.status_code == 422, key
        assert response.json()["issue"][0]["details"]["coding"][0]["code"] == "unknown-element"
    url = f"/Patient/{fhir.made(a_patient())['id']}"
    for path in ("/$set", "/name.0.family", "/$where/0", "/__proto__"):
        assert (
            fhir.patch(url, json=[{"op": "add", "path": path, "value": "x"}], headers=PATCH).status_code
            == 422
        )
    kept = fhir.made(a_patient(name=[{"family": "$where", "given": ["$ne", "a.b"]}]))
    assert fhir.get(f"/Patient/{kept['id']}").json()["name"] == [
        {"family": "$where", "given": ["$ne", "a.b"]}
    ]


BILLION = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
XML_ATTACKS = {
    "external entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>PATIENT',
    "parameter entity": '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x.dtd"> %e;]>PATIENT',
    "billion laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{BILLION}]>PATIENT',
    "quadratic": f'<!DOCTYPE x [<!ENTITY e "{"x" * 100_000}">]>PATIENT',
    "a doctype alone": "<!DOCTYPE Patient>PATIENT",
    "an undeclared entity": '<Patient xmlns="http://hl7.org/fhir"><name><family value="&e;"/></name></Patient>',
    "XInclude": '<Patient xmlns="http://hl7.org/fhir"><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" '
    'href="file:///etc/passwd" parse="text"/></Patient>',
    "another namespace": '<Patient xmlns="http://evil.example"/>',
    "deep": '<Patient xmlns="http://hl7.org/fhir">'
    + "<extension>" * 300
    + "</extension>" * 300
    + "</Patient>",
    "not well-formed": '<Patient xmlns="http://hl7.org/fhir">',
}
A_PATIENT = '<Patient xmlns="http://hl7.org/fhir"><name><family value="&e;"/></name></Patient>'


@pytest.mark.parametrize("name", XML_ATTACKS)
def test_h2_hostile_xml(fhir: Fhir, name: str) -> None:
    body = XML_ATTACKS[name].replace("PATIENT", A_PATIENT)
    response = fhir.post("/Patient", content=body.encode(), headers=FHIR_XML)
    assert response.status_code == 400
    assert response.json()["issue"][0]["details"]["coding"][0]["code"].startswith("xml-")
    assert "root:" not in response.text


@pytest.mark.parametrize("encoding", ["UTF-7", "UTF-16", "ISO-8859-1"])
def test_h2_other_encodings(fhir: Fhir, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><Patient xmlns="http://hl7.org/fhir"/>'
    response = fhir.post("/Patient", content=text.encode(encoding), headers=FHIR_XML)
    assert_outcome(response, 400, "structure", "xml-encoding")


def test_h2_control_sound_xml_is_read(fhir: Fhir) -> None:
    body = A_PATIENT.replace("&e;", "Ara&#250;jo &amp; &lt;Filho&gt;").encode()
    response = fhir.post("/Patient", content=body, headers=FHIR_XML)
    assert response.json()["name"] == [{"family": "Araújo & <Filho>"}]


@pytest.mark.verifies("json-3")
@pytest.mark.parametrize(
    "body",
    [
        '{"resourceType":"Patient","id":"a","id":"b"}',
        '{"resourceType":"Patient","resourceType":"Observation"}',
        '{"resourceType":"Patient","name":[{"family":"a","family":"b"}]}',
        '{"resourceType":"Patient","\\u0069d":"a","id":"b"}',
    ],
)
def test_h3_a_key_given_twice(fhir: Fhir, body: str) -> None:
    response = fhir.post("/Patient", content=body, headers=FHIR_JSON)
    assert_outcome(response, 400, "invalid", "json-duplicate-key")


@pytest.mark.verifies("security-1")
@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        '<img src="x" onerror="alert(1)"/>',
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" JaVaScRiPt:alert(1)">x</a>',
        '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "<style>@import 'http://evil.example/x.css';</style>",
        '<p style="background:url(http://evil.example/x)">x</p>',
        '<iframe src="http://evil.example"/>',
        '<form action="http://evil.example"><input name="a"/></form>',
        "<p>unclosed",
    ],
)
def test_h4_scripts_in_narrative(fhir: Fhir, inner: str) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'
    response = fhir.create(a_patient(text={"status": "generated", "div": div}))
    assert response.status_code == 422, response.text
    assert response.json()["issue"][0]["expression"] == ["Patient.text.div"]


def test_h4_control_plain_narrative_is_kept_and_never_served_as_html(fhir: Fhir) -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p><b>Ana</b> &amp; <a href="http://x.example">x</a></p></div>'
    made = fhir.made(a_patient(text={"status": "generated", "div": div}))
    read = fhir.get(f"/Patient/{made['id']}", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert read.json()["text"]["div"] == div
    assert read.headers["content-type"].startswith("application/fhir+json")


@pytest.mark.parametrize(
    "media",
    ["text/html", "image/svg+xml", "text/html; name=../../x", "application/xhtml+xml", "text/javascript"],
)
def test_h5_a_binary_is_an_attachment_in_a_sandbox(fhir: Fhir, media: str) -> None:
    made = fhir.post("/Binary", content=b"<script>alert(1)</script>", headers={"content-type": media}).json()
    served = fhir.get(f"/Binary/{made['id']}", headers={"accept": media.partition(";")[0]})
    assert served.content == b"<script>alert(1)</script>"
    assert served.headers["content-disposition"] == 'attachment; filename="binary"'
    assert served.headers["x-content-type-options"] == "nosniff"
    assert served.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_h5_a_line_break_in_a_media_type_makes_no_header(fhir: Fhir) -> None:
    for media in ("text/html\r\nset-cookie: a=b", "text/plain\n", "a\0b"):
        response = fhir.create({"resourceType": "Binary", "contentType": media, "data": "YQ=="})
        if response.status_code == 201:
            served = fhir.get(f"/Binary/{response.json()['id']}", headers={"accept": "text/html, */*"})
            assert "set-cookie" not in served.headers
        else:
            assert response.status_code in (400, 422)


def raw(
    server: Server, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> Any:
    """The answer to a request whose target is sent as it is, without a client's tidying."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    given = {"host": f"127.0.0.1:{server.port}", "content-length": str(len(body))} | (headers or {})
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def test_h7_headers_of_a_stranger_change_nothing(server: Server, fhir: Fhir) -> None:
    fhir.made(a_patient())
    hostile = {
        "host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https",
        "x-forwarded-for": "6.6.6.6", "forwarded": "host=evil.example", "x-original-url": "/fhir/Observation",
        "x-rewrite-url": "/fhir/Observation",
    }  # fmt: skip
    response = raw(server, "GET", "/fhir/Patient?_count=1", hostile)
    body = json.loads(response.body)
    assert response.status == 200
    assert "evil.example" not in response.body.decode()
    assert all(link["url"].startswith(f"{server.fhir}/Patient") for link in body["link"])
    created = raw(server, "POST", "/fhir/Patient", hostile | FHIR_JSON, b'{"resourceType":"Patient"}')
    assert created.headers["location"].startswith(server.fhir)


def test_h7_a_request_id_is_harmless_or_ours(fhir: Fhir) -> None:
    assert fhir.get("/metadata", headers={"x-request-id": "ok-1.2_3"}).headers["x-request-id"] == "ok-1.2_3"
    for hostile in ("a\tb", "x" * 10_000, "<script>", "a b", "{}"):
        answered = fhir.get("/metadata", headers={"x-request-id": hostile}).headers["x-request-id"]
        assert len(answered) == 32
        assert answered != hostile


@pytest.mark.parametrize(
    "target",
    [
        "/fhir/Patient/..%2f..%2fetc%2fpasswd",
        "/fhir/Patient/%2e%2e/%2e%2e/healthz",
        "/fhir/../fhir/Patient/../../etc/passwd",
        "/fhir/Patient/a%00b",
        "/fhir/Patient//x",
        "/fhir/Patient;x=1/a",
        "/fhir/Patient/a;b",
        "/fhir/Patient/" + "a" * 65,
        "/fhir/Patient/%ff%fe",
        "/fhir/Nonsense/a",
        "/fhir/patient/a",
        "/fhir/Patient/a/b/c/d/e",
        "/fhir/$nonsense",
        "/static-offline-docs/..%2f..%2f..%2fetc/passwd",
        "/static-offline-docs/../../../../etc/passwd",
    ],
)
def test_h8_paths_reach_no_file_and_no_other_route(server: Server, target: str) -> None:
    response = raw(server, "GET", target)
    assert response.status in (400, 404), response.body
    assert b"root:" not in response.body
    assert json.loads(response.body)["resourceType"] == "OperationOutcome"


def test_h8_control_the_plain_path_is_served(server: Server, fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    assert raw(server, "GET", f"/fhir/Patient/{id}").status == 200


def test_h9_no_value_makes_a_line_of_the_log(server: Server, fhir: Fhir) -> None:
    mark = unique("logmark")
    hostile = (
        f"{mark}\n{{}}",
        f"{mark}\x1b[31m",
        f"{mark}%s%n",
        f"${{jndi:ldap://{mark}}}",
        f"{mark}\u2028x",
    )
    before = server.log.stat().st_size
    for value in hostile:
        fhir.get("/Patient", params={"name": value})
        fhir.get("/Patient", params={value: "x"})
        fhir.create(a_patient(gender=value))
        fhir.create(a_patient(name=[{"family": value}]))
        fhir.get(
            "/metadata", headers={"x-request-id": mark + "%s", "user-agent": mark, "accept": f"x/{mark}"}
        )
    fhir.get("/Patient/" + mark)
    written = server.log.read_bytes()[before:]
    assert mark.encode() not in written
    for line in written.splitlines():
        assert json.loads(line)["level"], line


def test_h11_a_parameter_given_twice_is_and(fhir: Fhir) -> None:
    a, b = fhir.made(a_patient())["id"], fhir.made(a_patient())["id"]
    for patient in (a, b):
        fhir.made(
            {
                "resourceType": "Flag",
                "status": "active",
                "code": {"text": "x"},
                "subject": {"reference": f"Patient/{patient}"},
            }
        )
    assert fhir.ids(f"/Flag?patient={a}&patient={b}") == []
    assert len(fhir.ids(f"/Flag?patient={a},{b}")) == 2
    both = fhir.post(f"/Flag/_search?patient={a}", data={"patient": b})
    assert "entry" not in both.json()
    control = fhir.post(f"/Flag/_search?patient={a}", data={"patient": a})
    assert len(control.json()["entry"]) == 1
