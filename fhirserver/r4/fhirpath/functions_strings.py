"""Functions on strings.

Source: hl7.org/fhirpath/N1/#string-manipulation, hl7.org/fhirpath/#additional-string-functions
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.r4.fhirpath.functions import Function, eager, of_type, scalar
from fhirserver.r4.fhirpath.regex import Pattern, compile_pattern
from fhirserver.r4.fhirpath.regex_tree import Unmatchable
from fhirserver.r4.fhirpath.state import MAX_STRING, Items, State, failed
from fhirserver.r4.fhirpath.values import made, single, system


def _text(apply: Callable[..., Any], name: str, least: int = 0, most: int = 0) -> Function:
    """A function of a string with strings as arguments."""

    def run(_state: State, value: str, *arguments: Any) -> Any:
        return apply(value, *(of_type(argument, str, name) for argument in arguments))

    return scalar(str, least, most, name, run)


def _substring(_state: State, value: str, start: Any, length: Any = None) -> Any:
    first = of_type(start, int, "substring()")
    if not 0 <= first < len(value):
        return None
    if length is None:
        return value[first:]
    return value[first : first + max(of_type(length, int, "substring()"), 0)]


def _replace(value: str, pattern: str, substitution: str) -> str:
    size = len(value) + (value.count(pattern) if pattern else len(value) + 1) * len(substitution)
    if size > MAX_STRING:
        raise failed(f"a string grows beyond {MAX_STRING} characters.")
    return value.replace(pattern, substitution)


def _pattern(text: str) -> Pattern:
    try:
        return compile_pattern(text)
    except Unmatchable as error:
        raise failed(f"a regular expression is not evaluated: {error}.") from error


def _matches(state: State, value: str, expression: Any) -> bool:
    pattern = _pattern(of_type(expression, str, "matches()"))
    return pattern.search(value, state.spend)


def _matches_full(state: State, value: str, expression: Any) -> bool:
    pattern = _pattern(of_type(expression, str, "matchesFull()"))
    return pattern.fullmatch(value, state.spend)


def _replace_matches(state: State, value: str, expression: Any, substitution: Any) -> str:
    pattern = _pattern(of_type(expression, str, "replaceMatches()"))
    new = of_type(substitution, str, "replaceMatches()")
    if expression == "":
        return value
    simple = pattern.backtracking
    if simple is None:
        raise failed("replaceMatches() takes regular expressions without nested repetition.")
    state.spend(len(value))
    if len(value) * (1 + len(new)) > MAX_STRING:
        raise failed(f"a string grows beyond {MAX_STRING} characters.")
    try:
        return simple.sub(_template(new), value)
    except (re.error, IndexError) as error:
        raise failed("the substitution names a group that the regular expression does not have.") from error


def _template(substitution: str) -> str:
    """`$1` and `${name}` as Python writes them."""
    escaped = substitution.replace("\\", "\\\\")
    return re.sub(r"\$(\d{1,2})|\$\{(\w+)\}", lambda m: rf"\g<{m[1] or m[2]}>", escaped, flags=re.ASCII)


def _encode(value: str, scheme: str) -> str:
    data = value.encode()
    match scheme:
        case "hex":
            return data.hex()
        case "base64":
            return base64.b64encode(data).decode()
        case "urlbase64":
            return base64.urlsafe_b64encode(data).decode()
    raise failed("encode() knows hex, base64 and urlbase64.")


def _decode(value: str, scheme: str) -> str | None:
    try:
        match scheme:
            case "hex":
                return bytes.fromhex(value).decode()
            case "base64":
                return base64.b64decode(value, validate=True).decode()
            case "urlbase64":
                return base64.b64decode(value, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    raise failed("decode() knows hex, base64 and urlbase64.")


def _escape(value: str, target: str) -> str:
    match target:
        case "html":
            return html.escape(value).replace("&#x27;", "&#39;")
        case "json":
            return json.dumps(value, ensure_ascii=False)[1:-1]
    raise failed("escape() knows html and json.")


def _unescape(value: str, target: str) -> str | None:
    match target:
        case "html":
            return html.unescape(value)
        case "json":
            try:
                return str(json.loads(f'"{value}"')) if '"' not in value.replace('\\"', "") else value
            except ValueError:
                return None
    raise failed("unescape() knows html and json.")


def _split(state: State, value: str, separator: Any) -> Items:
    text = of_type(separator, str, "split()")
    parts = value.split(text) if text else list(value)
    state.spend(len(parts))
    return [item for part in parts for item in made(part)]


def _characters(state: State, value: str) -> Items:
    state.spend(len(value))
    return [item for character in value for item in made(character)]


def _join(state: State, items: Items, separator: Items = made("")) -> Items:  # noqa: B008 never changed
    item = single(separator, "join()")
    glue = "" if item is None else of_type(system(item), str, "join()")
    texts = [of_type(system(item), str, "join()") for item in items]
    if not texts:
        return []
    if sum(map(len, texts)) + len(glue) * len(texts) > MAX_STRING:
        raise failed(f"a string grows beyond {MAX_STRING} characters.")
    return made(glue.join(texts))


FUNCTIONS: Mapping[str, Function] = {
    "indexOf": _text(lambda value, part: value.find(part), "indexOf()", 1, 1),
    "lastIndexOf": _text(lambda value, part: value.rfind(part), "lastIndexOf()", 1, 1),
    "substring": scalar(str, 1, 2, "substring()", _substring),
    "startsWith": _text(str.startswith, "startsWith()", 1, 1),
    "endsWith": _text(str.endswith, "endsWith()", 1, 1),
    "contains": _text(lambda value, part: part in value, "contains()", 1, 1),
    "upper": _text(str.upper, "upper()"),
    "lower": _text(str.lower, "lower()"),
    "replace": _text(_replace, "replace()", 2, 2),
    "matches": scalar(str, 1, 1, "matches()", _matches),
    "matchesFull": scalar(str, 1, 1, "matchesFull()", _matches_full),
    "replaceMatches": scalar(str, 2, 2, "replaceMatches()", _replace_matches),
    "length": _text(len, "length()"),
    "toChars": scalar(str, 0, 0, "toChars()", _characters),
    "trim": _text(str.strip, "trim()"),
    "split": scalar(str, 1, 1, "split()", _split),
    "join": eager(0, 1, _join),
    "encode": _text(_encode, "encode()", 1, 1),
    "decode": _text(_decode, "decode()", 1, 1),
    "escape": _text(_escape, "escape()", 1, 1),
    "unescape": _text(_unescape, "unescape()", 1, 1),
}
