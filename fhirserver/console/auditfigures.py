"""The compliance officer's pages on many events at once: volumes by day, and reports."""

from __future__ import annotations

from datetime import datetime, timedelta

from starlette.responses import Response

from fhirserver.audit.disclosure import words as report_words
from fhirserver.audit.disclosure.reports import KINDS
from fhirserver.audit.disclosure.tables import FORMATS
from fhirserver.console.auditshell import HEADERS, Look, Page, Shell
from fhirserver.console.audittold import REPORT_LANGUAGES, Told
from fhirserver.console.charts import bars

_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_VOLUME_DAYS = 14


class FigurePages:
    """Volumes and reports."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def pages(self) -> tuple[Page, ...]:
        """The pages by method and path."""
        return (
            ("GET", "/console/volumes", self.volumes),
            ("GET", "/console/reports", self.reports),
            ("GET", "/console/report", self.report),
        )

    async def volumes(self, look: Look) -> Response:
        """Events by day, as charts and as a table."""
        end = self._shell.desk.today()
        days = [end - timedelta(back) for back in reversed(range(_VOLUME_DAYS))]
        start = datetime(days[0].year, days[0].month, days[0].day, tzinfo=self._shell.desk.zone).isoformat()
        asked = [("kind", "volume"), ("start", start)]
        rows = {row["day"]: row for row in await self._shell.desk.rows(look.officer.agent, "report", asked)}
        empty = {"events": 0, "patients": 0, "denials": 0}
        table = [(day, rows.get(day.isoformat(), empty)) for day in days]
        told = Told(self._shell.desk.zone, look.language)
        charts = [
            (
                name,
                bars(
                    self._shell.pages.phrase(look.language, f"chart_{name}"),
                    [(told.day(d), int(r[name])) for d, r in table],
                    told.number,
                ),
            )
            for name in ("events", "denials")
        ]
        return self._shell.page(look, "audit_volumes", table=table, charts=charts)

    async def reports(self, look: Look) -> Response:
        """The reports to run."""
        end = self._shell.desk.today()
        language = REPORT_LANGUAGES[look.language]
        kinds = sorted((report_words.title(kind, language), kind) for kind in KINDS)
        start = (end - timedelta(30)).isoformat()
        return self._shell.page(
            look, "audit_reports", kinds=kinds, formats=tuple(FORMATS), start=start, end=end.isoformat()
        )

    async def report(self, look: Look) -> Response:
        """A report, as a page or to download."""
        names = ("kind", "start", "end", "patient", "agent", "value")
        pairs = [(name, look.given(name)) for name in names if look.given(name)]
        format = look.given("format", "html")
        pairs += [("_format", format), ("language", REPORT_LANGUAGES[look.language])]
        if ("kind", "integrity") in pairs:
            pairs = [pair for pair in pairs if pair[0] not in ("patient", "agent", "value")]
        result = await self._shell.desk.report(look.officer.agent, pairs)
        content = result.content
        if content is None:
            return self._shell.told(look.language, 404, "gone_title", "gone_text", look)
        headers = dict(HEADERS)
        headers["Content-Security-Policy"] = result.headers.get("content-security-policy", _NOTHING)
        if format != "html":
            kind = look.given("kind") if look.given("kind") in KINDS else "report"
            headers["Content-Disposition"] = f'attachment; filename="{kind}.{format}"'
        return Response(content.body, 200, headers, content.media)
