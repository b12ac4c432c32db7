"""The compliance officer's pages, mounted on the site. No page needs scripts. Source: docs/how-to/audit-pages.md."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhirserver.access.oauth.buckets import Busy
from fhirserver.access.oauth.request import Malformed, read_form
from fhirserver.audit.disclosure import words as report_words
from fhirserver.audit.disclosure.facts import fact_of
from fhirserver.audit.disclosure.reports import KINDS
from fhirserver.audit.disclosure.tables import FORMATS
from fhirserver.console.auditwords import AUDIT_WORDS
from fhirserver.console.charts import bars
from fhirserver.console.desk import FILTERS, AuditDesk
from fhirserver.console.pages import Pages, language_of
from fhirserver.console.session import HOME, NotAuditor, NotSignedIn, Officer, Sessions
from fhirserver.outcome import OutcomeError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from fastapi import FastAPI

    from fhirserver.access.oauth.parts import Parts
    from fhirserver.context import AuthEvent
    from fhirserver.engine.stations import Engine

_LOG = logging.getLogger("fhirserver.console")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_LARGEST = 16_384
_LONGEST = 200
_VOLUME_DAYS = 14
_REPORT_LANGUAGES = {"pt": "pt-BR", "en": "en"}


class Forged(Exception):
    """A form that this session was not given."""


class Door(Protocol):
    """Knows where requests come from, and how many are too many; shared with the authorization server."""

    def address(self, request: Request) -> str:
        """The address that a request comes from, seen through proxies that are trusted."""
        ...

    def admit(self, request: Request) -> str:
        """One more call from the request's address, which is returned. Raises Busy."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """One request to the pages."""

    request: Request
    officer: Officer
    language: str

    def given(self, name: str, default: str = "") -> str:
        """A parameter of the address, of bounded length."""
        return self.request.query_params.get(name, default)[:_LONGEST].strip()


Handler = Callable[[Look], Awaitable[Response]]


async def mount_console(
    site: FastAPI,
    parts: Parts,
    engine: Callable[[], Engine],
    on_event: Callable[[AuthEvent], Awaitable[None]],
    door: Door,
) -> None:
    """Register the pages as a client of the server, and add their routes. Raises Unavailable."""
    sessions = Sessions(parts, engine, on_event)
    if not await sessions.register():
        _LOG.warning("the audit pages need a base URL with https, or http on loopback")
        return
    Officers(sessions, AuditDesk(engine), door).mount(site)


