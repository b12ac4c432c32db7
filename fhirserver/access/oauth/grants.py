"""The three grants as SMART has them. What Authlib leaves open or gets wrong is put right here (docs/decisions/0030)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from fhirserver.access.oauth import granting
from fhirserver.access.oauth.clients import SmartClient
from fhirserver.access.oauth.parts import Parts, digest, fresh_secret
from fhirserver.access.scopes import are_covered, parse

if TYPE_CHECKING:
    from fhirserver.access.oauth.request import SmartRequest
    from fhirserver.store.oauth_flow import CodeRecord
    from fhirserver.store.oauth_grants import GrantRecord, TokenRow
    from fhirserver.store.oauth_users import UserRecord

_METHODS = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]{43,128}")
PROMPTS = frozenset(("none", "login", "consent"))


class RequestNotSupported(OAuth2Error):
    """Request objects are not taken. Source: OpenID Connect Core section 3.1.2.6."""

    error = "request_not_supported"


class RequestUriNotSupported(OAuth2Error):
    """Request objects by address are not taken."""

    error = "request_uri_not_supported"


class SmartRules(CodeChallenge):
    """PKCE with S256 for every client, and what SMART asks of an authorization request.

    Runs twice for each request (before and after the user was asked), so it consumes nothing.
    """

    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar = ["S256"]
    CODE_CHALLENGE_METHODS: ClassVar = {"S256": CodeChallenge.CODE_CHALLENGE_METHODS["S256"]}
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"

    def __init__(self, parts: Parts) -> None:
        super().__init__(required=True)
        self._parts = parts

    def validate_code_challenge(self, grant: CodeGrant, redirect_uri: str) -> None:
        """The rules, in the order of the specification. Raises OAuth2Error; it goes to the redirect URI."""
        form = grant.request.payload.data
        if "request" in form:
            raise RequestNotSupported("Send the parameters themselves.")
        if "request_uri" in form:
            raise RequestUriNotSupported("Send the parameters themselves.")
        if "state" not in form:
            raise InvalidRequestError("The parameter state is missing.")
        if form.get("code_challenge_method") != "S256" or not _UNRESERVED.fullmatch(
            form.get("code_challenge", "")
        ):
            raise InvalidRequestError("PKCE with code_challenge_method S256 is required.")
        audience = form.get("aud", form.get("resource", ""))
        if audience.removesuffix("/") != self._parts.fhir_base:
            raise InvalidRequestError("The parameter aud must be the FHIR base URL of this server.")
        prompts = set(form.get("prompt", "").split())
        if not prompts <= PROMPTS or ("none" in prompts and len(prompts) > 1):
            raise InvalidRequestError("The parameter prompt is none, or login and consent.")
        self._check_scope(grant, form)

    def _check_scope(self, grant: CodeGrant, form: dict[str, str]) -> None:
        asked = parse(form.get("scope", ""), self._parts.vocabulary)
        if "launch" in asked:
            launch = self._parts.store.launches.get(digest(form.get("launch", "")), self._parts.clock())
            if launch is None or launch.client_id != grant.client.get_client_id():
                raise InvalidRequestError(
                    "The parameter launch is missing, ended, used, or another client's."
                )
        if not granting.for_user(self._parts, asked, grant.client.record, None):
            raise InvalidScopeError(granting.why_nothing(asked))


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code with its grant, as the grant class asks it."""

    record: CodeRecord
    grant: GrantRecord

    @property
    def code_challenge(self) -> str:
        """Of the authorization request."""
        return self.record.challenge

    @property
    def code_challenge_method(self) -> str:
        """There is no other."""
        return "S256"

    def get_redirect_uri(self) -> str:
        """Of the authorization request."""
        return self.record.redirect_uri

    def get_scope(self) -> str:
        """What was granted."""
        return self.grant.scope

    def get_nonce(self) -> str | None:
        """Of the authorization request."""
        return self.record.nonce

    def get_auth_time(self) -> int | None:
        """Seconds since 1970 at which the user signed in."""
        return int(self.grant.auth_time.timestamp()) if self.grant.auth_time else None

    def get_acr(self) -> None:
        """Not told."""

    def get_amr(self) -> None:
        """Not told."""


