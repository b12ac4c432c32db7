"""Break-glass grants: who opened which patient's record in an emergency, why, and until when. Kept for review."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fhirserver.store.client import translated
from fhirserver.store.lanes import Database

EMERGENCIES = "break_glass"
_TOLD_WITHIN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Emergency:
    """One grant. `user`: stable id of the user. `patient`: logical id. `start`, `until`: seconds since 1970.

    `fhir_user`: reference of the user's own resource.
    """

    user: str
    patient: str
    reason: str
    start: float
    until: float
    client: str | None = None
    fhir_user: str | None = None


class Emergencies:
    """The grants of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._collection = database[EMERGENCIES]
        self._tenant = tenant

    async def put(self, id: str, grant: Emergency) -> None:
        """Keep a grant under `id`."""
        with translated():
            await self._collection.create_index([("t", 1), ("user", 1), ("until", 1)], name="user")
            await self._collection.insert_one(
                {
                    "_id": id,
                    "t": self._tenant,
                    "user": grant.user,
                    "patient": grant.patient,
                    "reason": grant.reason,
                    "client": grant.client,
                    "fhir_user": grant.fhir_user,
                    "start": datetime.fromtimestamp(grant.start, UTC),
                    "until": datetime.fromtimestamp(grant.until, UTC),
                }
            )

    async def standing(self, user: str, now: float) -> dict[str, tuple[float, str, str]]:
        """Patient id -> when its grant ends, the grant's id and reason, for those of `user` that stand at `now`."""
        query = {"t": self._tenant, "user": user, "until": {"$gt": datetime.fromtimestamp(now, UTC)}}
        with translated():
            rows = await self._collection.find(query, {"patient": 1, "until": 1, "reason": 1}).to_list()
        ends: dict[str, tuple[float, str, str]] = {}
        for row in rows:
            end = row["until"].timestamp(), row["_id"], row["reason"]
            ends[row["patient"]] = max(end, ends.get(row["patient"], end))
        return ends

    async def over(self, now: float) -> dict[str, Emergency]:
        """The grants that have ended within the last week and that nobody has told of, by id. Raises Unavailable."""
        end = datetime.fromtimestamp(now, UTC)
        query = {
            "t": self._tenant,
            "until": {"$lte": end, "$gt": end - _TOLD_WITHIN},
            "told": {"$exists": False},
        }
        with translated():
            rows = await self._collection.find(query).to_list()
        return {
            row["_id"]: Emergency(
                row["user"], row["patient"], row["reason"], row["start"].timestamp(), row["until"].timestamp(),
                row["client"], row.get("fhir_user"),
            )
            for row in rows
        }  # fmt: skip

    async def told(self, id: str) -> None:
        """The end of a grant has been told. Raises Unavailable."""
        with translated():
            await self._collection.update_one({"_id": id}, {"$set": {"told": True}})
