"""Access tokens for development and scripts: opaque, kept as a hash, with scopes and an end.

A token seen in the last CACHED seconds is not looked up again, so a withdrawn one works that much longer at most.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from fhirserver.access.scopes import Vocabulary, parse
from fhirserver.context import Agent
from fhirserver.outcome import NotAuthenticated
from fhirserver.store.tokens import TokenRecord, Tokens

CACHED = 5.0
_MOST_CACHED = 10_000


class TokenCheck:
    """Finds the agent of a token. `vocabulary`: what scopes may name."""

    def __init__(
        self, tokens: Tokens, vocabulary: Vocabulary, clock: Callable[[], float] = time.time
    ) -> None:
        self._tokens = tokens
        self._vocabulary = vocabulary
        self._clock = clock
        self._seen: dict[str, tuple[float, TokenRecord]] = {}

    async def agent(self, token: str) -> Agent:
        """Raises NotAuthenticated for a token that is unknown or has ended."""
        digest = _digest(token)
        now = self._clock()
        seen = self._seen.get(digest)
        record = seen[1] if seen is not None and seen[0] > now - CACHED else await self._tokens.get(digest)
        if record is None or record.expires <= now:
            self._seen.pop(digest, None)
            raise NotAuthenticated(
                "The access token is unknown or has ended; get a new one.", code="token-invalid"
            )
        if seen is None or seen[1] is not record:
            if len(self._seen) >= _MOST_CACHED:
                self._seen.clear()
            self._seen[digest] = (now, record)
        return Agent(f"token:{digest[:12]}", client="cli", scopes=parse(record.scope, self._vocabulary))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
