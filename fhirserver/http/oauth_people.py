"""Which patients a user may choose, asked of the FHIR engine under the user's own agent: no other way leads to data."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.access.oauth.parts import digest
from fhirserver.access.scopes import parse
from fhirserver.context import Agent, Exchange, Interaction, Kind, Version
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts
    from fhirserver.engine.stations import Engine
    from fhirserver.store.oauth_users import UserRecord

SHOWN = 20
_USES = {"official": 0, "usual": 1}
_SYSTEM = Agent("launch")  # a launch context names resources that exist


@dataclass(frozen=True, slots=True)
class Choice:
    """A patient to choose. `born`: as stored, "1980-05-17"."""

    id: str
    name: str
    born: str


class People:
    """Looks patients up. `engine`: the present one (it is exchanged when definitions change)."""

    def __init__(self, parts: Parts, engine: Callable[[], Engine]) -> None:
        self._parts = parts
        self._engine = engine

    def is_searching(self, user: UserRecord) -> bool:
        """True for staff, who find a patient by name; the others choose from the few they act for."""
        return "patient" not in user.roles

    async def offered(self, user: UserRecord, text: str, address: str) -> tuple[list[Choice], bool]:
        """The patients to choose from, and whether there are more. `text`: part of a name; only staff need one."""
        if self.is_searching(user):
            if not text.strip():
                return [], False
            pairs = [("name", word) for word in text.split()[:5]]
        else:
            pairs = [("_id", ",".join(sorted(_acts_for(user))))] if _acts_for(user) else []
        if not pairs:
            return [], False
        escaped = [(n, v.replace("\\", "\\\\").replace("|", "\\|").replace("$", "\\$")) for n, v in pairs]
        if self.is_searching(user):
            escaped = [(n, v.replace(",", "\\,")) for n, v in escaped]
        query = (*escaped, ("_count", str(SHOWN + 1)), ("_sort", "family"))
        interaction = Interaction(Kind.SEARCH_TYPE, type="Patient", query=query, url="Patient")
        result = await self._ask(user, interaction, address)
        if result is None or result.page is None:
            return [], False
        found = [
            _choice(parse_json(entry.version.raw))
            for entry in result.page.entries
            if entry.mode == "match" and entry.version.raw is not None
        ]
        return found[:SHOWN], len(found) > SHOWN

    async def chosen(self, user: UserRecord, id: str, address: str) -> Choice | None:
        """The patient, if this user may act for them; None otherwise."""
        interaction = Interaction(Kind.READ, type="Patient", id=id, url=f"Patient/{id}")
        result = await self._ask(user, interaction, address)
        if result is None or result.status != 200 or result.version is None or result.version.raw is None:
            return None
        if not self.is_searching(user) and id not in _acts_for(user):
            return None
        return _choice(parse_json(result.version.raw))

    async def exists(self, patient: str, encounter: str | None) -> bool:
        """True where the patient is there, and the encounter is that patient's."""
        if await self._there("Patient", patient) is None:
            return False
        if encounter is None:
            return True
        version = await self._there("Encounter", encounter)
        if version is None:
            return False
        subject = parse_json(version.raw or b"{}").get("subject", {}).get("reference", "")
        base = self._engine().services.settings.fhir_base
        return str(subject).removeprefix(f"{base}/").partition("/_history/")[0] == f"Patient/{patient}"

    async def _there(self, type: str, id: str) -> Version | None:
        """The current version of a resource, read as the server's own work, which is audited as such."""
        interaction = Interaction(Kind.READ, type=type, id=id, url=f"{type}/{id}")
        results = await self._engine().run(Exchange(_SYSTEM, (interaction,), uuid.uuid4().hex))
        return results[0].version if results[0].status == 200 else None

    async def _ask(self, user: UserRecord, interaction: Interaction, address: str) -> Any:
        acts_for = _acts_for(user)
        rights = f"{user.id} {sorted(user.roles)} {user.fhir_user} {sorted(acts_for)}"
        agent = Agent(
            f"user:{user.id}",
            user=user.id,
            fhir_user=user.fhir_user,
            roles=frozenset(user.roles),
            scopes=parse("user/Patient.rs", self._parts.vocabulary),
            acts_for=acts_for,
            address=address,
            key=f"user:{digest(rights)}",  # what caches of decisions know this agent by: all that it depends on
        )
        results = await self._engine().run(Exchange(agent, (interaction,), uuid.uuid4().hex))
        return results[0] if results and results[0].error is None else None


def _acts_for(user: UserRecord) -> frozenset[str]:
    own = user.fhir_user or ""
    return frozenset(user.acts_for) | ({own[len("Patient/") :]} if own.startswith("Patient/") else set())


def _choice(patient: dict[str, Any]) -> Choice:
    names = [name for name in patient.get("name", []) if isinstance(name, dict)]
    best = min(names, key=lambda name: _USES.get(name.get("use", ""), len(_USES)), default={})
    text = best.get("text") or " ".join([*best.get("given", []), best.get("family", "")]).strip()
    return Choice(patient["id"], text or patient["id"], str(patient.get("birthDate", "")))
