"""Opaque access tokens: kept as a hash, with what was granted; and who shows one.

A token seen in the last FRESH seconds is not looked up again, so a withdrawn one works that much longer at most.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fhirserver.access.scopes import Scopes, Vocabulary, parse
from fhirserver.access.situation import FRESH
from fhirserver.context import Agent
from fhirserver.outcome import NotAuthenticated
from fhirserver.store.tokens import TokenRecord, Tokens

INVALID = 'Bearer realm="fhir", error="invalid_token"'  # RFC 6750 section 3.1
_MOST = 10_000


def digest(token: str) -> str:
    """What a token is kept as."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def invalid_token() -> NotAuthenticated:
    """The one answer to every token that is not good, whatever is wrong with it."""
    return NotAuthenticated(
        "The access token is unknown, has ended or is not for this server; get a new one.",
        code="token-invalid",
        challenge=INVALID,
    )


def check_context(scopes: Scopes, agent: Agent) -> None:
    """Raises NotAuthenticated for a token that names no patient where its rights depend on one."""
    if agent.patient is None and any(scope.level == "patient" for scope in scopes.resources):
        raise invalid_token()
    if "patient" in agent.roles and agent.fhir_user is None:
        raise invalid_token()


@dataclass(slots=True)
class TokenCheck:
    """Finds the agent of a token. `audience`: this server's FHIR base, which a token may name as its own."""

    tokens: Tokens
    vocabulary: Vocabulary
    audience: str
    clock: Callable[[], float] = time.time
    _seen: dict[str, tuple[float, TokenRecord, Agent]] = field(default_factory=dict)

    async def agent(self, token: str) -> Agent:
        """Raises NotAuthenticated for a token that is unknown, has ended or is for another server."""
        name, now = digest(token), self.clock()
        seen = self._seen.get(name)
        if seen is not None and seen[0] > now - FRESH and seen[1].expires > now:
            return seen[2]
        record = await self.tokens.get(name)
        if record is None or record.expires <= now or record.audience not in (None, self.audience):
            self._seen.pop(name, None)
            raise invalid_token()
        agent = seen[2] if seen is not None and seen[1] == record else self._agent(record, token)
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[name] = (now, record, agent)
        return agent

    def _agent(self, record: TokenRecord, token: str) -> Agent:
        scopes = parse(record.scope, self.vocabulary)
        agent = Agent(
            f"token:{record.digest[:12]}",
            client=record.client,
            user=record.user,
            fhir_user=record.fhir_user,
            roles=record.roles,
            scopes=scopes,
            patient=record.patient,
            acts_for=record.acts_for,
            grant=record.grant,
            policy=token[-32:],
            key=f"{record.digest}:{hash(record)}",
        )
        check_context(scopes, agent)
        return agent
