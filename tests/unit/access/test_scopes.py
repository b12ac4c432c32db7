"""The grammar of SMART scopes, and the algebra of what they grant.

Sources: hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html, RFC 6749 section 3.3.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.access import scopes
from fhirserver.access.scopes import Scope, Scopes, are_covered, covers, intersect, narrow, parse
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.r4.definitions import Definitions


@cache
def vocabulary() -> DefinedVocabulary:
    return DefinedVocabulary(Definitions.load())


def read(text: str) -> Scopes:
    return parse(text, vocabulary())


def one(text: str) -> Scope:
    (scope,) = read(text).resources
    return scope


@pytest.mark.parametrize(
    ("token", "level", "type", "letters"),
    [
        ("patient/*.rs", "patient", "*", "rs"),
        ("patient/Observation.read", "patient", "Observation", "rs"),
        ("user/Observation.write", "user", "Observation", "cud"),
        ("system/Patient.*", "system", "Patient", "cruds"),
        ("user/Patient.cruds", "user", "Patient", "cruds"),
        ("user/Patient.d", "user", "Patient", "d"),
        ("system/AuditEvent.rs", "system", "AuditEvent", "rs"),
    ],
)
def test_a_resource_scope_is_understood(token: str, level: str, type: str, letters: str) -> None:
    scope = one(token)
    assert (scope.level, scope.type, scope.letters, scope.constraint) == (level, type, letters, ())
    assert str(scope) == token


@pytest.mark.parametrize(
    "token",
    [
        ".dus", ".", ".read-only", "xpatient/*.rs", "patient/*.rs?", "PATIENT/*.rs", "patient/observation.rs",
        "patient/Observation.", "patient/Observation.rr", "patient/Observation.sr", "patient/Observation.dus",
        "patient/Observation.readx", "patient/Observation.rs\t", "patient/Observation.rs\n", "patient/.rs",
        "patient/*", "patient/Observationx.rs", "patient/Observation.rs.rs", "patient/Observation/1.rs",
        "patient/*.rs?category=x", "patient/Observation.read?category=x", "patient/Observation.*?category=x",
        "patient/Observation.rs?", "patient/Observation.rs?category", "patient/Observation.rs?category=",
        "patient/Observation.rs?category=x&", "patient/Observation.rs?unknown=x", "patient/Observation.rs?_has=x",
        "patient/Observation.rs?_include=x", "patient/Observation.rs?_filter=x", "patient/Observation.rs?_sort=x",
        "patient/Observation.rs?_count=1", "patient/Observation.rs?_query=x", "patient/Observation.rs?_total=none",
        "patient/Observation.rs?_revinclude=x", "patient/Observation.rs?_content=x", "patient/Observation.rs?_text=x",
        "patient/Observation.rs?subject.name=x", "patient/Observation.rs?category:not=x",
        'patient/Observation.rs?category="x"', "patient/Observation.rs?category=a\\,b",
        "patient/Observation.rs?category=%ff", "patient/Location.rs?near=1|2", "launch/", "launch/Patient",
        "launch/patient?x=1", "OpenID", "__", "offline", "patiént/*.rs", "patient/Observ\uff41tion.rs",
    ],
)  # fmt: skip
def test_what_is_no_scope_is_dropped_whole(token: str) -> None:
    assert read(token) == Scopes(dropped=1)
    assert read(f"openid {token} user/Patient.r") == Scopes(
        (Scope("user", "Patient", "r"),), ("openid",), dropped=1
    )


@pytest.mark.parametrize(
    ("token", "pairs"),
    [
        ("category=laboratory", [("category", "laboratory")]),
        ("status=final&category=a,b", [("category", "a,b"), ("status", "final")]),
        ("category=a%26b%5Cc", [("category", "a&b\\c")]),
        ("category=a+b", [("category", "a+b")]),
        ("category=http://x|y=z", [("category", "http://x|y=z")]),
        ("date=ge2025&date=lt2026", [("date", "ge2025"), ("date", "lt2026")]),
        ("category=a&category=a", [("category", "a")]),
        ("_tag=x", [("_tag", "x")]),
    ],
)
def test_a_constraint_is_split_and_unquoted(token: str, pairs: list[tuple[str, str]]) -> None:
    scope = one(f"patient/Observation.rs?{token}")
    assert list(scope.constraint) == pairs
    assert one(str(Scope("patient", "Observation", "rs", scope.constraint))) == scope


def test_tokens_that_are_no_resource_scopes_are_known() -> None:
    text = "openid fhirUser profile offline_access online_access launch launch/patient launch/encounter?role=x:y __x.y"
    assert read(text).others == tuple(text.split())
    assert "openid" in read(text)
    assert "launch/practitioner" not in read(text)
    assert str(read(f"{text} patient/*.read")) == f"{text} patient/*.read"


def test_a_scope_parameter_beyond_the_limits_grants_nothing() -> None:
    assert read(" ".join(["user/Patient.r"] * scopes.MOST)).resources
    assert not read(" ".join(["user/Patient.r"] * (scopes.MOST + 1)))
    assert not read("user/Patient.r " + "__" + "x" * scopes.LONGEST)


def test_a_wildcard_does_not_reach_the_audit_trail() -> None:
    assert not covers(one("user/*.cruds"), one("user/AuditEvent.r"))
    assert intersect(one("user/*.cruds"), one("user/AuditEvent.r")) is None
    assert covers(one("user/AuditEvent.rs"), one("user/AuditEvent.r"))
    assert covers(one("user/*.rs"), one("user/*.r"))


@pytest.mark.parametrize(
    ("asked", "ceiling", "granted"),
    [
        ("patient/*.read", "patient/*.cruds", "patient/*.read"),
        ("patient/*.cruds", "patient/*.rs", "patient/*.rs"),
        ("user/Observation.rs", "user/*.r", "user/Observation.r"),
        ("user/*.rs", "user/Patient.crus user/Slot.rs", "user/Patient.rs user/Slot.rs"),
        ("user/Patient.read", "user/Patient.r user/Patient.s", "user/Patient.read"),
        ("user/Observation.rs?category=a", "user/Observation.r?status=final",
         "user/Observation.r?category=a&status=final"),
        ("user/Observation.rs", "user/Observation.rs?category=a", "user/Observation.rs?category=a"),
        ("user/Patient.rs", "system/*.cruds", ""),
        ("user/Patient.cu", "user/Patient.rs", ""),
        ("user/*.rs", "user/AuditEvent.rs user/Provenance.rs", "user/Provenance.rs"),
        ("user/AuditEvent.rs", "user/AuditEvent.rs user/Provenance.rs", "user/AuditEvent.rs"),
        ("user/*.rs user/Patient.r", "user/*.cruds", "user/*.rs"),
    ],
)  # fmt: skip
def test_narrowing_gives_what_both_grant(asked: str, ceiling: str, granted: str) -> None:
    found = narrow(read(asked).resources, read(ceiling).resources)
    assert sorted(map(str, found)) == sorted(granted.split())


def test_a_refresh_may_ask_for_less_and_not_for_more() -> None:
    grant = read("openid launch/patient patient/*.rs user/Observation.r user/Observation.s")
    for asked in ("patient/Observation.r", "openid patient/*.read", "user/Observation.rs", ""):
        assert are_covered(read(asked), grant), asked
    for asked in ("patient/*.cruds", "offline_access", "user/*.rs", "patient/AuditEvent.r", "nonsense",
                  "system/Patient.r"):  # fmt: skip
        assert not are_covered(read(asked), grant), asked


_TYPES = ("Patient", "Observation", "AuditEvent")
_PAIRS = (("_tag", "a"), ("_id", "b"), ("_profile", "http://c|d e&f"))
_scope = st.builds(
    lambda level, name, letters, pairs: Scope(
        level,
        name,
        "".join(x for x in "cruds" if x in letters),
        () if name == "*" else tuple(sorted(pairs)),
    ),
    st.sampled_from(("patient", "user")),
    st.sampled_from((*_TYPES, "*")),
    st.sets(st.sampled_from("cruds"), min_size=1),
    st.sets(st.sampled_from(_PAIRS)),
)
_scopes = st.lists(_scope, max_size=5).map(tuple)
_facts = st.frozensets(st.sampled_from(_PAIRS))


def permits(granted: tuple[Scope, ...], level: str, type: str, letter: str, facts: frozenset[object]) -> bool:
    """What scopes mean, written apart from the code: some scope allows the letter on a row with these facts."""
    return any(
        s.level == level
        and (s.type == type or (s.type == "*" and type != "AuditEvent"))
        and letter in s.letters
        and all(pair in facts for pair in s.constraint)
        for s in granted
    )


@given(_scopes, _scopes, st.sampled_from(("patient", "user")), st.sampled_from(_TYPES), _facts)
def test_narrowing_means_both(
    asked: tuple[Scope, ...], ceiling: tuple[Scope, ...], level: str, type: str, facts: frozenset[object]
) -> None:
    found = narrow(asked, ceiling)
    for letter in "cruds":
        both = permits(asked, level, type, letter, facts) and permits(ceiling, level, type, letter, facts)
        assert permits(found, level, type, letter, facts) == both
    assert narrow(found, ceiling) == found
    assert all(any(covers(a, f) for a in asked) for f in found if len(asked) == 1)


@given(_scope, _scope, st.sampled_from(_TYPES), _facts)
def test_what_one_covers_it_permits(one: Scope, other: Scope, type: str, facts: frozenset[object]) -> None:
    if covers(one, other):
        assert intersect(one, other) == other
        for letter in "cruds":
            if permits((other,), other.level, type, letter, facts):
                assert permits((one,), one.level, type, letter, facts)


@given(_scope)
def test_a_scope_is_read_as_it_was_written(scope: Scope) -> None:
    assert parse(str(scope), vocabulary()).resources == (scope,)


@given(st.text(max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    for scope in parse(text, vocabulary()).resources:
        assert parse(str(scope), vocabulary()).resources == (scope,)
