"""The OpenAPI 3.1 document, derived from the route table: one path per shape, the type as a path parameter.

Source: spec.openapis.org/oas/v3.1.0; statuses from hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fhirserver import __version__
from fhirserver.context import Kind
from fhirserver.engine.routes import COMPARTMENTS, ROUTES, Route
from fhirserver.operations import OPERATIONS

if TYPE_CHECKING:
    from fhirserver.r4.definitions import Definitions
    from fhirserver.settings import Settings

_JSON = "application/fhir+json"
_XML = "application/fhir+xml"
_STATUSES: dict[Kind, tuple[int, ...]] = {
    Kind.CAPABILITIES: (200, 406),
    Kind.READ: (200, 304, 404, 410),
    Kind.VREAD: (200, 304, 404, 410),
    Kind.UPDATE: (200, 201, 404, 409, 412, 413, 415, 422),
    Kind.PATCH: (200, 404, 409, 410, 412, 413, 415, 422),
    Kind.DELETE: (204, 404, 409, 412),
    Kind.CREATE: (200, 201, 404, 409, 412, 413, 415, 422),
    Kind.SEARCH_TYPE: (200, 404, 415),
    Kind.SEARCH_SYSTEM: (200, 415),
    Kind.SEARCH_COMPARTMENT: (200, 404, 415),
    Kind.HISTORY_INSTANCE: (200, 404),
    Kind.HISTORY_TYPE: (200, 404),
    Kind.HISTORY_SYSTEM: (200,),
    Kind.BATCH: (200, 404, 409, 412, 413, 415, 422),
    Kind.OPERATION: (200, 404, 409, 410, 413, 415, 422),
}
_ALWAYS = (400, 401, 403, 405, 406, 414, 503)
_ID = {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"}
_READS = (Kind.READ, Kind.VREAD)


def openapi_document(settings: Settings, definitions: Definitions) -> dict[str, Any]:
    """The document as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(f"/fhir{route.path}".rstrip("/"), {})[route.method.lower()] = _operation(route)
    _merge_conditional(paths)
    for name, operation in OPERATIONS.items():
        for level, stem in (("system", ""), ("type", "/{type}"), ("instance", "/{type}/{id}")):
            if level in operation.levels:
                paths[f"/fhir{stem}/${name}"] = _called(name, stem, operation.types)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fhirserver",
            "version": __version__,
            "description": "FHIR R4 (4.0.1) REST API. GET /fhir/metadata lists the search parameters of every type.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.fhir_base.removesuffix("/fhir")}],
        "paths": paths,
        "components": _components(definitions),
    }


def _operation(route: Route) -> dict[str, Any]:
    names = {"{type}": "type", "{id}": "id", "{vid}": "vid", "{compartment}": "compartment"}
    parameters = [
        {"$ref": f"#/components/parameters/{name}"} for mark, name in names.items() if mark in route.path
    ]
    parameters += [{"$ref": "#/components/parameters/_format"}, {"$ref": "#/components/parameters/_pretty"}]
    if route.kind.value.startswith(("search", "history")):
        parameters.append({"$ref": "#/components/parameters/_count"})
    if route.kind in _READS:
        parameters += [{"$ref": f"#/components/parameters/{name}"} for name in ("_summary", "If-None-Match")]
    if route.kind in (Kind.UPDATE, Kind.PATCH, Kind.DELETE):
        parameters.append({"$ref": "#/components/parameters/If-Match"})
    if route.kind is Kind.CREATE:
        parameters.append({"$ref": "#/components/parameters/If-None-Exist"})
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": f"{route.kind.value}-{route.method.lower()}{'-conditional' if route.conditional else ''}",
        "tags": ["operation" if route.kind is Kind.OPERATION else route.kind.value.partition("-")[0]],
        "parameters": parameters,
        "responses": _responses(route.kind),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": route.body != "form", "content": _BODIES[route.body]}
    return operation


