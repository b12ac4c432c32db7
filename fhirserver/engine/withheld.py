"""Why something is hidden, for the audit alone: whether a consent withholds it. The caller learns nothing of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhirserver.context import Agent, Interaction, Trace
from fhirserver.outcome import OutcomeError

if TYPE_CHECKING:
    from fhirserver.access.gate import Gate
    from fhirserver.store import Store


async def is_withheld(gate: Gate, store: Store, agent: Agent, interaction: Interaction) -> bool:
    """True where `agent` would have reached the resource that `interaction` names, were there no consents.

    Nothing of what is looked up is given out, so none of it is an access.
    """
    if not interaction.type or not interaction.id:
        return False
    try:
        permission = await gate.without_consents(agent, interaction)
        if permission is None:
            return False
        await store.read(
            interaction.type, interaction.id, permission=replace(permission, trace=Trace({}, str))
        )
    except OutcomeError:
        return False
    return True
