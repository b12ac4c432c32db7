"""JSON text in and out: strict on the way in, exact on the way out.

What goes beyond a JSON library: a key given twice is refused (authorisation, validation and storage must see
one and the same object), numbers keep their text (1.00 stays 1.00: FHIR decimals have a precision), control
characters, lone surrogates, byte order marks, other encodings, and documents built to exhaust the server are
refused with stable codes.

The usual body takes the fast path: parse with orjson, write it out again with orjson, and compare with the
input, both without whitespace. Where they are equal, the input and the parsed value have the same tokens one
by one (whitespace never separates two JSON tokens that nothing else separates), so no key was lost to a
duplicate and every number will be written as it came. Otherwise (escapes written differently, 1.00,
duplicates) the exact path of the standard library decides; nothing is accepted by a guess.

Sources: hl7.org/fhir/R4/json.html, hl7.org/fhir/R4/datatypes.html#decimal, RFC 8259.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, NoReturn

import orjson

from fhirserver.outcome import BadRequest, IssueCode

MAX_DEPTH = 64
MAX_KEY = 256  # characters of a property name; the longest of R4 has 42
MAX_NUMBER = 64  # characters of a number
MAX_EXPONENT = 308  # what a double can hold; also keeps arithmetic on a Decimal cheap
MAX_VALUES = 1_000_000  # commas and brackets; twice as many as 10 MiB of dense clinical data have
MAX_NULLS = 1000  # nulls in one array; R4 only knows them as placeholders beside primitive extensions

_WHITESPACE = b" \t\r\n"
_WATCH_SIZE_FROM = 16 * 1024  # bytes; in shorter bodies long keys and many nulls cost nothing
_EXPLAIN_UP_TO = 256 * 1024  # bytes; finding the line of a fault reads the text token by token
_SUSPECT = re.compile(rb"\\(?:[bf]|u00)")
_CONTROL = re.compile(rb"(?<!\\)(?:\\\\)*+\\(?:[bf]|u00(?:0[0-8bBcCeEfF]|1))")
_LONG_KEY = re.compile(rb'"(?=[^"]{%d})[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\r\n]*+:' % (MAX_KEY + 1))
_TOKEN = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\r\n]*+:)?|([-0-9][-+.0-9eE]*+)|([\[{])|([\]}])')


class ExactDecimal(Decimal):
    """A number of a JSON or XML text that a float or int would not write out as it came.

    Compares and calculates as the Decimal it is; `text` is the number as it was written.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> ExactDecimal:
        """The number written as `text` (a JSON number)."""
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"ExactDecimal('{self.text}')"

    def __copy__(self) -> ExactDecimal:
        return self

    def __deepcopy__(self, memo: object) -> ExactDecimal:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return ExactDecimal, (self.text,)


def parse_json(data: bytes, *, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES) -> Any:
    """The value that the JSON text `data` (UTF-8) holds.

    Numbers are int or float where these are written out again as they came, else ExactDecimal. Raises
    BadRequest with one of the codes json-empty, json-encoding, json-syntax, json-duplicate-key, json-depth
    (more than `max_depth` objects and arrays inside each other), json-number, json-control-character,
    json-key, json-nulls, json-values (about `max_values` values); the words name line and column and repeat
    nothing of the text.
    """
    if len(data) > max_values and data.count(b",") + data.count(b"{") + data.count(b"[") > max_values:
        raise _bad_request("json-values")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        _refuse_syntax(data, error)
    try:
        written = orjson.dumps(value)
    except TypeError:  # orjson writes less depth than it reads
        _refuse(data, "json-depth", max_depth)
    if written.count(b"{") + written.count(b"[") > max_depth and is_deeper(value, max_depth):
        _refuse(data, "json-depth", max_depth)
    _refuse_oddities(data, value, max_depth)
    if written == data or written.translate(None, b" ") == data.translate(None, _WHITESPACE):
        return value
    try:
        return _EXACT.decode(data.decode())
    except _Refusal as refusal:
        _refuse(data, refusal.code, max_depth)


def parse_json_object(data: bytes, *, max_depth: int = MAX_DEPTH) -> dict[str, Any]:
    """As parse_json, for a text that must hold an object; BadRequest json-not-object where it does not."""
    value = parse_json(data, max_depth=max_depth)
    if not isinstance(value, dict):
        raise BadRequest(
            "The body must be a JSON object.", code="json-not-object", issue_code=IssueCode.STRUCTURE
        )
    return value


def dump_json(value: Any, *, pretty: bool = False) -> bytes:
    """The JSON text (UTF-8) of a value from parse_json or built in the same shape; numbers as they came.

    `pretty`: two spaces of indent, else no whitespace. Raises TypeError for what JSON cannot hold.
    """
    return orjson.dumps(value, _fragment, orjson.OPT_INDENT_2 if pretty else 0)


def number_text(value: float | Decimal) -> str:
    """The text of a number of a parsed resource: what dump_json writes for it."""
    return value.text if isinstance(value, ExactDecimal) else dump_json(value).decode()


def exact_number(text: str) -> int | float | ExactDecimal:
    """The value of the JSON number `text`, as parse_json gives it. BadRequest json-number if none."""
    if not _NUMBER.fullmatch(text):
        raise BadRequest("Not a number.", code="json-number", issue_code=IssueCode.VALUE)
    try:
        return _exact_int(text) if text.lstrip("-").isdigit() else _exact_float(text)
    except _Refusal:
        raise BadRequest(_WORDS["json-number"], code="json-number", issue_code=IssueCode.VALUE) from None


