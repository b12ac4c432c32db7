"""Whether the stored form of an event fits its body: id, time, and the search fields that reports rest on.

An event whose search fields were altered would be intact in the ledger and yet hidden from every search. Most events
are compared with what is remembered of earlier ones; where that is not conclusive the ordinary indexer decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fhirserver.audit.parameters import PARAMETERS
from fhirserver.r4.dates import date_range
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.search.types import date
from fhirserver.store.documents import MILLISECOND, instant
from fhirserver.store.ledger import Recorded

CORE = ("date", "date~s", "patient", "agent", "entity", "type", "subtype", "action", "outcome", "denied")
_OF_FORM = ("type", "subtype", "action", "outcome", "denied")
_FORM = ("action", "outcome", "subtype", "type")
_REFERENCE = re.compile(
    r"([A-Z][A-Za-z]{0,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?", re.ASCII
)
_MOST = 4096


class IndexCheck:
    """Checks events of one tenant. `indexer`: the one that made their search fields."""

    def __init__(self, indexer: Indexer, tenant: str) -> None:
        self._index = indexer.index
        self._tenant = tenant
        self._forms: dict[bytes, Mapping[str, Any]] = {}

    @classmethod
    def of(cls, tenant: str, fhir_base: str) -> IndexCheck:
        """The check by the definitions that AuditEvents are indexed with."""
        definitions = Definitions.load().with_parameters(PARAMETERS)
        return cls(Indexer(definitions, tenant, fhir_base), tenant)

    def __call__(self, event: Recorded) -> list[str]:
        """What does not fit, in words; empty where all does. The event needs its `row`."""
        row = event.row or {}
        try:
            body = orjson.loads(event.raw)
            key = f"{self._tenant}/AuditEvent/{body['id']}"
            moment = _moment(body["meta"]["lastUpdated"], event.ts)
        except (ValueError, KeyError, TypeError):
            return []  # the body is no event: its hash says so
        faults = []
        if event.key != key or row.get("t") != self._tenant:
            faults.append("it stands under another id than its own")
        if event.ts != moment:
            faults.append("it stands at another time than its own")
        if row.get("v") != 1 or row.get("del"):
            faults.append("it is marked as changed or deleted")
        ix = row.get("ix") or {}
        if not self._fits(body, ix, moment):
            expected = self._index("AuditEvent", body).ix
            wrong = [name for name in CORE if _values(expected, name) != _values(ix, name)]
            faults += [f"its search field {name} is not what its body says" for name in wrong]
        return faults

    def _fits(self, body: dict[str, Any], ix: Mapping[str, Any], moment: int) -> bool:
        """True where `ix` surely fits; False where that is not known."""
        whos = [agent.get("who") for agent in body["agent"]]
        known = self._known({name: body[name] for name in _FORM if name in body}, whos)
        if any(known.get(name) != ix.get(name) for name in _OF_FORM):
            return False
        entities = _keys(body.get("entity", ()), self._tenant)
        if entities is None or set(ix.get("entity", ())) != set(entities):
            return False
        patient = f"{self._tenant}/Patient/"
        patients = {entity for entity in entities if entity.startswith(patient)}
        if set(ix.get("patient", ())) != patients | set(known.get("patient", ())):
            return False
        if set(ix.get("agent", ())) != set(known.get("agent", ())):
            return False
        if body.get("recorded") != body["meta"]["lastUpdated"]:
            return False
        sorted_by = f"{date.sort_key(moment)}\x00{body['id']}"
        return bool(
            ix.get("date") == [{"lo": moment, "hi": moment + MILLISECOND}] and ix.get("date~s") == sorted_by
        )

    def _known(self, form: dict[str, Any], whos: list[Any]) -> Mapping[str, Any]:
        """The search fields of an event with these elements and agents: all of one user's events share them."""
        mark = orjson.dumps((form, whos))
        known = self._forms.get(mark)
        if known is None:
            if len(self._forms) >= _MOST:
                self._forms.clear()
            agents = [{"who": who} for who in whos if who is not None]
            event = {"resourceType": "AuditEvent", **form, "agent": agents}
            known = self._forms[mark] = self._index("AuditEvent", event).ix
        return known


def _moment(text: str, ts: int) -> int:
    """The time that `text` tells, microseconds; `ts` is what it probably is."""
    return ts if instant(ts) == text else date_range(text)[0]


def _values(ix: Mapping[str, Any], name: str) -> list[bytes]:
    found = ix.get(name, [])
    values = found if isinstance(found, list) else [found]
    return sorted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values)


def _keys(entities: Sequence[Any], tenant: str) -> list[str] | None:
    """What a search finds the entities by; None where one has another form than this server gives them."""
    found = []
    for entity in entities:
        reference = entity.get("what", {}).get("reference")
        if reference is None:
            continue
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            return None
        found.append(f"{tenant}/{match[1]}")
    return found
