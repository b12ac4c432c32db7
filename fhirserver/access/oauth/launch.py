"""Launch contexts that the clinic's own software makes: POST /auth/launch.

Source: hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#launch-app-ehr-launch
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fhirserver.access.oauth.endpoints import standing
from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.access.scopes import parse
from fhirserver.store.oauth_flow import LaunchRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts, Visit

LIVES = timedelta(minutes=5)
SCOPE = "__launch.create"
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}")
_KNOWN = frozenset(
    ("client_id", "user", "patient", "encounter", "fhirContext", "intent", "need_patient_banner", "tenant")
)
_MOST_CONTEXT = 20


class LaunchRefused(Exception):
    """`error`: OAuth-style word. The text says what is wrong."""

    def __init__(self, text: str, error: str = "invalid_request") -> None:
        super().__init__(text)
        self.error = error


@dataclass(frozen=True, slots=True)
class Wanted:
    """A checked order for a launch. What it says of patient and encounter is yet to be looked up."""

    client_id: str
    user: str
    context: dict[str, Any]
    launch_uri: str


def may_create(parts: Parts, token: str) -> bool:
    """True for an access token that may make launches."""
    found = standing(parts, token, "access")
    return found is not None and SCOPE in parse(found[0].scope, parts.vocabulary)


def wanted(parts: Parts, body: Any) -> Wanted:
    """What the body orders. Raises LaunchRefused."""
    if not isinstance(body, dict) or not body.keys() <= _KNOWN:
        raise LaunchRefused(f"The body is a JSON object with {', '.join(sorted(_KNOWN))}.")
    client = parts.store.clients.get(body["client_id"]) if isinstance(body.get("client_id"), str) else None
    if client is None or client.status != "active" or not client.launch_uris:
        raise LaunchRefused("client_id must name an active app with a launch URI.")
    name = body.get("user")
    user = (parts.store.users.get(name) or parts.store.users.named(name)) if isinstance(name, str) else None
    if user is None or user.disabled:
        raise LaunchRefused("user must name an active user.")
    return Wanted(client.client_id, user.id, _context(body), client.launch_uris[0])


def _context(body: Mapping[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {}
    for name in ("patient", "encounter"):
        if name in body:
            if not isinstance(body[name], str) or not _ID.fullmatch(body[name]):
                raise LaunchRefused(f"{name} is an id, without the type.")
            context[name] = body[name]
    if "encounter" in context and "patient" not in context:
        raise LaunchRefused("An encounter comes with its patient.")
    for name in ("intent", "tenant"):
        if name in body:
            if not isinstance(body[name], str) or not 0 < len(body[name]) <= 200:
                raise LaunchRefused(f"{name} is a text of at most 200 characters.")
            context[name] = body[name]
    if "need_patient_banner" in body:
        if not isinstance(body["need_patient_banner"], bool):
            raise LaunchRefused("need_patient_banner is true or false.")
        context["need_patient_banner"] = body["need_patient_banner"]
    if "fhirContext" in body:
        context["fhirContext"] = _fhir_context(body["fhirContext"])
    return context


def _fhir_context(entries: Any) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not 0 < len(entries) <= _MOST_CONTEXT:
        raise LaunchRefused(f"fhirContext is a list of at most {_MOST_CONTEXT} objects.")
    for entry in entries:
        if not isinstance(entry, dict) or not entry.keys() & {"reference", "canonical", "identifier"}:
            raise LaunchRefused("Each fhirContext entry has a reference, canonical or identifier.")
        role = entry.get("role", "launch")
        if not isinstance(role, str) or not role:
            raise LaunchRefused("The role of a fhirContext entry is not empty.")
        if "reference" in entry:
            found = _REFERENCE.fullmatch(entry["reference"]) if isinstance(entry["reference"], str) else None
            if found is None:
                raise LaunchRefused("A reference in fhirContext is relative: Type/id.")
            if found[1] in ("Patient", "Encounter") and role == "launch":
                raise LaunchRefused("Patient and Encounter have members of their own.")
    return entries


def create(parts: Parts, visit: Visit, order: Wanted) -> dict[str, str]:
    """Keep the launch; what the caller needs to open the app."""
    number = fresh_secret()
    end = parts.clock() + LIVES
    parts.store.launches.add(LaunchRecord(digest(number), order.client_id, order.user, order.context, end))
    patient = order.context.get("patient")
    visit.note("launch-created", client=order.client_id, user=order.user, patient=patient)
    glue = "&" if "?" in order.launch_uri else "?"
    query = urlencode({"iss": parts.fhir_base, "launch": number})
    return {"launch": number, "url": f"{order.launch_uri}{glue}{query}"}
