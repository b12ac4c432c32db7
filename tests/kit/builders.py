"""Small valid resources for tests."""

from __future__ import annotations

from typing import Any

SYSTEM = "https://fhirserver.example/test"


def a_patient(**elements: Any) -> dict[str, Any]:
    """A Patient with a name; `elements` replace or add."""
    return {"resourceType": "Patient", "name": [{"family": "Souza", "given": ["Ana"]}]} | elements


def an_observation(subject: str, **elements: Any) -> dict[str, Any]:
    """A final Observation of body weight about `subject` ("Patient/1")."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": subject},
    } | elements


def identified(value: str, **elements: Any) -> dict[str, Any]:
    """A Patient with the identifier SYSTEM|value."""
    return a_patient(identifier=[{"system": SYSTEM, "value": value}], **elements)
