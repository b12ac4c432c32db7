"""AuditEvent/{id}/$proof, AuditEvent/$checkpoint, AuditEvent/$consistency: the ledger for who wants to check it.

All answer text/plain; the forms are those of c2sp.org/tlog-proof and c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.audit.proofs import checkpoint_of, consistency_of, proof_of
from fhirserver.audit.tiles import DamagedLedger
from fhirserver.context import Content, Interaction, Permission, Result
from fhirserver.outcome import BadRequest, Internal

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from fhirserver.services import Services

_TEXT = "text/plain; charset=utf-8"


async def handle_proof(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The proof that the event is in the log. 404 where the caller may not see it, 409 until it is sealed."""
    await services.store.read(*interaction.instance, permission=permission)
    key = f"{services.settings.tenant}/AuditEvent/{interaction.id}"
    return await _answer(proof_of(services.ledger, key))


async def handle_checkpoint(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The newest checkpoint note."""
    return await _answer(checkpoint_of(services.ledger))


async def handle_consistency(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The hashes that prove that the log at size `to` begins with the log at size `from`, one to a line."""
    sizes = dict(interaction.query)
    if set(sizes) - {"_format"} != {"from", "to"} or len(sizes) != len(interaction.query):
        raise BadRequest("$consistency takes from and to, two sizes.", code="parameter-value")
    numbers = [sizes["from"], sizes["to"]]
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in numbers):
        raise BadRequest("from and to are numbers.", code="parameter-value")
    return await _answer(consistency_of(services.ledger, int(numbers[0]), int(numbers[1])))


async def _answer(text: Awaitable[str]) -> Result:
    try:
        return Result(200, content=Content(_TEXT, (await text).encode()))
    except DamagedLedger as error:
        raise Internal(
            "The ledger is damaged; run fhirserver audit verify.", code="ledger-damaged"
        ) from error
