"""JSON Patch: RFC 6902 with its appendix A, RFC 6901; hl7.org/fhir/R4/http.html#patch; attack D13."""

import copy
from typing import Any

import pytest

from fhirserver.outcome import BadRequest, OutcomeError, Unprocessable
from fhirserver.r4.jsonpatch import apply_json_patch
from fhirserver.r4.jsontext import ExactDecimal, dump_json, parse_json

BASE = {"resourceType": "Patient", "id": "p"}


def patched(content: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    before = {**BASE, **content}
    untouched = copy.deepcopy(before)
    result = apply_json_patch(before, list(operations))
    assert before == untouched
    return {key: value for key, value in result.items() if key not in BASE}


def refused(content: dict[str, Any], *operations: Any) -> OutcomeError:
    before = {**BASE, **content}
    untouched = copy.deepcopy(before)
    with pytest.raises(OutcomeError) as caught:
        apply_json_patch(before, list(operations))
    assert before == untouched
    return caught.value


def op(op: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": op, "path": path, **{key.rstrip("_"): value for key, value in more.items()}}


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ({}, op("add", "/baz", value="qux"), {"baz": "qux"}),
        ({"a": [1, 3]}, op("add", "/a/1", value=2), {"a": [1, 2, 3]}),
        ({"a": [1]}, op("add", "/a/1", value=2), {"a": [1, 2]}),
        ({"a": [1]}, op("add", "/a/-", value=[2]), {"a": [1, [2]]}),
        ({"a": 1}, op("add", "/a", value=2), {"a": 2}),
        ({"a": {}}, op("add", "/a/b", value={"c": None}), {"a": {"b": {"c": None}}}),
        ({"a": 1}, op("add", "/b", value=2, unknown="ignored"), {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, op("remove", "/a"), {"b": 2}),
        ({"a": [1, 2, 3]}, op("remove", "/a/1"), {"a": [1, 3]}),
        ({"a": 1}, op("replace", "/a", value=None), {"a": None}),
        ({"a": [1, 2]}, op("replace", "/a/0", value="x"), {"a": ["x", 2]}),
        ({"a": {"b": 1}, "c": {}}, op("move", "/c/d", from_="/a/b"), {"a": {}, "c": {"d": 1}}),
        ({"a": [1, 2, 3, 4]}, op("move", "/a/3", from_="/a/1"), {"a": [1, 3, 4, 2]}),
        ({"a": 1}, op("move", "/a", from_="/a"), {"a": 1}),
        ({"a": {"b": 1}}, op("copy", "/c", from_="/a"), {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": [1, 2]}, op("copy", "/a/-", from_="/a/0"), {"a": [1, 2, 1]}),
        ({"a~b": 1, "c/d": 2}, op("copy", "/x", from_="/a~0b"), {"a~b": 1, "c/d": 2, "x": 1}),
        ({"c/d": 2}, op("replace", "/c~1d", value=3), {"c/d": 3}),
        ({"~1": 2}, op("replace", "/~01", value=3), {"~1": 3}),
        ({"": {"": 1}}, op("replace", "//", value=3), {"": {"": 3}}),
        ({"a": {"0": 1}}, op("remove", "/a/0"), {"a": {}}),
        ({"$set": {"a.b": 1}}, op("replace", "/$set/a.b", value=2), {"$set": {"a.b": 2}}),
        ({"a": 1}, op("test", "/a", value=1.0), {"a": 1}),
        ({"a": [{"b": None}]}, op("test", "/a", value=[{"b": None}]), {"a": [{"b": None}]}),
    ],
)
def test_operation_changes_what_it_names(before: Any, operation: Any, after: Any) -> None:
    assert patched(before, operation) == after


@pytest.mark.parametrize(
    ("before", "operation", "code"),
    [
        ({}, op("add", "/a/b", value=1), "patch-path"),
        ({"a": [1]}, op("add", "/a/2", value=1), "patch-path"),
        ({"a": [1]}, op("add", "/a/-1", value=1), "patch-path"),
        ({"a": [1]}, op("add", "/a/01", value=1), "patch-path"),
        ({"a": [1]}, op("add", "/a/1e0", value=1), "patch-path"),
        ({"a": [1]}, op("add", "/a/\u0661", value=1), "patch-path"),
        ({"a": "text"}, op("add", "/a/0", value=1), "patch-path"),
        ({"a": "text"}, op("copy", "/b", from_="/a/0"), "patch-path"),
        ({}, op("remove", "/a"), "patch-path"),
        ({"a": [1]}, op("remove", "/a/-"), "patch-path"),
        ({"a": [1]}, op("remove", "/a/1"), "patch-path"),
        ({}, op("replace", "/a", value=1), "patch-path"),
        ({"a": {"b": 1}}, op("move", "/a/b/c", from_="/a"), "patch-path"),
        ({}, op("move", "/a", from_="/b"), "patch-path"),
        ({}, op("copy", "/a", from_="/b"), "patch-path"),
        ({"a": 1}, op("test", "/a", value=2), "patch-test-failed"),
        ({"a": 1}, op("test", "/a", value=True), "patch-test-failed"),
        ({"a": 1}, op("test", "/a", value="1"), "patch-test-failed"),
        ({"a": [1, 2]}, op("test", "/a", value=[2, 1]), "patch-test-failed"),
        ({}, op("test", "/a", value=None), "patch-path"),
    ],
)
def test_operation_that_does_not_fit_is_refused(before: Any, operation: Any, code: str) -> None:
    error = refused(before, op("test", "/id", value="p"), operation)
    assert isinstance(error, Unprocessable)
    assert error.issues[0].code == code
    assert error.issues[0].text.startswith("Operation 2:")


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"op": "add", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "replace", "path": "/a"},
        {"op": "test", "path": "/a"},
        {"op": "move", "path": "/a"},
        {"op": "copy", "path": "/a", "from": None},
        {"op": "spam", "path": "/a"},
        {"op": ["add"], "path": "/a", "value": 1},
        {"op": "add", "path": None, "value": 1},
        {"op": "add", "path": 1, "value": 1},
    ],
)
def test_malformed_operation_is_refused(operation: Any) -> None:
    error = refused({"a": 1}, operation)
    assert isinstance(error, BadRequest)
    assert error.issues[0].code == "patch-syntax"


