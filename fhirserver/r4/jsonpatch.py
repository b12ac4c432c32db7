"""JSON Patch for resources: RFC 6902 within limits, each failure named by its operation.

Pointers and changes are the work of the library `jsonpatch`. Here stands what a server adds: the resource
given is left alone, identity cannot change, a small patch cannot make a large or deep resource, and `test`
takes 0.010 and 0.01 for the same number.
Sources: RFC 6902, RFC 6901, hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NoReturn

from jsonpatch import InvalidJsonPatch, JsonPatch, JsonPatchException
from jsonpointer import JsonPointer, JsonPointerException

from fhirserver.outcome import BadRequest, IssueCode, Unprocessable
from fhirserver.r4.jsontext import MAX_DEPTH, comparable, dump_json, is_deeper

MAX_OPERATIONS = 1000
MAX_COPIED = 4 * 1024 * 1024  # bytes of JSON that `copy` and `move` may handle in one patch
IDENTITY = ("resourceType", "id")


def apply_json_patch(resource: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The resource that `patch` (a JSON array of operations) makes of `resource`, which stays as it is.

    Raises BadRequest patch-syntax for what is no JSON Patch, BadRequest patch-too-large beyond the limits,
    and Unprocessable patch-path, patch-test-failed or patch-identity where it does not fit the resource; the
    words name the operation by its place, from 1.
    """
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise BadRequest("A JSON Patch is an array of operations (objects).", code="patch-syntax")
    if len(patch) > MAX_OPERATIONS:
        raise too_large(f"A patch may have {MAX_OPERATIONS} operations.")
    changed: Any = deepcopy(resource)
    budget = MAX_COPIED
    for number, operation in enumerate(patch, 1):
        name = f"Operation {number}"
        _check(operation, name)
        try:
            if operation["op"] == "test":
                _test(changed, operation, name)
                continue
            budget -= _weight(changed, operation, name)
            if budget < 0:
                raise too_large(f"{name}: the patch copies or moves more than {MAX_COPIED} bytes.")
            changed = JsonPatch([operation]).apply(changed, in_place=True)
        except (JsonPatchException, JsonPointerException) as error:
            _refuse(name, error)
    keep_identity(resource, changed)
    return changed  # type: ignore[no-any-return]


def keep_identity(before: dict[str, Any], after: Any) -> None:
    """Raises Unprocessable patch-identity where a patch changed the type or the id of a resource."""
    if not isinstance(after, dict):
        raise Unprocessable("A patch cannot replace the resource by something else.", code="patch-identity")
    for name in IDENTITY:
        if before.get(name) != after.get(name):
            raise Unprocessable(
                f"A patch cannot change {name}.",
                code="patch-identity",
                expression=f"{before.get('resourceType', 'Resource')}.{name}",
                issue_code=IssueCode.BUSINESS_RULE,
            )


def too_large(text: str) -> BadRequest:
    """The refusal of a patch beyond a limit."""
    return BadRequest(text, code="patch-too-large", issue_code=IssueCode.TOO_COSTLY)


_NEEDS = {
    "add": "value",
    "replace": "value",
    "test": "value",
    "remove": "path",
    "move": "from",
    "copy": "from",
}


def _check(operation: dict[str, Any], name: str) -> None:
    """Refuse an operation that is none of RFC 6902 or lacks a member."""
    kind = operation.get("op")
    needs = _NEEDS.get(kind) if isinstance(kind, str) else None
    pointers = [operation.get("path"), operation.get("from", "") if needs == "from" else ""]
    if needs is None or needs not in operation or not all(isinstance(pointer, str) for pointer in pointers):
        words = "give op, path and, as op needs it, value or from"
        raise BadRequest(f"{name} is not valid: {words}.", code="patch-syntax")


def _test(document: Any, operation: dict[str, Any], name: str) -> None:
    found = JsonPointer(operation["path"]).resolve(document)
    if comparable(found) != comparable(operation["value"]):
        raise Unprocessable(f"{name}: the test fails.", code="patch-test-failed")


def _weight(document: Any, operation: dict[str, Any], name: str) -> int:
    """The bytes of JSON that an operation copies or moves. Refuses one that would nest too deep."""
    kind = operation["op"]
    room = MAX_DEPTH - len(JsonPointer(operation["path"]).parts)
    if kind in ("add", "replace"):
        value = operation["value"]
    elif kind in ("copy", "move"):
        value = JsonPointer(operation["from"]).resolve(document)
    else:
        return 0
    if room < 0 or is_deeper(value, room):
        raise too_large(f"{name}: the resource would have more than {MAX_DEPTH} levels.")
    return len(dump_json(value)) if kind in ("copy", "move") else 0


def _refuse(name: str, error: Exception) -> NoReturn:
    if isinstance(error, InvalidJsonPatch):
        raise BadRequest(f"{name} is not valid.", code="patch-syntax") from None
    raise Unprocessable(f"{name}: path or from leads to no such place.", code="patch-path") from None
