"""The compliance officer's reports, each a function from facts to a table. Pure.

Names are those of now: the log itself holds references and codes only. Source: docs/how-to/audit-reports.md; LGPD
art. 18, 19 (access report); 45 CFR 164.528 (accounting of disclosures).
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from fhirserver.audit.disclosure.alertwords import PREFIX
from fhirserver.audit.disclosure.calendar import OpeningHours
from fhirserver.audit.disclosure.facts import BREAK_GLASS_START, Fact
from fhirserver.audit.disclosure.tables import Cell, Sentence, Table

REVIEW_HOURS = 72
_EXEMPT = frozenset({"TREAT", "HPAYMT", "HOPERAT", "ETREAT", "BTG"})
_WRITES = frozenset({"create", "update", "patch", "delete"})
USED_LOG = "110101"
ACKNOWLEDGED, REVIEWED = "acknowledged-alert", "reviewed-emergency"  # subtypes
PEOPLE = ("Patient/", "RelatedPerson/")
PATIENTS = "patients"


@dataclass(frozen=True, slots=True)
class Known:
    """What a report needs beside the facts. `names`: of references and ids. `protected`: references of patients.

    `threshold`: patients of one user within an hour that are many. `token`: what stands for a searched value.
    `organizations`: names of those that people work for, by the person's reference.
    """

    now: datetime
    names: Mapping[str, str] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("America/Sao_Paulo"))
    opening: OpeningHours = field(default_factory=lambda: OpeningHours({}))
    protected: frozenset[str] = frozenset()
    threshold: int = 50
    token: str = ""
    organizations: Mapping[str, str] = field(default_factory=dict)

    def name(self, reference: str) -> str:
        """The name behind a reference or id, itself where none is known."""
        return self.names.get(reference, reference)


Report = Callable[[Sequence[Fact], Known], Table]
Column = Callable[[Fact, Known], Cell]

_COLUMNS: Mapping[str, Column] = {
    "when": lambda fact, known: fact.at,
    "who": lambda fact, known: known.name(fact.user) if fact.user else "",
    "role": lambda fact, known: "self" if fact.user and fact.user == fact.patient else fact.role,
    "organization": lambda fact, known: (
        known.name(fact.organization) or known.organizations.get(fact.user, "")
    ),
    "app": lambda fact, known: known.name(fact.client),
    "patient": lambda fact, known: known.name(fact.patient),
    "action": lambda fact, known: fact.action,
    "data": lambda fact, known: tuple(type for type in fact.types if type != "OperationOutcome"),
    "purpose": lambda fact, known: fact.purposes,
    "outcome": lambda fact, known: fact.outcome,
    "reason": lambda fact, known: fact.denied or fact.reason,
    "emergency": lambda fact, known: fact.broke_glass,
    "shared": lambda fact, known: known.name(fact.recipient),
    "address": lambda fact, known: fact.address,
    "grant": lambda fact, known: fact.grant,
    "request": lambda fact, known: fact.request,
    "event": lambda fact, known: fact.id,
}
_OF_PATIENT = (
    "when", "who", "role", "organization", "app", "action", "data", "purpose", "outcome", "emergency", "shared",
)  # fmt: skip
_FOR_AUDITOR = (
    "when", "who", "role", "app", "patient", "action", "data", "purpose", "outcome", "reason", "emergency", "address",
    "event",
)  # fmt: skip


def listed(kind: str, facts: Iterable[Fact], columns: Sequence[str], known: Known) -> Table:
    """A table with a row for each fact."""
    rows = tuple(tuple(_COLUMNS[name](fact, known) for name in columns) for fact in facts)
    return Table(kind, tuple(columns), rows)


def of_patient(facts: Sequence[Fact], known: Known) -> Table:
    """Who has seen my data: complete, but without addresses, issuers of tokens and other people."""
    plain = (replace(fact, client=fact.client.rpartition("|")[2]) for fact in facts)
    return listed("access-report", plain, _OF_PATIENT, known)


def _access(facts: Sequence[Fact], known: Known) -> Table:
    return listed("access", facts, _FOR_AUDITOR, known)


def _denied(facts: Sequence[Fact], known: Known) -> Table:
    return listed("denied", (fact for fact in facts if fact.denied), _FOR_AUDITOR, known)


def _after_hours(facts: Sequence[Fact], known: Known) -> Table:
    late = (fact for fact in facts if fact.user and not known.opening.is_open(fact.at.astimezone(known.zone)))
    return listed("after-hours", late, _FOR_AUDITOR, known)


def _protected(facts: Sequence[Fact], known: Known) -> Table:
    return listed("vip", (fact for fact in facts if fact.patient in known.protected), _FOR_AUDITOR, known)


def _searched_for(facts: Sequence[Fact], known: Known) -> Table:
    found = (fact for fact in facts if known.token and known.token in _query_of(fact))
    return listed("searched-for", found, _FOR_AUDITOR, known)


def _query_of(fact: Fact) -> str:
    try:
        return base64.b64decode(fact.query).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _disclosures(facts: Sequence[Fact], known: Known) -> Table:
    rows = tuple(
        (
            fact.at, known.name(fact.recipient), fact.sent_to, known.name(fact.patient), fact.types, fact.records,
            fact.purposes, bool(fact.purposes) and set(fact.purposes) <= _EXEMPT, known.name(fact.actor), fact.id,
        )
        for fact in facts
        if fact.disclosed
    )  # fmt: skip
    columns = (
        "when", "shared", "address", "patient", "data", "records", "purpose", "exempt", "who", "event",
    )  # fmt: skip
    return Table("disclosures", columns, rows)


def _by_actor(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    groups: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.actor:
            groups[fact.actor].append(fact)
    return dict(sorted(groups.items()))


def _patients(facts: Iterable[Fact]) -> int:
    return len({fact.patient for fact in facts if fact.patient})


def _user_activity(facts: Sequence[Fact], known: Known) -> Table:
    rows = tuple(
        (
            known.name(actor), len(mine), _patients(mine), sum(fact.action not in _WRITES for fact in mine),
            sum(fact.action in _WRITES for fact in mine), sum(bool(fact.denied) for fact in mine),
            mine[0].at, mine[-1].at,
        )
        for actor, mine in _by_actor(facts).items()
    )  # fmt: skip
    columns = ("who", "events", "patients", "reads", "writes", "denials", "first", "last")
    return Table("user-activity", columns, rows)


def _mass_access(facts: Sequence[Fact], known: Known) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for actor, mine in _by_actor(facts).items():
        hours: dict[datetime, list[Fact]] = defaultdict(list)
        for fact in mine:
            hours[fact.at.astimezone(known.zone).replace(minute=0, second=0, microsecond=0)].append(fact)
        rows += [
            (hour, known.name(actor), _patients(those), len(those))
            for hour, those in hours.items()
            if _patients(those) >= known.threshold
        ]
    rows.sort(key=lambda row: (str(row[0]), str(row[1])))
    return Table("mass-access", ("hour", "who", "patients", "events"), tuple(rows))


def _volume(facts: Sequence[Fact], known: Known) -> Table:
    days: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        days[fact.at.astimezone(known.zone).date().isoformat()].append(fact)
    rows = tuple(
        (day, len(those), _patients(those), sum(bool(fact.denied) for fact in those))
        for day, those in days.items()
    )
    return Table("volume", ("day", "events", "patients", "denials"), rows)


def _export_volume(facts: Sequence[Fact], known: Known) -> Table:
    days: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.disclosed:
            day = fact.at.astimezone(known.zone).date().isoformat()
            days[day, fact.recipient or fact.actor].append(fact)
    rows = tuple(
        (
            day,
            known.name(actor),
            len(those),
            _patients(those),
            sum(fact.records for fact in those if fact.patient),
        )
        for (day, actor), those in sorted(days.items())
    )
    return Table("export-volume", ("day", "shared", "events", "patients", "records"), rows)


def grouped_by_grant(facts: Iterable[Fact]) -> Mapping[str, Sequence[Fact]]:
    """What happened under each emergency access, by its grant."""
    used: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.grant:
            used[fact.grant].append(fact)
    return used


def _break_glass(facts: Sequence[Fact], known: Known) -> Table:
    used = grouped_by_grant(facts)
    rows = tuple(
        (
            fact.at, known.name(fact.user), known.name(fact.patient), fact.reason, fact.grant,
            sum(one.type == "rest" for one in used[fact.grant]), review_state(fact, used[fact.grant], known.now), fact.id,
        )
        for fact in facts
        if fact.action == BREAK_GLASS_START
    )  # fmt: skip
    return Table(
        "break-glass", ("when", "who", "patient", "reason", "grant", "events", "review", "event"), rows
    )


def review_state(start: Fact, under: Sequence[Fact], now: datetime) -> str:
    """Whether somebody else has recorded a review of the emergency access that `start` began: reviewed, pending, overdue.

    `under`: what happened under its grant. Of several accesses under one grant that one is reviewed that the review names.
    """
    reviews = [fact for fact in under if fact.type == USED_LOG and _is_another(fact, start)]
    named = [{one for one in fact.resources if one.startswith("AuditEvent/")} for fact in reviews]
    if any(not events or f"AuditEvent/{start.id}" in events for events in named):
        return "reviewed"
    return "overdue" if now - start.at > timedelta(hours=REVIEW_HOURS) else "pending"


def _is_another(fact: Fact, start: Fact) -> bool:
    """True for a person who is not the one of `start`, whichever way the two are named."""
    theirs = {fact.user, fact.account} - {""}
    return bool(theirs) and not theirs & {start.user, start.account}


def acknowledgements(facts: Iterable[Fact]) -> Mapping[str, str]:
    """Id of an alert -> who has taken note of it."""
    return {
        resource.removeprefix("AuditEvent/"): fact.actor
        for fact in facts
        if fact.action == ACKNOWLEDGED
        for resource in fact.resources
    }


def _alerts(facts: Sequence[Fact], known: Known) -> Table:
    taken = acknowledgements(facts)
    rows = tuple(
        (
            fact.at, f"{PREFIX}{fact.alert}", Sentence(fact.alert, fact.figures, fact.text), known.name(fact.subject),
            known.name(fact.patient), known.name(taken.get(fact.id, "")), fact.id,
        )
        for fact in facts
        if fact.alert
    )  # fmt: skip
    columns = ("when", "alert", "told", "subject", "patient", "acknowledged", "event")
    return Table("alerts", columns, rows)


def dormant(before: Sequence[Fact], facts: Sequence[Fact], known: Known) -> Table:
    """Users who were active `before` the period and not in it."""
    active = {fact.user for fact in facts}
    last: dict[str, datetime] = {}
    for fact in before:
        if fact.user and fact.user not in active:
            last[fact.user] = max(fact.at, last.get(fact.user, fact.at))
    rows = tuple((known.name(user), at) for user, at in sorted(last.items(), key=lambda item: item[1]))
    return Table("dormant", ("who", "last"), rows)


REPORTS: Mapping[str, Report] = {
    "access": _access,
    "disclosures": _disclosures,
    "user-activity": _user_activity,
    "denied": _denied,
    "after-hours": _after_hours,
    "vip": _protected,
    "break-glass": _break_glass,
    "volume": _volume,
    "export-volume": _export_volume,
    "mass-access": _mass_access,
    "searched-for": _searched_for,
    "alerts": _alerts,
}
KINDS = (*REPORTS, "dormant", "integrity")
COUNTS = ("volume", "export-volume", "user-activity", "mass-access")
"""The reports that hold figures only; of facts without_people, they name no patient."""


def without_people(facts: Iterable[Fact]) -> list[Fact]:
    """The facts as far as figures go: patients and who acts for them, as users or recipients, are one and the same."""
    found = []
    for fact in facts:
        is_own = fact.user.startswith(PEOPLE) or fact.role == "patient"
        given = fact.recipient.startswith(PEOPLE) or "PATRQT" in fact.purposes
        found.append(
            replace(
                fact,
                user=PATIENTS if is_own else fact.user,
                recipient=PATIENTS if fact.recipient and given else fact.recipient,
            )
        )
    return found


def references(facts: Iterable[Fact]) -> frozenset[str]:
    """The references in `facts` that a report may show a name for."""
    found = {
        reference
        for fact in facts
        for reference in (fact.user, fact.patient, fact.organization, fact.recipient, fact.subject)
        if "/" in reference
    }
    return frozenset(found)
