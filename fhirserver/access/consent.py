"""What patients' privacy consents withhold, as restrictions.

A Consent (active, scope patient-privacy) starts from what its policy says of everyone: permit, or deny where the
policyRule is an opt-out. Its provision is an exception to that, each nested provision one to the provision around it.
A condition that cannot be evaluated here counts as fulfilled where it would withhold and as unfulfilled where it would
permit. Source: hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirserver.context import JsonObject
from fhirserver.r4.dates import date_range
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.search.expression import EVERYTHING, Dates, Equals, Expression, Ids, Not, both, either
from fhirserver.search.types.ranges import Bound
from fhirserver.store.relations import ConsentChange, Relations

_TYPES = "http://hl7.org/fhir/resource-types"
_OPT_OUT = frozenset(("OPTOUT", "OPTOUTE"))
_KNOWN = ("Practitioner", "PractitionerRole", "Organization", "Patient", "RelatedPerson", "Device")
_DATES = ("date", "authoredon", "authored", "recorded-date", "created", "sent", "period", "onset-date")
_OVERLAP = 30_000_000  # microseconds: a write becomes visible at most this long after the time that it bears


@dataclass(frozen=True, slots=True)
class Caller:
    """Who consents may speak of. `names`: `Type/id` of the user, their roles and organizations. `purpose`: v3 code."""

    names: frozenset[str]
    purpose: str
    now: int


@dataclass(frozen=True, slots=True)
class Provision:
    """One provision. `denies`: its type. `resource`: the JSON with its conditions; `nested`: its exceptions."""

    denies: bool
    resource: JsonObject = field(default_factory=dict)
    nested: tuple[Provision, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What Consents of one form say. `patients`: ids of those who gave them. `form`: the provision's text."""

    patients: tuple[str, ...]
    root: Provision
    form: str = ""


@dataclass(slots=True)
class ConsentBook:
    """The policies in force, followed in the database. `fresh`: seconds that an answer may be old."""

    relations: Relations
    clock: Callable[[], float]
    fresh: float
    _policies: dict[str, Policy] = field(default_factory=dict)
    _grouped: tuple[Policy, ...] | None = ()
    _newest: int | None = None
    _read: float = float("-inf")

    async def policies(self) -> tuple[Policy, ...]:
        """The policies that withhold anything, one for each form: most Consents of a clinic are alike."""
        if self._read <= self.clock() - self.fresh:
            now = self.clock()
            since = self._newest - _OVERLAP if self._newest is not None else None
            for change in await self.relations.consents(since):
                self._newest = max(change.ts, self._newest or 0)
                self._take(change)
            self._newest = self._newest or int(now * 1e6)
            self._read = now
        if self._grouped is None:
            self._grouped = _grouped(self._policies.values())
        return self._grouped

    def forget(self) -> None:
        """A Consent was written: look again before the next answer."""
        self._read = float("-inf")

    def _take(self, change: ConsentChange) -> None:
        before = self._policies.pop(change.key, None)
        if change.raw is not None and change.patients:
            policy = read_policy(parse_json(change.raw), change.patients)
            if _ever_denies(policy.root):
                self._policies[change.key] = policy
        if self._policies.get(change.key) != before:
            self._grouped = None


