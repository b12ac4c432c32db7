"""AuditEvent/$report, Patient/{id}/$access-report, AuditEvent/$incident-report.

Formats by `_format`: json (default), csv, ndjson, html. Source: docs/how-to/audit-reports.md; LGPD art. 18, 19, 48.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from fhirserver.audit.disclosure import reports, words
from fhirserver.audit.disclosure.alertwords import LANGUAGES
from fhirserver.audit.disclosure.calendar import OpeningHours
from fhirserver.audit.disclosure.facts import BREAK_GLASS_START, DCM, Fact, joined, logins
from fhirserver.audit.disclosure.incidents import Incident, incident_report
from fhirserver.audit.disclosure.reports import COUNTS, KINDS, REPORTS, USED_LOG, Known, without_people
from fhirserver.audit.disclosure.tables import FORMATS, Frame, Table, policy, write
from fhirserver.context import Content, Interaction, Permission, Result
from fhirserver.operations.auditdata import (
    facts_between,
    in_order,
    moment,
    names_of,
    on_behalf,
    organizations_of,
    own_view,
    protected_patients,
    same_patient,
    subjects_of,
)
from fhirserver.operations.integrity import integrity
from fhirserver.outcome import BadRequest, Forbidden, UnknownParameter
from fhirserver.paging import parse_moment

if TYPE_CHECKING:
    from fhirserver.services import Services

AUDITOR = "auditor"
FIGURES: Mapping[str, tuple[str, ...]] = {"manager": COUNTS, "custodian": ("integrity",)}
"""Role -> the kinds of reports that it gets, although no event is open to it."""
DEFAULT_DAYS = 30
DORMANT_DAYS = 365
_REPORT = ("kind", "start", "end", "patient", "agent", "value", "_format", "language")
_OWN = ("from", "to", "_format", "language")
_INCIDENT = (
    "known", "start", "end", "agent", "client", "address", "patient", "description", "measures",
    "_format", "language",
)  # fmt: skip
_DAY = 86_400_000_000
_EXPORTS = ("type", f"{DCM}|110106")
_NARROW = {"denied": ("denied", "true"), "disclosures": _EXPORTS, "export-volume": _EXPORTS}
"""What a report is about, where the log finds that by itself."""
# what these reports are made of is rare, so that they can cover long periods
_CHOSEN: Mapping[str, tuple[tuple[str, str], ...]] = {
    "break-glass": (("subtype", f"{DCM}|{BREAK_GLASS_START}"), ("purpose", "BTG")),
    "alerts": (("type", f"{DCM}|110113"),),
}
_NAMES = {
    "application/json": "json",
    "text/csv": "csv",
    "application/x-ndjson": "ndjson",
    "text/html": "html",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `start`, `end`: microseconds, half open."""

    start: int
    end: int
    given: Mapping[str, str]
    format: str
    language: str

    def frame(self, services: Services) -> Frame:
        """The frame of the answer."""
        zone = services.settings.audit.timezone
        return Frame(moment(self.start), moment(self.end), moment(services.clock()), zone, self.language)


