"""The REST interface as one explicit table: which method and path shape is which interaction.

Requests, Bundle entries, the CapabilityStatement and the OpenAPI document all read this table.
Source: hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from fhirserver.context import NOTHING, Interaction, Kind
from fhirserver.operations import OPERATIONS
from fhirserver.outcome import BadRequest, NotAllowed, NotFound

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
COMPARTMENTS = ("Patient", "Encounter", "RelatedPerson", "Practitioner", "Device")


class Route(NamedTuple):
    """One line of the table. `path`: segments below the FHIR base; `conditional`: the query holds criteria."""

    method: str
    path: str
    kind: Kind
    summary: str
    body: str | None = None
    conditional: bool = False


ROUTES: tuple[Route, ...] = (
    Route("GET", "/metadata", Kind.CAPABILITIES, "CapabilityStatement of this server"),
    Route("GET", "/{type}/{id}", Kind.READ, "Read the current version of a resource"),
    Route("GET", "/{type}/{id}/_history/{vid}", Kind.VREAD, "Read one version of a resource"),
    Route("PUT", "/{type}/{id}", Kind.UPDATE, "Replace a resource, or create it under this id", "resource"),
    Route("PATCH", "/{type}/{id}", Kind.PATCH, "Change a resource by JSON Patch or FHIRPath Patch", "patch"),
    Route("DELETE", "/{type}/{id}", Kind.DELETE, "Delete a resource; its history stays"),
    Route("POST", "/{type}", Kind.CREATE, "Create a resource (If-None-Exist: conditionally)", "resource"),
    Route(
        "PUT", "/{type}", Kind.UPDATE, "Conditional update: the query holds the criteria", "resource", True
    ),
    Route("PATCH", "/{type}", Kind.PATCH, "Conditional patch: the query holds the criteria", "patch", True),
    Route("DELETE", "/{type}", Kind.DELETE, "Conditional delete: the query holds the criteria", None, True),
    Route("GET", "/{type}", Kind.SEARCH_TYPE, "Search resources of a type"),
    Route("POST", "/{type}/_search", Kind.SEARCH_TYPE, "Search resources of a type", "form"),
    Route("GET", "/{type}/{id}/_history", Kind.HISTORY_INSTANCE, "All versions of a resource, newest first"),
    Route("GET", "/{type}/_history", Kind.HISTORY_TYPE, "Changes of all resources of a type, newest first"),
    Route("GET", "/_history", Kind.HISTORY_SYSTEM, "Changes of all resources, newest first"),
    Route("GET", "/", Kind.SEARCH_SYSTEM, "Search over several types (_type)"),
    Route("POST", "/_search", Kind.SEARCH_SYSTEM, "Search over several types (_type)", "form"),
    Route("POST", "/", Kind.BATCH, "A batch or transaction Bundle", "bundle"),
    Route("GET", "/{compartment}/{id}/{type}", Kind.SEARCH_COMPARTMENT, "Search inside a compartment"),
    Route(
        "POST",
        "/{compartment}/{id}/{type}/_search",
        Kind.SEARCH_COMPARTMENT,
        "Search inside a compartment",
        "form",
    ),
)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Router:
    """Maps (method, path below the base, query) to an Interaction, for requests and Bundle entries alike."""

    types: frozenset[str]

    def route(
        self,
        method: str,
        path: str,
        query: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] = NOTHING,
        full_url: str | None = None,
    ) -> Interaction:
        """The interaction that is asked for.

        `path`: as on the wire, below the FHIR base, with or without a leading slash. `query`: raw query string.
        Raises NotFound (unknown type or shape), NotAllowed (known shape, other method), BadRequest (bad id).
        """
        if method not in _METHODS:
            raise NotAllowed(
                f"The method is not offered; use one of {', '.join(_METHODS)}.",
                code="method-unknown",
                allow=_METHODS,
            )
        verb = "GET" if method == "HEAD" else method
        path = path.strip("/")
        segments = path.split("/") if path else []
        kind, target = self._shape(verb, [unquote(s) if "%" in s else s for s in segments])
        pairs = _pairs(query) if query else ()
        return Interaction(
            kind,
            type=target.get("type"),
            id=target.get("id"),
            vid=target.get("vid"),
            query=pairs,
            body=body,
            operation=target.get("operation"),
            compartment=(target["compartment"], target["owner"]) if "compartment" in target else None,
            full_url=full_url,
            method=method,
            url=path + ("?" + query if query else ""),
            changes_state=kind is Kind.OPERATION and OPERATIONS[target["operation"]].affects_state,
            needs=OPERATIONS[target["operation"]].letters if kind is Kind.OPERATION else (),
            counts_for=OPERATIONS[target["operation"]].counts_for if kind is Kind.OPERATION else (),
            headers=headers,
        )

    def _shape(self, verb: str, segments: list[str]) -> tuple[Kind, dict[str, str]]:
        match segments:
            case [type, id] if type in self.types and id[:1] not in ("$", "_"):
                return _instance_kind(verb), {"type": type, "id": _checked(id)}
            case [type] if type in self.types:
                return _pick(verb, _TYPE_LEVEL, f"/{type}"), {"type": type}
            case [] | [""]:
                return _pick(verb, {"GET": Kind.SEARCH_SYSTEM, "POST": Kind.BATCH}, "/"), {}
            case ["metadata"]:
                return _pick(verb, {"GET": Kind.CAPABILITIES}, "/metadata"), {}
            case ["_history"]:
                return _pick(verb, {"GET": Kind.HISTORY_SYSTEM}, "/_history"), {}
            case ["_search"]:
                return _pick(verb, {"POST": Kind.SEARCH_SYSTEM}, "/_search"), {}
        if segments[-1].startswith("$"):
            return self._operation(verb, segments)
        if segments[0] not in self.types:
            raise NotFound(
                "This is neither a resource type of FHIR R4 nor an endpoint of this server; types are case-sensitive.",
                code="type-unknown",
            )
        return self._below_type(verb, segments)

    def _below_type(self, verb: str, segments: list[str]) -> tuple[Kind, dict[str, str]]:
        match segments:
            case [type, "_history"]:
                return _pick(verb, {"GET": Kind.HISTORY_TYPE}, f"/{type}/_history"), {"type": type}
            case [type, "_search"]:
                return _pick(verb, {"POST": Kind.SEARCH_TYPE}, f"/{type}/_search"), {"type": type}
            case [type, id, "_history"]:
                kind = _pick(verb, {"GET": Kind.HISTORY_INSTANCE}, f"/{type}/{{id}}/_history")
                return kind, {"type": type, "id": _checked(id)}
            case [type, id, "_history", vid]:
                kind = _pick(verb, {"GET": Kind.VREAD}, f"/{type}/{{id}}/_history/{{vid}}")
                return kind, {"type": type, "id": _checked(id), "vid": _checked(vid)}
            case [owner, id, type, "_search"] if owner in COMPARTMENTS and (
                type in self.types or type == "*"
            ):
                kind = _pick(verb, {"POST": Kind.SEARCH_COMPARTMENT}, f"/{owner}/{{id}}/{type}/_search")
                return kind, self._compartment(owner, id, type)
            case [owner, id, type] if owner in COMPARTMENTS and (type in self.types or type == "*"):
                kind = _pick(verb, {"GET": Kind.SEARCH_COMPARTMENT}, f"/{owner}/{{id}}/{type}")
                return kind, self._compartment(owner, id, type)
        raise NotFound(
            "There is no such endpoint; see GET /metadata for what is offered.", code="route-unknown"
        )

    @staticmethod
    def _compartment(owner: str, id: str, type: str) -> dict[str, str]:
        target = {"compartment": owner, "owner": _checked(id)}
        return target if type == "*" else target | {"type": type}

    def _operation(self, verb: str, segments: list[str]) -> tuple[Kind, dict[str, str]]:
        name = segments[-1][1:]
        operation = OPERATIONS.get(name)
        match segments[:-1]:
            case []:
                level, target = "system", {}
            case [type] if type in self.types:
                level, target = "type", {"type": type}
            case [type, id] if type in self.types:
                level, target = "instance", {"type": type, "id": _checked(id)}
            case [type, id, "_history", vid] if type in self.types:
                level, target = "version", {"type": type, "id": _checked(id), "vid": _checked(vid)}
            case _:
                level, target = "", {}
        if operation is None or not operation.offered(level, target.get("type")):
            raise NotFound(
                "There is no such operation here; see GET /metadata for those offered.",
                code="operation-unknown",
            )
        if verb not in operation.methods:
            raise NotAllowed(
                f"${name} is called by {' or '.join(operation.methods)}.",
                code="method-not-allowed",
                allow=operation.methods,
            )
        return Kind.OPERATION, target | {"operation": name}


_TYPE_LEVEL = {
    "GET": Kind.SEARCH_TYPE,
    "POST": Kind.CREATE,
    "PUT": Kind.UPDATE,
    "PATCH": Kind.PATCH,
    "DELETE": Kind.DELETE,
}
_INSTANCE_LEVEL = {"GET": Kind.READ, "PUT": Kind.UPDATE, "PATCH": Kind.PATCH, "DELETE": Kind.DELETE}


def _instance_kind(verb: str) -> Kind:
    return _pick(verb, _INSTANCE_LEVEL, "/{type}/{id}")


def _pick(verb: str, kinds: Mapping[str, Kind], shape: str) -> Kind:
    kind = kinds.get(verb)
    if kind is None:
        raise NotAllowed(f"{shape} takes {', '.join(kinds)}.", code="method-not-allowed", allow=kinds)
    return kind


def _checked(id: str) -> str:
    if ID.fullmatch(id) is None:
        raise BadRequest(
            "An id has 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '.'.", code="id-malformed"
        )
    return id


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=1000))
    except ValueError as error:
        raise BadRequest(
            "The query string is not valid percent-encoded UTF-8, or has more than 1000 parameters.",
            code="query-malformed",
        ) from error