class Officers:
    """The handlers."""

    def __init__(self, sessions: Sessions, desk: AuditDesk, door: Door) -> None:
        self._door = door
        self._sessions = sessions
        self._desk = desk
        self._pages = Pages(("style.css", "audit.css"), AUDIT_WORDS)

    def mount(self, site: FastAPI) -> None:
        """Add the routes to the site."""
        pages: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/console", self.home),
            ("GET", HOME, self.events),
            ("GET", "/console/events/{id}", self.event),
            ("GET", "/console/emergencies", self.emergencies),
            ("GET", "/console/alerts", self.alerts),
            ("POST", "/console/reviews/{id}", self.review),
            ("GET", "/console/volumes", self.volumes),
            ("GET", "/console/reports", self.reports),
            ("GET", "/console/report", self.report),
            ("GET", "/console/integrity", self.integrity),
            ("POST", "/console/integrity", self.verify),
            ("POST", "/console/sign-out", self.sign_out),
        )
        routes = [(method, path, self._for_officers(handler)) for method, path, handler in pages]
        routes += [("GET", "/console/sign-in", self.sign_in), ("GET", "/console/callback", self.callback)]
        for method, path, route in routes:
            site.add_api_route(path, route, methods=[method], include_in_schema=False, response_model=None)

    # --- sign-in

    async def sign_in(self, request: Request) -> Response:
        """Begin the SMART flow."""
        try:
            self._door.admit(request)
        except Busy as busy:
            return self._slowed(request, busy)
        url, cookie = await self._sessions.begin(request.query_params.get("back", HOME), _language(request))
        return self._with_cookie(_to(url), cookie)

    async def callback(self, request: Request) -> Response:
        """The server has answered."""
        answer = dict(request.query_params)
        try:
            address = self._door.admit(request)
            back, cookie = await self._sessions.finish(self._cookie(request), answer, address)
        except NotAuditor:
            return self._told(_language(request), 403, "not_auditor_title", "not_auditor_text")
        except NotSignedIn:
            return self._told(_language(request), 400, "ended_title", "ended_text")
        except Busy as busy:
            return self._slowed(request, busy)
        return self._with_cookie(_to(back), cookie)

    def _slowed(self, request: Request, busy: Busy) -> Response:
        response = self._told(_language(request), 429, "busy_title", "busy_text")
        response.headers["Retry-After"] = str(busy.seconds)
        return response

    async def sign_out(self, look: Look) -> Response:
        """End the session and its token; the server's own sign-out comes next."""
        await _checked_form(look)
        await self._sessions.end(self._cookie(look.request), look.officer.agent.address or "")
        response = _to(f"/auth/logout?lang={look.language}")
        response.delete_cookie(self._sessions.cookie, path="/", secure=self._sessions.secure, httponly=True)
        return response

    # --- pages

    async def home(self, look: Look) -> Response:
        """The first page."""
        return _to(HOME)

    async def events(self, look: Look) -> Response:
        """Find events."""
        asked = {name: look.given(name) for name in FILTERS}
        start, end = self._desk.period(asked)
        cursor = look.request.query_params.get("_cursor", "")[:2000]
        found = await self._desk.find(look.officer.agent, asked, cursor)
        kept = {name: value for name, value in asked.items() if value} | {"lang": look.language}
        more = f"{HOME}?{urlencode({**kept, '_cursor': found.next})}" if found.next else ""
        first = f"{HOME}?{urlencode(kept)}" if cursor else ""
        shown = asked | {"from": start.isoformat(), "to": end.isoformat()}
        return self._page(look, "audit_find", asked=shown, facts=found.facts, more=more, first=first)

    async def event(self, look: Look) -> Response:
        """One event in plain words."""
        raw, proof = await self._desk.event(look.officer.agent, look.request.path_params["id"])
        event = orjson.loads(raw)
        text = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
        return self._page(look, "audit_event", fact=fact_of(event), proof=proof, raw=text)

    async def emergencies(self, look: Look) -> Response:
        """Emergency accesses and their reviews."""
        start = self._desk.today() - timedelta(90)
        asked = [("kind", "break-glass"), ("start", start.isoformat())]
        rows = await self._desk.rows(look.officer.agent, "report", asked)
        return self._page(
            look, "audit_emergencies", rows=rows[::-1], done="done" in look.request.query_params
        )

    async def alerts(self, look: Look) -> Response:
        """Alerts and who has acknowledged them."""
        rows = await self._desk.rows(look.officer.agent, "alerts")
        return self._page(look, "audit_alerts", rows=rows, done="done" in look.request.query_params)

    async def review(self, look: Look) -> Response:
        """An alert or an emergency access was looked into."""
        form = await _checked_form(look)
        await self._desk.review(look.officer.agent, look.request.path_params["id"], form.get("note", ""))
        page = "alerts" if form.get("page") == "alerts" else "emergencies"
        return _to(f"/console/{page}?done=1&lang={look.language}")

    async def volumes(self, look: Look) -> Response:
        """Events by day, as charts and as a table."""
        end = self._desk.today()
        days = [end - timedelta(back) for back in reversed(range(_VOLUME_DAYS))]
        start = datetime(days[0].year, days[0].month, days[0].day, tzinfo=self._desk.zone).isoformat()
        asked = [("kind", "volume"), ("start", start)]
        rows = {row["day"]: row for row in await self._desk.rows(look.officer.agent, "report", asked)}
        empty = {"events": 0, "patients": 0, "denials": 0}
        table = [(day, rows.get(day.isoformat(), empty)) for day in days]
        told = _Told(self._desk.zone, look.language)
        charts = [
            (
                name,
                bars(
                    self._pages.phrase(look.language, f"chart_{name}"),
                    [(told.day(d), int(r[name])) for d, r in table],
                ),
            )
            for name in ("events", "denials")
        ]
        return self._page(look, "audit_volumes", table=table, charts=charts)

    async def reports(self, look: Look) -> Response:
        """The reports to run."""
        end = self._desk.today()
        language = _REPORT_LANGUAGES[look.language]
        kinds = sorted((report_words.title(kind, language), kind) for kind in KINDS)
        start = (end - timedelta(30)).isoformat()
        return self._page(
            look, "audit_reports", kinds=kinds, formats=tuple(FORMATS), start=start, end=end.isoformat()
        )

    async def report(self, look: Look) -> Response:
        """A report, as a page or to download."""
        names = ("kind", "start", "end", "patient", "agent", "value")
        pairs = [(name, look.given(name)) for name in names if look.given(name)]
        format = look.given("format", "html")
        pairs += [("_format", format), ("language", _REPORT_LANGUAGES[look.language])]
        if ("kind", "integrity") in pairs:
            pairs = [pair for pair in pairs if pair[0] not in ("patient", "agent", "value")]
        result = await self._desk.report(look.officer.agent, pairs)
        content = result.content
        if content is None:
            return self._told(look.language, 404, "gone_title", "gone_text", look)
        headers = dict(_HEADERS)
        headers["Content-Security-Policy"] = result.headers.get("content-security-policy", _NOTHING)
        if format != "html":
            kind = look.given("kind") if look.given("kind") in KINDS else "report"
            headers["Content-Disposition"] = f'attachment; filename="{kind}.{format}"'
        return Response(content.body, 200, headers, content.media)

    async def integrity(self, look: Look) -> Response:
        """The button that checks the log."""
        return self._page(look, "audit_integrity", checked=None)

    async def verify(self, look: Look) -> Response:
        """Check the log, and show what was checked."""
        await _checked_form(look)
        return self._page(look, "audit_integrity", checked=await self._desk.verify(look.officer.agent))

    # --- around them

    def _for_officers(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            language, look = _language(request), None
            try:
                officer = await self._sessions.officer(self._cookie(request), self._door.address(request))
                look = Look(request, officer, language)
                return await handler(look)
            except NotSignedIn:
                if request.method != "GET":
                    return self._told(language, 403, "ended_title", "ended_text")
                back = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
                return _to(f"/console/sign-in?{urlencode({'back': back, 'lang': language})}")
            except NotAuditor:
                return self._told(language, 403, "not_auditor_title", "not_auditor_text")
            except (Forged, Malformed):
                return self._told(language, 403, "forged_title", "forged_text", look)
            except OutcomeError as problem:
                return self._failed(problem, language, look)
            except ClientDisconnect:
                return Response(status_code=400)

        return guarded

    def _failed(self, problem: OutcomeError, language: str, look: Look | None) -> Response:
        known = {400: "bad", 403: "refused", 404: "gone", 410: "gone", 409: "busy"}
        key = known.get(problem.status, "busy")
        status = problem.status if problem.status in known or problem.status == 503 else 500
        detail = problem.issues[0].text if key == "bad" and problem.issues else ""
        return self._told(language, status, f"{key}_title", f"{key}_text", look, detail)

    def _told(
        self, language: str, status: int, title: str, text: str, look: Look | None = None, detail: str = ""
    ) -> Response:
        words = {"title": self._pages.phrase(language, title), "text": self._pages.phrase(language, text)}
        html = self._pages.render(
            "audit_message", language, **words, detail=detail, **self._around(look, language)
        )
        return self._html(html, status)

    def _page(self, look: Look, template: str, **values: Any) -> Response:
        return self._html(
            self._pages.render(template, look.language, **values, **self._around(look, look.language)), 200
        )

    def _around(self, look: Look | None, language: str) -> dict[str, Any]:
        """What every page shows: who is there, the way to the other language, words for codes and times."""
        told = _Told(self._desk.zone, language)
        switch, path = "", ""
        if look is not None and look.request.method == "GET":
            path = look.request.url.path
            others = {**dict(look.request.query_params), "lang": "en" if language == "pt" else "pt"}
            switch = f"{path}?{urlencode(others)}"
        officer = look.officer if look is not None else None
        return {"officer": officer, "switch": switch, "path": path, "told": told}

    def _html(self, html: str, status: int) -> Response:
        return HTMLResponse(html, status, {**_HEADERS, "Content-Security-Policy": self._pages.policy()})

    def _cookie(self, request: Request) -> str:
        return request.cookies.get(self._sessions.cookie, "")

    def _with_cookie(self, response: Response, value: str) -> Response:
        response.set_cookie(
            self._sessions.cookie,
            value,
            path="/",
            secure=self._sessions.secure,
            httponly=True,
            samesite="lax",
        )
        return response


class _Told:
    """Codes, times and references as people read them."""

    def __init__(self, zone: ZoneInfo, language: str) -> None:
        self._zone, self._words = zone, AUDIT_WORDS[language]
        self._language = language

    def time(self, at: datetime | str) -> str:
        """A time in the clinic's zone."""
        if not at:
            return ""
        moment = datetime.fromisoformat(at) if isinstance(at, str) else at
        pattern = "%d/%m/%Y %H:%M:%S" if self._language == "pt" else "%Y-%m-%d %H:%M:%S"
        return moment.astimezone(self._zone).strftime(pattern)

    def utc(self, at: datetime) -> str:
        """A time in UTC."""
        return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def day(self, day: date) -> str:
        """A day."""
        return day.strftime("%d/%m" if self._language == "pt" else "%b %d")

    def code(self, code: str) -> str:
        """A code of an event."""
        found = self._words.get(f"code_{code.removeprefix('alert-')}")
        return found if found is not None else report_words.code(code, _REPORT_LANGUAGES[self._language])

    def codes(self, codes: tuple[str, ...]) -> str:
        """Several codes."""
        return ", ".join(self.code(code) for code in codes)


def _language(request: Request) -> str:
    chosen = request.query_params.get("lang", "")
    return language_of(request.headers.get("accept-language", ""), chosen)


def _to(url: str) -> Response:
    return RedirectResponse(url, 303, _HEADERS)


async def _checked_form(look: Look) -> dict[str, str]:
    """The form, which must be one of this session. Raises Forged, Malformed."""
    body = bytearray()
    async for chunk in look.request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise Forged
    form = read_form(look.request.headers.get("content-type", ""), bytes(body))
    if not hmac.compare_digest(form.get("csrf", "").encode(), look.officer.csrf.encode()):
        raise Forged
    return form
