"""Small code systems, value sets and concept maps for tests, and the words for calling the operations."""

from __future__ import annotations

from typing import Any

import httpx

from tests.kit.client import JSON, Fhir, unique

R4 = "http://hl7.org/fhir"
V3 = "http://terminology.hl7.org/CodeSystem"


def a_code_system(url: str, **elements: Any) -> dict[str, Any]:
    """Animals: a hierarchy with an abstract group, an inactive code, designations and a property."""
    cat = {
        "code": "cat",
        "display": "Cat",
        "definition": "Felis catus",
        "designation": [
            {"language": "pt-BR", "value": "Gato"},
            {"language": "de", "value": "Katze", "use": {"system": "urn:use", "code": "pet"}},
        ],
        "property": [{"code": "legs", "valueInteger": 4}],
    }
    dog = {
        "code": "dog",
        "display": "Dog",
        "designation": [{"language": "pt-BR", "value": "Cão"}],
        "property": [{"code": "legs", "valueInteger": 4}],
        "concept": [{"code": "poodle", "display": "Poodle"}],
    }
    dodo = {
        "code": "dodo",
        "display": "Dodo",
        "property": [{"code": "inactive", "valueBoolean": True}, {"code": "legs", "valueInteger": 2}],
    }
    group = {
        "code": "mammal",
        "display": "Mammal",
        "property": [{"code": "notSelectable", "valueBoolean": True}],
        "concept": [cat, dog],
    }
    return {
        "resourceType": "CodeSystem",
        "url": url,
        "version": "1",
        "name": "Animals",
        "status": "active",
        "caseSensitive": True,
        "hierarchyMeaning": "is-a",
        "content": "complete",
        "property": [
            {"code": "legs", "type": "integer"},
            {"code": "inactive", "type": "boolean"},
            {"code": "notSelectable", "type": "boolean"},
        ],
        "concept": [group, dodo],
    } | elements


def a_value_set(url: str, *include: dict[str, Any], **elements: Any) -> dict[str, Any]:
    """A value set of the given includes; `exclude`: a list of excludes."""
    compose: dict[str, Any] = {"include": list(include)}
    if "exclude" in elements:
        compose["exclude"] = elements.pop("exclude")
    if "inactive" in elements:
        compose["inactive"] = elements.pop("inactive")
    return {"resourceType": "ValueSet", "url": url, "status": "active", "compose": compose} | elements


def an_url(stem: str = "vs") -> str:
    """A canonical that no other test uses."""
    return f"https://example.org/{unique(stem)}"


def call(fhir: Fhir, path: str, **parameters: Any) -> httpx.Response:
    """POST a Parameters resource; a name may carry its type after two underscores (`code__valueCode`)."""
    rows = []
    for name, given in parameters.items():
        base, _, kind = name.partition("__")
        for value in given if isinstance(given, list) else [given]:
            key = kind or ("resource" if isinstance(value, dict) and "resourceType" in value else "")
            key = key or {bool: "valueBoolean", int: "valueInteger"}.get(type(value), "valueString")
            rows.append({"name": base.replace("_", "-"), key: value})
    body = {"resourceType": "Parameters", "parameter": rows}
    return fhir.post(path, json=body, headers={"content-type": JSON})


def told(response: httpx.Response) -> dict[str, Any]:
    """The primitive parameters of an answer by name."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["resourceType"] == "Parameters", body
    return {
        p["name"]: next(v for k, v in p.items() if k.startswith("value"))
        for p in body["parameter"]
        if "part" not in p
    }


def codes(response: httpx.Response) -> list[str]:
    """The codes of an expansion, those below others after them."""
    assert response.status_code == 200, response.text
    found: list[str] = []

    def walk(contains: list[dict[str, Any]]) -> None:
        for each in contains:
            found.append(each["code"])
            walk(each.get("contains", []))

    walk(response.json()["expansion"].get("contains", []))
    return found
