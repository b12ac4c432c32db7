"""docs/reference/errors.md: every stable error code that the source raises, found by reading the source.

A code stands in a raise (`BadRequest("...", code="x")`) or goes through one of a few functions that make an error of
it (HELPERS). What else makes errors must be added there; `unread` names the places that were not understood.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import fhirserver
from fhirserver import outcome
from fhirserver.outcome import IssueCode, OutcomeError

_PAGE = """\
# Errors

Whatever is refused is answered with one OperationOutcome. Each issue has, for programs:

- `code`: the issue type of R4;
- `details.coding` with the system `{system}`: our own code. It is stable: programs may rely on it, and
  a code that is given up is not used again for something else;
- `expression`: FHIRPath of the element, where it is about one; in a Bundle it starts with the entry;

and for people `details.text`: what is wrong and what to do about it. Texts may change. No part repeats a value of the
request, since it may identify a person.

A 503 and a 429 carry `Retry-After` in seconds. Every answer carries `X-Request-Id`; the log of the server has the same
id. Generated from the source by `make docs`; `…` stands for what depends on the request's definition or the limits.

| code | status | issue type | what it says |
|---|---|---|---|
"""
_INVARIANTS = """
Besides these, `invariant-<key>` (422, `invariant`) names a rule of R4 that the resource breaks, such as
`invariant-obs-7`; `fhirserver/validation/invariants.py` lists the rules that are enforced, and those that are not, with
the reason.
"""
CLASSES: Mapping[str, type[OutcomeError]] = MappingProxyType(
    {
        name: found
        for name, found in vars(outcome).items()
        if isinstance(found, type) and issubclass(found, OutcomeError)
    }
)


class Helper(NamedTuple):
    """A function that makes an error: class, issue type (None: the class's), places of code and text."""

    error: str
    issue_code: IssueCode | None
    code: int
    text: int | None


_SHAPE = Helper("Invalid", IssueCode.STRUCTURE, 0, 1)
_VALUE = Helper("Invalid", IssueCode.VALUE, 0, 1)
HELPERS: Mapping[str, Helper] = MappingProxyType(
    {
        "structure": _SHAPE,
        "wrong_value": _VALUE,
        "unsafe": Helper("Invalid", IssueCode.SECURITY, 0, 1),
        "Problem": Helper("Invalid", None, 0, 2),
        "_matching": Helper("Invalid", IssueCode.VALUE, 0, 2),
        "_dated": Helper("Invalid", IssueCode.VALUE, 0, 2),
        "_integer": Helper("Invalid", IssueCode.VALUE, 0, 2),
        "_value_check": Helper("Invalid", IssueCode.VALUE, 1, 2),
        "impossible": Helper("Unprocessable", None, 1, 0),
        "_bad": Helper("BadRequest", IssueCode.STRUCTURE, 0, 1),
        "_Refusal": Helper("BadRequest", None, 0, None),
        "_refuse": Helper("BadRequest", None, 1, None),
        "unavailable": Helper("Unavailable", None, 1, 0),
    }
)
# what warns inside a good answer: 200
WARNINGS: Mapping[str, Helper] = MappingProxyType(
    {"Issue": Helper("", None, 1, 2), "_say": Helper("", IssueCode.INCOMPLETE, 0, 1)}
)


@dataclass(frozen=True, slots=True, order=True)
class Code:
    """A stable code: with which status and issue type it is answered, and the words."""

    code: str
    status: int
    issue_code: str
    text: str


def codes() -> list[Code]:
    """All codes in order; of those raised in several places the one with the most to say."""
    best: dict[str, Code] = {}
    for _, found in _scan():
        if isinstance(found, Code) and len(found.text) >= len(best.get(found.code, _NONE).text):
            best[found.code] = found
    return sorted(best.values())


def unread() -> list[str]:
    """Places that make an error whose code is no text in the source: `module:function`."""
    return sorted({place for place, found in _scan() if found is None})


def errors_page() -> str:
    """docs/reference/errors.md."""
    rows = [f"| `{c.code}` | {c.status} | {c.issue_code} | {c.text} |\n" for c in codes()]
    return _PAGE.format(system=outcome.ERROR_SYSTEM) + "".join(rows) + _INVARIANTS


_NONE = Code("", 0, "", "")


def _scan() -> Iterator[tuple[str, Code | None]]:
    root = Path(fhirserver.__file__).parent
    for file in sorted(root.rglob("*.py")):
        module = file.relative_to(root).with_suffix("").as_posix()
        if module in ("outcome", "cli/reference_errors"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        known = _texts(tree)
        for function, call in _calls(tree):
            found = _read(call, known)
            if found is not _SKIP:
                yield f"{module}:{function}", found


_SKIP = Code("-", 0, "", "")


def _calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Call]]:
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(node, ast.Call):
            yield inner, node
        yield from _calls(node, inner)


def _read(call: ast.Call, known: Mapping[str, str]) -> Code | None:
    """The code that a call makes an error of; _SKIP for other calls, None where it cannot be told."""
    function = call.func
    name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    helper = HELPERS.get(name) or WARNINGS.get(name)
    if name in CLASSES:
        if "issues" in named or not (call.args or named):
            return _SKIP
        code, text, issue_code = named.get("code"), call.args[0] if call.args else None, None
        error = CLASSES[name]
    elif helper is not None:
        code = call.args[helper.code] if len(call.args) > helper.code else named.get("code")
        text = call.args[helper.text] if helper.text is not None and len(call.args) > helper.text else None
        issue_code = helper.issue_code
        error = CLASSES.get(helper.error, OutcomeError)
        if name == "unavailable" and code is None:
            return _SKIP
    else:
        return _SKIP
    if isinstance(code, ast.BoolOp):  # `code or "default"`
        code = code.values[-1]
    if not isinstance(code, ast.Constant) or not isinstance(code.value, str):
        return None
    given = named.get("issue_code") or (call.args[1] if name == "Problem" else None)
    given = call.args[0] if name == "Issue" else given
    if isinstance(given, ast.Attribute):
        issue_code = IssueCode[given.attr]
    status = 200 if name in WARNINGS else error.status
    told = _words(text, known) or known.get(code.value, "")
    return Code(code.value, status, (issue_code or error.issue_code).value, told)


def _words(node: ast.expr | None, known: Mapping[str, str]) -> str:
    """The text of a literal or of a name in `known`, `…` for what is put into it."""
    text = ""
    match node:
        case ast.Constant(str(value)):
            text = value
        case ast.JoinedStr(parts):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.BinOp(left, ast.Add(), right):
            text = f"{_words(left, known)} {_words(right, known)}"
        case ast.Name(name):
            text = known.get(name, "")
    return " ".join(text.split()).replace("|", "\\|")


def _texts(tree: ast.AST) -> dict[str, str]:
    """Texts by the name they are given, and by their key in tables such as jsontext._WORDS."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign([ast.Name(name)], value):
                found[name] = _words(value, found)
            case ast.arguments(args=arguments, defaults=[*_, ast.expr()] as defaults):
                for argument, default in zip(arguments[-len(defaults) :], defaults, strict=True):
                    found[argument.arg] = _words(default, {})
            case ast.Dict(keys, values):
                for key, value in zip(keys, values, strict=True):
                    if isinstance(key, ast.Constant) and isinstance(key.value, str):
                        found[key.value] = _words(value, found)
    return found
