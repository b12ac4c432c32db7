"""The report of a verification as JSON lines, and the anchors that it is held against. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from fhirserver.audit.keys import KnownKey, trusted_signers
from fhirserver.audit.notes import BadNote, Checkpoint, split_note
from fhirserver.audit.verify import Verification


def anchor_of(note: str, keys: Sequence[KnownKey], origin: str) -> Checkpoint:
    """The checkpoint in a kept note. Raises BadNote where no trusted key has signed it for this log."""
    checkpoint = Checkpoint.parse(split_note(note)[0])
    if checkpoint.origin != origin or not trusted_signers(note, checkpoint.size, keys):
        raise BadNote("the anchor is not signed by a trusted key for this log")
    return checkpoint


def summary(verification: Verification) -> dict[str, object]:
    """The last line of a report."""
    totals = dict(verification.findings.totals)
    moment = datetime.fromtimestamp(verification.now / 1_000_000, UTC)
    return {
        "result": {0: "intact", 1: "tampered", 4: "overdue"}[verification.findings.exit_code],
        "size": verification.size,
        "checkpoints": verification.seals,
        "events": verification.events,
        "totals": totals,
        "verified": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
    }


def report(verification: Verification) -> bytes:
    """The report as JSON lines: findings, then the summary."""
    lines = [finding.to_json() for finding in verification.findings.shown] + [summary(verification)]
    return b"".join(orjson.dumps(line) + b"\n" for line in lines)
