"""The primitive types: a check for each, with the regular expressions of R4 and what they cannot say.

Beyond the expressions: dates name days that exist, base64 decodes, integers fit 32 bits, strings hold no
control characters and at most 1 MB. Source: hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import binascii
import re
from calendar import monthrange
from decimal import Decimal
from math import isfinite
from typing import Any

from fhirserver.outcome import IssueCode
from fhirserver.validation.problems import Check, Problem, Problems, Scope, structure, wrong_type, wrong_value

MAX_STRING = 1024 * 1024
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
NO_SPACE = re.compile(r"\S+", re.ASCII)
CODE = re.compile(r"\S+(?:\s\S+)*", re.ASCII)
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_YEAR = r"(?!0000)[0-9]{4}"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = r"(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
DATE = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY})?)?")
DATE_TIME = re.compile(rf"{_YEAR}(?:-{_MONTH}(?:-{_DAY}(?:T{_TIME}{_ZONE})?)?)?")
INSTANT = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}T{_TIME}{_ZONE}")
TIME = re.compile(_TIME)


def _day_exists(text: str) -> bool:
    """False for 31 April, 29 February of most years ... `text` has matched one of the expressions."""
    day = text[8:10]
    if day <= "28":
        return True
    return int(day) <= monthrange(int(text[:4]), int(text[5:7]))[1]


def _text_problem(value: Any) -> Problems | None:
    """What every value in a JSON string has in common."""
    if type(value) is not str:
        return wrong_type(value, str)
    if not value:
        return wrong_value(
            "empty-string", "A value is never an empty string; leave the property out instead."
        )
    if len(value) > MAX_STRING:
        text = "A string holds at most 1 MB (1,048,576 characters); put larger content into a Binary."
        return [Problem("string-too-long", IssueCode.TOO_LONG, text)]
    if CONTROL.search(value):
        return wrong_value(
            "control-character", "Control characters other than tab, line feed and return are not allowed."
        )
    return None


def check_string(value: Any, scope: Scope) -> Problems | None:
    """String and markdown."""
    if type(value) is str and value and value.isprintable() and len(value) <= MAX_STRING:
        return None
    return _text_problem(value)


def check_uri(value: Any, scope: Scope) -> Problems | None:
    """uri, url and canonical: anything without white space, as the expression of R4 has it."""
    if type(value) is str and value and value.isprintable() and " " not in value and len(value) <= MAX_STRING:
        return None
    problems = _text_problem(value)
    if problems is None and NO_SPACE.fullmatch(value) is None:
        return wrong_value("invalid-uri", "A URI holds no white space; write %20 for a blank.")
    return problems


def check_code(value: Any, scope: Scope) -> Problems | None:
    """A code without a list of allowed values."""
    if type(value) is str and value and value.isprintable() and " " not in value:
        return None
    problems = _text_problem(value)
    if problems is None and CODE.fullmatch(value) is None:
        text = "A code has no white space at its ends and single blanks inside."
        return wrong_value("invalid-code", text)
    return problems


def check_element_id(value: Any, scope: Scope) -> Problems | None:
    """Element.id: a string without blanks."""
    problems = check_string(value, scope)
    if problems is None and NO_SPACE.fullmatch(value) is None:
        return wrong_value("invalid-element-id", "The id of an element holds no white space.")
    return problems


def check_boolean(value: Any, scope: Scope) -> Problems | None:
    """True or False, never a string."""
    return None if value is True or value is False else wrong_type(value, bool)


def check_base64(value: Any, scope: Scope) -> Problems | None:
    """base64Binary, by decoding it; line breaks between the groups are allowed."""
    if type(value) is not str or not value:
        return _text_problem(value)
    try:
        binascii.a2b_base64("".join(value.split()), strict_mode=True)
    except ValueError:
        text = "This is not base64: groups of four characters from A-Z a-z 0-9 + /, padded with = at the end."
        return wrong_value("invalid-base64", text)
    return None


def check_decimal(value: Any, scope: Scope) -> Problems | None:
    """A JSON number: int, float or Decimal, and not NaN or infinite."""
    kind = type(value)
    if (
        kind is int
        or (kind is float and isfinite(value))
        or (isinstance(value, Decimal) and value.is_finite())
    ):
        return None
    return wrong_type(value, int)


def _integer(code: str, lowest: int, words: str) -> Check:
    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is int and lowest <= value <= 2147483647:
            return None
        if type(value) in (int, float) or isinstance(value, Decimal):
            return wrong_value(code, f"Expected {words}.")
        return wrong_type(value, int)

    return check


def _matching(code: str, expression: re.Pattern[str], words: str) -> Check:
    """A check of a string by a regular expression, `code` and `words` for the refusal."""
    match = expression.fullmatch

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is str and match(value) is not None:
            return None
        return _text_problem(value) or wrong_value(code, words)

    return check


def _dated(code: str, expression: re.Pattern[str], words: str) -> Check:
    """Like _matching, and the day exists in the calendar."""
    match = expression.fullmatch

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is str and match(value) is not None and _day_exists(value):
            return None
        return _text_problem(value) or wrong_value(code, words)

    return check


def check_nothing(value: Any, scope: Scope) -> Problems | None:
    """For what is checked elsewhere."""
    return None


def forbidden(value: Any, scope: Scope) -> Problems | None:
    """For an element whose maximum is 0 here."""
    return structure("element-not-allowed", "This element is not allowed here.")


DATE_WORDS = "Expected a date: YYYY, YYYY-MM or YYYY-MM-DD, with a day that exists."
DATE_TIME_WORDS = (
    "Expected a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset such as "
    "-03:00, with a day that exists."
)
INSTANT_WORDS = "Expected an instant: YYYY-MM-DDThh:mm:ss.sss with Z or an offset such as -03:00."

CHECKS: dict[str, Check] = {
    "string": check_string,
    "markdown": check_string,
    "uri": check_uri,
    "url": check_uri,
    "canonical": check_uri,
    "code": check_code,
    "boolean": check_boolean,
    "base64Binary": check_base64,
    "decimal": check_decimal,
    "integer": _integer("invalid-integer", -2147483648, "a whole number of 32 bits"),
    "unsignedInt": _integer("invalid-unsigned-int", 0, "a whole number from 0 to 2147483647"),
    "positiveInt": _integer("invalid-positive-int", 1, "a whole number from 1 to 2147483647"),
    "id": _matching("invalid-id", ID, "An id has 1 to 64 characters: letters, digits, - and ."),
    "oid": _matching("invalid-oid", OID, "Expected urn:oid: and numbers joined by dots."),
    "uuid": _matching("invalid-uuid", UUID, "Expected urn:uuid: and a UUID in lower case."),
    "date": _dated("invalid-date", DATE, DATE_WORDS),
    "dateTime": _dated("invalid-date-time", DATE_TIME, DATE_TIME_WORDS),
    "instant": _dated("invalid-instant", INSTANT, INSTANT_WORDS),
    "time": _matching("invalid-time", TIME, "Expected a time of day: hh:mm:ss, without a zone."),
}