@pytest.mark.parametrize(
    "operation", [op("add", "a", value=1), op("add", "/a~2", value=1), op("add", "/~", value=1)]
)
def test_malformed_pointer_is_refused(operation: Any) -> None:
    assert refused({"a": 1}, operation).issues[0].code in ("patch-path", "patch-syntax")


@pytest.mark.parametrize("patch", [None, {}, "x", ["x"], [[]], {"op": "add"}])
def test_patch_that_is_no_array_of_objects_is_refused(patch: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        apply_json_patch(dict(BASE), patch)
    assert caught.value.issues[0].code == "patch-syntax"


@pytest.mark.parametrize(
    "operation",
    [
        op("replace", "/id", value="q"),
        op("remove", "/id"),
        op("replace", "/resourceType", value="Group"),
        op("remove", "/resourceType"),
        op("replace", "", value={"resourceType": "Patient", "id": "q"}),
        op("replace", "", value=[]),
        op("move", "/x", from_="/id"),
    ],
)
def test_patch_cannot_change_identity(operation: Any) -> None:
    assert refused({}, operation).issues[0].code == "patch-identity"


def test_root_may_be_replaced_by_the_same_resource() -> None:
    assert patched({"a": 1}, op("replace", "", value={**BASE, "b": 2})) == {"b": 2}


def test_values_are_not_shared_with_the_patch() -> None:
    value = {"x": [1]}
    result = patched(
        {}, op("add", "/a", value=value), op("add", "/b", value=value), op("add", "/a/x/-", value=2)
    )
    assert result == {"a": {"x": [1, 2]}, "b": {"x": [1]}}
    assert value == {"x": [1]}


def test_decimals_keep_their_text() -> None:
    patch = parse_json(
        b'[{"op":"add","path":"/b","value":1.00},{"op":"copy","from":"/a","path":"/c"},'
        b'{"op":"test","path":"/c","value":0.01}]'
    )
    result = patched({"a": ExactDecimal("0.010")}, *patch)
    assert dump_json(result) == b'{"a":0.010,"b":1.00,"c":0.010}'


def test_too_many_operations_are_refused() -> None:
    assert refused({"a": 1}, *[op("test", "/a", value=1)] * 1001).issues[0].code == "patch-too-large"
    assert patched({"a": 1}, *[op("test", "/a", value=1)] * 1000) == {"a": 1}


def test_copies_cannot_make_a_bomb() -> None:
    doubling = [op("copy", f"/l/{'0/' * 0}-", from_="/l") for _ in range(40)]
    assert refused({"l": ["x" * 100]}, *doubling).issues[0].code == "patch-too-large"
    wide = [op("copy", f"/k{index}", from_="/a") for index in range(60)]
    assert refused({"a": "x" * 100_000}, *wide).issues[0].code == "patch-too-large"
    assert len(patched({"a": "x" * 100_000}, *wide[:20])) == 21


def test_depth_cannot_grow_beyond_the_limit() -> None:
    nest: Any = 1
    for _ in range(60):
        nest = [nest]
    assert patched({}, op("add", "/a", value=nest))
    assert refused({"a": {"b": {"c": {"d": {}}}}}, op("add", "/a/b/c/d/e", value=nest)).issues[0].code == (
        "patch-too-large"
    )
