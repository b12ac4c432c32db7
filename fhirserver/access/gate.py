"""Who asks, and what they may do: the authorize station.

Until the authorization server lands the API is open, and therefore bound to loopback (see cli serve): without a token
everything is granted to one agent. A request that shows a token (`fhirserver token`) gets what its scopes open and no
more, in every part of it: type of the URL, chains, `_has`, includes, system-wide search and history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhirserver.access.scopes import Scopes
from fhirserver.access.tokens import TokenCheck
from fhirserver.context import Agent, Interaction, Kind, Permission
from fhirserver.outcome import BadRequest, Forbidden, NotAuthenticated

OPEN_AGENT = Agent("open-mode")
_OPEN = Permission(OPEN_AGENT, "open mode on loopback")
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Gate:
    """Makes Agents of credentials, and the Permission of an interaction. `types`: all resource types."""

    tokens: TokenCheck
    types: tuple[str, ...]

    async def agent(self, authorization: str | None) -> Agent:
        """Who shows this Authorization header; the open agent without one.

        Raises NotAuthenticated, BadRequest (more than one, or over 8 KiB).
        """
        if authorization is None:
            return OPEN_AGENT
        if len(authorization) > _LONGEST or ", " in authorization:
            raise BadRequest(
                "Send one Authorization header of at most 8 KiB.", code="authorization-malformed"
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotAuthenticated("Authenticate with a Bearer token.", code="token-missing")
        return await self.tokens.agent(token.strip())

    def authorize(self, agent: Agent, interaction: Interaction) -> Permission:
        """What the agent may do with `interaction`. Raises Forbidden."""
        scopes = agent.scopes
        if scopes is None:
            return _OPEN
        letter = _letter(interaction)
        needed = letter + "s" if _has_criteria(interaction, letter) else letter
        type = interaction.type
        if type is not None and not all(opens(scopes, type, one) for one in needed):
            raise Forbidden(
                "The token's scopes do not open this interaction on this type.", code="scope-insufficient"
            )
        reach = "r" if interaction.kind in (Kind.READ, Kind.VREAD, Kind.HISTORY_INSTANCE) else "s"
        denied = frozenset(other for other in self.types if not opens(scopes, other, reach))
        if type is not None:
            denied -= {type}
        if len(denied) == len(self.types):
            raise Forbidden("The token's scopes open no type for this.", code="scope-insufficient")
        return Permission(agent, "scopes of the token", denied=denied)


def opens(scopes: Scopes, type: str, letter: str) -> bool:
    """True where the scopes of the levels user and system give `letter` on `type`."""
    return any(
        s.level != "patient" and not s.constraint and letter in s.letters and s.reaches(type)
        for s in scopes.resources
    )


LETTERS: Mapping[Kind, str] = {
    Kind.READ: "r",
    Kind.VREAD: "r",
    Kind.HISTORY_INSTANCE: "r",
    Kind.UPDATE: "u",
    Kind.PATCH: "u",
    Kind.DELETE: "d",
    Kind.CREATE: "c",
    Kind.SEARCH_TYPE: "s",
    Kind.SEARCH_SYSTEM: "s",
    Kind.SEARCH_COMPARTMENT: "s",
    Kind.HISTORY_TYPE: "s",
    Kind.HISTORY_SYSTEM: "s",
}


def _has_criteria(interaction: Interaction, letter: str) -> bool:
    """True for conditional writes, which answer a search too."""
    if letter == "c":
        return "if-none-exist" in interaction.headers
    return letter in "ud" and interaction.id is None


def _letter(interaction: Interaction) -> str:
    if interaction.kind is Kind.OPERATION:
        return "u" if interaction.changes_state else "r"
    return LETTERS[interaction.kind]
