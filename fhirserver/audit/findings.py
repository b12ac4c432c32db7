"""What a verification of the ledger can find, and how it is reported: JSON lines and exit codes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SHOWN = 20  # findings of one class that are reported one by one


class Class(StrEnum):
    """The classes of findings."""

    MODIFIED = "MODIFIED"
    MISSING = "MISSING"
    TAIL_GAP = "TAIL_GAP"
    INSERTED = "INSERTED"
    FORGED = "FORGED"
    CHAIN_BREAK = "CHAIN_BREAK"
    ROOT_MISMATCH = "ROOT_MISMATCH"
    CHECKPOINT_GAP = "CHECKPOINT_GAP"
    RUN_GAP = "RUN_GAP"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    WRONG_ORIGIN = "WRONG_ORIGIN"
    INDEX_MISMATCH = "INDEX_MISMATCH"
    ROLLBACK = "ROLLBACK"
    FORK = "FORK"
    UNSEALED_OVERDUE = "UNSEALED_OVERDUE"
    PURGED = "PURGED"


INTACT, TAMPERED, CANNOT_VERIFY, OVERDUE = 0, 1, 3, 4  # exit codes; 2 is a wrong command line
_HARMLESS = (Class.PURGED, Class.UNSEALED_OVERDUE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `text`: what was found. `where`: index, writer, sequence, id, size ... as far as known."""

    kind: Class
    text: str
    where: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The finding as a line of the report."""
        return {"finding": self.kind.value, "text": self.text, **self.where}


@dataclass(slots=True)
class Findings:
    """The findings of one verification, in the order of the log; beyond SHOWN of a class only counted."""

    shown: list[Finding] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Take up a finding."""
        self.totals[finding.kind.value] += 1
        if self.totals[finding.kind.value] <= SHOWN:
            self.shown.append(finding)

    @property
    def exit_code(self) -> int:
        """INTACT, TAMPERED or OVERDUE."""
        if any(kind not in _HARMLESS for kind in self.totals):
            return TAMPERED
        return OVERDUE if Class.UNSEALED_OVERDUE in self.totals else INTACT
