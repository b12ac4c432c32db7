"""The alert rules: what in the facts a person should look at. Pure.

Each rule looks at all facts that it is given through its own window, so the caller may hand over those of the last hour
together with rarer ones of longer ago. Source: docs/how-to/audit-alerts.md; the thresholds are settings (audit.alerts).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fhirserver.audit.disclosure.alertwords import PREFIX
from fhirserver.audit.disclosure.facts import BREAK_GLASS_START, Fact
from fhirserver.audit.disclosure.reports import REVIEW_HOURS, grouped_by_grant, review_state

WINDOW = timedelta(hours=1)
EXPORT_WINDOW = timedelta(days=1)
ENUMERATION = "identifier-enumeration"  # code of the refusal that tells of it
_DENIAL_WINDOW = timedelta(minutes=5)
_LEAST_HOURS = 10  # with access, before anything is usual for somebody
_NO_ACCESS = frozenset(("110100", "110101", "110113", "110114"))
_STAFF = ("Practitioner/", "PractitionerRole/")
Figures = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on a pattern is an alert. `times_usual` counts from `patients_unusual` patients on."""

    patients_per_hour: int = 50
    times_usual: float = 5.0
    patients_unusual: int = 10
    denials: int = 10
    export_patients: int = 1000
    identifiers: int = 100


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rules need beside the facts.

    `services`: those of apps that work without a user, by client id. `protected`: patients under seal. `care_teams`:
    patient -> who cares. `usual`: actor -> what 95 % of their hours stay below. `kin`: (user, patient) -> the rule that the
    two of them meet, own-record or same-address.
    """

    now: datetime
    thresholds: Thresholds = field(default_factory=Thresholds)
    services: Mapping[str, Thresholds] = field(default_factory=dict)
    protected: frozenset[str] = frozenset()
    care_teams: Mapping[str, frozenset[str]] = field(default_factory=dict)
    usual: Mapping[str, int] = field(default_factory=dict)
    kin: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def of(self, actor: str) -> Thresholds:
        """Those that hold for a user, client or address."""
        return self.services.get(actor, self.thresholds)

    def is_service(self, fact: Fact) -> bool:
        """True for the work of an app that has thresholds of its own."""
        return not fact.user and fact.client in self.services


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `subject`: the user, client, address or machine it is about. `patient`: where it is about one.

    `grant`: where it is about one emergency access. `figures`: those of the rule's sentence (alertwords).
    """

    rule: str
    subject: str
    at: datetime
    figures: Figures = ()
    patient: str = ""
    grant: str = ""

    def id(self) -> str:
        """The same for the same cause on the same day, so that it is raised once."""
        about = (self.rule, self.subject, self.patient, self.at.date().isoformat())
        cause = "\n".join((*about, self.grant) if self.grant else about)
        return f"{PREFIX}{hashlib.sha256(cause.encode()).hexdigest()[:32]}"


def alerts_in(facts: Sequence[Fact], on: Surroundings) -> list[Alert]:
    """The alerts that the facts, in order of time, give rise to."""
    found: dict[str, Alert] = {}
    for rule in _RULES:
        for alert in rule(facts, on):
            found.setdefault(alert.id(), alert)
    return list(found.values())


def usual_of(patients_by_hour: Sequence[int]) -> int | None:
    """The number of patients that 95 % of the hours with any stay at or below; None for too few hours to say."""
    hours = sorted(count for count in patients_by_hour if count)
    if len(hours) < _LEAST_HOURS:
        return None
    return hours[math.ceil(0.95 * len(hours)) - 1]


def to_compare(facts: Sequence[Fact], on: Surroundings) -> list[str]:
    """The actors whose last hour is worth a look at what is usual for them."""
    found = []
    for actor, mine in _by_actor(_given_out(facts)).items():
        limits = on.of(actor)
        _, peak = _peak(mine, WINDOW, limits.patients_unusual, _patient)
        if peak >= limits.patients_unusual:
            found.append(actor)
    return found


def pairs(facts: Sequence[Fact]) -> set[tuple[str, str]]:
    """The members of staff and the patients whose data they were given."""
    return {(fact.user, fact.patient) for fact in _given_out(facts) if fact.user.startswith(_STAFF)}


def _given_out(facts: Sequence[Fact]) -> list[Fact]:
    return [fact for fact in facts if fact.patient and not fact.failed and fact.type not in _NO_ACCESS]


