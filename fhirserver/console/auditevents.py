"""The compliance officer's pages on events: find them, open one, check that the log is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson

from fhirserver.audit.disclosure.facts import fact_of
from fhirserver.console.auditshell import Look, Page, Shell, checked_form, to
from fhirserver.console.desk import FILTERS
from fhirserver.console.session import HOME

if TYPE_CHECKING:
    from starlette.responses import Response


class EventPages:
    """Events, and the integrity of the log that holds them."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def pages(self) -> tuple[Page, ...]:
        """The pages by method and path."""
        return (
            ("GET", "/console", self.home),
            ("GET", HOME, self.events),
            ("GET", "/console/events/{id}", self.event),
            ("GET", "/console/integrity", self.integrity),
            ("POST", "/console/integrity", self.verify),
        )

    async def home(self, look: Look) -> Response:
        """The first page."""
        return to(HOME)

    async def events(self, look: Look) -> Response:
        """Find events."""
        asked = {name: look.given(name) for name in FILTERS}
        start, end = self._shell.desk.period(asked)
        cursor = look.request.query_params.get("_cursor", "")[:2000]
        person = asked["person"]
        wanted = (
            asked
            if not person or "/" in person
            else asked | {"person": await self._shell.sessions.account(person)}
        )
        found = await self._shell.desk.find(look.officer.agent, wanted, cursor)
        names = await self._shell.sessions.names(fact.user for fact in found.facts if fact.user)
        kept = {name: value for name, value in asked.items() if value} | {"lang": look.language}
        more = f"{HOME}?{urlencode({**kept, '_cursor': found.next})}" if found.next else ""
        first = f"{HOME}?{urlencode(kept)}" if cursor else ""
        shown = asked | {"from": start.isoformat(), "to": end.isoformat()}
        return self._shell.page(
            look, "audit_find", asked=shown, facts=found.facts, names=names, more=more, first=first
        )

    async def event(self, look: Look) -> Response:
        """One event in plain words."""
        raw, proof = await self._shell.desk.event(look.officer.agent, look.request.path_params["id"])
        event = orjson.loads(raw)
        text = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
        fact = fact_of(event)
        called = (await self._shell.sessions.names((fact.user,))).get(fact.user, "")
        return self._shell.page(look, "audit_event", fact=fact, called=called, proof=proof, raw=text)

    async def integrity(self, look: Look) -> Response:
        """The button that checks the log."""
        return self._shell.page(look, "audit_integrity", checked=None)

    async def verify(self, look: Look) -> Response:
        """Check the log, and show what was checked."""
        await checked_form(look)
        return self._shell.page(
            look, "audit_integrity", checked=await self._shell.desk.verify(look.officer.agent)
        )
