"""The alerts on the audit log: the work that raises them, and what the compliance officer's page asks."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhirserver.audit.alertbook import ACKNOWLEDGED
from fhirserver.audit.disclosure.alerts import Alert, Surroundings, Thresholds, alerts_in
from fhirserver.audit.disclosure.facts import Fact
from fhirserver.context import Agent, Permission, Request, Trace
from fhirserver.operations.auditdata import facts_between, own_view, protected_patients
from fhirserver.operations.auditreports import require_auditor
from fhirserver.outcome import NotFound, OutcomeError
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhirserver.services import Services

_LOOK_BACK = 65 * 60 * 1_000_000  # microseconds: the longest window of a rule, and a little
_TICK = 60.0
_AGENT = Agent("audit alerts")
_MOST = 1000
_LOG = logging.getLogger("fhirserver.audit")


@dataclass(frozen=True, slots=True)
class RaisedAlert:
    """An alert as it stands in the log. `acknowledged_by`: reference or id of who has taken note, empty before."""

    fact: Fact
    acknowledged_by: str = ""


async def watch(services: Callable[[], Services]) -> None:
    """Look at the last hour every minute and raise what is new; for ever, until cancelled."""
    while True:
        try:
            await raise_alerts(services())
        except OutcomeError as error:
            _LOG.warning("alert rules could not be applied", extra={"code": error.issues[0].code})
        await asyncio.sleep(_TICK)


async def raise_alerts(services: Services) -> list[Alert]:
    """Apply the rules to the last hour; the alerts that were raised anew."""
    now = services.clock()
    trace = Trace({"k": "operation", "n": _AGENT.name}, services.new_id)
    permission = Permission(_AGENT, "alert rules", trace=trace)
    facts = await facts_between(services, now - _LOOK_BACK, now + 1000, permission)
    chosen = services.settings.audit.alerts
    thresholds = Thresholds(
        chosen.patients_per_hour, chosen.denials, chosen.export_patients, frozenset(chosen.service_clients)
    )
    protected = await protected_patients(services, permission)
    teams = await _care_teams(services, protected & {fact.patient for fact in facts}, permission)
    return await services.alerts.put(alerts_in(facts, Surroundings(thresholds, protected, teams)))


async def _care_teams(
    services: Services, patients: frozenset[str], permission: Permission
) -> dict[str, frozenset[str]]:
    """Who cares for each of `patients`: general practitioners and members of care teams."""
    teams: dict[str, set[str]] = defaultdict(set)
    for patient in patients:
        id = patient.removeprefix("Patient/")
        for version in await services.find("Patient", [("_id", id)], permission):
            practitioners = parse_json(version.raw or b"{}").get("generalPractitioner", ())
            teams[patient] |= {one.get("reference", "") for one in practitioners}
        for version in await services.find("CareTeam", [("patient", patient)], permission, limit=_MOST):
            members = parse_json(version.raw or b"{}").get("participant", ())
            teams[patient] |= {one.get("member", {}).get("reference", "") for one in members}
    return {patient: frozenset(team) for patient, team in teams.items()}


async def alerts_between(
    services: Services, start: int, end: int, permission: Permission
) -> list[RaisedAlert]:
    """The alerts of [start, end), oldest first, for auditors. Raises Forbidden."""
    require_auditor(permission)
    reading = own_view(permission)
    security = ("type", "http://dicom.nema.org/resources/ontology/DCM|110113")
    raised = [fact for fact in await facts_between(services, start, end, reading, [security]) if fact.alert]
    used = ("type", "http://dicom.nema.org/resources/ontology/DCM|110101")
    taken = {
        resource.removeprefix("AuditEvent/"): fact.actor
        for fact in await facts_between(services, start, services.clock() + 1000, reading, [used])
        if fact.action == ACKNOWLEDGED
        for resource in fact.resources
    }
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