async def handle_report(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """One of the reports of audit/disclosure/reports.py, for who may see the whole log; figures for managers."""
    question = _question(dict(_pairs(interaction, _REPORT)), services, ("start", "end"))
    kind = question.given.get("kind", "")
    if kind not in KINDS:
        raise BadRequest(f"kind is one of {', '.join(KINDS)}.", code="parameter-value")
    if "AuditEvent" in permission.denied:
        table = await _figures(kind, question, permission, services)
    else:
        require_auditor(permission)
        table = await report(kind, question, permission, services)
    return _answer([table], question, services)


async def _figures(kind: str, question: Question, permission: Permission, services: Services) -> Table:
    """A report that holds figures only, over everyone. Raises Forbidden for any other."""
    kinds = [each for role, theirs in FIGURES.items() if role in permission.agent.roles for each in theirs]
    if kind not in kinds or {"patient", "agent", "value"} & question.given.keys():
        raise Forbidden(
            f"Your role gets the reports {', '.join(kinds)}, over everyone.", code="report-figures-only"
        )
    if kind == "integrity":
        return await integrity(services)
    reading = on_behalf(permission, f"figures of the audit log: {kind}")
    facts = without_people(joined(await facts_between(services, question.start, question.end, reading)))
    workers = {one for one in reports.references(facts) if not one.startswith(reports.PEOPLE)}
    names = await names_of(services, workers, reading)
    names[reports.PATIENTS] = words.code(reports.PATIENTS, question.language)
    return REPORTS[kind](facts, _known(services, names))


async def handle_access_report(
    interaction: Interaction, permission: Permission, services: Services
) -> Result:
    """Who has seen the data of this patient: for the patient and who acts for them."""
    question = _question(dict(_pairs(interaction, _OWN)), services, ("from", "to"), since=0)
    id = interaction.id or ""
    if permission.agent.scopes is not None and id not in permission.agent.acts_for:
        raise Forbidden(
            "This is for the patient and who acts for them; auditors use AuditEvent/$report?kind=access.",
            code="access-report-forbidden",
        )
    reading = on_behalf(permission, "access report of the patient")
    facts = await _of_patients(services, await same_patient(services, id, reading), question, reading)
    shown = (
        {fact.user for fact in facts}
        | {fact.organization for fact in facts}
        | {fact.recipient for fact in facts}
    )
    others = {reference for reference in shown if not reference.startswith(("Patient/", "RelatedPerson/"))}
    names = logins(facts) | await names_of(services, [*others, f"Patient/{id}"], reading)
    works = await organizations_of(services, {fact.user for fact in facts}, reading)
    known = replace(_known(services, names), organizations=works)
    return _answer([reports.of_patient(facts, known)], question, services)


async def handle_incident_report(
    interaction: Interaction, permission: Permission, services: Services
) -> Result:
    """Affected subjects, deadlines, drafts and timeline of an incident, for auditors."""
    given = dict(_pairs(interaction, _INCIDENT))
    question = _question(given, services, ("start", "end"))
    require_auditor(permission)
    reading, view = on_behalf(permission, "incident report"), own_view(permission)
    facts = [
        fact
        for fact in joined(await facts_between(services, question.start, question.end, view))
        if _is_of(fact, given)
    ]
    chosen = services.settings.audit
    zone = ZoneInfo(chosen.timezone)
    known_at = moment(_local("known", given["known"], zone) if "known" in given else services.clock())
    incident = Incident(
        known_at.astimezone(zone), given.get("description", ""), given.get("measures", ""), chosen.holidays
    )
    patients = [fact.patient for fact in facts if fact.patient]
    subjects = await subjects_of(services, patients, reading, moment(question.start).astimezone(zone).date())
    known = _known(services, await _names(facts, services, reading))
    return _answer(incident_report(facts, incident, subjects, known, question.language), question, services)


async def report(kind: str, question: Question, permission: Permission, services: Services) -> Table:
    """The table of a report. The permission must be an auditor's."""
    if kind == "integrity":
        return await integrity(services)
    reading, view = on_behalf(permission, f"audit report {kind}"), own_view(permission)
    given, more = question.given, []
    if "agent" in given and "/" in given["agent"]:
        more.append(("agent", given["agent"]))
    if kind in _NARROW:
        more.append(_NARROW[kind])
    if kind in _CHOSEN:
        facts = await _chosen_facts(kind, question, view, services)
    elif "patient" in given:
        patients = await same_patient(services, given["patient"].removeprefix("Patient/"), reading)
        facts = await _of_patients(services, patients, question, view, more)
    else:
        facts = joined(await facts_between(services, question.start, question.end, view, more))
    if "agent" in given and kind not in _CHOSEN:
        facts = [fact for fact in facts if given["agent"] in (fact.user, fact.client)]
    known = _known(services, await _names(facts, services, reading))
    if kind == "dormant":
        start = question.start - DORMANT_DAYS * _DAY
        whole = joined([*await facts_between(services, start, question.start, view), *facts])
        before, facts = whole[: len(whole) - len(facts)], whole[len(whole) - len(facts) :]
        return reports.dormant(before, facts, replace(known, names=await _names(before, services, reading)))
    if kind == "vip":
        known = replace(known, protected=await protected_patients(services, reading))
    if kind == "searched-for":
        known = replace(known, token=_token(services, given.get("value", "")))
    return REPORTS[kind](facts, known)


async def _names(facts: Sequence[Fact], services: Services, permission: Permission) -> dict[str, str]:
    """What people are called: the names of their accounts, and above those the names in the records."""
    return logins(facts) | await names_of(services, reports.references(facts), permission)


async def _chosen_facts(
    kind: str, question: Question, permission: Permission, services: Services
) -> list[Fact]:
    """Those of the period that a report is made of, by what they are; notes of auditors also from after it."""
    found = []
    for pair in _CHOSEN[kind]:
        found += await facts_between(services, question.start, question.end, permission, [pair])
    noted = [("type", f"{DCM}|{USED_LOG}")]
    found += await facts_between(services, question.start, services.clock() + 1000, permission, noted)
    given, facts = question.given, joined(in_order(found))
    if "agent" in given:
        facts = [f for f in facts if f.type == USED_LOG or given["agent"] in (f.user, f.client, f.subject)]
    if "patient" in given:
        reading = on_behalf(permission, f"audit report {kind}")
        patients = await same_patient(services, given["patient"].removeprefix("Patient/"), reading)
        facts = [fact for fact in facts if fact.type == USED_LOG or fact.patient in patients]
    return facts


def require_auditor(permission: Permission) -> None:
    """Raises Forbidden for who may not see the whole log."""
    if not _is_auditor(permission):
        raise Forbidden("Reports on the audit log are for auditors.", code="report-forbidden")


def _is_auditor(permission: Permission) -> bool:
    """True for the role of auditors, and for who may see the log without any restriction (a backend, open mode)."""
    if "AuditEvent" in permission.denied:
        return False
    return AUDITOR in permission.agent.roles or permission.restriction("AuditEvent") is None


async def _of_patients(
    services: Services,
    patients: frozenset[str],
    question: Question,
    permission: Permission,
    more: Sequence[tuple[str, str]] = (),
) -> list[Fact]:
    pairs = [("patient", ",".join(sorted(patients))), *more]
    facts = await facts_between(services, question.start, question.end, permission, pairs)
    return joined([fact for fact in facts if fact.patient in patients])


def _known(services: Services, names: Mapping[str, str]) -> Known:
    chosen = services.settings.audit
    return Known(
        moment(services.clock()),
        names,
        ZoneInfo(chosen.timezone),
        OpeningHours.parse(chosen.opening_hours, chosen.holidays),
        threshold=chosen.alerts.patients_per_hour,
    )


def _token(services: Services, value: str) -> str:
    code, mark, text = value.partition("=")
    if not mark or not code or not text:
        raise BadRequest(
            "searched-for takes value=<parameter>=<value>, such as value=identifier=123.",
            code="parameter-value",
        )
    return services.pseudonym(code, text)


def _is_of(fact: Fact, given: Mapping[str, str]) -> bool:
    return (
        given.get("agent", fact.user) == fact.user
        and given.get("client", fact.client) == fact.client
        and given.get("address", fact.address) == fact.address
        and given.get("patient", fact.patient).removeprefix("Patient/")
        == fact.patient.removeprefix("Patient/")
    )


def _pairs(interaction: Interaction, names: Sequence[str]) -> list[tuple[str, str]]:
    """The parameters of the URL and of a Parameters body; each once. Raises UnknownParameter, BadRequest."""
    pairs = [pair for pair in interaction.query if pair[0] != "_pretty"]
    body: Any = interaction.body
    if body is not None:
        if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
            raise BadRequest(
                "Send a Parameters resource, or the parameters in the URL.", code="parameters-invalid"
            )
        for parameter in body.get("parameter") or ():
            values = [
                value
                for key, value in parameter.items()
                if key.startswith("value") and isinstance(value, str)
            ]
            if len(values) != 1:
                raise BadRequest("Each parameter has one text or date.", code="parameters-invalid")
            pairs.append((str(parameter.get("name")), values[0]))
    for name, _ in pairs:
        if name not in names:
            raise UnknownParameter(f"The parameters are {', '.join(names)}.", code="parameter-unknown")
    if len(dict(pairs)) != len(pairs):
        raise BadRequest("Each parameter is given once.", code="parameter-value")
    return pairs


def _question(
    given: Mapping[str, str], services: Services, period: tuple[str, str], *, since: int | None = None
) -> Question:
    first, last = period
    zone = ZoneInfo(services.settings.audit.timezone)
    end = _local(last, given[last], zone) if last in given else services.clock() + 1000
    begin = since if since is not None else end - DEFAULT_DAYS * _DAY
    start = _local(first, given[first], zone) if first in given else begin
    if start >= end:
        raise BadRequest(f"{first} lies before {last}.", code="parameter-value")
    asked = given.get("_format", "json").partition(";")[0].replace(" ", "+").strip()
    format = _NAMES.get(asked, "json" if asked == "application/fhir+json" else asked)
    if format not in FORMATS:
        raise BadRequest(f"_format is one of {', '.join(FORMATS)}.", code="parameter-value")
    language = given.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise BadRequest(f"language is one of {', '.join(LANGUAGES)}.", code="parameter-value")
    return Question(start, end, given, format, language)


def _local(name: str, text: str, zone: ZoneInfo) -> int:
    """The begin of a day of the clinic, or an instant; microseconds. Raises BadRequest."""
    begin = parse_moment(name, text)[0]
    if "T" in text:
        return begin
    return int(moment(begin).replace(tzinfo=zone).timestamp()) * 1_000_000


def _answer(tables: Sequence[Table], question: Question, services: Services) -> Result:
    body = write(question.format, tables, question.frame(services))
    name = None if question.format in ("json", "html") else f"{tables[0].kind}.{question.format}"
    headers = {"content-security-policy": policy()} if question.format == "html" else {}
    return Result(200, content=Content(FORMATS[question.format], body, name), headers=headers)
