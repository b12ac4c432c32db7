"""Every route and operation has a line here that says which letters open it; a new one without a line fails.

Generated from the route table. Threats A12, E1; docs/reference/scopes.md.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.context import Kind
from fhirserver.engine.routes import ROUTES
from fhirserver.operations import OPERATIONS
from tests.kit.client import assert_outcome
from tests.kit.tokens import Callers
from tests.security.clinic import observation
from tests.security.test_roles import STAFF, TABLE

Line = tuple[
    str, str, str
]  # how to call it on Observation, what it needs, what a sufficient token gets at least
PATCH = {"content-type": "application/json-patch+json"}
JSON = {"content-type": "application/fhir+json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}

# (method, path of the route table) -> letters on the type; "" is public
LETTERS: dict[tuple[str, str], str] = {
    ("GET", "/metadata"): "",
    ("GET", "/{type}/{id}"): "r",
    ("GET", "/{type}/{id}/_history/{vid}"): "r",
    ("PUT", "/{type}/{id}"): "u",
    ("PATCH", "/{type}/{id}"): "u",
    ("DELETE", "/{type}/{id}"): "d",
    ("POST", "/{type}"): "c",
    ("PUT", "/{type}"): "us",
    ("PATCH", "/{type}"): "us",
    ("DELETE", "/{type}"): "ds",
    ("GET", "/{type}"): "s",
    ("POST", "/{type}/_search"): "s",
    ("GET", "/{type}/{id}/_history"): "r",
    ("GET", "/{type}/_history"): "s",
    ("GET", "/_history"): "s",
    ("GET", "/"): "s",
    ("POST", "/_search"): "s",
    ("POST", "/"): "of each entry",
    ("GET", "/{compartment}/{id}/{type}"): "s",
    ("POST", "/{compartment}/{id}/{type}/_search"): "s",
}
# operation -> letters at the levels instance, type, system; None where it is not offered. "|" is or; "any": the handler
# decides.
OPERATION_LETTERS: dict[str, tuple[str | None, str | None, str | None]] = {
    "everything": ("r", None, None),
    "meta": ("r", "s", "s"),
    "meta-add": ("ur", None, None),
    "meta-delete": ("ur", None, None),
    "break-glass": (None, None, "any"),
    "expand": ("r|s", "r|s", None),
    "validate-code": ("r|s", "r|s", None),
    "lookup": (None, "r|s", None),
    "subsumes": ("r|s", "r|s", None),
    "translate": ("r|s", "r|s", None),
    "validate": ("rc|ru", "c|u", None),
    "proof": ("r", None, None),
    "checkpoint": (None, "s", None),
    "consistency": (None, "s", None),
    "report": (None, "s", None),
    "access-report": ("r", None, None),
    "incident-report": (None, "s", None),
    "alerts": (None, "s", None),
    "review": ("r", None, None),
    "verify": (None, "s", None),
}
DECIDES_FURTHER = ("access-report",)  # the handler asks whose patient it is
CALLABLE = [(key, letters) for key, letters in LETTERS.items() if letters and key != ("POST", "/")]


def test_every_route_has_its_line() -> None:
    routes = {(route.method, route.path) for route in ROUTES}
    assert routes == set(LETTERS)
    assert {route.kind for route in ROUTES} | {Kind.TRANSACTION, Kind.OPERATION} == set(Kind)


def test_every_operation_has_its_line() -> None:
    assert set(OPERATIONS) == set(OPERATION_LETTERS)
    for name, letters in OPERATION_LETTERS.items():
        for level, needed in zip(("instance", "type", "system"), letters, strict=True):
            assert (needed is not None) == (level in OPERATIONS[name].levels), (name, level)


def body_of(method: str, path: str) -> dict[str, Any]:
    if path.endswith("_search"):
        return {"content": "_id=absent", "headers": FORM}
    if method == "PATCH":
        return {"json": [{"op": "test", "path": "/status", "value": "x"}], "headers": PATCH}
    if method in ("POST", "PUT"):
        return {"json": observation("matrix", "p4"), "headers": JSON}
    return {}


def url_of(path: str, conditional: bool) -> str:
    url = path.replace("{compartment}", "Patient").replace("{type}", "Observation").replace("{vid}", "1")
    url = url.replace("Patient/{id}", "Patient/p1").replace("{id}", "matrix")
    return f"{url}?_id=matrix" if conditional else url


@pytest.mark.parametrize(("route", "letters"), CALLABLE, ids=[" ".join(key) for key, _ in CALLABLE])
def test_a_route_needs_exactly_its_letters(callers: Callers, route: tuple[str, str], letters: str) -> None:
    method, path = route
    conditional = len(letters) > 1
    call = body_of(method, path) | {"method": method, "url": url_of(path, conditional)}
    anonymous = callers.anonymous().request(**call)
    assert_outcome(anonymous, 401, "login", "token-missing")
    for left_out in letters:
        others = "".join(x for x in "cruds" if x != left_out)
        refused = callers.client("system", f"system/Observation.{others}").request(**call)
        assert_outcome(refused, 403, "forbidden", "scope-insufficient")
    for scope in ("system/Patient.cruds", "openid", "patient/*.cruds user/*.cruds"):
        answer = callers.client("system", scope, patient="p1").request(**call)
        if "{type}" in path or scope == "openid" or "user" in scope:
            assert_outcome(answer, 403, "forbidden", "scope-insufficient")
    exact = "".join(x for x in "cruds" if x in letters)
    opened = callers.client("system", f"system/Observation.{exact}").request(**call)
    assert opened.status_code not in (401, 403, 405, 500), opened.text


@pytest.mark.parametrize("person", STAFF)
def test_a_route_is_open_to_the_roles_that_have_its_letters(callers: Callers, person: str) -> None:
    client = callers.client(person, "user/*.cruds")
    held = TABLE["Observation"].split()[STAFF.index(person)]
    for (method, path), letters in CALLABLE:
        if "{type}" not in path:
            continue  # open where any type is
        call = body_of(method, path) | {"method": method, "url": url_of(path, len(letters) > 1)}
        answer = client.request(**call)
        open_ = set(letters) <= set(held)
        refused = answer.status_code == 403 and "scope-insufficient" in answer.text
        assert refused is not open_, (method, path, answer.text)


@pytest.mark.parametrize("name", [name for name in OPERATION_LETTERS if name != "break-glass"])
def test_an_operation_needs_exactly_its_letters(callers: Callers, name: str) -> None:
    type = OPERATIONS[name].types[0] if OPERATIONS[name].types else "Observation"
    for level, letters in zip((f"/{type}/absent", f"/{type}", ""), OPERATION_LETTERS[name], strict=True):
        if letters is None:
            continue
        call: dict[str, Any] = {"method": OPERATIONS[name].methods[0], "url": f"{level}/${name}"}
        if call["method"] == "POST":
            call |= {"json": {"resourceType": "Parameters"}, "headers": JSON}
        assert callers.anonymous().request(**call).status_code == 401
        for left_out in letters if "|" not in letters else (letters,):
            others = "".join(x for x in "cruds" if x not in left_out)
            refused = callers.client("system", f"system/{type}.{others}").request(**call)
            assert_outcome(refused, 403, "forbidden", "scope-insufficient")
        for enough in letters.split("|"):
            exact = "".join(x for x in "cruds" if x in enough)
            opened = callers.client("system", f"system/{type}.{exact}").request(**call)
            assert opened.status_code not in (401, 403, 405, 500) or name in DECIDES_FURTHER, opened.text