def _called(name: str, stem: str, types: tuple[str, ...]) -> dict[str, Any]:
    operation = OPERATIONS[name]
    path: dict[str, Any] = {}
    for method in operation.methods:
        line = Route(
            method,
            f"{stem}/${name}",
            Kind.OPERATION,
            operation.summary,
            "operation" if method == "POST" else None,
        )
        described = _operation(line)
        described["operationId"] = f"operation-{name}-{stem.count('{')}-{method.lower()}"
        if types and "{type}" in stem:
            limited = {"name": "type", "in": "path", "required": True, "schema": {"enum": list(types)}}
            described["parameters"] = [limited, *described["parameters"][1:]]
        if method == "POST":
            described["requestBody"]["required"] = operation.affects_state
        if operation.native:
            own = {media: {"schema": {"type": "string"}} for media in operation.native}
            own |= {"application/json": {}} if "application/json" in own else {}
            described["responses"]["200"] = {
                "description": operation.summary,
                "content": _content("Resource") | own,
            }
        path[method.lower()] = described
    return path


def _merge_conditional(paths: dict[str, dict[str, Any]]) -> None:
    """Criteria of conditional interactions are free query parameters; OpenAPI states them as one exploded object."""
    criteria = {
        "name": "criteria",
        "in": "query",
        "style": "form",
        "explode": True,
        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    for method in ("put", "patch", "delete"):
        paths["/fhir/{type}"][method]["parameters"].append(criteria)


def _responses(kind: Kind) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted((*_STATUSES[kind], *_ALWAYS)):
        if status in (204, 304):
            responses[str(status)] = {"description": "No content"}
        elif status < 300:
            responses[str(status)] = {"$ref": "#/components/responses/Resource"}
        else:
            responses[str(status)] = {"$ref": "#/components/responses/OperationOutcome"}
    return responses


def _content(schema: str) -> dict[str, Any]:
    return {
        _JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}},
        _XML: {"schema": {"type": "string"}},
    }


_FORM = {"type": "object", "additionalProperties": {"type": "string"}}
_BODIES: dict[str, dict[str, Any]] = {
    "resource": _content("Resource"),
    "bundle": _content("Bundle"),
    "operation": _content("Parameters"),
    "patch": {
        "application/json-patch+json": {"schema": {"$ref": "#/components/schemas/JsonPatch"}},
        _JSON: {"schema": {"$ref": "#/components/schemas/Parameters"}},
    },
    "form": {"application/x-www-form-urlencoded": {"schema": _FORM}},
}


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _header(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": text}


def _path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _components(definitions: Definitions) -> dict[str, Any]:
    types = sorted(definitions.resource_types)

    def resource(type: str) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["resourceType"],
            "properties": {"resourceType": {"const": type}, "id": _ID},
        }

    parameters = (
        _path("type", {"enum": types}),
        _path("compartment", {"enum": list(COMPARTMENTS)}),
        _path("id", _ID),
        _path("vid", {"type": "string", "pattern": "^[0-9]{1,9}$"}),
        _query("_format", {"enum": ["json", "xml", _JSON, _XML]}, "Format of the answer; wins over Accept."),
        _query("_pretty", {"enum": ["true", "false"]}, "Indent the answer."),
        _query("_count", {"type": "integer", "minimum": 0}, "Entries per page."),
        _query("_summary", {"enum": ["true", "false", "text", "data"]}, "A part of the resource."),
        _header("If-Match", "Entity tag of the version that the change is based on."),
        _header("If-None-Match", "Entity tag that the caller has already."),
        _header("If-None-Exist", "Search criteria: create only where none matches."),
    )
    return {
        "parameters": {parameter["name"]: parameter for parameter in parameters},
        "responses": {
            "Resource": {"description": "A resource", "content": _content("Resource")},
            "OperationOutcome": {
                "description": "What was wrong, and how to fix it",
                "content": _content("OperationOutcome"),
            },
        },
        "schemas": {
            "Resource": {
                "type": "object",
                "required": ["resourceType"],
                "properties": {"resourceType": {"enum": types}, "id": _ID},
            },
            "Bundle": resource("Bundle"),
            "Parameters": resource("Parameters"),
            "OperationOutcome": resource("OperationOutcome") | {"required": ["resourceType", "issue"]},
            "JsonPatch": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["op", "path"],
                    "properties": {
                        "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
                        "path": {"type": "string"},
                        "from": {"type": "string"},
                    },
                },
            },
        },
    }
