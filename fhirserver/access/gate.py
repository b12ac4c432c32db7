"""Who asks, and what they may do: the authorize station.

The order of refusals is docs/explanation/access.md: no token 401, a bad one 401, scopes and static rules 403; what is
out of reach in the database does not exist (404). Source: RFC 6750 section 3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fhirserver.access.breakglass import PURPOSE, BreakGlass
from fhirserver.access.enumeration import Guesses
from fhirserver.access.issuers import Issuers
from fhirserver.access.plan import Planner
from fhirserver.access.scopes import Scopes
from fhirserver.access.situation import Situation, Situations
from fhirserver.access.tokens import TokenCheck
from fhirserver.context import Agent, Interaction, Kind, Permission, Result
from fhirserver.outcome import BadRequest, NotAuthenticated

OPEN_AGENT = Agent("open-mode")
ANONYMOUS = Agent("anonymous", scopes=Scopes())
REALM = 'Bearer realm="fhir"'
_INVALID = f'{REALM}, error="invalid_request"'
_LONGEST = 8192
PURPOSE_HEADER, REASON_HEADER = "x-purpose-of-use", "x-purpose-reason"
PURPOSES = frozenset((PURPOSE, "TREAT", "ETREAT", "HPAYMT", "HOPERAT", "PATRQT", "HRESCH", "PUBHLTH", "COC"))
_NOWHERE = Situation()
_WRITES = (Kind.CREATE, Kind.UPDATE, Kind.PATCH, Kind.DELETE, Kind.OPERATION)


@dataclass(frozen=True, slots=True)
class Gate:
    """Makes Agents of credentials, and the Permission of an interaction. `open_mode`: without a token all is granted."""

    tokens: TokenCheck
    issuers: Issuers
    situations: Situations
    planner: Planner
    break_glass: BreakGlass
    guesses: Guesses
    open_mode: bool = False

    async def agent(self, headers: Mapping[str, str]) -> Agent:
        """Who sends these headers (lower-case names).

        Raises NotAuthenticated, BadRequest for an Authorization header that is empty, given twice or over 8 KiB.
        """
        authorization = headers.get("authorization")
        if authorization is None:
            return self._without_token()
        if len(authorization) > _LONGEST or ", " in authorization:
            raise BadRequest(
                "Send one Authorization header of at most 8 KiB.",
                code="authorization-malformed",
                challenge=_INVALID,
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return self._without_token()
        token = token.strip()
        if not token:
            raise BadRequest(
                "The Authorization header holds no token.", code="token-empty", challenge=_INVALID
            )
        asked = self.issuers if self.issuers.are_asked(token) else self.tokens
        agent = await asked.agent(token)
        purpose = headers.get(PURPOSE_HEADER)
        return agent if purpose is None else _with_purpose(agent, purpose, headers.get(REASON_HEADER))

    async def authorize(self, agent: Agent, interaction: Interaction) -> Permission:
        """What the agent may do with `interaction`.

        Raises Forbidden; BadRequest for an emergency without a patient; Throttled.
        """
        if agent.scopes is None:
            return self.planner.permission(agent, _NOWHERE, interaction)
        self.admit(agent, interaction)
        if agent.purpose == PURPOSE and interaction.operation != "break-glass":
            await self.break_glass.open_for(agent, interaction)
        return self.planner.permission(agent, await self.situations.of(agent), interaction)

    def admit(self, agent: Agent, interaction: Interaction) -> None:
        """Raises Throttled for a question by identifier of somebody who has tried too many."""
        self.guesses.admit(agent, interaction, self.planner.definitions)

    async def without_consents(self, agent: Agent, interaction: Interaction) -> Permission | None:
        """What the agent might do if nobody had forbidden it; None where no consent binds the agent. Raises Forbidden."""
        if agent.scopes is None:
            return None
        situation = await self.situations.of(agent)
        if not situation.policies:
            return None
        return self.planner.permission(agent, replace(situation, policies=(), made={}), interaction)

    async def answered(self, agent: Agent, interaction: Interaction, result: Result) -> None:
        """Take note of an answer before it is given. Raises Throttled: it is not to be given; Unavailable."""
        await self.guesses.answered(agent, interaction, result, self.planner.definitions)

    async def unmatched(self, agent: Agent, interaction: Interaction) -> None:
        """Take note of criteria, of a change or written as a search, that led to nothing. Raises as `answered` does."""
        await self.guesses.sought(agent, interaction, self.planner.definitions)

    def written(self, interaction: Interaction) -> None:
        """An interaction has changed the database: what depends on it is looked up anew."""
        if interaction.type == "Consent" and interaction.kind in _WRITES:
            self.situations.consents_changed()

    def _without_token(self) -> Agent:
        if self.open_mode:
            return OPEN_AGENT
        raise NotAuthenticated("Authenticate with a Bearer token.", code="token-missing", challenge=REALM)


def _with_purpose(agent: Agent, purpose: str, reason: str | None) -> Agent:
    code = purpose.strip().upper()
    if code not in PURPOSES:
        raise BadRequest(
            f"{PURPOSE_HEADER} takes one of {', '.join(sorted(PURPOSES))}.", code="purpose-unknown"
        )
    return replace(agent, purpose=code, reason=reason)