def _mass_access(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Many distinct patients by one user (or app without a user) within an hour."""
    for actor, mine in _by_actor(_given_out(facts)).items():
        most = on.of(actor).patients_per_hour
        at, peak = _peak(mine, WINDOW, most, _patient)
        if at is not None:
            yield Alert("mass-access", actor, at, _figures(patients=peak, most=most))


def _unusual_access(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Many more distinct patients within an hour than one user has in nearly all hours."""
    for actor, mine in _by_actor(_given_out(facts)).items():
        usual, limits = on.usual.get(actor), on.of(actor)
        if usual is None:
            continue
        least = max(limits.patients_unusual, math.ceil(usual * limits.times_usual))
        at, peak = _peak(mine, WINDOW, least, _patient)
        if at is not None:
            figures = _figures(patients=peak, usual=usual, times=f"{limits.times_usual:g}")
            yield Alert("unusual-access", actor, at, figures)


def _denials(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Many refusals of one user, app or address within five minutes."""
    refused = [fact for fact in facts if fact.denied]
    others = [fact for fact in refused if not on.is_service(fact)]
    for of, among in (
        (lambda fact: fact.user, refused),
        (lambda fact: fact.client, refused),
        (lambda fact: fact.address, others),
    ):
        for subject, mine in _grouped(among, of).items():
            most = on.of(subject).denials
            at, peak = _peak(mine, _DENIAL_WINDOW, most, lambda fact: fact.id)
            if at is not None:
                yield Alert("denials", subject, at, _figures(refusals=peak, most=most))


def _break_glass(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Any emergency access; and each that nobody else has looked into in time."""
    under, hours = grouped_by_grant(facts), _figures(hours=REVIEW_HOURS)
    for fact in facts:
        if fact.action != BREAK_GLASS_START or fact.failed:
            continue
        yield Alert("break-glass", fact.actor, fact.at, hours, fact.patient)
        if review_state(fact, under[fact.grant], on.now) == "overdue":
            due = fact.at + timedelta(hours=REVIEW_HOURS)
            yield Alert("unreviewed", fact.actor, due, hours, fact.patient, fact.grant)


def _protected(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """A patient under seal, seen by somebody outside of the care team."""
    for fact in _given_out(facts):
        allowed = on.care_teams.get(fact.patient, frozenset()) | {fact.patient}
        if (
            fact.patient in on.protected
            and fact.actor
            and fact.actor not in allowed
            and not on.is_service(fact)
        ):
            yield Alert("vip", fact.actor, fact.at, patient=fact.patient)


def _kin(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """A member of staff who looks at their own record, or at that of somebody of the same address."""
    for fact in _given_out(facts):
        if rule := on.kin.get((fact.user, fact.patient)):
            yield Alert(rule, fact.user, fact.at, patient=fact.patient)


def _exports(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Very many patients handed out within a day."""
    out = [fact for fact in _given_out(facts) if fact.disclosed]
    for actor, mine in _grouped(out, lambda fact: fact.recipient or fact.actor).items():
        most = on.of(actor).export_patients
        at, peak = _peak(mine, EXPORT_WINDOW, most + 1, _patient)
        if at is not None:
            yield Alert("export-volume", actor, at, _figures(patients=peak, most=most))


def _enumeration(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Somebody who tries identifiers until one is there, and was refused."""
    for fact in facts:
        if fact.denied and ENUMERATION in fact.text:
            subject = fact.actor or fact.address
            yield Alert("enumeration", subject, fact.at, _figures(most=on.of(subject).identifiers))


def _figures(**given: object) -> Figures:
    return tuple((name, str(value)) for name, value in given.items())


def _patient(fact: Fact) -> str:
    return fact.patient


def _by_actor(facts: Sequence[Fact]) -> dict[str, list[Fact]]:
    return _grouped(facts, lambda fact: fact.actor)


def _grouped(facts: Sequence[Fact], of: Callable[[Fact], str]) -> dict[str, list[Fact]]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if subject := of(fact):
            groups[subject].append(fact)
    return groups


def _peak(
    facts: Sequence[Fact], length: timedelta, least: int, of: Callable[[Fact], str]
) -> tuple[datetime | None, int]:
    """When the distinct values within `length` first came to `least` (None: never), and their highest number."""
    inside: Counter[str] = Counter()
    start, peak, first = 0, 0, None
    for fact in facts:
        inside[of(fact)] += 1
        while fact.at - facts[start].at > length:
            gone = of(facts[start])
            inside[gone] -= 1
            if not inside[gone]:
                del inside[gone]
            start += 1
        peak = max(peak, len(inside))
        if first is None and len(inside) >= least:
            first = fact.at
    return first, peak


_RULES = (
    _mass_access,
    _unusual_access,
    _denials,
    _break_glass,
    _protected,
    _kin,
    _exports,
    _enumeration,
)
