"""The state of the ledger in figures: for the report `integrity` and the compliance officer's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.audit.disclosure.tables import Table
from fhirserver.audit.notes import Checkpoint, split_note

if TYPE_CHECKING:
    from fhirserver.audit.disclosure.tables import Cell
    from fhirserver.services import Services


async def integrity(services: Services) -> Table:
    """What is sealed, what waits, what the last verification found."""
    ledger = services.ledger
    newest = await ledger.newest()
    writers = await ledger.writers()
    nexts = {w: await ledger.next_of(w) for w in writers}
    waiting = sum((await ledger.waiting(nexts)).values())
    rows: list[tuple[Cell, ...]] = [
        ("origin", services.settings.audit.origin),
        ("sealed events", newest.size if newest else 0),
        ("waiting events", waiting),
        ("writers", len(writers)),
    ]
    if newest is not None:
        rows += [
            ("sealed at", Checkpoint.parse(split_note(newest.note)[0]).sealed),
            ("checkpoint", newest.note),
        ]
    checked = await ledger.last_verification()
    rows.append(("last verification", checked["verified"] if checked else "never"))
    if checked:
        rows += [("result", checked["result"]), ("verified size", checked["size"])]
        rows += [(f"findings {kind}", total) for kind, total in checked["totals"].items()]
    if services.settings.audit.mongo_uri is None:
        rows.append(("database role", "not restricted: the server's own user may change audit events"))
    anchor = services.settings.audit.anchor
    rows.append(("anchors", ", ".join(filter(None, [str(anchor.file or ""), anchor.email])) or "none"))
    return Table("integrity", ("item", "value"), tuple(rows))
