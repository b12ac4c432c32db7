"""A data set in a running server that tests of search share: stored and asked over HTTP, apart from all other data.

In resources and values `@` before a name stands for the set's own prefix of ids: "Patient/@ana" is the resource
that the set calls ana. Every resource carries the set's tag, and every search asks for it.
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from tests.kit.builders import SYSTEM
from tests.kit.client import Fhir, entry

_OWN = re.compile(r"(?<!\w)@")


class Catalogue:
    """`name`: letters; prefix of the ids and code of the tag."""

    def __init__(self, fhir: Fhir, name: str, *resources: dict[str, Any]) -> None:
        self.fhir = fhir
        self.name = name
        entries = []
        for resource in resources:
            own: dict[str, Any] = json.loads(self.expanded(json.dumps(resource)))
            meta = own.get("meta", {})
            tags = [*meta.get("tag", ()), {"system": SYSTEM, "code": name}]
            own = {**own, "id": f"{name}.{own['id']}", "meta": {**meta, "tag": tags}}
            entries.append(entry("PUT", f"{own['resourceType']}/{own['id']}", own))
        response = fhir.bundle("transaction", *entries)
        assert response.status_code == 200, response.text

    def expanded(self, text: str) -> str:
        return _OWN.sub(f"{self.name}.", text)

    def search(self, type: str, *pairs: tuple[str, str], post: bool = False) -> httpx.Response:
        given = [(name, self.expanded(value)) for name, value in pairs]
        given += [("_tag", f"{SYSTEM}|{self.name}"), ("_count", "200")]
        if post:
            return self.fhir.post(f"/{type}/_search", data=dict(given))
        return self.fhir.get(f"/{type}", params=given)

    def entries(self, type: str, *pairs: tuple[str, str], mode: str = "match") -> list[dict[str, Any]]:
        """The resources of the first page that are there as `mode`. The search must succeed."""
        response = self.search(type, *pairs)
        assert response.status_code == 200, response.text
        return [e["resource"] for e in response.json().get("entry", ()) if e["search"]["mode"] == mode]

    def short(self, resource: dict[str, Any]) -> str:
        return str(resource["id"]).removeprefix(f"{self.name}.")

    def ordered(self, type: str, *pairs: tuple[str, str]) -> str:
        """The names of the matches in the page's order, separated by blanks."""
        return " ".join(self.short(resource) for resource in self.entries(type, *pairs))

    def found(self, type: str, *pairs: tuple[str, str]) -> str:
        """The sorted names of the matches."""
        return " ".join(sorted(self.ordered(type, *pairs).split()))

    def included(self, type: str, *pairs: tuple[str, str]) -> str:
        """The sorted names of the included resources."""
        return " ".join(sorted(map(self.short, self.entries(type, *pairs, mode="include"))))

    def refused(self, type: str, *pairs: tuple[str, str]) -> str:
        """The error code of a search that is answered with 400, "" of one that is not."""
        response = self.search(type, *pairs)
        if response.status_code != 400:
            return ""
        code: str = response.json()["issue"][0]["details"]["coding"][0]["code"]
        return code
