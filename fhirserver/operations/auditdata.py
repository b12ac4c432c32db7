"""What the reports on the audit log read: facts of a period, names, protected patients, the persons behind a patient.

All goes through search under a Permission that names its purpose. What is looked up for a report only (names, contacts)
is no access by its reader, so it is kept out of the reader's own audit context; the report itself is audited.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from fhirserver.audit.disclosure.facts import Fact, fact_of
from fhirserver.audit.disclosure.incidents import Subject
from fhirserver.context import Permission, Trace
from fhirserver.outcome import TooCostly
from fhirserver.r4.jsontext import parse_json
from fhirserver.store.documents import instant

if TYPE_CHECKING:
    from fhirserver.services import Services

MOST_EVENTS = 200_000
_PAGE = 1000
_IDS = 200
_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_ADULT = 18


def on_behalf(permission: Permission, reason: str) -> Permission:
    """Leave to read everything for `reason`, apart from what the agent itself is shown."""
    trace = permission.trace
    own = Trace(trace.record, trace.new_id) if trace is not None else None
    return Permission(permission.agent, reason, trace=own)


def own_view(permission: Permission) -> Permission:
    """The same rights, without counting what a report reads as shown to its reader: the report is one event."""
    trace = permission.trace
    return replace(permission, trace=Trace(trace.record, trace.new_id) if trace is not None else None)


async def facts_between(
    services: Services,
    start: int,
    end: int,
    permission: Permission,
    more: Sequence[tuple[str, str]] = (),
) -> list[Fact]:
    """The facts of [start, end), microseconds, oldest first, that match the search pairs `more`. Raises TooCostly."""
    pairs = [("date", f"ge{instant(start)}"), ("date", f"lt{instant(end)}"), *more]
    query = services.query("AuditEvent", [*pairs, ("_sort", "date"), ("_count", str(_PAGE))])
    facts: list[Fact] = []
    while True:
        page = await services.search(query, permission)
        facts += [fact_of(parse_json(version.raw or b"{}")) for version in page.matches]
        if len(facts) > MOST_EVENTS:
            raise TooCostly(
                f"The report would cover more than {MOST_EVENTS} events; ask for a shorter period.",
                code="report-too-large",
            )
        if page.next is None:
            return facts
        query = replace(query, cursor=page.next)


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """The facts in order of time, each once."""
    once = {fact.id: fact for fact in facts}
    return sorted(once.values(), key=lambda fact: (fact.at, fact.id))


async def same_patient(services: Services, id: str, permission: Permission) -> frozenset[str]:
    """The references of a patient, and of those records that were merged with it, either way."""
    found, fresh = {f"Patient/{id}"}, [f"Patient/{id}"]
    while fresh:
        reference = fresh.pop()
        linked = await services.find("Patient", [("link", reference)], permission, limit=_IDS)
        others = [f"Patient/{version.id}" for version in linked]
        for resource in await read_all(services, [reference], permission):
            others += [link.get("other", {}).get("reference", "") for link in resource.get("link", ())]
        for other in others:
            if other.startswith("Patient/") and other not in found:
                found.add(other)
                fresh.append(other)
    return frozenset(found)


async def protected_patients(services: Services, permission: Permission) -> frozenset[str]:
    """The references of patients that carry a label of confidentiality R or V, or the tag VIP."""
    labels = ",".join(f"{_CONFIDENTIALITY}|{code}" for code in ("R", "V"))
    found = set()
    for pair in (("_security", labels), ("_tag", "VIP")):
        found |= {f"Patient/{v.id}" for v in await services.find("Patient", [pair], permission, limit=10_000)}
    return frozenset(found)


async def names_of(services: Services, references: Iterable[str], permission: Permission) -> dict[str, str]:
    """The present names of people, organizations, devices; those without one are left out."""
    names = {}
    for resource in await read_all(services, references, permission):
        if name := display(resource):
            names[f"{resource['resourceType']}/{resource['id']}"] = name
    return names


async def organizations_of(
    services: Services, users: Iterable[str], permission: Permission
) -> dict[str, str]:
    """The names of the organizations that practitioners work for now, by the practitioner's reference."""
    people = sorted({user for user in users if user.startswith("Practitioner/")})
    works: dict[str, str] = {}
    for at in range(0, len(people), _IDS):
        pairs = [("practitioner", ",".join(people[at : at + _IDS])), ("active:not", "false")]
        for version in await services.find("PractitionerRole", pairs, permission, limit=_PAGE):
            role = parse_json(version.raw or b"{}")
            organization = role.get("organization", {}).get("reference", "")
            if organization:
                works.setdefault(role["practitioner"]["reference"], organization)
    names = await names_of(services, works.values(), permission)
    return {person: names[organization] for person, organization in works.items() if organization in names}


async def subjects_of(
    services: Services, references: Iterable[str], permission: Permission, day: date
) -> dict[str, Subject]:
    """The contact list of patients. `day`: on which their age counts."""
    return {
        f"Patient/{patient['id']}": Subject(display(patient), _contact(patient), _minor(patient, day))
        for patient in await read_all(services, references, permission)
    }


async def read_all(
    services: Services, references: Iterable[str], permission: Permission
) -> list[dict[str, Any]]:
    """The present resources behind `references`; those that are not there, or not here, are left out."""
    by_type: dict[str, list[str]] = defaultdict(list)
    for reference in sorted(set(references)):
        type, _, id = reference.partition("/")
        if type in services.definitions.resource_types and id and "/" not in id:
            by_type[type].append(id)
    found: list[dict[str, Any]] = []
    for type, ids in by_type.items():
        for at in range(0, len(ids), _IDS):
            part = ids[at : at + _IDS]
            versions = await services.find(type, [("_id", ",".join(part))], permission, limit=_IDS)
            found += [parse_json(version.raw or b"{}") for version in versions]
    return found


def display(resource: dict[str, Any]) -> str:
    """What people call a resource: a person's official or first name, an organization's or device's name."""
    name = resource.get("name")
    if isinstance(name, str):
        return name
    if isinstance(name, list) and name:
        chosen = next((one for one in name if one.get("use") == "official"), name[0])
        return chosen.get("text") or " ".join([*chosen.get("given", ()), chosen.get("family", "")]).strip()
    devices = resource.get("deviceName") or [{}]
    return str(devices[0].get("name", ""))


def _contact(patient: dict[str, Any]) -> str:
    ways = [
        way.get("value", "") for way in patient.get("telecom", ()) if way.get("system") in ("phone", "email")
    ]
    return ", ".join(filter(None, ways))


def _minor(patient: dict[str, Any], day: date) -> bool | None:
    born = patient.get("birthDate")
    if not born:
        return None
    year, month, dom = (int(part) for part in (born + "-01-01").split("-")[:3])
    return (day.year - year - ((day.month, day.day) < (month, dom))) < _ADULT


def moment(ts: int) -> datetime:
    """`ts`, microseconds since 1970, as an aware time."""
    return datetime.fromtimestamp(ts / 1_000_000, UTC)
