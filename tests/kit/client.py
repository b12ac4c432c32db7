"""A FHIR client for tests: httpx with the base URL, and words for what is asserted most."""

from __future__ import annotations

import itertools
import os
from typing import Any

import httpx

JSON = "application/fhir+json"
_COUNTER = itertools.count(1)


def unique(stem: str = "x") -> str:
    """A text that no other test of this run uses."""
    return f"{stem}-{os.getpid()}-{next(_COUNTER)}"


class Fhir(httpx.Client):
    """Requests below the FHIR base; `fhir.get("/Patient/1")`."""

    def __init__(self, base: str) -> None:
        super().__init__(base_url=base, headers={"accept": JSON}, timeout=60)

    def create(self, resource: dict[str, Any], **headers: str) -> httpx.Response:
        return self.post(f"/{resource['resourceType']}", json=resource, headers=_typed(headers))

    def update(self, resource: dict[str, Any], **headers: str) -> httpx.Response:
        url = f"/{resource['resourceType']}/{resource['id']}"
        return self.put(url, json=resource, headers=_typed(headers))

    def bundle(self, kind: str, *entries: dict[str, Any], **headers: str) -> httpx.Response:
        body = {"resourceType": "Bundle", "type": kind, "entry": list(entries)}
        return self.post("", json=body, headers=_typed(headers))

    def made(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The resource as stored. The create must succeed."""
        response = self.create(resource)
        assert response.status_code == 201, response.text
        stored: dict[str, Any] = response.json()
        return stored

    def ids(self, url: str) -> list[str]:
        """`Type/id` of all matches, over all pages, in order. The search must succeed."""
        found: list[str] = []
        while url:
            response = self.get(url)
            assert response.status_code == 200, response.text
            body = response.json()
            found += [
                f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
                for entry in body.get("entry", [])
                if entry.get("search", {}).get("mode") == "match"
            ]
            url = next((link["url"] for link in body["link"] if link["relation"] == "next"), "")
        return found


def _typed(headers: dict[str, str]) -> dict[str, str]:
    return {"content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    """A Bundle entry; `fullUrl` goes to the entry, other words to its request."""
    made: dict[str, Any] = {"request": {"method": method, "url": url}}
    if "fullUrl" in rest:
        made["fullUrl"] = rest.pop("fullUrl")
    made["request"] |= rest
    if resource is not None:
        made["resource"] = resource
    return made


def assert_outcome(
    response: httpx.Response, status: int, issue_code: str, code: str, expression: str | None = None
) -> None:
    """The response is one OperationOutcome of that status, R4 issue code and stable code."""
    assert response.status_code == status, response.text
    body = response.json()
    assert body["resourceType"] == "OperationOutcome", body
    told = [(issue["code"], issue["details"]["coding"][0]["code"]) for issue in body["issue"]]
    assert (issue_code, code) in told, told
    if expression is not None:
        assert expression in [e for issue in body["issue"] for e in issue.get("expression", [])], body
