"""The alert rules: what in the facts of the last hour a person should look at. Pure.

Source: docs/how-to/audit-reports.md; the thresholds are settings (audit.alerts).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhirserver.audit.disclosure.facts import BREAK_GLASS_START, Fact

WINDOW = timedelta(hours=1)
_DENIAL_WINDOW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on a pattern is an alert. `service_clients`: apps that read many patients by design."""

    patients_per_hour: int = 50
    denials: int = 10
    export_patients: int = 1000
    service_clients: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the rules need beside the facts. `protected`: patients under seal. `care_teams`: patient -> who cares."""

    thresholds: Thresholds
    protected: frozenset[str] = frozenset()
    care_teams: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `subject`: the user, client or address it is about. `patient`: where it is about one."""

    rule: str
    subject: str
    at: datetime
    text: str
    patient: str = ""

    def id(self) -> str:
        """The same for the same cause on the same day, so that it is raised once."""
        cause = "\n".join((self.rule, self.subject, self.patient, self.at.date().isoformat()))
        return f"alert-{hashlib.sha256(cause.encode()).hexdigest()[:32]}"


def alerts_in(facts: Sequence[Fact], on: Surroundings) -> list[Alert]:
    """The alerts that the facts, in order of time, give rise to; the facts of more than an hour are looked at by hours."""
    found: dict[str, Alert] = {}
    for rule in _RULES:
        for alert in rule(facts, on):
            found.setdefault(alert.id(), alert)
    return list(found.values())


def _mass_access(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Many distinct patients by one user (or app without a user) within an hour."""
    most = on.thresholds.patients_per_hour
    for actor, mine in _grouped(facts, lambda fact: fact.actor).items():
        if actor in on.thresholds.service_clients:
            continue
        for end, inside in _windows([fact for fact in mine if fact.patient and not fact.failed], WINDOW):
            if len({fact.patient for fact in inside}) >= most:
                yield Alert("mass-access", actor, end, f"{most} patients or more within an hour")
                break


def _denials(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Many refusals of one user, app or address within five minutes."""
    most = on.thresholds.denials
    refused = [fact for fact in facts if fact.denied]
    for of in (lambda fact: fact.user, lambda fact: fact.client, lambda fact: fact.address):
        for subject, mine in _grouped(refused, of).items():
            for end, inside in _windows(mine, _DENIAL_WINDOW):
                if len(inside) >= most:
                    yield Alert("denials", subject, end, f"{most} refusals or more within five minutes")
                    break


def _break_glass(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Any emergency access."""
    for fact in facts:
        if fact.action == BREAK_GLASS_START:
            yield Alert("break-glass", fact.actor, fact.at, "an emergency access was begun", fact.patient)


def _protected(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """A patient under seal, seen by somebody outside of the care team."""
    teams = on.care_teams or {}
    for fact in facts:
        allowed = teams.get(fact.patient, frozenset()) | {fact.patient}
        if fact.patient in on.protected and not fact.failed and fact.actor not in allowed:
            yield Alert("vip", fact.actor, fact.at, "a protected patient's data was accessed", fact.patient)


def _exports(facts: Sequence[Fact], on: Surroundings) -> Iterator[Alert]:
    """Very many patients handed out."""
    most = on.thresholds.export_patients
    out = [fact for fact in facts if fact.disclosed or fact.type == "110106"]
    for actor, mine in _grouped(out, lambda fact: fact.recipient or fact.actor).items():
        if len({fact.patient for fact in mine if fact.patient}) > most:
            yield Alert("export-volume", actor, mine[-1].at, f"more than {most} patients exported")


def _grouped(facts: Sequence[Fact], of: Callable[[Fact], str]) -> dict[str, list[Fact]]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if subject := of(fact):
            groups[subject].append(fact)
    return groups


def _windows(facts: Sequence[Fact], length: timedelta) -> Iterator[tuple[datetime, Sequence[Fact]]]:
    """For each fact those of the time `length` that ends with it."""
    start = 0
    for end, fact in enumerate(facts):
        while fact.at - facts[start].at > length:
            start += 1
        yield fact.at, facts[start : end + 1]


_RULES = (_mass_access, _denials, _break_glass, _protected, _exports)
