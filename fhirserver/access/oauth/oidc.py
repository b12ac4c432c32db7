"""id_token and userinfo. Source: openid.net/specs/openid-connect-core-1_0.html sections 2 and 5.3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from authlib.oidc.core.grants.code import OpenIDToken

from fhirserver.access.oauth.clients import SmartClient
from fhirserver.access.oauth.parts import Parts
from fhirserver.access.scopes import parse

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

    from fhirserver.access.oauth.request import SmartRequest
    from fhirserver.store.oauth_users import UserRecord

LIVES = 3600


class IdToken(OpenIDToken):
    """Adds the id_token to a token response whose scope has openid."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def resolve_client_private_key(self, client: SmartClient) -> RSAKey:
        """The key that signs now."""
        return self._parts.keys.signing()

    def get_client_algorithm(self, client: SmartClient) -> str:
        """For every client the same."""
        return "RS256"

    def get_encode_header(self, client: SmartClient) -> dict[str, str]:
        """Names the key."""
        return {"alg": "RS256", "kid": self._parts.keys.all()[0].kid}

    def get_compatible_claims(self, request: SmartRequest) -> dict[str, Any]:
        """The claims that do not come from the user."""
        now = int(time.time())
        claims = {
            "iss": self._parts.issuer,
            "aud": request.client.get_client_id(),
            "iat": now,
            "exp": now + LIVES,
        }
        if request.grant.auth_time is not None:
            claims["auth_time"] = int(request.grant.auth_time.timestamp())
        return claims

    def generate_user_info(self, user: UserRecord, scope: str) -> dict[str, str]:
        """The claims about the user."""
        return user_claims(self._parts, user, scope)


def user_claims(parts: Parts, user: UserRecord, scope: str) -> dict[str, str]:
    """`sub`, and `fhirUser` where it was granted."""
    claims = {"sub": user.id}
    if "fhirUser" in parse(scope, parts.vocabulary) and user.fhir_user:
        claims["fhirUser"] = f"{parts.fhir_base}/{user.fhir_user}"
    return claims
