"""The alerts on the audit log: the work that raises them, and what the compliance officer's page asks."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from fhirserver.audit.disclosure.alerts import (
    Alert,
    Surroundings,
    Thresholds,
    alerts_in,
    pairs,
    to_compare,
    usual_of,
)
from fhirserver.audit.disclosure.facts import BREAK_GLASS_START, SUBTYPE, Fact
from fhirserver.audit.disclosure.reports import REVIEWED, acknowledgements
from fhirserver.context import Agent, Permission, Request, Trace
from fhirserver.operations.auditdata import facts_between, in_order, moment, own_view, protected_patients
from fhirserver.operations.auditpeople import care_teams, kin
from fhirserver.operations.auditreports import require_auditor
from fhirserver.outcome import NotFound, OutcomeError, TooCostly
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fhirserver.services import Services
    from fhirserver.settings import Alerts, AlertThresholds

_MINUTE = 60_000_000  # microseconds
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_LOOK_BACK = _HOUR + _HOUR // 12  # the longest window of most rules, and a little
_EXPORTS_BACK, _EMERGENCIES_BACK, _USUAL_BACK = _DAY + _HOUR, 90 * _DAY, 30 * _DAY
_TICK = 60.0
_AGENT = Agent("audit alerts")
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_EMERGENCIES = (("subtype", f"{_DCM}|{BREAK_GLASS_START}"), ("subtype", f"{SUBTYPE}|{REVIEWED}"))
_LOG = logging.getLogger("fhirserver.audit")


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert as it stands in the log. `acknowledged_by`: reference or id of who has taken note, empty before."""

    fact: Fact
    acknowledged_by: str = ""


class Usual:
    """What is usual for an actor, looked up once a day: 30 days of somebody's events are many."""

    def __init__(self) -> None:
        self._day = 0
        self._known: dict[str, int | None] = {}

    async def of(self, services: Services, actor: str, permission: Permission) -> int | None:
        """The patients that 95 % of the actor's hours stay at or below, today left out. None: not known."""
        day = services.clock() // _DAY
        if day != self._day:
            self._day, self._known = day, {}
        if actor not in self._known:
            end = day * _DAY
            try:
                hours = await _patients_by_hour(services, actor, end - _USUAL_BACK, end, permission)
            except TooCostly:  # so many events that the fixed threshold is reached long before
                hours = []
            self._known[actor] = usual_of(hours)
        return self._known[actor]


async def watch(services: Callable[[], Services]) -> None:
    """Look at what happened every minute and raise what is new; for ever, until cancelled."""
    usual = Usual()
    while True:
        try:
            await services().break_glass.tell_ended()
            await raise_alerts(services(), usual)
        except OutcomeError as error:
            _LOG.warning("alert rules could not be applied", extra={"code": error.issues[0].code})
        await asyncio.sleep(_TICK)


async def raise_alerts(services: Services, usual: Usual) -> list[Alert]:
    """Apply the rules now; the alerts that were raised anew."""
    trace = Trace({"k": "operation", "n": _AGENT.name}, services.new_id)
    permission = Permission(_AGENT, "alert rules", trace=trace)
    facts = await _facts(services, permission)
    limits = _limits(services.settings.audit.alerts, moment(services.clock()))
    known = {actor: await usual.of(services, actor, permission) for actor in to_compare(facts, limits)}
    protected = await protected_patients(services, permission)
    on = replace(
        limits,
        protected=protected,
        care_teams=await care_teams(services, protected & {fact.patient for fact in facts}, permission),
        usual={actor: count for actor, count in known.items() if count is not None},
        kin=await kin(services, pairs(facts), permission),
    )
    return await services.alerts.put(alerts_in(facts, on))


async def _facts(services: Services, permission: Permission) -> list[Fact]:
    """What the rules look at, in order of time: all of the last hour, exports of a day, emergencies of 90 days."""
    now = services.clock()
    end = now + 1000
    found = await _latest(services, end, permission)
    exported = [("type", f"{_DCM}|110106")]
    found += await facts_between(services, now - _EXPORTS_BACK, end, permission, exported)
    for subtype in _EMERGENCIES:
        found += await facts_between(services, now - _EMERGENCIES_BACK, end, permission, [subtype])
    return in_order(found)


async def _latest(services: Services, end: int, permission: Permission) -> list[Fact]:
    """What happened in the last hour; where that is too much to look at, in as much of it as is not.

    Otherwise whoever makes very many requests would silence the rules.
    """
    back = _LOOK_BACK
    while True:
        try:
            return await facts_between(services, end - back, end, permission)
        except TooCostly:
            _LOG.warning("alert rules look at less than an hour")
            back //= 2
            if back < _MINUTE:
                raise


def _limits(chosen: Alerts, now: datetime) -> Surroundings:
    services = {client: _thresholds(own) for client, own in chosen.services.items()}
    return Surroundings(now, _thresholds(chosen), services)


def _thresholds(chosen: AlertThresholds) -> Thresholds:
    return Thresholds(**{field.name: getattr(chosen, field.name) for field in fields(Thresholds)})


async def _patients_by_hour(
    services: Services, actor: str, start: int, end: int, permission: Permission
) -> list[int]:
    """The distinct patients whose data an actor was given, for each hour with any."""
    named = ("agent", actor) if "/" in actor else ("agent:identifier", actor)
    hours: dict[int, set[str]] = defaultdict(set)
    for fact in await facts_between(services, start, end, permission, [named]):
        if fact.actor == actor and fact.patient and not fact.failed:
            hours[int(fact.at.timestamp()) // 3600].add(fact.patient)
    return [len(patients) for patients in hours.values()]


async def alerts_between(
    services: Services, start: int, end: int, permission: Permission
) -> list[RaisedAlert]:
    """The alerts of [start, end), oldest first, for auditors. Raises Forbidden."""
    require_auditor(permission)
    reading = own_view(permission)
    security, used = ("type", f"{_DCM}|110113"), ("type", f"{_DCM}|110101")
    raised = [fact for fact in await facts_between(services, start, end, reading, [security]) if fact.alert]
    taken = acknowledgements(await facts_between(services, start, services.clock() + 1000, reading, [used]))
    return [RaisedAlert(fact, taken.get(fact.id, "")) for fact in raised]


async def acknowledge(
    services: Services, alert: str, permission: Permission, request: Request | None, words: str = ""
) -> str:
    """Record that the caller, an auditor, has taken note of an alert; the id of the record.

    Raises Forbidden, NotFound where there is no such alert.
    """
    require_auditor(permission)
    version = await services.store.read("AuditEvent", alert, permission=own_view(permission))
    subtypes = parse_json(version.raw or b"{}").get("subtype", ())
    if not any(coding.get("code", "").startswith("alert-") for coding in subtypes):
        raise NotFound("There is no alert with the id that was asked for.", code="alert-unknown")
    return await services.alerts.acknowledge(alert, permission.agent, request, words)
