"""What access rules ask the database: who a practitioner is, which patients are linked, which consents changed.

These are the system's own questions; their answers become restrictions, never content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fhirserver.search.expression import And, Dates, Equals, Expression, Not
from fhirserver.search.types.ranges import Bound
from fhirserver.store.client import Document, translated
from fhirserver.store.compile import Place, compile_filter
from fhirserver.store.lanes import Database

_MEMBER = "ix.~Patient"
_PRIVACY = "patient-privacy"
# type -> the parameter that names the practitioner, and the states that give no link
_LINKS = {
    "Appointment": ("actor", ("cancelled", "entered-in-error", "proposed")),
    "Encounter": ("participant", ("cancelled", "entered-in-error")),
    "CareTeam": ("participant", ("inactive", "entered-in-error", "proposed")),
}


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """One Consent as it stands. `raw`: its JSON; None where it is not active, not about privacy, or deleted."""

    key: str
    ts: int
    patients: tuple[str, ...] = ()
    raw: bytes | None = None


class Relations:
    """Asks about the resources of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant

    def key(self, type: str, id: str) -> str:
        """The index's entry for a resource."""
        return f"{self._tenant}/{type}/{id}"

    async def is_stored(self, type: str, id: str) -> bool:
        """Whether there is such a resource, not deleted."""
        with translated():
            query = {"_id": self.key(type, id), "raw": {"$ne": None}}
            return await self._database[type].find_one(query, {"_id": 1}) is not None

    async def roles_of(self, practitioner: str) -> tuple[frozenset[str], frozenset[str]]:
        """The `Type/id` of a practitioner's PractitionerRoles, and of the organizations they work for.

        `practitioner`: `Type/id`; of a PractitionerRole it is that role alone.
        """
        key = f"{self._tenant}/{practitioner}"
        query = {
            "t": self._tenant,
            ("_id" if practitioner.startswith("PractitionerRole/") else "ix.practitioner"): key,
        }
        with translated():
            found = self._database["PractitionerRole"].find(query, {"ix.organization": 1, "ix.active": 1})
            rows = [row for row in await found.to_list() if "false" not in row["ix"].get("active", ())]
        roles = frozenset(self._relative(row["_id"]) for row in rows)
        organizations = frozenset(
            self._relative(key) for row in rows for key in row["ix"].get("organization", ())
        )
        return roles, organizations

    async def linked(self, actors: Iterable[str], lo: int, hi: int) -> frozenset[str]:
        """Ids of the patients that have to do with any of `actors` (`Type/id`) between `lo` and `hi`, microseconds."""
        keys = tuple(f"{self._tenant}/{actor}" for actor in sorted(actors))
        within = ((Bound("hi", "gt", lo), Bound("lo", "lt", hi)),)
        found: set[str] = set()
        for type, (parameter, excluded) in _LINKS.items():
            terms: list[Expression] = [Equals(parameter, keys), Not(Equals("status", excluded))]
            if type != "CareTeam":
                terms.append(Dates("date", within, within))
            filter = compile_filter(And(tuple(terms)), Place(key=self.key(type, "")))
            stages: list[Document] = [
                {"$match": {**filter, "t": self._tenant}},
                {"$project": {_MEMBER: 1}},
                {"$unwind": f"${_MEMBER}"},
                {"$group": {"_id": f"${_MEMBER}"}},
            ]
            with translated():
                rows = await (await self._database[type].aggregate(stages)).to_list()
            found.update(row["_id"].rpartition("/")[2] for row in rows)
        return frozenset(found)

    async def consents(self, since: int | None) -> list[ConsentChange]:
        """Consents changed at or after `since` (microseconds); None: all that are active and about privacy."""
        standing = {"ix.status": "active", "ix.scope": _PRIVACY}
        query = {"t": self._tenant, **(standing if since is None else {"ts": {"$gte": since}})}
        fields = {"raw": 1, "ts": 1, _MEMBER: 1, "ix.status": 1, "ix.scope": 1}
        with translated():
            rows = await self._database["Consent"].find(query, fields).to_list()
        return [_change(row) for row in rows]

    def _relative(self, key: str) -> str:
        return key.removeprefix(f"{self._tenant}/")


def _change(row: dict[str, object]) -> ConsentChange:
    ix = row.get("ix")
    key, ts = str(row["_id"]), row["ts"]
    raw = row.get("raw")
    if not (isinstance(ix, dict) and isinstance(ts, int) and isinstance(raw, bytes)):
        return ConsentChange(key, ts if isinstance(ts, int) else 0)
    if "active" not in ix.get("status", ()) or _PRIVACY not in ix.get("scope", ()):
        return ConsentChange(key, ts)
    return ConsentChange(key, ts, tuple(k.rpartition("/")[2] for k in ix.get("~Patient", ())), raw)
