"""The daily verification of the stored ledger by the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from fhirserver.audit.alarms import Alarm, Raise
from fhirserver.audit.findings import TAMPERED
from fhirserver.audit.index_check import IndexCheck
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.sources import BadExport, verify_stored
from fhirserver.audit.tiles import DamagedLedger
from fhirserver.audit.verify import Verification
from fhirserver.audit.verify_report import summary
from fhirserver.outcome import OutcomeError
from fhirserver.store.ledger import Ledger
from fhirserver.store.positions import Positions

PERIOD = 24 * 3600 * 1_000_000  # microseconds
_POSITION = "verification"
_TICK = 60.0


@dataclass(frozen=True, slots=True)
class Watch:
    """Verifies `ledger`. `clock`: microseconds since 1970. `running`: held while somebody asks for a verification."""

    ledger: Ledger
    positions: Positions
    keys: KeyFiles
    index_check: IndexCheck
    alarm: Raise
    clock: Callable[[], int]
    running: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Verify once a day; for ever, until cancelled."""
        while True:
            with suppress(OutcomeError):  # the database does not answer now
                await self.verify_daily()
            await asyncio.sleep(_TICK)

    async def verify_daily(self) -> bool:
        """True where a day had passed since the last time, and it was verified again. Raises Unavailable."""
        if self.clock() - await self.positions.get(_POSITION) < PERIOD:
            return False
        await self.verify()
        await self.positions.keep(_POSITION, self.clock())
        return True

    async def verify(self) -> Verification:
        """Verify everything now, remember what came out, and alarm where it is tampering. Raises Unavailable."""
        verification = Verification(
            self.keys.known(),
            self.keys.origin,
            ingest_key=self.keys.ingest_key(),
            index_faults=self.index_check,
            now=self.clock(),
        )
        try:
            await verify_stored(self.ledger, verification)
        except (DamagedLedger, BadExport) as error:
            await self.alarm(Alarm.of("integrity", "unverifiable", detail=error))
            return verification
        findings = verification.finish()
        await self.ledger.keep_verification(summary(verification))
        if findings.exit_code == TAMPERED:
            totals = ", ".join(f"{kind} {total}" for kind, total in findings.totals.items())
            await self.alarm(Alarm.of("integrity", "found", findings=totals))
        return verification
