"""Requests made from the OpenAPI document find no fault of the server and no answer that contradicts the document.

The budget is bounded: a fixed number of requests for each operation, made from a fixed seed.
Source: spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from fhirserver.engine.routes import ROUTES
from fhirserver.http.openapi import openapi_document
from fhirserver.operations import OPERATIONS
from fhirserver.r4.definitions import Definitions
from fhirserver.settings import Settings
from tests.kit.client import Fhir
from tests.kit.server import Server

DOCUMENT = openapi_document(Settings(), Definitions.load())
# the coverage phase sends every boundary value of every parameter: thousands of requests that say little more
CONFIG = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}})
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance, unsupported_method,
]  # fmt: skip
REQUESTS = 15  # for each operation


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=REQUESTS, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
def test_the_server_does_what_its_document_says(server: Server, case: Any) -> None:
    case.call_and_validate(base_url=server.root, checks=CHECKS)


def test_the_document_is_the_one_served(fhir: Fhir, server: Server) -> None:
    served = fhir.get(f"{server.root}/openapi.json").json()
    assert served["paths"] == DOCUMENT["paths"]
    assert served["components"] == DOCUMENT["components"]


def test_every_route_and_operation_is_in_the_document() -> None:
    described = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    routes = {(route.method, f"/fhir{route.path}".rstrip("/")) for route in ROUTES}
    stems = {"system": "", "type": "/{type}", "instance": "/{type}/{id}"}
    called = {
        (method, f"/fhir{stem}/${operation.name}")
        for operation in OPERATIONS.values()
        for level, stem in stems.items()
        if level in operation.levels
        for method in operation.methods
    }
    assert described == routes | called


def test_an_answer_against_the_document_would_be_noticed(server: Server) -> None:
    operation = SCHEMA["/fhir/metadata"]["GET"]
    case = operation.Case(query={"_format": "ttl"})  # 406, which the document has
    response = case.call(base_url=server.root)
    case.validate_response(response, checks=CHECKS)
    response.status_code = 418
    with pytest.raises(FailureGroup):
        case.validate_response(response, checks=CHECKS)
