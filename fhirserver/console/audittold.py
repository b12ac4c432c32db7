"""How the compliance officer's pages tell codes, times and alerts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from fhirserver.audit.disclosure import alertwords
from fhirserver.audit.disclosure import words as report_words
from fhirserver.console.auditwords import AUDIT_WORDS

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from fhirserver.audit.disclosure.facts import Fact

REPORT_LANGUAGES = {"pt": "pt-BR", "en": "en"}
"""Language of a page -> language of a report."""


class Told:
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

    def number(self, value: int) -> str:
        """A whole number."""
        text = f"{value:,}"
        return text.replace(",", ".") if self._language == "pt" else text

    def code(self, code: str) -> str:
        """A code of an event."""
        found = self._words.get(f"code_{code}")
        return found if found is not None else report_words.code(code, REPORT_LANGUAGES[self._language])

    def codes(self, codes: tuple[str, ...]) -> str:
        """Several codes."""
        return ", ".join(self.code(code) for code in codes)

    def text(self, fact: Fact) -> str:
        """What an event says of itself: of an alert, its sentence."""
        if not fact.alert:
            return fact.text
        return alertwords.told(
            fact.alert, dict(fact.figures), REPORT_LANGUAGES[self._language], otherwise=fact.text
        )