def comparable(value: Any) -> Any:
    """`value` in a form that == compares as JSON and FHIRPath do: 1 equals 1.0 and 1.00, but not true."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, float, Decimal)):
        return Decimal(number_text(value))
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return value


_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?")

_WORDS = {
    "json-syntax": "The body is not valid JSON.",
    "json-encoding": "The body must be UTF-8 without byte order mark and without lone surrogates.",
    "json-duplicate-key": "An object has the same key twice; give each property once.",
    "json-depth": "The body has too many objects and arrays inside each other.",
    "json-number": f"A number is out of range or longer than {MAX_NUMBER} characters.",
    "json-control-character": "A string has a control character that is not tab, line feed, carriage return.",
    "json-key": f"A property name is longer than {MAX_KEY} characters.",
    "json-values": "The body has too many values; send it in parts.",
    "json-nulls": f"An array has more than {MAX_NULLS} nulls.",
}


class _Refusal(Exception):
    """Why the exact path stopped."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def _exact_int(text: str) -> int | ExactDecimal:
    if len(text) < 19 and text != "-0":
        return int(text)
    if len(text) > MAX_NUMBER:
        raise _Refusal("json-number")
    return int(text) if text != "-0" and -(2**63) <= int(text) < 2**64 else ExactDecimal(text)


def _exact_float(text: str) -> float | ExactDecimal:
    number = float(text)
    if repr(number) == text:
        return number
    exponent = text.lower().partition("e")[2].lstrip("+-").lstrip("0") or "0"
    if len(exponent) > 3 or int(exponent) > MAX_EXPONENT or len(text) > MAX_NUMBER or math.isinf(number):
        raise _Refusal("json-number")
    return ExactDecimal(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refusal("json-duplicate-key")
    return members


def _no_constant(_: str) -> NoReturn:
    raise _Refusal("json-number")


_EXACT = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_exact_float, parse_int=_exact_int, parse_constant=_no_constant
)


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(str(value).encode())
    raise TypeError(f"JSON cannot hold {type(value).__name__}")


def is_deeper(value: Any, limit: int) -> bool:
    """True when more than `limit` objects and arrays stand inside each other."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) in _CONTAINERS
        ]
        if not level:
            return False
    return True


_CONTAINERS = frozenset((dict, list))


def _refuse_oddities(data: bytes, value: Any, max_depth: int) -> None:
    if b"\\" in data and _SUSPECT.search(data) and (found := _CONTROL.search(data)):
        _refuse(data, "json-control-character", max_depth, found.start())
    if len(data) < _WATCH_SIZE_FROM:
        return
    if found := _LONG_KEY.search(data):
        _refuse(data, "json-key", max_depth, found.start())
    if data.count(b"null") > MAX_NULLS and _has_many_nulls(value):
        _refuse(data, "json-nulls", max_depth)


def _has_many_nulls(value: Any) -> bool:
    level = [value]
    while level:
        if any(type(item) is list and item.count(None) > MAX_NULLS for item in level):
            return True
        level = [
            child
            for parent in level
            if type(parent) in _CONTAINERS
            for child in (parent.values() if type(parent) is dict else parent)
        ]
    return False


_ORJSON_WORDS = (("depth", "json-depth"), ("surrogate", "json-encoding"), ("infinity", "json-number"))


def _refuse_syntax(data: bytes, error: orjson.JSONDecodeError) -> NoReturn:
    """Name what made orjson refuse `data`."""
    if not data.strip(_WHITESPACE):
        raise BadRequest("The body is empty.", code="json-empty", issue_code=IssueCode.STRUCTURE)
    if data[:3] == b"\xef\xbb\xbf" or data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        _refuse(data, "json-encoding", 0, 0)
    try:
        data.decode()
    except UnicodeDecodeError as undecodable:
        _refuse(data, "json-encoding", 0, undecodable.start)
    code = next((code for words, code in _ORJSON_WORDS if words in error.msg), "json-syntax")
    if error.doc[error.pos : error.pos + 9].lstrip("-+").startswith(("NaN", "Infinity")):
        code = "json-number"
    raise _bad_request(code, error.lineno, error.colno)


def _refuse(data: bytes, code: str, max_depth: int, at: int | None = None) -> NoReturn:
    """Refuse `data` for `code`; `at`: byte offset of the fault where it is known, else it is looked for."""
    if at is None:
        if len(data) > _EXPLAIN_UP_TO:
            raise _bad_request(code)
        text = data.decode()
        index = _locate(text, code, max_depth)
        raise _bad_request(code, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))
    before = data[:at].decode(errors="replace")
    raise _bad_request(code, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _locate(text: str, code: str, max_depth: int) -> int:
    """The character offset of the first fault of kind `code` in the valid JSON `text`; 0 if there is none."""
    keys: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        string, colon, number, opened, closed = token.groups()
        if opened:
            keys.append(set())
            if code == "json-depth" and len(keys) > max_depth:
                return token.start()
        elif closed:
            keys.pop()
        elif colon and code == "json-duplicate-key":
            key = json.loads(string)
            if key in keys[-1]:
                return token.start()
            keys[-1].add(key)
        elif number and code == "json-number":
            try:
                exact_number(number)
            except BadRequest:
                return token.start()
    return 0


def _bad_request(code: str, line: int | None = None, column: int | None = None) -> BadRequest:
    where = "" if line is None else f" Line {line}, column {column}."
    too_much = code in ("json-depth", "json-key", "json-nulls", "json-values")
    issue_code = IssueCode.TOO_LONG if too_much else IssueCode.INVALID
    return BadRequest(_WORDS[code] + where, code=code, issue_code=issue_code)
