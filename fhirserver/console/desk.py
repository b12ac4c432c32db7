"""What the compliance officer's pages ask of the engine: Exchanges of the auditor's own agent, nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit
from zoneinfo import ZoneInfo

from fhirserver.audit.disclosure.facts import Fact, fact_of
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.proofs import BadProof, check_proof
from fhirserver.context import Agent, Content, Exchange, Interaction, Kind, Request, Result
from fhirserver.operations import OPERATIONS
from fhirserver.outcome import BadRequest, Conflict, NotFound
from fhirserver.paging import CURSOR
from fhirserver.r4.jsontext import parse_json
from fhirserver.r4.references import ID

if TYPE_CHECKING:
    from fhirserver.engine.stations import Engine

PAGE = 50
DAYS = 7
FILTERS = ("patient", "person", "app", "from", "to", "outcome", "purpose", "denied")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A page of events. `next`: cursor of the next one, empty on the last."""

    facts: tuple[Fact, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Proof:
    """`state`: proven, waiting (not sealed yet), broken. `size`: of the checkpoint; `index`: place in the log."""

    state: str
    size: int = 0
    index: int = 0
    text: str = ""


class AuditDesk:
    """The questions of the pages. All raise OutcomeError as the engine's result says."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    @property
    def zone(self) -> ZoneInfo:
        """The timezone of the clinic."""
        return ZoneInfo(self._engine().services.settings.audit.timezone)

    def today(self) -> date:
        """The day in the clinic."""
        return datetime.fromtimestamp(self._engine().services.clock() / 1_000_000, self.zone).date()

    async def find(self, agent: Agent, asked: Mapping[str, str], cursor: str) -> Found:
        """Events by the filters of the page, newest first."""
        pairs = [*self._pairs(asked), ("_sort", "-date"), ("_count", str(PAGE))]
        pairs += [(CURSOR, cursor)] if cursor else []
        result = await self._ask(agent, Kind.SEARCH_TYPE, pairs)
        page = result.page
        if page is None:
            return Found((), "")
        events = [e.version.raw for e in page.entries if e.mode == "match" and e.version.raw is not None]
        following = parse_qs(urlsplit(dict(page.links).get("next", "")).query).get(CURSOR, [""])[0]
        return Found(tuple(fact_of(parse_json(raw)) for raw in events), following)

    def _pairs(self, asked: Mapping[str, str]) -> list[tuple[str, str]]:
        pairs = []
        start, end = self.period(asked)
        pairs += [("date", f"ge{self._instant(start)}"), ("date", f"lt{self._instant(end + timedelta(1))}")]
        if patient := asked["patient"].removeprefix("Patient/"):
            if ID.fullmatch(patient) is None:
                raise BadRequest("The patient is named by the id of the record.", code="parameter-value")
            pairs.append(("patient", f"Patient/{patient}"))
        for name in ("person", "app"):
            if value := asked[name]:
                is_reference = name == "person" and "/" in value
                pairs.append(("agent" if is_reference else "agent:identifier", _escaped(value)))
        pairs += [(name, _escaped(asked[name])) for name in ("outcome", "purpose") if asked[name]]
        return [*pairs, *([("denied", "true")] if asked["denied"] else [])]

    def period(self, asked: Mapping[str, str]) -> tuple[date, date]:
        """The first and last day that are asked for; without any, the last week. Raises BadRequest."""
        try:
            end = date.fromisoformat(asked["to"]) if asked["to"] else self.today()
            start = date.fromisoformat(asked["from"]) if asked["from"] else end - timedelta(DAYS - 1)
            self._instant(start), self._instant(end + timedelta(1))
        except (ValueError, OverflowError) as error:
            raise BadRequest("A day is written as 2026-03-01.", code="date-invalid") from error
        if start > end:
            raise BadRequest("The first day lies before the last.", code="parameter-value")
        return start, end

    def _instant(self, day: date) -> str:
        at = datetime.combine(day, time(), self.zone).astimezone(UTC)
        return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"

    async def event(self, agent: Agent, id: str) -> tuple[bytes, Proof]:
        """The bytes of an event, and whether the sealed log is proven to hold them."""
        if ID.fullmatch(id) is None:
            raise NotFound("There is no such event.", code="resource-unknown")
        read = await self._ask(agent, Kind.READ, id=id)
        raw = read.version.raw if read.version is not None else None
        if raw is None:
            raise NotFound("There is no such event.", code="resource-unknown")
        try:
            result = await self._ask(agent, Kind.OPERATION, id=id, operation="proof")
        except Conflict:
            return raw, Proof("waiting")
        text = (result.content.body if result.content is not None else b"").decode()
        keys = KeyFiles.of(self._engine().services.settings)
        try:
            index = check_proof(raw, text, keys.known(), keys.origin)
        except BadProof as problem:
            return raw, Proof("broken", text=str(problem))
        return raw, Proof("proven", int(text.partition("\n\n")[2].split("\n")[1]), index, text)

    async def report(self, agent: Agent, pairs: Sequence[tuple[str, str]]) -> Result:
        """The report, as the operation $report gives it."""
        return await self._ask(agent, Kind.OPERATION, pairs, operation="report")

    async def rows(self, agent: Agent, operation: str, pairs: Sequence[tuple[str, str]] = ()) -> list[Any]:
        """The rows of a report or of the alerts."""
        content = (await self._ask(agent, Kind.OPERATION, pairs, operation=operation)).content
        rows: list[Any] = parse_json(content.body)["rows"] if isinstance(content, Content) else []
        return rows

    async def verify(self, agent: Agent) -> dict[str, Any]:
        """Verify the log now; what was checked."""
        content = (await self._ask(agent, Kind.OPERATION, operation="verify", method="POST")).content
        told: dict[str, Any] = parse_json(content.body) if content is not None else {}
        return told

    async def review(self, agent: Agent, id: str, note: str) -> None:
        """Record that the auditor has looked into an alert or an emergency access."""
        if ID.fullmatch(id) is None:
            raise NotFound("There is no such event.", code="resource-unknown")
        body = {"resourceType": "Parameters", "parameter": [{"name": "note", "valueString": note}]}
        await self._ask(agent, Kind.OPERATION, id=id, operation="review", method="POST", body=body)

    async def _ask(
        self,
        agent: Agent,
        kind: Kind,
        pairs: Sequence[tuple[str, str]] = (),
        *,
        id: str | None = None,
        operation: str | None = None,
        method: str = "GET",
        body: Any = None,
    ) -> Result:
        url = "/".join(filter(None, ("AuditEvent", id, f"${operation}" if operation else "")))
        interaction = Interaction(
            kind, "AuditEvent", id, query=tuple(pairs), body=body, operation=operation, method=method,
            url=url, needs=OPERATIONS[operation].letters if operation else (),
        )  # fmt: skip
        number = uuid.uuid4().hex
        target = f"/fhir/{url}{'?' if pairs else ''}{urlencode(pairs)}"
        request = Request(number, method, target.encode(), address=agent.address)
        (result,) = await self._engine().run(Exchange(agent, (interaction,), number, request=request))
        if result.error is not None:
            raise result.error
        return result


def _escaped(value: str) -> str:
    text = value[:_LONGEST]
    for sign in ("\\", ",", "$"):
        text = text.replace(sign, f"\\{sign}")
    return text
