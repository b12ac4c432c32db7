"""The compliance officer's pages on what a person must look into: emergency accesses and alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from fhirserver.console.auditshell import Look, Page, Shell, checked_form, to
from fhirserver.console.audittold import REPORT_LANGUAGES

if TYPE_CHECKING:
    from starlette.responses import Response


class ReviewPages:
    """Emergency accesses, alerts, and their reviews."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def pages(self) -> tuple[Page, ...]:
        """The pages by method and path."""
        return (
            ("GET", "/console/emergencies", self.emergencies),
            ("GET", "/console/alerts", self.alerts),
            ("POST", "/console/reviews/{id}", self.review),
        )

    async def emergencies(self, look: Look) -> Response:
        """Emergency accesses and their reviews."""
        start = self._shell.desk.today() - timedelta(90)
        asked = [("kind", "break-glass"), ("start", start.isoformat())]
        rows = await self._shell.desk.rows(look.officer.agent, "report", asked)
        return self._shell.page(
            look, "audit_emergencies", rows=rows[::-1], done="done" in look.request.query_params
        )

    async def alerts(self, look: Look) -> Response:
        """Alerts and who has acknowledged them."""
        asked = [("language", REPORT_LANGUAGES[look.language])]
        rows = await self._shell.desk.rows(look.officer.agent, "alerts", asked)
        return self._shell.page(look, "audit_alerts", rows=rows, done="done" in look.request.query_params)

    async def review(self, look: Look) -> Response:
        """An alert or an emergency access was looked into."""
        form = await checked_form(look)
        await self._shell.desk.review(
            look.officer.agent, look.request.path_params["id"], form.get("note", "")
        )
        page = "alerts" if form.get("page") == "alerts" else "emergencies"
        return to(f"/console/{page}?done=1&lang={look.language}")
