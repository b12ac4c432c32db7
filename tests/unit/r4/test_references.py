"""Reference text.

Covers hl7.org/fhir/R4/references.html#literal and #contained, R4/datatypes.html#canonical.
"""

import pytest

from fhirserver.r4.references import Form, parse_reference, split_canonical

BASE = "https://clinic.example/fhir"
TYPES = ("Patient", "Observation")


@pytest.mark.parametrize(
    ("text", "form", "type", "id", "vid", "url"),
    [
        ("Patient/1", Form.LOCAL, "Patient", "1", None, "Patient/1"),
        ("Patient/1/_history/2", Form.LOCAL, "Patient", "1", "2", "Patient/1"),
        (f"{BASE}/Patient/a.b-c", Form.LOCAL, "Patient", "a.b-c", None, "Patient/a.b-c"),
        (f"{BASE}/Patient/1/_history/2", Form.LOCAL, "Patient", "1", "2", "Patient/1"),
        (
            "https://other.example/r4/Patient/1",
            Form.FOREIGN,
            "Patient",
            "1",
            None,
            "https://other.example/r4/Patient/1",
        ),
        (
            "https://other.example/r4/Patient/1/_history/9",
            Form.FOREIGN,
            "Patient",
            "1",
            "9",
            "https://other.example/r4/Patient/1",
        ),
        ("https://other.example/anything", Form.FOREIGN, None, None, None, "https://other.example/anything"),
        ("urn:uuid:6f1a", Form.URN, None, None, None, "urn:uuid:6f1a"),
        ("#p1", Form.CONTAINED, None, "p1", None, "#p1"),
        ("#", Form.CONTAINED, None, None, None, "#"),
        ("Patient?identifier=1", Form.QUERY, None, None, None, "Patient?identifier=1"),
        ("Nothing/1", Form.OTHER, None, None, None, "Nothing/1"),
        ("Patient/", Form.OTHER, None, None, None, "Patient/"),
        ("Patient/a b", Form.OTHER, None, None, None, "Patient/a b"),
        ("Patient/" + "x" * 65, Form.OTHER, None, None, None, "Patient/" + "x" * 65),
        ("patient/1", Form.OTHER, None, None, None, "patient/1"),
        (f"{BASE}x/Patient/1", Form.FOREIGN, "Patient", "1", None, f"{BASE}x/Patient/1"),
        ("", Form.OTHER, None, None, None, ""),
    ],
)
def test_a_reference_is_taken_apart(
    text: str, form: Form, type: str | None, id: str | None, vid: str | None, url: str
) -> None:
    parsed = parse_reference(text, BASE, TYPES)
    assert (parsed.form, parsed.type, parsed.id, parsed.vid, parsed.url) == (form, type, id, vid, url)


@pytest.mark.parametrize(
    ("text", "url", "version"),
    [
        ("http://a/b", "http://a/b", None),
        ("http://a/b|1.0", "http://a/b", "1.0"),
        ("http://a/b|1.0#part", "http://a/b", "1.0"),
        ("http://a/b#part", "http://a/b", None),
        ("http://a/b|", "http://a/b", None),
    ],
)
def test_a_canonical_has_a_url_and_perhaps_a_version(text: str, url: str, version: str | None) -> None:
    assert split_canonical(text) == (url, version)
