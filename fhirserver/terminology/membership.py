"""The answer to "is this code in that value set?", and who gives it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """Whether a code is a member. UNKNOWN: this process cannot tell; see Membership.reason."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a code is in a value set.

    `reason`: for UNKNOWN, why, as a stable word: "value-set-unknown", "system-unknown" (no content of the code
    system here), "system-in-database" (ask the asynchronous operations), "filter-not-supported", "too-costly".
    `display`: for YES, the display that the code system or the value set gives, where there is one.
    `display_fits`: for YES with a display asked about, whether it is one of those known; None where that is not
    known.
    """

    verdict: Verdict
    reason: str = ""
    display: str | None = None
    display_fits: bool | None = None


class Memberships(Protocol):
    """What the validator asks. Implemented by `Terminology`; never blocks, never touches the database."""

    def member(self, value_set: str, system: str | None, code: str, display: str | None = None) -> Membership:
        """Whether `code` of `system` is in the value set with the canonical `value_set` (`url` or `url|version`).

        `system`: None for an element of type code, whose system its binding implies: then any system of the
        value set will do. `display`: the text to check; None where there is none.
        """
        ...
