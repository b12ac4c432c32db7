"""The index plan as data, and the collections that have it.

Every type gets a wildcard index for search, and (ts, _id) for history and _lastUpdated; the questions a
clinic asks all day get a compound index that answers filter and order in one scan. Made at the first write of
a type, verified at start. Values under `ix` are arrays except the sort keys (`<parameter>~s`), so each
compound index holds at most one array, as MongoDB demands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pymongo import IndexModel
from pymongo.errors import CollectionInvalid, NetworkTimeout, OperationFailure

from fhirserver.outcome import CANONICAL
from fhirserver.store.client import translated
from fhirserver.store.deliveries import DELIVERIES, KEPT_SECONDS
from fhirserver.store.documents import HISTORY
from fhirserver.store.home import AUDIT_EVENTS, AUDIT_TYPE, Database, Home, home_of
from fhirserver.store.misses import MISSES

LOCKS = "locks"
PACKAGES = "packages"
DEFINITIONS = "definitions"
CONCEPTS = "terminology_concepts"
SYSTEMS = "terminology_systems"
LOCK_SECONDS = 3600
_log = logging.getLogger(__name__)
_NOT_ALLOWED = 13
_EXISTS = 48
_CONFLICTING = (85, 86)  # an index of that name or key with other options


@dataclass(frozen=True, slots=True)
class Index:
    """One index: its name, its key in order, and its options."""

    name: str
    keys: tuple[tuple[str, int | str], ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def model(self) -> IndexModel:
        """The index as the driver wants it."""
        return IndexModel(list(self.keys), name=self.name, **self.options)


SEARCH = Index("search", (("$**", 1),), {"wildcardProjection": {"ix": 1, "cx": 1}})
TIME = Index("time", (("ts", 1), ("_id", 1)))
NEAR = Index("near", (("geo", "2dsphere"),))

_HISTORY_PLAN = (
    Index("instance", (("k", 1), ("v", -1))),
    Index("type", (("t", 1), ("type", 1), ("ts", -1), ("k", -1), ("v", -1))),
    Index("system", (("t", 1), ("ts", -1), ("k", -1), ("v", -1))),
)
_CONCEPT_PLAN = (
    Index("order", (("s", 1), ("n", 1))),
    Index("words", (("s", 1), ("w", 1))),
    Index("above", (("s", 1), ("a", 1))),
    Index("parents", (("s", 1), ("p", 1))),
    Index("properties", (("s", 1), ("f", 1))),
)
_SYSTEM_PLAN = (Index("url", (("t", 1), ("url", 1))),)
_DELIVERY_PLAN = (
    Index("due", (("t", 1), ("next", 1)), {"partialFilterExpression": {"next": {"$exists": True}}}),
    Index("sent", (("sent", 1),), {"expireAfterSeconds": KEPT_SECONDS}),
)
_LOCK_PLAN = (Index("expiry", (("at", 1),), {"expireAfterSeconds": LOCK_SECONDS}),)
_END = Index(
    "end", (("end", 1),), {"expireAfterSeconds": 0}
)  # only cleans up: every query tests the end itself
_TENANT = Index("tenant", (("t", 1),))
_BY_GRANT = Index("grant", (("grant", 1),))
_BY_USER = Index("user", (("t", 1), ("user", 1)))

_OAUTH_PLANS: Mapping[str, tuple[Index, ...]] = {
    "console_sessions": (_END,),
    "oauth_clients": (_TENANT,),
    "oauth_users": (Index("name", (("t", 1), ("name", 1)), {"unique": True}),),
    "oauth_keys": (_TENANT,),
    "oauth_txns": (_END,),
    "oauth_launches": (_END,),
    "oauth_codes": (_END,),
    "oauth_jti": (_END,),
    "oauth_attempts": (_END,),
    "oauth_sessions": (_END, _BY_USER),
    "oauth_grants": (_END, _BY_USER),
    "oauth_tokens": (_END, _BY_GRANT),
    "oauth_refresh": (_END, _BY_GRANT),
}

_PACKAGE_PLANS: Mapping[str, tuple[Index, ...]] = {
    PACKAGES: (Index("tenant", (("t", 1), ("at", 1))),),
    DEFINITIONS: (
        Index("type", (("t", 1), ("type", 1))),
        Index("package", (("t", 1), ("p", 1), ("at", 1))),
    ),
}


def _by(parameter: str, order: str) -> Index:
    return Index(f"{parameter}-{order}", ((f"ix.{parameter}", 1), (f"ix.{order}~s", 1)))


_BY_PATIENT_AND = {
    "AdverseEvent": "date", "AllergyIntolerance": "date", "CarePlan": "date", "CareTeam": "date",
    "ChargeItem": "occurrence", "Claim": "created", "ClinicalImpression": "date", "Communication": "sent",
    "CommunicationRequest": "authored", "Composition": "date", "Condition": "recorded-date",
    "Consent": "date", "DiagnosticReport": "date", "DocumentReference": "date", "Encounter": "date",
    "EpisodeOfCare": "date", "ExplanationOfBenefit": "created", "Flag": "date", "Immunization": "date",
    "Invoice": "date", "MedicationAdministration": "effective-time", "MedicationDispense": "whenhandedover",
    "MedicationRequest": "authoredon", "Observation": "date", "Procedure": "date",
    "QuestionnaireResponse": "authored", "ServiceRequest": "authored",
}  # fmt: skip

_WHEN = ("ix.date~s", 1)


def _with_time(parameter: str, **options: Any) -> Index:
    return Index(parameter, ((f"ix.{parameter}", 1), _WHEN), options)


def _present(parameter: str) -> dict[str, Any]:
    return {"partialFilterExpression": {f"ix.{parameter}": {"$exists": True}}}


def _rare(parameter: str, *codings: tuple[str, str]) -> dict[str, Any]:
    """Only events with one of these codes are in the index: those of plain REST, which are nearly all, are not."""
    tokens = [token for system, code in codings for token in (code, f"{system}|{code}")]
    return {"partialFilterExpression": {f"ix.{parameter}": {"$in": tokens}}}


_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_OWN = f"{CANONICAL}/CodeSystem/audit-subtype"
_TYPES = ("110100", "110101", "110106", "110107", "110113", "110114")
_SUBTYPES = (
    "110120", "110121", "110122", "110123", "110126", "110127", "110129", "110133", "110134", "110135", "110136",
    "110137", "110138",
)  # fmt: skip
_OWN_SUBTYPES = (
    "denied", "denied-authn", "denied-scope", "denied-compartment", "denied-consent", "denied-label", "denied-throttled",
    "throttled", "recovered", "purge",
)  # fmt: skip
# What a compliance officer asks, each with the time. No wildcard index, and no key that nearly every event shares: at one
# event for each read, index keys are what limits reading.
_AUDIT_PLAN = (
    Index("ledger", (("w", 1), ("s", 1)), {"unique": True}),
    TIME,
    Index("date", (_WHEN,)),
    *map(_with_time, ("patient", "agent", "agent~id", "entity", "entity~id")),
    _with_time("type", **_rare("type", *((_DCM, code) for code in _TYPES))),
    _with_time(
        "subtype",
        **_rare("subtype", *((_DCM, code) for code in _SUBTYPES), *((_OWN, code) for code in _OWN_SUBTYPES)),
    ),
    _with_time("policy", **_present("policy")),
    _with_time("purpose", partialFilterExpression={"ix.purpose": "BTG"}),
    _with_time("denied", partialFilterExpression={"ix.denied": "true"}),
    Index("alert", (_WHEN,), _present("alert")),
)

HOT: Mapping[str, tuple[Index, ...]] = {
    **{type: (_by("patient", order),) for type, order in _BY_PATIENT_AND.items()},
    "Slot": (_by("schedule", "start"),),
    "Schedule": (_by("actor", "date"),),
    "Appointment": (_by("actor", "date"), _by("patient", "date")),
    "AppointmentResponse": (),
    "Location": (NEAR,),
}


FIXED: Mapping[str, tuple[Index, ...]] = {
    HISTORY: _HISTORY_PLAN,
    LOCKS: _LOCK_PLAN,
    AUDIT_TYPE: _AUDIT_PLAN,
    CONCEPTS: _CONCEPT_PLAN,
    SYSTEMS: _SYSTEM_PLAN,
    DELIVERIES: _DELIVERY_PLAN,
    MISSES: (_END,),
    **_PACKAGE_PLANS,
    **_OAUTH_PLANS,
}
"""The collections that are always there."""


def plan(collection: str) -> tuple[Index, ...]:
    """The indexes that `collection` must have."""
    return FIXED.get(collection) or (SEARCH, TIME, *HOT.get(collection, ()))


class Collections:
    """The collections of a database and their indexes, as this process knows them."""

    def __init__(self, database: Database | Home) -> None:
        self._home = home_of(database)
        self._ready: set[str] = set()
        self._making: dict[str, asyncio.Lock] = {}

    async def ensure(self, names: Iterable[str]) -> None:
        """Make the collections and indexes of `names` where they are not there yet."""
        for name in set(names) - self._ready:
            async with self._making.setdefault(name, asyncio.Lock()):
                if name not in self._ready:
                    await self._make(name)
                    self._ready.add(name)

    async def types(self) -> list[str]:
        """The resource types that have a collection, in order."""
        return await self._home.types()

    async def prepare(self) -> None:
        """Bring what exists to the plan: history, locks, events, packages, imported terminology, type collections."""
        await self.ensure([*FIXED, *await self.types()])

    async def missing(self) -> list[str]:
        """What the plan asks for and the database has not, as 'collection.index'; empty when all is well."""
        found = []
        for name in dict.fromkeys((*FIXED, *await self.types())):
            with translated():
                have = await self._home[name].index_information()
            found += [
                f"{name}.{index.name}" for index in plan(name) if not _is_like(index, have.get(index.name))
            ]
        return found

    async def _make(self, name: str) -> None:
        with translated():
            try:
                await self._create(name)
            except OperationFailure as error:
                if error.code not in (*_CONFLICTING, _NOT_ALLOWED):
                    raise
                have = await self._home[name].index_information()
                if error.code == _NOT_ALLOWED:  # a user that may only find and insert; another made them
                    if all(_is_like(index, have.get(index.name)) for index in plan(name)):
                        return
                    raise
                for index in plan(name):  # the plan changed: the old form goes
                    if index.name in have and not _is_like(index, have[index.name]):
                        await self._home[name].drop_index(index.name)
                await self._create(name)

    async def _create(self, name: str) -> None:
        """Create the planned indexes, however long it takes: asking again joins the build under way."""
        if name == AUDIT_TYPE:
            await self._create_audit()
        models = [index.model() for index in plan(name)]
        while True:
            try:
                await self._home[name].create_indexes(models)
            except NetworkTimeout:
                _log.info("still building indexes", extra={"collection": name})
            else:
                return

    async def _create_audit(self) -> None:
        """The collection of events, compressed by zstd: half the size of the default, for what is kept for decades."""
        options = {"wiredTiger": {"configString": "block_compressor=zstd"}}
        try:
            await self._home.audit.create_collection(AUDIT_EVENTS, storageEngine=options)
        except CollectionInvalid:  # it is there
            return
        except OperationFailure as error:
            if error.code not in (_EXISTS, _NOT_ALLOWED):
                raise


def _is_like(index: Index, have: Mapping[str, Any] | None) -> bool:
    if have is None:
        return False
    same_keys = [tuple(pair) for pair in have["key"]] == list(index.keys)
    return same_keys and all(have.get(name) == value for name, value in index.options.items())
