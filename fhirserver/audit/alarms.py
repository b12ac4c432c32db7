"""What the ledger's own guardians report: faults of integrity, of sealing, of recording, of the feeds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fhirserver.audit.disclosure.alertwords import told

Figures = tuple[tuple[str, str], ...]
MOST_TEXT = 400


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person must look at. `rule`: stable name. `figures`: what its sentence needs, nothing personal."""

    rule: str
    figures: Figures = ()

    @classmethod
    def of(cls, rule: str, fault: str = "", **figures: object) -> Alarm:
        """`fault`: which of the sentences of the rule."""
        given = {"fault": fault} | figures if fault else figures
        return cls(rule, tuple((name, str(value)[:MOST_TEXT]) for name, value in given.items()))

    @property
    def text(self) -> str:
        """What happened, in English."""
        return told(self.rule, dict(self.figures), "en")


Raise = Callable[[Alarm], Awaitable[None]]
