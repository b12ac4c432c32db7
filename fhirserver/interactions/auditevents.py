"""What the ordinary API does not do with AuditEvents: they are read, searched and sent in, never changed.

Source: docs/explanation/audit.md; hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Kind, Permission, Result
from fhirserver.outcome import NotAllowed, NotSupported

if TYPE_CHECKING:
    from fhirserver.services import Services

AUDIT_TYPE = "AuditEvent"
_OTHERS: frozenset[str] = frozenset()
_APART = frozenset((AUDIT_TYPE,))
_CHANGES = (Kind.UPDATE, Kind.PATCH, Kind.DELETE)
_SEARCHES = (Kind.SEARCH_TYPE, Kind.SEARCH_COMPARTMENT)


def check(interaction: Interaction, searchable: frozenset[str], services: Services) -> None:
    """Raise NotAllowed for what would change an AuditEvent, NotSupported for a search that they are not indexed for.

    `searchable`: codes of the parameters that they are indexed by, which is done once and for all when they are stored.
    """
    if interaction.type != AUDIT_TYPE:
        return
    conditional = interaction.kind is Kind.CREATE and "if-none-exist" in interaction.headers
    if interaction.kind in _CHANGES or interaction.changes_state or conditional:
        raise NotAllowed(
            "AuditEvents are never changed or removed; read and search them, or POST one of another system.",
            code="audit-immutable",
        )
    if interaction.kind in _SEARCHES:
        known = services.definitions.search_parameters(AUDIT_TYPE)
        codes = {name.partition(":")[0].partition(".")[0] for name, _ in interaction.query}
        if any(code in known and code not in searchable for code in codes):
            raise NotSupported(
                "AuditEvents are not indexed by this parameter; search by patient, agent, entity, date and the others "
                "that GET /metadata names.",
                code="parameter-not-supported",
            )


def out_of_reach(interaction: Interaction) -> frozenset[str]:
    """AuditEvent for every interaction that does not name it: nobody gets the log by asking for everything."""
    if interaction.type == AUDIT_TYPE:
        return _OTHERS
    if any(name == "_type" and AUDIT_TYPE in value for name, value in interaction.query):
        return _OTHERS
    return _APART


async def accept(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """201 with the AuditEvent of another system, put into the log under an id of ours.

    Raises NotAllowed inside a transaction, since the log cannot take anything back.
    """
    if services.store.session is not None:
        raise NotAllowed(
            "AuditEvents cannot be sent in a transaction; use a batch.", code="audit-not-in-transaction"
        )
    return Result(201, version=await services.feed.accept(interaction.body, permission))
