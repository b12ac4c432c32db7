"""What the text of a search asks for. hl7.org/fhir/R4/search.html."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.outcome import OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.search.expression import (
    And,
    Chain,
    Composite,
    Contains,
    Dates,
    Equals,
    Exact,
    Has,
    Ids,
    Missing,
    Not,
    Numbers,
    Or,
    Starts,
    hops,
)
from fhirserver.search.page import Shown
from fhirserver.search.query import SearchQuery, parse_query
from fhirserver.search.sort import SortBy, SortKey
from fhirserver.search.types.ranges import Bound
from fhirserver.settings import Limits

DEFINITIONS = Definitions.load()


def parse(type: str | None, *pairs: tuple[str, str], **options: Any) -> SearchQuery:
    return parse_query(
        DEFINITIONS, type, pairs, limits=Limits(), tenant="t", base_url="https://own.example/fhir", **options
    )


def asked(type: str, *pairs: tuple[str, str]) -> Any:
    return dict(parse(type, *pairs).filters)[type]


@pytest.mark.parametrize(
    ("type", "name", "value", "expression"),
    [
        ("Patient", "name", "Ána", Starts("name", "ana")),
        ("Patient", "name:exact", "Ána", Exact("name", "Ána", "ana")),
        ("Patient", "name:contains", "N", Contains("name", "n")),
        ("Patient", "name", "a,b", Or((Starts("name", "a"), Starts("name", "b")))),
        ("Patient", "name", "a\\,b", Starts("name", "a,b")),
        ("Patient", "gender", "male,female", Equals("gender", ("male", "female"))),
        ("Patient", "gender:not", "male,female", Not(Equals("gender", ("male", "female")))),
        ("Patient", "gender:missing", "true", Missing("gender")),
        ("Patient", "identifier", "s|1", Equals("identifier", ("s|1",))),
        ("Patient", "identifier:of-type", "s|MR|1", Equals("identifier~type", ("s|MR|1",))),
        ("Patient", "_id", "a,b", Ids(("a", "b"))),
        ("Patient", "general-practitioner:Practitioner", "1",
         Equals("general-practitioner", ("t/Practitioner/1",))),
        ("Patient", "link:identifier", "s|1", Equals("link~id", ("s|1",))),
        ("Observation", "value-quantity", "gt5|s|kg",
         Numbers("value-quantity", ((Bound("hi", "gt", 5.0),),), "s|kg")),
        ("Observation", "patient.name", "x", Chain("patient", "Patient", Starts("name", "x"))),
        ("Observation", "subject:Patient.name", "x", Chain("subject", "Patient", Starts("name", "x"))),
        ("Patient", "_has:Observation:patient:code", "x",
         Has("Observation", "patient", Equals("code", ("x",)), "Patient")),
        ("Patient", "_list", "7", Has("List", "item", Ids(("7",)), "Patient")),
        (
            "Observation", "code-value-quantity", "c$5.0",
            Composite("code-value-quantity", (Equals("a", ("c",)), Numbers("b", (
                (Bound("lo", "ge", 4.95), Bound("lo", "lt", 5.05), Bound("hi", "lt", 5.05)),), ""))),
        ),
    ],
)  # fmt: skip
def test_a_pair_becomes_an_expression(type: str, name: str, value: str, expression: Any) -> None:
    assert asked(type, (name, value)) == expression


def test_pairs_are_conditions_that_all_hold() -> None:
    assert asked("Patient", ("gender", "male"), ("name", "x")) == And(
        (Equals("gender", ("male",)), Starts("name", "x"))
    )
    assert asked("Patient") == And()


def test_two_bounds_on_a_single_date_become_one_condition() -> None:
    merged = asked("Observation", ("date", "ge2026-01-01"), ("date", "lt2026-02-01"))
    assert isinstance(merged, Dates)
    repeated = asked("Encounter", ("location-period", "ge2026-01-01"), ("location-period", "lt2026-02-01"))
    assert isinstance(repeated, And)


def test_the_types_that_a_search_reaches_are_known() -> None:
    expression = asked(
        "Observation", ("patient.organization.name", "x"), ("_has:AuditEvent:entity:agent", "Patient/1")
    )
    assert sorted(type for types in hops(expression) for type in types) == [
        "AuditEvent",
        "Organization",
        "Patient",
    ]


def test_the_shape_of_the_answer_is_read() -> None:
    query = parse(
        "Patient",
        ("_count", "5000"),
        ("_summary", "text"),
        ("_elements", "name, birthDate"),
        ("_total", "none"),
    )
    assert query.shown == Shown(1000, "none", "text", ("name", "birthDate"))
    assert parse("Patient").shown == Shown(20)
    assert parse("Patient", ("_summary", "count")).shown.count == 0


def test_sort_keys_know_where_their_values_are() -> None:
    query = parse("Patient", ("_sort", "-family,birthdate,-gender,_lastUpdated,_id"))
    assert query.sort == (
        SortKey(SortBy.STORED, True, "family~d"),
        SortKey(SortBy.STORED, False, "birthdate~s"),
        SortKey(SortBy.FIRST, True, "gender"),
        SortKey(SortBy.UPDATED),
        SortKey(SortBy.ID),
    )


def test_the_pages_of_one_search_share_a_fingerprint() -> None:
    one = parse("Patient", ("name", "a"), ("_count", "5"), ("_format", "json"))
    same = parse("Patient", ("name", "a"), ("_count", "9"))
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != parse("Patient", ("name", "b")).fingerprint
    assert one.fingerprint != parse("Practitioner", ("name", "a")).fingerprint


def test_unknown_names_are_refused_with_the_known_ones_and_without_their_own_text() -> None:
    with pytest.raises(OutcomeError) as caught:
        parse("Patient", ("birthdat-12345678909", "x"))
    text = caught.value.issues[0].text
    assert "birthdate" in text
    assert "Did you mean" in text or "Patient has" in text
    assert "12345678909" not in text


@pytest.mark.parametrize("pairs", [
    (("cpf-12345678909", "12345678909"),), (("birthdate", "12345678909x"),), (("_count", "12345678909x"),),
    (("_sort", "12345678909"),), (("_include", "12345678909"),), (("_filter", "12345678909"),),
    (("general-practitioner", "Org|12345678909"),),
    (("_has:12345678909:a:b", "x"),), (("organization.n12345678909", "x"),),
    (("name:12345678909", "x"),), (("_has:Observation:n12345678909:b", "x"),),
    (("_elements", "/12345678909"),),
])  # fmt: skip
def test_refusals_never_echo_what_was_sent(pairs: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(OutcomeError) as caught:
        parse("Patient", *pairs)
    assert "12345678909" not in str(caught.value.to_json())


def test_a_lenient_search_names_what_it_ignored() -> None:
    query = parse("Patient", ("nonsense", "1"), ("gender", "male"), ("_sort", "nonsense"), lenient=True)
    assert query.ignored == ("nonsense", "_sort")
    assert dict(query.filters)["Patient"] == Equals("gender", ("male",))


def test_a_compartment_is_a_condition_on_each_of_its_types() -> None:
    query = parse(None, compartment=("Patient", "1"))
    assert "Observation" in query.types
    assert "Patient" in query.types
    assert "Organization" not in query.types
    assert dict(query.filters)["Observation"] == Equals("~Patient", ("t/Patient/1",))


@pytest.mark.parametrize(
    ("type", "compartment", "code"),
    [
        ("Organization", ("Patient", "1"), "compartment-type"),
        ("Observation", ("Organization", "1"), "compartment-unknown"),
        ("Observation", ("Patient", "a/b"), "compartment-unknown"),
        ("Nonsense", None, "type-unknown"),
    ],
)
def test_a_search_that_cannot_be_is_refused(
    type: str, compartment: tuple[str, str] | None, code: str
) -> None:
    with pytest.raises(OutcomeError) as caught:
        parse(type, compartment=compartment)
    assert caught.value.issues[0].code == code
