"""Anchors: once a day the newest checkpoint is kept where whoever controls the database does not reach it."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from fhirserver.audit.alarms import Alarm, Raise
from fhirserver.outcome import OutcomeError
from fhirserver.store.ledger import Ledger
from fhirserver.store.positions import Positions

PERIOD = 24 * 3600 * 1_000_000  # microseconds
_POSITION = "anchor"
_TICK = 60.0
_SMTP_SECONDS = 30

Sink = Callable[[str], None]  # may block; raises OSError


def to_file(file: Path) -> Sink:
    """Appends notes to `file`."""

    def append(note: str) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{note}\n")
            stream.flush()

    return append


def to_mail(address: str, server: str, sender: str, origin: str) -> Sink:
    """Mails notes to `address` by the SMTP `server`, host:port."""

    def send(note: str) -> None:
        message = EmailMessage()
        message["Subject"] = f"Audit checkpoint of {origin}"
        message["From"], message["To"] = sender, address
        message.set_content(
            "Keep this message: it proves later that the audit log was not cut off or made again.\n\n" + note
        )
        host, _, port = server.partition(":")
        with smtplib.SMTP(host, int(port or 25), timeout=_SMTP_SECONDS) as smtp:
            smtp.send_message(message)

    return send


async def keep_anchors(
    ledger: Ledger, positions: Positions, sinks: list[Sink], clock: Callable[[], int], alarm: Raise
) -> None:
    """Hand the newest checkpoint to all `sinks` once a day; for ever, until cancelled."""
    while True:
        try:
            await anchor_once(ledger, positions, sinks, clock())
        except (OSError, smtplib.SMTPException, OutcomeError) as error:
            await alarm(Alarm.of("anchor", error=type(error).__name__))
            await asyncio.sleep(_TICK * 60)
        await asyncio.sleep(_TICK)


async def anchor_once(ledger: Ledger, positions: Positions, sinks: list[Sink], now: int) -> bool:
    """True where a checkpoint was handed over: there is one, and the last time was a day ago or more."""
    newest = await ledger.newest()
    if newest is None or now - await positions.get(_POSITION) < PERIOD:
        return False
    for sink in sinks:
        await asyncio.to_thread(sink, newest.note)
    await positions.keep(_POSITION, now)
    return True
