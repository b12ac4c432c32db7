"""Sign-in to the compliance officer's pages: the server's own SMART flow, with the pages as one more client.

The browser holds one cookie; the access token is kept on the server, encrypted under a key made of that cookie, so that
neither a copy of the database nor a look into the browser yields it. Source: docs/decisions/0090.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from anyio import to_thread
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhirserver.access.oauth import registering
from fhirserver.access.oauth.clients import ClientRefused
from fhirserver.access.oauth.parts import Visit, digest, fresh_secret
from fhirserver.access.oauth.request import SmartRequest
from fhirserver.access.oauth.server import SmartServer
from fhirserver.outcome import NotAuthenticated
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.store.oauth import ClientExists, ClientRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts
    from fhirserver.context import Agent, AuthEvent
    from fhirserver.engine.stations import Engine

T = TypeVar("T")
CLIENT = "console"
SCOPE = "user/AuditEvent.rs user/Provenance.rs"
ROLE = "auditor"
HOME = "/console/events"
_SIGN_IN = timedelta(minutes=20)
_ONE_USE = bytes(12)  # the nonce: each key encrypts one text


class NotSignedIn(Exception):
    """There is no session, or it has ended."""


class NotAuditor(Exception):
    """Signed in, without the role."""


@dataclass(frozen=True, slots=True)
class Officer:
    """An auditor at the pages. `name`: shown on top. `csrf`: what the forms carry."""

    agent: Agent
    name: str
    csrf: str


class Sessions:
    """Signs auditors in and out, and tells who they are."""

    def __init__(
        self, parts: Parts, engine: Callable[[], Engine], on_event: Callable[[AuthEvent], Awaitable[None]]
    ) -> None:
        self._parts = parts
        self._engine = engine
        self._on_event = on_event
        self._server = SmartServer(parts)
        self._callback = f"{parts.issuer}/console/callback"
        self.secure = parts.issuer.startswith("https:")
        self.cookie = "__Host-fhirserver-console" if self.secure else "fhirserver-console"

    async def register(self) -> bool:
        """Make the pages a client of the server. False where its base URL cannot be returned to (plain http)."""
        try:
            await self._run("", self._registered)
        except ClientRefused:
            return False
        return True

    def _registered(self, visit: Visit) -> None:
        wanted: dict[str, Any] = {
            "redirect_uris": (self._callback,),
            "grant_types": ("authorization_code",),
            "scope": SCOPE,
            "first_party": True,
        }
        record = ClientRecord(CLIENT, "Auditoria", "none", self._parts.clock(), **wanted)
        known = self._parts.store.clients.get(CLIENT)
        if known is None:
            try:
                registering.add(self._parts, visit, record)
            except ClientExists:  # another worker was faster
                return
        elif any(getattr(known, name) != value for name, value in wanted.items()):
            registering.change(self._parts, visit, known, **wanted)

    async def begin(self, back: str, language: str) -> tuple[str, str]:
        """The address to sign in at, and the cookie to set. `back`: the page to come back to."""
        cookie, verifier = fresh_secret(), fresh_secret()
        kept = {"verifier": verifier, "back": back if _is_ours(back) else HOME, "language": language}
        end = self._parts.clock() + _SIGN_IN
        await to_thread.run_sync(self._keep, f"begin {cookie}", kept, end)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": self._callback,
            "scope": SCOPE,
            "state": digest(f"state {cookie}"),
            "aud": self._parts.fhir_base,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"/auth/authorize?{urlencode(query)}&lang={language}", cookie

    async def finish(self, cookie: str, answer: dict[str, str], address: str) -> tuple[str, str]:
        """The page to go to and the session's cookie, once the server has answered. Raises NotSignedIn, NotAuditor."""
        begun = f"begin {cookie}"
        kept = await to_thread.run_sync(self._take, begun) if cookie else None
        state = digest(f"state {cookie}")
        if kept is None or not hmac.compare_digest(answer.get("state", "").encode(), state.encode()):
            raise NotSignedIn
        if "code" not in answer:
            raise NotAuditor
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT,
            "code": answer["code"],
            "redirect_uri": self._callback,
            "code_verifier": kept["verifier"],
        }
        status, body, _ = await self._run(
            address, lambda visit: self._server.token(SmartRequest("POST", form, visit))
        )
        if status != 200:
            raise NotSignedIn
        agent = await self._agent(body["access_token"], address)
        user = await to_thread.run_sync(self._parts.store.users.get, agent.user or "")
        fresh = fresh_secret()
        end = self._parts.clock() + timedelta(seconds=body["expires_in"])
        content = {"token": body["access_token"], "name": user.display if user is not None else ""}
        await to_thread.run_sync(self._keep, fresh, content, end)
        return kept["back"], fresh

    async def officer(self, cookie: str, address: str) -> Officer:
        """Who holds this cookie. Raises NotSignedIn, NotAuditor."""
        kept = await to_thread.run_sync(self._get, cookie) if cookie else None
        if kept is None:
            raise NotSignedIn
        return Officer(await self._agent(kept["token"], address), kept["name"], digest(f"csrf {cookie}"))

    async def names(self, accounts: Iterable[str]) -> dict[str, str]:
        """By what names these accounts sign in, by their ids; others are left out. Raises Unavailable."""
        return await to_thread.run_sync(self._parts.store.users.names, frozenset(accounts))

    async def account(self, name: str) -> str:
        """The id of the account that signs in by this name; where there is none, what was given. Raises Unavailable."""
        user = await to_thread.run_sync(self._parts.store.users.named, name)
        return name if user is None else user.id

    async def end(self, cookie: str, address: str) -> None:
        """Sign out: the session and its token end."""
        kept = await to_thread.run_sync(self._take, cookie)
        if kept is None:
            return

        def revoke(visit: Visit) -> None:
            grants, now = self._parts.store.grants, self._parts.clock()
            row = grants.find(digest(kept["token"]))
            if row is not None and grants.revoke(row.grant, now):
                visit.note("revoked", client=CLIENT, grant=row.grant)

        await self._run(address, revoke)

    async def _agent(self, token: str, address: str) -> Agent:
        try:
            agent = await self._engine().gate.agent({"authorization": f"Bearer {token}"})
        except NotAuthenticated:
            raise NotSignedIn from None
        if ROLE not in agent.roles:
            raise NotAuditor
        return replace(agent, address=address)

    async def _run(self, address: str, work: Callable[[Visit], T]) -> T:
        visit = Visit(address)
        try:
            return await to_thread.run_sync(work, visit)
        finally:
            for event in visit.events:
                await self._on_event(event)

    def _keep(self, secret: str, content: dict[str, Any], end: Any) -> None:
        sealed = AESGCM(_key(secret)).encrypt(_ONE_USE, dump_json(content), None)
        self._parts.store.console.add(digest(secret), sealed, end)

    def _get(self, secret: str) -> dict[str, Any] | None:
        return _opened(secret, self._parts.store.console.get(digest(secret), self._parts.clock()))

    def _take(self, secret: str) -> dict[str, Any] | None:
        return _opened(secret, self._parts.store.console.take(digest(secret), self._parts.clock()))


def _key(secret: str) -> bytes:
    return hashlib.sha256(f"key {secret}".encode("utf-8", "surrogatepass")).digest()


def _opened(secret: str, sealed: bytes | None) -> dict[str, Any] | None:
    if sealed is None:
        return None
    try:
        found: dict[str, Any] = parse_json(AESGCM(_key(secret)).decrypt(_ONE_USE, sealed, None))
    except InvalidTag:
        return None
    return found


def _is_ours(path: str) -> bool:
    return path.startswith("/console/") and "\\" not in path and not path.startswith("/console/sign-in")
