"""What the server says of its authorization: one table for every document, the CapabilityStatement included.

Sources: hl7.org/fhir/smart-app-launch/STU2.2/conformance.html, RFC 8414, openid.net/specs/openid-connect-discovery-1_0.html
"""

from __future__ import annotations

from typing import Any

OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"

ENDPOINTS = {
    "authorization_endpoint": "/auth/authorize",
    "token_endpoint": "/auth/token",
    "introspection_endpoint": "/auth/introspect",
    "revocation_endpoint": "/auth/revoke",
    "management_endpoint": "/auth/apps",
}
_OLD_NAMES = {  # of the extension, which some clients look at alone
    "authorize": "authorization_endpoint",
    "token": "token_endpoint",
    "introspect": "introspection_endpoint",
    "revoke": "revocation_endpoint",
    "manage": "management_endpoint",
}
AUTH_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
ASSERTION_ALGORITHMS = ["RS384", "ES384"]
SCOPES = [
    "openid", "fhirUser", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access",
    "patient/*.cruds", "user/*.cruds", "system/*.cruds",
]  # fmt: skip
CAPABILITIES = [
    "launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-symmetric",
    "client-confidential-asymmetric", "sso-openid-connect", "context-banner", "context-ehr-patient",
    "context-ehr-encounter", "context-standalone-patient", "permission-offline", "permission-online",
    "permission-patient", "permission-user", "permission-v1", "permission-v2",
]  # fmt: skip


def smart_configuration(issuer: str, *, registration: bool) -> dict[str, Any]:
    """The document at [FHIR base]/.well-known/smart-configuration. `registration`: dynamic registration is on."""
    document: dict[str, Any] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/auth/jwks",
        **{name: issuer + path for name, path in ENDPOINTS.items()},
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": SCOPES,
        "capabilities": CAPABILITIES,
    }
    if registration:
        document["registration_endpoint"] = f"{issuer}/auth/register"
    return document


def server_metadata(issuer: str, *, registration: bool) -> dict[str, Any]:
    """The documents that generic OAuth and OpenID Connect clients read."""
    smart = smart_configuration(issuer, registration=registration)
    document = {name: value for name, value in smart.items() if name != "capabilities"}
    return document | {
        "token_endpoint_auth_methods_supported": ["none", *AUTH_METHODS],
        "userinfo_endpoint": f"{issuer}/auth/userinfo",
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": ["none", *AUTH_METHODS],
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "fhirUser"],
        "prompt_values_supported": ["none", "login", "consent"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": ["pt-BR", "en"],
    }


def capability_security(issuer: str) -> dict[str, Any]:
    """CapabilityStatement.rest.security; `cors` is always on for the origins of registered apps."""
    addresses = [{"url": old, "valueUri": issuer + ENDPOINTS[name]} for old, name in _OLD_NAMES.items()]
    return {
        "extension": [{"url": OAUTH_URIS, "extension": addresses}],
        "cors": True,
        "service": [
            {"coding": [{"system": SERVICE, "code": "SMART-on-FHIR"}], "text": "SMART App Launch 2.2"}
        ],
        "description": f"OAuth 2.0 with SMART scopes; see {issuer}/fhir/.well-known/smart-configuration",
    }
