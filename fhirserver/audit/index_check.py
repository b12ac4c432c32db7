"""Whether the stored form of an event fits its body: id, time, and the search fields that reports rest on.

An event whose search fields were altered would be intact in the ledger and yet hidden from every search. Nearly all events
differ from earlier ones in id, time and entities only: for these the stored form is made out of an earlier one's and compared
byte by byte. Where that gives another one, or cannot be done, the ordinary indexer decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from fhirserver.audit.parameters import PARAMETERS
from fhirserver.r4.dates import date_range
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.search.types import date
from fhirserver.store.documents import MILLISECOND, instant
from fhirserver.store.ledger_events import SEARCHED as CORE
from fhirserver.store.ledger_events import Recorded, read_shape, shape_of

_REFERENCE = re.compile(
    rb'"reference":"([A-Z][A-Za-z]{0,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"'
)
_ANY_REFERENCE, _CONTAINED = b'"reference":', b'"reference":"#'
_ID = re.compile(rb"[A-Za-z0-9\-.]{1,64}")
_ENTITIES, _IDENTITY, _UPDATED, _RECORDED = (
    b',"entity":[',
    b'],"id":"',
    b'","meta":{"lastUpdated":"',
    b'"recorded":"',
)
_POLICY, _POLICY_END = b'"policy":["', b"],"
_TIME = len("2026-03-01T12:00:00.000Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 4096

_Form = tuple[bytes, bytes, bytes, bool, bool]


@dataclass(frozen=True, slots=True)
class _Parts:
    """A canonical event taken apart. `form`: all of it but id, times, entities and token ids. `moment`: microseconds."""

    form: _Form
    id: str
    moment: int
    entities: list[str]
    patients: list[str]


class IndexCheck:
    """Checks events of one tenant. `indexer`: the one that made their search fields."""

    def __init__(self, indexer: Indexer, tenant: str) -> None:
        self._index = indexer.index
        self._tenant = tenant
        self._forms: dict[_Form, Mapping[str, Any]] = {}

    @classmethod
    def of(cls, tenant: str, fhir_base: str) -> IndexCheck:
        """The check by the definitions that AuditEvents are indexed with."""
        definitions = Definitions.load().with_parameters(PARAMETERS)
        return cls(Indexer(definitions, tenant, fhir_base), tenant)

    def __call__(self, event: Recorded) -> list[str]:
        """What does not fit, in words; empty where all does. The event needs its `shape`."""
        parts = self._parts(event.raw)
        if parts is not None and event.shape == self._expected(parts):
            return []
        row = read_shape(event.shape)
        faults = self._faults(event, row)
        if parts is not None and not faults:
            self._learn(parts, row)
        return faults

    def _faults(self, event: Recorded, row: Mapping[str, Any]) -> list[str]:
        """The same, by the ordinary indexer."""
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
        expected = self._index("AuditEvent", body).ix
        wrong = [name for name in CORE if _values(expected, name) != _values(ix, name)]
        return faults + [f"its search field {name} is not what its body says" for name in wrong]

    def _parts(self, raw: bytes) -> _Parts | None:
        """`raw` taken apart; None where it is not of the form that this server writes."""
        entities = raw.find(_ENTITIES)
        identity = raw.find(_IDENTITY, entities)
        updated = raw.find(_UPDATED, identity)
        recorded = raw.find(_RECORDED, updated)
        if min(entities, identity, updated, recorded) < 0 or raw.find(_ENTITIES, entities + 1) >= 0:
            return None
        id, stamp = raw[identity + len(_IDENTITY) : updated], updated + len(_UPDATED)
        told = recorded + len(_RECORDED)
        time, inner = raw[stamp : stamp + _TIME], raw[entities:identity]
        references = _REFERENCE.findall(inner)
        if time != raw[told : told + _TIME] or not _ID.fullmatch(id):
            return None
        if len(references) != inner.count(_ANY_REFERENCE) - inner.count(_CONTAINED):
            return None
        try:
            moment = (datetime.fromisoformat(time.decode()) - _EPOCH) // _MICROSECOND
        except (ValueError, TypeError):
            return None
        found = list(dict.fromkeys(f"{self._tenant}/{reference.decode()}" for reference in references))
        patient = f"{self._tenant}/Patient/"
        patients = [key for key in found if key.startswith(patient)]
        form = (
            _without_policy(raw[:entities]), raw[stamp + _TIME : recorded], raw[told + _TIME :], bool(found), bool(patients)
        )  # fmt: skip
        return _Parts(form, id.decode(), moment, found, patients)

    def _expected(self, parts: _Parts) -> bytes:
        """The shape that an event must have; empty where no event of its form is known."""
        known = self._forms.get(parts.form)
        if known is None:
            return b""
        ix = {**known, **self._varying(parts)}
        return shape_of(f"{self._tenant}/AuditEvent/{parts.id}", self._tenant, parts.moment, ix)

    def _varying(self, parts: _Parts) -> dict[str, Any]:
        moment = parts.moment
        ix: dict[str, Any] = {
            "date": [{"lo": moment, "hi": moment + MILLISECOND}],
            "date~s": f"{date.sort_key(moment)}\x00{parts.id}",
        }
        if parts.entities:
            ix["entity"] = parts.entities
        if parts.patients:
            ix["patient"] = parts.patients
        return ix

    def _learn(self, parts: _Parts, row: Mapping[str, Any]) -> None:
        """Keep what an event in order has in common with all of its form, if what varies is what it seems to be."""
        ix = row["ix"]
        if all(ix.get(name) == value for name, value in self._varying(parts).items()):
            if len(self._forms) >= _MOST:
                self._forms.clear()
            self._forms[parts.form] = ix


def _without_policy(head: bytes) -> bytes:
    """The part before the entities without the ids of tokens, of which no search field here knows."""
    start = head.find(_POLICY)
    end = head.find(_POLICY_END, start)
    return head if start < 0 or end < 0 else head[:start] + head[end:]


def _moment(text: str, ts: int) -> int:
    """The time that `text` tells, microseconds; `ts` is what it probably is."""
    return ts if instant(ts) == text else date_range(text)[0]


def _values(ix: Mapping[str, Any], name: str) -> list[bytes]:
    found = ix.get(name, [])
    values = found if isinstance(found, list) else [found]
    return sorted(orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values)
