"""What the ledger's own guardians report: faults of integrity and of sealing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person must look at. `rule`: stable name. `text`: what happened; no personal values."""

    rule: str
    text: str


Raise = Callable[[Alarm], Awaitable[None]]