class CodeGrant(AuthorizationCodeGrant):
    """authorization_code: the code is spent by the first who shows it, whatever comes of it."""

    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def generate_authorization_code(self) -> str:
        """256 random bits."""
        return fresh_secret()

    def save_authorization_code(self, code: str, request: SmartRequest) -> None:
        """Keep the grant and the code's digest."""
        self.server.keep_code(code, request)

    def query_authorization_code(self, code: str, client: SmartClient) -> Code:
        """The code, spent from now on. Raises InvalidGrantError, InvalidRequestError."""
        form = self.request.form
        if "redirect_uri" not in form:
            raise InvalidRequestError("The parameter redirect_uri is missing.")
        if not _UNRESERVED.fullmatch(form.get("code_verifier", "")):
            raise InvalidRequestError("The parameter code_verifier is missing or malformed.")
        parts: Parts = self.server.parts
        record = parts.store.codes.take(digest(code), client.get_client_id())
        if record is None:
            raise InvalidGrantError("The code is not valid.")
        if record.used:
            raise self.server.reused(self.request.visit, record.grant, record.client_id)
        now = parts.clock()
        grant = parts.store.grants.get(record.grant, now)
        if grant is None or record.expires <= now:
            raise InvalidGrantError("The code is not valid.")
        self.request.grant = grant
        return Code(record, grant)

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """It is spent already, and kept so that a second use is seen."""

    def authenticate_user(self, authorization_code: Code) -> UserRecord | None:
        """The user, if the account is open."""
        return _open_account(self.server.parts, authorization_code.grant)