def _grouped(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    forms: dict[str, list[Policy]] = {}
    for policy in policies:
        forms.setdefault(policy.form, []).append(policy)
    return tuple(
        Policy(tuple(id for each in alike for id in each.patients), alike[0].root, form)
        for form, alike in forms.items()
    )


def read_policy(consent: JsonObject, patients: tuple[str, ...]) -> Policy:
    """The policy of a Consent resource."""
    codes = {coding.get("code") for coding in _list(consent.get("policyRule", {}), "coding")}
    base = bool(codes & _OPT_OUT)
    given = consent.get("provision")
    nested = (_provision(given, base),) if isinstance(given, dict) else ()
    form = dump_json({"denies": base, "provision": given}).decode()
    return Policy(patients, Provision(base, {}, nested), form)


def _provision(resource: JsonObject, denies: bool) -> Provision:
    denies = resource.get("type", "deny" if denies else "permit") == "deny"
    nested = tuple(_provision(each, denies) for each in _list(resource, "provision"))
    return Provision(denies, resource, nested)


def _ever_denies(provision: Provision) -> bool:
    return provision.denies or any(map(_ever_denies, provision.nested))


def withheld(
    policies: Iterable[Policy], type: str, caller: Caller, definitions: Definitions, opened: frozenset[str]
) -> dict[Expression, set[str]]:
    """What is withheld from `caller`: a condition on resources of `type` -> the patients to whom it applies.

    `opened`: patients whose record an emergency has opened.
    """
    found: dict[Expression, set[str]] = {}
    conditions = Conditions(type, caller, definitions)
    for policy in policies:
        patients = set(policy.patients) - opened
        if patients and (refused := conditions.reached(policy.root, denies=True)) is not None:
            found.setdefault(refused, set()).update(patients)
    return found


@dataclass(frozen=True, slots=True)
class Conditions:
    """Evaluates provisions for one caller, as far as that goes, into conditions on resources of one type."""

    type: str
    caller: Caller
    definitions: Definitions

    def reached(self, provision: Provision, *, denies: bool) -> Expression | None:
        """The resources that `provision` denies (else permits), None for none."""
        matching = self._fulfilling(provision.resource, widely=denies)
        if matching is None:
            return None
        if provision.denies is denies:
            for each in provision.nested:
                if (exception := self.reached(each, denies=not denies)) is not None:
                    matching = both(matching, Not(exception))
            return matching
        found = [self.reached(each, denies=denies) for each in provision.nested]
        inner = tuple(each for each in found if each is not None)
        return both(matching, either(inner)) if inner else None

    def _fulfilling(self, provision: JsonObject, *, widely: bool) -> Expression | None:
        """The resources that fulfil the conditions; None for none. `widely`: what is unknown counts as fulfilled."""
        if not self._concerns(provision, widely=widely):
            return None
        found: Expression = EVERYTHING
        for condition in (self._classes, self._codes, self._labels, self._data, self._period):
            part = condition(provision, widely)
            if part is None:
                return None
            found = both(found, part) if part != EVERYTHING else found
        return found

    def _concerns(self, provision: JsonObject, *, widely: bool) -> bool:
        """Whether actor, purpose and period fit the caller."""
        period = provision.get("period")
        if isinstance(period, dict) and not _covers(period, self.caller.now):
            return False
        actors = _list(provision, "actor")
        if actors and not any(self._is_actor(actor, widely) for actor in actors):
            return False
        purposes = _list(provision, "purpose")
        return not purposes or any(each.get("code") == self.caller.purpose for each in purposes)

    def _is_actor(self, actor: JsonObject, widely: bool) -> bool:
        reference = actor.get("reference", {}).get("reference", "")
        if reference in self.caller.names:
            return True
        return widely and reference.partition("/")[0] not in _KNOWN

    def _classes(self, provision: JsonObject, widely: bool) -> Expression | None:
        classes = _list(provision, "class")
        if not classes or any(each.get("code") == self.type for each in classes):
            return EVERYTHING
        known = all(each.get("system") == _TYPES for each in classes)
        return EVERYTHING if widely and not known else None

    def _codes(self, provision: JsonObject, widely: bool) -> Expression | None:
        concepts = _list(provision, "code")
        if not concepts:
            return EVERYTHING
        parameter = self.definitions.search_parameters(self.type).get("code")
        codes = tuple(_token(coding) for concept in concepts for coding in _list(concept, "coding"))
        if parameter is None or parameter.type != "token" or not codes:
            return EVERYTHING if widely else None
        return Equals("code", codes)

    def _labels(self, provision: JsonObject, widely: bool) -> Expression | None:
        labels = tuple(map(_token, _list(provision, "securityLabel")))
        return Equals("_security", labels) if labels else EVERYTHING

    def _data(self, provision: JsonObject, widely: bool) -> Expression | None:
        data = _list(provision, "data")
        if not data:
            return EVERYTHING
        if widely and any(each.get("meaning") != "instance" for each in data):
            return EVERYTHING
        references = [each.get("reference", {}).get("reference", "").split("/") for each in data]
        ids = tuple(parts[1] for parts in references if len(parts) == 2 and parts[0] == self.type)
        return Ids(ids) if ids else None

    def _period(self, provision: JsonObject, widely: bool) -> Expression | None:
        period = provision.get("dataPeriod")
        if not isinstance(period, dict):
            return EVERYTHING
        lo, hi = _interval(period)
        known = self.definitions.search_parameters(self.type)
        code = next((each for each in _DATES if each in known and known[each].type == "date"), None)
        if code is None or (lo is None and hi is None):
            return EVERYTHING if widely else None
        bounds = (
            *((Bound("hi", "gt", lo),) if lo is not None else ()),
            *((Bound("lo", "lt", hi),) if hi is not None else ()),
        )
        return Dates(code, (bounds,), (bounds,))


def _list(resource: Mapping[str, Any], name: str) -> list[JsonObject]:
    value = resource.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _token(coding: JsonObject) -> str:
    return f"{coding.get('system', '')}|{coding.get('code', '')}"


def _interval(period: JsonObject) -> tuple[int | None, int | None]:
    """The half-open interval of a Period, microseconds; None where it is open or not understood."""
    ends: list[int | None] = []
    for name, at in (("start", 0), ("end", 1)):
        try:
            ends.append(date_range(period[name])[at] if name in period else None)
        except ValueError:
            ends.append(None)
    return ends[0], ends[1]


def _covers(period: JsonObject, now: int) -> bool:
    lo, hi = _interval(period)
    return (lo is None or lo <= now) and (hi is None or now < hi)
