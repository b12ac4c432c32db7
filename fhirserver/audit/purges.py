"""How a purge is recorded in the ledger, so that what it removed is not taken for tampering."""

from __future__ import annotations

from typing import Any

import orjson

from fhirserver.outcome import CANONICAL

SUBTYPE_SYSTEM = f"{CANONICAL}/CodeSystem/audit-subtype"
PURGE = "purge"
DETAIL = "purged-to-size"
_MARK = f'"code":"{PURGE}","system":"{SUBTYPE_SYSTEM}"'.encode()


def purged_to(raw: bytes) -> int:
    """The size up to which the event with canonical bytes `raw` records a purge; 0 where it records none."""
    if _MARK not in raw:
        return 0
    event: dict[str, Any] = orjson.loads(raw)
    if "source" in event.get("meta", {}):  # received from elsewhere: it says nothing about this ledger
        return 0
    sizes = [
        detail.get("valueString", "")
        for entity in event.get("entity", ())
        for detail in entity.get("detail", ())
        if detail.get("type") == DETAIL
    ]
    return max((int(size) for size in sizes if size.isascii() and size.isdigit()), default=0)
