"""Purging: bodies whose retention has ended are removed; hashes and checkpoints stay, so the ledger goes on to verify.

Source: docs/explanation/ledger.md; brazil.md P-10 (at least 5 years).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from fhirserver.audit.notes import Checkpoint, split_note
from fhirserver.outcome import Internal
from fhirserver.store.ledger import TILE, Ledger

LEAST_YEARS, WARN_YEARS = 5, 6


class PurgeRefused(Exception):
    """A purge that must not be; the text says why."""


@dataclass(frozen=True, slots=True)
class Purge:
    """What is to be removed: everything sealed before `before`, in whole tiles, up to `size`."""

    before: date
    size: int
    years: int
    approvers: tuple[str, str]


async def plan(
    ledger: Ledger, before: date, *, years: int | None, approvers: Sequence[str], today: date, hold: str = ""
) -> Purge:
    """The purge that is asked for. `years`: of the retention. `hold`: reason of a legal hold.

    Raises PurgeRefused: no or too short retention, not over yet, fewer than two approvers, a hold, nothing to remove.
    """
    if hold:
        raise PurgeRefused(f"a legal hold is set: {hold}")
    if years is None:
        raise PurgeRefused("events are kept for ever; set FHIRSERVER_AUDIT__RETENTION_YEARS to purge")
    if years < LEAST_YEARS:
        raise PurgeRefused(f"audit events are kept for at least {LEAST_YEARS} years")
    if before > years_before(today, years):
        raise PurgeRefused(
            f"the retention of {years} years ends on {years_before(today, years)}; nothing later goes"
        )
    names = tuple(dict.fromkeys(name.strip() for name in approvers if name.strip()))
    if len(names) != 2:
        raise PurgeRefused("two different people approve a purge: --approved-by twice")
    sealed = 0
    async for seal in ledger.seals():
        if _day(seal.note) >= before:
            break
        sealed = seal.size
    size = sealed // TILE * TILE
    if size == 0 or not await _is_there(ledger, size - 1):
        raise PurgeRefused("no whole tile of 256 events was sealed before that day and is still there")
    return Purge(before, size, years, (names[0], names[1]))


async def check_right(ledger: Ledger) -> None:
    """Refuse a purge that the database would refuse half-way: its user may not remove. Raises PurgeRefused, Unavailable."""
    try:
        await ledger.delete(b"", 0, 0)  # matches nothing
    except Internal as error:
        raise PurgeRefused(
            "this database user may not remove events; name one who may in FHIRSERVER_AUDIT__PURGE_URI"
        ) from error


async def remove(ledger: Ledger, purge: Purge) -> int:
    """Remove the bodies; the number removed. Recording the purge comes first and is the caller's."""
    removed = 0
    async for seal in ledger.seals(0, purge.size):
        for run in seal.runs:
            count = min(run.n, purge.size - run.i0)
            if count > 0:
                removed += await ledger.delete(run.w, run.s0, run.s0 + count)
    return removed


async def _is_there(ledger: Ledger, index: int) -> bool:
    """True where the event of leaf `index` has not been removed yet; purges go from the first leaf on."""
    try:
        return bool(await ledger.at(index, index + 1))
    except KeyError:
        return False


def years_before(day: date, years: int) -> date:
    """The same day `years` earlier (28 February for the 29th)."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def _day(note: str) -> date:
    return datetime.fromisoformat(Checkpoint.parse(split_note(note)[0]).sealed).astimezone(UTC).date()
