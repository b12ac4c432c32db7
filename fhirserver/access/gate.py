"""Who asks, and what they may do: the authorize station.

Until the authorization server lands the API is open, and therefore bound to loopback (see cli serve): the gate grants
everything to one agent and names the reason, so that every read and write of the store already carries a Permission.
"""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.context import Agent, Interaction, Permission

OPEN_AGENT = Agent("open-mode")
_OPEN = Permission(OPEN_AGENT, "open mode on loopback")


@dataclass(frozen=True, slots=True)
class Gate:
    """Makes the Permission of an interaction."""

    def authorize(self, agent: Agent, interaction: Interaction) -> Permission:
        """What `agent` may do with `interaction`. Raises NotAuthenticated or Forbidden."""
        return _OPEN if agent is OPEN_AGENT else Permission(agent, "open mode on loopback")


def system_permission(reason: str) -> Permission:
    """The permission of work that the server does for itself; `reason` says which."""
    return Permission(Agent("system"), reason)
