"""Search text of every parameter type: what is read, what is refused.

Covers hl7.org/fhir/R4/search.html#ptypes.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from fhirserver.outcome import InvalidSearchValue
from fhirserver.search.types import composite, date, number, quantity, reference, special, string, token, uri
from fhirserver.search.types.escapes import split, unescape
from fhirserver.search.types.reference import Site

SITE = Site("default", "https://clinic.example/fhir", frozenset(("Patient", "Group", "Observation")))


def refused(call: Any, code: str) -> None:
    with pytest.raises(InvalidSearchValue) as error:
        call()
    assert error.value.issues[0].code == code


@pytest.mark.parametrize(
    ("text", "separator", "parts"),
    [
        ("a,b", ",", ["a", "b"]),
        ("a\\,b,c", ",", ["a\\,b", "c"]),
        ("a\\\\,b", ",", ["a\\\\", "b"]),
        ("a|b\\|c", "|", ["a", "b\\|c"]),
        (",", ",", ["", ""]),
        ("", ",", [""]),
        ("a\\", ",", ["a\\"]),
        ("a,b\\", ",", ["a", "b\\"]),
    ],
)
def test_escaped_separators_do_not_separate(text: str, separator: str, parts: list[str]) -> None:
    assert split(text, separator) == parts


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a\\,b", "a,b"),
        ("a\\|b\\$c", "a|b$c"),
        ("a\\\\b", "a\\b"),
        ("a\\nb", "a\\nb"),
        ("\\\\,", "\\,"),
        ("x\\", "x\\"),
    ],
)
def test_escapes_are_resolved(text: str, plain: str) -> None:
    assert unescape(text) == plain


def test_string_values() -> None:
    assert string.parse("Conceição\\, Ana") == string.StringValue("Conceição, Ana", "conceicao, ana")
    refused(lambda: string.parse("  "), "search-value-empty")
    refused(lambda: string.parse("\u0301"), "search-value-empty")


@pytest.mark.parametrize(
    ("text", "key", "system", "code"),
    [
        ("male", "male", None, "male"),
        ("http://loinc.org|8480-6", "http://loinc.org|8480-6", "http://loinc.org", "8480-6"),
        ("http://loinc.org|", "http://loinc.org|", "http://loinc.org", ""),
        ("|abc", "|abc", "", "abc"),
        ("a\\|b", "a|b", None, "a|b"),
        ("s|a\\|b\\,c", "s|a|b,c", "s", "a|b,c"),
        ("$where", "$where", None, "$where"),
        ("Ação", "Ação", None, "Ação"),
    ],
)
def test_token_values(text: str, key: str, system: str | None, code: str) -> None:
    assert token.parse(text) == token.TokenValue(key, system, code)


def test_an_implied_system_is_left_out_of_a_token() -> None:
    implied = frozenset(("http://hl7.org/fhir/administrative-gender",))
    assert token.parse("http://hl7.org/fhir/administrative-gender|male", implied).key == "|male"
    assert token.parse("http://hl7.org/fhir/administrative-gender|", implied).present
    assert token.parse("http://other|male", implied).key == "http://other|male"


@pytest.mark.parametrize("text", ["", "|", "a|b|c"])
def test_broken_tokens_are_refused(text: str) -> None:
    refused(lambda: token.parse(text), "search-value-token")


def test_of_type_values() -> None:
    assert token.parse_of_type("http://t|MR|12\\|3").keys == ("http://t|MR|12|3",)
    for text in ("http://t|MR", "http://t|MR|", "|MR|1", "a|b|c|d"):
        refused(lambda text=text: token.parse_of_type(text), "search-value-token")


@pytest.mark.parametrize(
    ("text", "type", "keys"),
    [
        ("Patient/1", None, ("default/Patient/1",)),
        ("1", None, ("default/Patient/1", "default/Group/1")),
        ("1", "Group", ("default/Group/1",)),
        ("Patient/1", "Patient", ("default/Patient/1",)),
        (
            "https://clinic.example/fhir/Patient/1",
            None,
            ("default/Patient/1", "https://clinic.example/fhir/Patient/1"),
        ),
        (
            "https://clinic.example/fhir/Patient/1",
            "Patient",
            ("default/Patient/1", "https://clinic.example/fhir/Patient/1"),
        ),
        ("https://other.example/Patient/1", None, ("https://other.example/Patient/1",)),
        ("http://x/ValueSet/y|2", None, ("http://x/ValueSet/y|2",)),
        ("urn:uuid:c757873d", None, ("urn:uuid:c757873d",)),
        ("urn:oid:1.2.3", None, ("urn:oid:1.2.3",)),
    ],
)
def test_reference_values(text: str, type: str | None, keys: tuple[str, ...]) -> None:
    assert reference.parse(text, SITE, ("Patient", "Group"), type).keys == keys


@pytest.mark.parametrize(
    ("text", "type", "code"),
    [
        ("", None, "search-value-reference"),
        ("Nothing/1", None, "search-value-reference"),
        ("#contained", None, "search-value-reference"),
        ("Patient?x=1", None, "search-value-reference"),
        ("a b", None, "search-value-reference"),
        ("Patient/1", "Group", "search-value-reference-type"),
        ("", "Group", "search-value-reference-type"),
    ],
)
def test_broken_references_are_refused(text: str, type: str | None, code: str) -> None:
    refused(lambda: reference.parse(text, SITE, ("Patient",), type), code)


def test_uri_values() -> None:
    assert uri.parse("http://x/y\\,z") == "http://x/y,z"
    assert uri.parse("urn:oid:1.2") == "urn:oid:1.2"
    refused(lambda: uri.parse(""), "search-value-empty")


def day(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "prefix", "lo", "hi"),
    [
        ("2026", "eq", day(2026, 1, 1), day(2027, 1, 1)),
        ("ge2026-03", "ge", day(2026, 3, 1), day(2026, 4, 1)),
        ("sa2026-03-01T10:00-03:00", "sa", day(2026, 3, 1, 13), day(2026, 3, 1, 13, 1)),
        ("eq2026-03-01T10:00:00 03:00", "eq", day(2026, 3, 1, 7), day(2026, 3, 1, 7, 0, 1)),
    ],
)
def test_date_values(text: str, prefix: str, lo: int, hi: int) -> None:
    value = date.parse(text)
    assert (value.prefix, value.lo, value.hi) == (prefix, lo, hi)


@pytest.mark.parametrize(
    "text", ["", "ge", "xx2026", "2026-02-30", "2026-03-01T24:00", "tomorrow", "GE2026", "lt 2026"]
)
def test_broken_dates_are_refused(text: str) -> None:
    refused(lambda: date.parse(text), "search-value-date")


@pytest.mark.parametrize(
    ("text", "prefix", "value", "lo", "hi"),
    [
        ("100", "eq", 100, 99.5, 100.5),
        ("100.00", "eq", 100, 99.995, 100.005),
        ("1e2", "eq", 100, 95, 105),
        ("1.0e2", "eq", 100, 95, 105),
        ("1.00e2", "eq", 100, 99.5, 100.5),
        ("12e1", "eq", 120, 115, 125),
        ("5.4", "eq", 5.4, 5.35, 5.45),
        ("5.40e-3", "eq", 0.0054, 0.005395, 0.005405),
        ("0", "eq", 0, -0.5, 0.5),
        ("-2", "eq", -2, -2.5, -1.5),
        ("ne100", "ne", 100, 99.5, 100.5),
        ("ap5", "ap", 5, 4.5, 5.5),
        ("lt-0.5", "lt", -0.5, -0.55, -0.45),
    ],
)
def test_number_values(text: str, prefix: str, value: float, lo: float, hi: float) -> None:
    assert number.parse(text) == number.NumberValue(prefix, value, lo, hi)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["", "lt", "1.", ".5", "1e", "1e999", "0x10", "NaN", "Infinity", "1,5", "1_000", "\uff11", "9" * 41],
)
def test_broken_numbers_are_refused(text: str) -> None:
    refused(lambda: number.parse(text), "search-value-number")


@pytest.mark.parametrize(
    ("text", "prefix", "value", "key"),
    [
        ("5.4|http://unitsofmeasure.org|mg", "eq", 5.4, "http://unitsofmeasure.org|mg"),
        ("5.4||mg", "eq", 5.4, "|mg"),
        ("5.4", "eq", 5.4, ""),
        ("5.4||", "eq", 5.4, ""),
        ("le5.40e-3|http://unitsofmeasure.org|g", "le", 0.0054, "http://unitsofmeasure.org|g"),
        ("ap5.4|http://unitsofmeasure.org|mm[Hg]", "ap", 5.4, "http://unitsofmeasure.org|mm[Hg]"),
        ("5||a\\|b", "eq", 5.0, "|a|b"),
    ],
)
def test_quantity_values(text: str, prefix: str, value: float, key: str) -> None:
    found = quantity.parse(text)
    assert (found.prefix, found.value, found.key) == (prefix, value, key)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("5|mg", "search-value-quantity"),
        ("5|http://x|", "search-value-quantity"),
        ("5|a|b|c", "search-value-quantity"),
        ("|http://x|mg", "search-value-number"),
        ("mg", "search-value-number"),
    ],
)
def test_broken_quantities_are_refused(text: str, code: str) -> None:
    refused(lambda: quantity.parse(text), code)


def test_composite_values() -> None:
    assert composite.parse("http://loinc.org|8480-6$lt60", 2) == ["http://loinc.org|8480-6", "lt60"]
    assert composite.parse("a\\$b$c", 2) == ["a\\$b", "c"]
    for text in ("a", "a$", "$b", "a$b$c", ""):
        refused(lambda text=text: composite.parse(text, 2), "search-value-composite")


def test_near_values() -> None:
    assert special.parse_near("-23.5|-46.6|2|km") == special.NearValue(-23.5, -46.6, 2000.0)
    assert special.parse_near("-23.5|-46.6|500|m").metres == 500
    assert special.parse_near("-23.5|-46.6|3").metres == 3000
    assert special.parse_near("-23.5|-46.6").metres == special.DEFAULT_METRES
    for text in ("", "1", "91|0", "0|181", "nan|0", "1|2|-3", "1|2|3|parsec", "1|2|3|km|x", "a|b", "1|2|inf"):
        refused(lambda text=text: special.parse_near(text), "search-value-near")
