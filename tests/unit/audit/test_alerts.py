"""The alert rules, on facts: what each takes and leaves. docs/how-to/audit-alerts.md; audit.md 10, 14."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Any

import pytest

from fhirserver.audit.disclosure import alertwords, words
from fhirserver.audit.disclosure.alerts import (
    Alert,
    Surroundings,
    Thresholds,
    alerts_in,
    pairs,
    to_compare,
    usual_of,
)
from fhirserver.audit.disclosure.facts import Fact
from fhirserver.audit.disclosure.people import homes, identities, linked, meeting

START = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
LIMITS = Surroundings(
    START + timedelta(hours=1),
    Thresholds(patients_per_hour=5, patients_unusual=3, denials=3, export_patients=2),
    {"bot": Thresholds(patients_per_hour=50, patients_unusual=50, denials=20, export_patients=50)},
)
_NEXT = iter(range(10**9))


def a_fact(**given: Any) -> Fact:
    base: dict[str, Any] = {
        "id": f"e{next(_NEXT)}", "at": START, "type": "rest", "action": "read", "outcome": "0",
        "user": "Practitioner/42", "client": "agenda-web", "address": "203.0.113.9", "patient": "Patient/77",
    }  # fmt: skip
    return Fact(**base | given)


def rules(facts: list[Fact], on: Surroundings = LIMITS) -> list[tuple[str, str]]:
    return [(alert.rule, alert.subject) for alert in alerts_in(facts, on)]


def spread(count: int, minutes: float, **given: Any) -> list[Fact]:
    """Facts of `count` patients, evenly over `minutes`."""
    step = timedelta(minutes=minutes / max(count - 1, 1))
    return [a_fact(patient=f"Patient/{n}", at=START + n * step, **given) for n in range(count)]


def test_many_patients_within_an_hour_are_an_alert() -> None:
    assert rules(spread(5, 60)) == [("mass-access", "Practitioner/42")]
    assert rules(spread(5, 61)) == []
    assert rules(spread(4, 1)) == []
    assert rules([a_fact() for _ in range(9)]) == []  # of one patient
    assert rules(spread(5, 1, outcome="4")) == []  # nothing was given out
    assert rules(spread(9, 1, user="", client="bot")) == []  # a service with thresholds of its own
    assert rules(spread(50, 1, user="", client="bot")) == [("mass-access", "bot")]
    assert rules(spread(5, 1, user="", client="other")) == [("mass-access", "other")]


def test_an_alert_tells_the_peak_and_the_time_at_which_the_limit_was_reached() -> None:
    (alert,) = alerts_in(spread(9, 8), LIMITS)
    assert (dict(alert.figures), alert.at) == ({"patients": "9", "most": "5"}, START + timedelta(minutes=4))


def test_many_more_patients_than_usual_are_an_alert() -> None:
    relaxed = replace(LIMITS, thresholds=Thresholds(patients_per_hour=99, times_usual=2, patients_unusual=4))

    def usual(count: int) -> Surroundings:
        return replace(relaxed, usual={"Practitioner/42": count})

    assert rules(spread(6, 60), usual(3)) == [("unusual-access", "Practitioner/42")]
    assert rules(spread(6, 61), usual(3)) == []
    assert rules(spread(5, 60), usual(3)) == []  # less than twice as many
    assert rules(spread(3, 60), usual(1)) == []  # twice as many, but few
    assert rules(spread(4, 60), usual(1)) == [("unusual-access", "Practitioner/42")]
    assert rules(spread(6, 60), replace(relaxed, usual={"Practitioner/1": 3})) == []
    assert to_compare(spread(4, 60), relaxed) == ["Practitioner/42"]
    assert to_compare(spread(3, 60), relaxed) == []


def test_what_is_usual_is_what_nearly_all_hours_stay_below() -> None:
    assert usual_of([*range(1, 21)]) == 19  # 95 % of 20 hours
    assert usual_of([4] * 10) == 4
    assert usual_of([4] * 9) is None  # too few hours to say
    assert usual_of([*([0] * 500), *([4] * 9)]) is None  # idle hours say nothing
    assert usual_of([]) is None


def test_many_refusals_within_five_minutes_are_an_alert_of_user_app_and_address() -> None:
    expected = [("denials", "Practitioner/42"), ("denials", "agenda-web"), ("denials", "203.0.113.9")]
    assert rules(spread(3, 5, denied="denied-scope", outcome="4")) == expected
    assert rules(spread(3, 6, denied="denied-scope", outcome="4")) == []
    assert rules(spread(2, 1, denied="denied-scope", outcome="4")) == []
    assert rules(spread(9, 1, denied="denied-scope", outcome="4", user="", client="bot")) == []


def test_an_emergency_access_is_an_alert_and_another_one_where_nobody_has_reviewed_it() -> None:
    begun = a_fact(id="start", type="110113", action="110127", grant="btg-1", at=START - timedelta(hours=72))
    early, late = replace(LIMITS, now=START), replace(LIMITS, now=START + timedelta(minutes=1))
    assert rules([begun], early) == [("break-glass", "Practitioner/42")]
    assert rules([begun], late) == [("break-glass", "Practitioner/42"), ("unreviewed", "Practitioner/42")]
    review = a_fact(
        type="110101", user="Practitioner/7", patient="", grant="btg-1", resources=("AuditEvent/start",)
    )
    assert rules([begun, review], late) == [("break-glass", "Practitioner/42")]
    for own in ({"user": "Practitioner/42"}, {"user": "Practitioner/8", "account": "u-42"}):
        assert (
            len(rules([replace(begun, account="u-42"), replace(review, **own)], late)) == 2
        )  # nobody reviews themself
    other = replace(review, resources=("AuditEvent/another",))
    assert len(rules([begun, other], late)) == 2
    first, again = (alerts_in([begun], replace(late, now=START + timedelta(days=days)))[1] for days in (1, 9))
    assert first.id() == again.id()  # once, not every day


def test_protected_patients_are_for_their_care_team() -> None:
    teams = {"Patient/77": frozenset({"Practitioner/1"})}
    sealed = replace(LIMITS, protected=frozenset({"Patient/77"}), care_teams=teams)
    assert rules([a_fact()], sealed) == [("vip", "Practitioner/42")]
    assert rules([a_fact(user="", client="other")], sealed) == [("vip", "other")]
    for allowed in (
        {"user": "Practitioner/1"}, {"user": "Patient/77"}, {"user": "", "client": "bot"}, {"outcome": "4"},
        {"patient": "Patient/1"}, {"type": "110113", "alert": "vip"},
    ):  # fmt: skip
        assert rules([a_fact(**allowed)], sealed) == []


def test_own_records_and_records_of_the_same_address_are_alerts() -> None:
    near = replace(LIMITS, kin={("Practitioner/42", "Patient/77"): "own-record"})
    (alert,) = alerts_in([a_fact(), a_fact(at=START + timedelta(minutes=5))], near)
    assert (alert.rule, alert.subject, alert.patient) == ("own-record", "Practitioner/42", "Patient/77")
    assert rules([a_fact(patient="Patient/78")], near) == []
    assert rules([a_fact(user="Practitioner/43")], near) == []
    assert pairs([a_fact(), a_fact(user="Patient/77"), a_fact(outcome="4"), a_fact(type="110101")]) == {
        ("Practitioner/42", "Patient/77")
    }


def test_large_exports_within_a_day_are_an_alert() -> None:
    day = 24 * 60
    assert rules(spread(3, day, type="110106", recipient="Organization/1")) == [
        ("export-volume", "Organization/1")
    ]
    assert rules(spread(3, day + 1, type="110106", recipient="Organization/1")) == []
    assert rules(spread(2, 9, type="110106", recipient="Organization/1")) == []
    assert rules(spread(3, 9)) == []  # read, not exported


def test_refused_searches_for_identifiers_are_an_alert() -> None:
    refused = {"denied": "denied-throttled", "outcome": "4", "patient": ""}
    told = "429 throttled identifier-enumeration (denied: throttled)"
    assert rules([a_fact(**refused, text=told)]) == [("enumeration", "Practitioner/42")]
    assert rules([a_fact(**refused, text="429 throttled too-many (denied: throttled)")]) == []


def test_the_same_cause_is_one_alert_a_day() -> None:
    alert = Alert("vip", "Practitioner/1", START, patient="Patient/1")
    later = replace(alert, at=START + timedelta(hours=2), figures=(("x", "1"),))
    assert alert.id() == later.id()
    others = [
        replace(alert, at=START + timedelta(days=1)),
        replace(alert, subject="Practitioner/2"),
        replace(alert, patient="Patient/2"),
        replace(alert, rule="denials"),
        replace(alert, grant="btg-1"),
    ]
    assert len({alert.id(), *(other.id() for other in others)}) == 6
    assert len(alert.id()) <= 64


# --- people

HOME = {"line": ["Rua das Acácias, nº 12", "Apto. 3"], "postalCode": "01310-100", "city": "São Paulo"}


def living(*addresses: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "1", "address": list(addresses)} | more


@pytest.mark.parametrize(
    "same",
    [
        HOME,
        {"line": ["R. DAS ACACIAS 12, apartamento 3"], "postalCode": "01310100"},
        {"line": ["Apto 3", "Rua Acácias, 12"], "postalCode": "01310-100", "use": "home"},
        {"text": "rua das acacias, 12 ap 3", "postalCode": "01310-100"},
    ],
)
def test_the_same_home_is_known_however_it_is_written(same: dict[str, Any]) -> None:
    assert homes(living(HOME)) & homes(living(same))


@pytest.mark.parametrize(
    "other",
    [
        HOME | {"line": ["Rua das Acácias, nº 12", "Apto. 4"]},
        HOME | {"line": ["Rua das Acácias, nº 14", "Apto. 3"]},
        HOME | {"postalCode": "01310-200"},
        HOME | {"use": "work"},
        HOME | {"use": "old"},
        HOME | {"type": "postal"},
        HOME | {"period": {"end": "2020-01-01"}},
        HOME | {"line": ["Rua das Acácias"]},
        {"line": HOME["line"]},
        {"postalCode": "01310-100"},
        {},
    ],
)
def test_other_homes_and_vague_addresses_are_not_the_same(other: dict[str, Any]) -> None:
    assert not homes(living(HOME)) & homes(living(other))


def test_one_city_stands_in_for_a_postal_code_that_is_missing() -> None:
    bare = {"line": ["Rua A, 1"], "city": "Olinda"}
    assert (
        homes(living(bare))
        == homes(living(bare | {"city": "OLINDA"}))
        != homes(living(bare | {"city": "Recife"}))
    )


def test_a_person_is_known_by_cpf_link_or_person_and_a_household_by_its_address() -> None:
    cpf = {"system": "https://saude.gov.br/fhir/sid/cpf", "value": "529.982.247-25"}
    doctor = living(id="d", resourceType="Practitioner", identifier=[cpf])
    record = {"system": "https://clinic.example/records", "value": "7"}
    patient = living(HOME, id="p", resourceType="Patient", identifier=[cpf | {"value": "52998224725"}])
    other = living(HOME, id="q", identifier=[record])
    assert meeting([doctor], frozenset(), patient) == "own-record"
    assert (
        meeting([living(identifier=[record])], frozenset(), other) == ""
    )  # a number that is no person's own
    assert meeting([living()], frozenset({"Patient/q"}), other) == "own-record"
    assert meeting([living(), living(HOME)], frozenset({"Patient/p"}), other) == "same-address"
    assert meeting([living(HOME | {"use": "work"})], frozenset(), other) == ""
    assert (
        identities(living(identifier=[{"system": "urn:x", "value": "1"}, cpf | {"use": "old"}]))
        == frozenset()
    )
    person = {"link": [{"target": {"reference": "Patient/p"}}, {"target": {"display": "x"}}]}
    assert linked(person) == {"Patient/p"}


# --- words


def test_every_rule_has_a_title_and_sentences_with_the_same_figures_in_both_languages() -> None:
    ruled = {key.partition(".")[0] for key in alertwords.sentences()}
    assert ruled == set(alertwords.TITLES)
    for key, (portuguese, english) in alertwords.sentences().items():
        asked = [{name for _, name, *_ in Formatter().parse(text) if name} for text in (portuguese, english)]
        assert asked[0] == asked[1], key
        assert portuguese != english or key == "sealing-stopped.unusable"
    for rule in alertwords.TITLES:
        assert alertwords.title(rule, "pt-BR") != rule
        assert words.code(f"alert-{rule}", "pt-BR") == alertwords.title(rule, "pt-BR")


def test_every_alert_of_the_rules_has_the_figures_of_its_sentence() -> None:
    sealed = replace(
        LIMITS, protected=frozenset({"Patient/1"}), usual={"Practitioner/42": 1},
        kin={("Practitioner/42", "Patient/1"): "own-record", ("Practitioner/42", "Patient/2"): "same-address"},
        now=START + timedelta(days=9),
    )  # fmt: skip
    facts = [
        a_fact(type="110113", action="110127", grant="btg-1"),
        *spread(9, 10),
        *spread(9, 4, denied="denied-throttled", outcome="4", text="429 identifier-enumeration"),
        *spread(9, 10, type="110106", recipient="Organization/1"),
    ]
    found = alerts_in(sorted(facts, key=lambda fact: fact.at), sealed)
    assert {alert.rule for alert in found} == {
        "mass-access", "unusual-access", "denials", "break-glass", "unreviewed", "vip", "own-record", "same-address",
        "export-volume", "enumeration",
    }  # fmt: skip
    for alert in found:
        for language in alertwords.LANGUAGES:
            told = alertwords.told(alert.rule, dict(alert.figures), language)
            assert told, alert.rule
            assert "{" not in told


def test_an_alert_without_the_figures_is_told_as_it_was_written() -> None:
    assert alertwords.told("mass-access", {}, "en", "50 patients or more") == "50 patients or more"
    assert alertwords.told("of-another-system", {"x": "1"}, "pt-BR", "theirs") == "theirs"
    assert alertwords.title("of-another-system", "pt-BR") == "of-another-system"
    hostile = {"patients": "{most.__class__}", "most": "5"}
    assert "{most.__class__}" in alertwords.told("mass-access", hostile, "en")  # figures are no templates
