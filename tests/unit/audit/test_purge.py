"""Purging: two approvers, at least five years, whole tiles only; what went verifies as PURGED."""

from __future__ import annotations

from datetime import date

import pytest

from fhirserver.audit.purge import PurgeRefused, plan, remove, years_before
from fhirserver.audit.sources import verify_stored
from fhirserver.audit.verify import Verification
from fhirserver.store.ledger import EVENTS
from tests.kit.ledger import LedgerKit, an_event

pytestmark = pytest.mark.anyio

TWO = ("ana", "rui")
AFTER = date(2031, 3, 2)  # five years and a day after the events were sealed


@pytest.fixture
async def sealed(kit: LedgerKit) -> LedgerKit:
    """700 events, sealed on 2026-03-01; two whole tiles."""
    one, two = await kit.writer(), await kit.writer()
    sealer = kit.sealer()
    for _ in range(2):
        await kit.record(one, 150)
        await kit.record(two, 200)
        await sealer.seal()
    return kit


async def refused(kit: LedgerKit, words: str, **changes: object) -> None:
    given = {"years": 5, "approvers": TWO, "today": AFTER, "before": date(2026, 3, 2)} | changes
    before = given.pop("before")
    with pytest.raises(PurgeRefused, match=words):
        await plan(kit.ledger, before, **given)  # type: ignore[arg-type]
    assert await kit.database[EVENTS].count_documents({}) == 700


async def test_a_purge_is_refused_where_anything_is_missing(sealed: LedgerKit) -> None:
    await refused(sealed, "two different people", approvers=("ana",))
    await refused(sealed, "two different people", approvers=("ana", " ana "))
    await refused(sealed, "two different people", approvers=("ana", "rui", "eva"))
    await refused(sealed, "kept for ever", years=None)
    await refused(sealed, "at least 5 years", years=4)
    await refused(sealed, "retention of 5 years ends on 2026-03-01", today=date(2031, 3, 1))
    await refused(sealed, "retention of 6 years", years=6)
    await refused(sealed, "no whole tile", before=date(2026, 3, 1))
    await refused(sealed, "legal hold", hold="case 7")


async def test_what_is_purged_is_gone_and_the_log_still_verifies(sealed: LedgerKit) -> None:
    purge = await plan(sealed.ledger, date(2026, 3, 2), years=5, approvers=TWO, today=AFTER)
    assert (purge.size, purge.approvers) == (512, TWO)
    writer = await sealed.writer()
    record = an_event(
        9000,
        at=sealed.now,
        subtype=[{"system": "https://fhirserver.example/CodeSystem/audit-subtype", "code": "purge"}],
        entity=[{"detail": [{"type": "purged-to-size", "valueString": str(purge.size)}]}],
    )
    await sealed.database[EVENTS].insert_one(writer.document(record, sealed.now))
    assert await remove(sealed.ledger, purge) == 512
    assert await sealed.database[EVENTS].count_documents({}) == 189
    assert await sealed.sealer().seal() == 1  # sealing goes on, and the signed root still fits
    verification = Verification(
        sealed.keys.known(), sealed.origin, ingest_key=sealed.keys.ingest_key(), now=sealed.now
    )
    await verify_stored(sealed.ledger, verification)
    findings = verification.finish()
    assert dict(findings.totals) == {"PURGED": 1}
    assert findings.exit_code == 0
    with pytest.raises(PurgeRefused, match="no whole tile"):
        await plan(sealed.ledger, date(2026, 3, 2), years=5, approvers=TWO, today=AFTER)


def test_years_are_counted_by_the_calendar() -> None:
    assert years_before(date(2031, 3, 1), 5) == date(2026, 3, 1)
    assert years_before(date(2028, 2, 29), 5) == date(2023, 2, 28)