def _open_account(parts: Parts, grant: GrantRecord) -> UserRecord | None:
    user = parts.store.users.get(grant.user) if grant.user else None
    return user if user is not None and not user.disabled else None


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token with its grant."""

    row: TokenRow
    grant: GrantRecord

    def check_client(self, client: SmartClient) -> bool:
        """True for the client that it was given to."""
        return self.grant.client == client.get_client_id()

    def get_scope(self) -> str:
        """What was granted."""
        return self.grant.scope


class RefreshGrant(RefreshTokenGrant):
    """refresh_token: rotated by every use; a second use ends the grant."""

    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def _validate_request_client(self) -> SmartClient:
        """A public app may leave out its client_id (fhirclient for JavaScript does): the token tells it."""
        request = self.request
        if "refresh_token" not in request.form:
            raise InvalidRequestError("The parameter refresh_token is missing.")
        anonymous = request.authorization is None and not request.form.keys() & {
            "client_id",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
        }
        client = self._client_of_token() if anonymous else self.authenticate_token_endpoint_client()
        request.client = client
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError("The client may not refresh tokens.")
        return client

    def _client_of_token(self) -> SmartClient:
        found = self._found(self.request.form["refresh_token"])
        client = self.server.query_client(found.grant.client) if found and found.grant.client else None
        if client is None:
            raise InvalidGrantError("The refresh token is not valid.")
        if not client.is_public:
            raise InvalidClientError("Client authentication failed.", status_code=400)
        self.request.auth_method = "none"
        return client  # type: ignore[no-any-return]

    def _found(self, token: str) -> Refresh | None:
        parts: Parts = self.server.parts
        now = parts.clock()
        row = parts.store.grants.find(digest(token))
        if row is None or row.kind != "refresh" or row.expires <= now:
            return None
        grant = parts.store.grants.get(row.grant, now)
        return Refresh(row, grant) if grant is not None else None

    def authenticate_refresh_token(self, refresh_token: str) -> Refresh | None:
        """The token, if it and its grant stand. Raises InvalidGrantError for one that was used before."""
        found = self._found(refresh_token)
        if found is None or not found.check_client(self.request.client):
            return None
        if found.row.rotated and not self._within_leeway(found.row):
            raise self.server.reused(self.request.visit, found.grant.id, found.grant.client or "")
        if not self._session_lives(found.grant):
            return None
        return found

    def _within_leeway(self, row: TokenRow) -> bool:
        """True for a token whose first use was so short ago that its answer may have been lost on the way."""
        parts: Parts = self.server.parts
        leeway = timedelta(seconds=parts.settings.refresh_reuse_leeway_s)
        return row.used is not None and bool(leeway) and parts.clock() <= row.used + leeway

    def _session_lives(self, grant: GrantRecord) -> bool:
        """Online access ends with the sign-in; a refresh counts as a use of it."""
        parts: Parts = self.server.parts
        scopes = parse(grant.scope, parts.vocabulary)
        if granting.ONLINE not in scopes:
            return granting.OFFLINE in scopes
        now: datetime = parts.clock()
        return parts.store.sessions.get(grant.session or "", now, _idle(parts, now)) is not None

    def _validate_token_scope(self, token: Refresh) -> None:
        """Less may be asked for, by meaning; never more."""
        vocabulary = self.server.parts.vocabulary
        asked = self.request.payload.scope
        if asked and not are_covered(parse(asked, vocabulary), parse(token.grant.scope, vocabulary)):
            raise InvalidScopeError("The scope goes beyond what was granted.")

    def authenticate_user(self, refresh_token: Refresh) -> UserRecord:
        """Claims the token, before anything is minted. Raises InvalidGrantError."""
        parts: Parts = self.server.parts
        user = _open_account(parts, refresh_token.grant)
        if user is None:
            raise InvalidGrantError("The refresh token is not valid.")
        token = refresh_token.row.digest
        if not parts.store.grants.claim_refresh(token, parts.clock()) and not self._used_just_now(token):
            raise self.server.reused(
                self.request.visit, refresh_token.grant.id, refresh_token.grant.client or ""
            )
        return user

    def _used_just_now(self, token: str) -> bool:
        row = self.server.parts.store.grants.find(token)
        return row is not None and self._within_leeway(row)

    def issue_token(self, user: UserRecord, refresh_token: Refresh) -> dict[str, Any]:
        """Under the present ceilings of user and client: what they lost meanwhile is left out."""
        parts: Parts = self.server.parts
        grant = self.request.grant = refresh_token.grant
        asked = parse(self.request.payload.scope or grant.scope, parts.vocabulary)
        scopes = granting.for_user(parts, asked, self.request.client.record, user)
        if not scopes:
            raise InvalidGrantError("Nothing of the grant is left.")
        token: dict[str, Any] = self.generate_token(user=user, scope=str(scopes), include_refresh_token=False)
        token["refresh_token"] = fresh_secret()
        return token

    def revoke_old_credential(self, refresh_token: Refresh) -> None:
        """It was claimed already."""


def _idle(parts: Parts, now: datetime) -> datetime:
    return now + timedelta(minutes=parts.settings.session_idle_minutes)


class ServiceGrant(ClientCredentialsGrant):
    """client_credentials: backend services with keys, `system/` scopes, no refresh token."""

    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def validate_token_request(self) -> None:
        """Raises InvalidClientError, UnauthorizedClientError, InvalidScopeError."""
        super().validate_token_request()
        if self.request.auth_method != "private_key_jwt":
            raise UnauthorizedClientError("Backend services authenticate with keys.")
        parts: Parts = self.server.parts
        asked = parse(self.request.payload.scope or "", parts.vocabulary)
        others = set(asked.others) - granting.SERVICE_SCOPES
        if asked.dropped or others or any(scope.level != "system" for scope in asked.resources):
            raise InvalidScopeError(
                f"Backend services ask for system scopes, each of which must be understood: {granting.CONSTRAINTS}"
            )
        granted = granting.for_service(parts, asked, self.client.record)
        if not granted:
            raise InvalidScopeError("None of the scopes can be granted to this client.")
        self.request.scope = str(granted)
        self.request.grant = self.server.service_grant(self.client, granted)

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        """The token."""
        token: dict[str, Any] = self.generate_token(scope=self.request.scope, include_refresh_token=False)
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER
