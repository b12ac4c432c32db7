"""Mounts the authorization server on the site."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from fhirserver.access.oauth.authorize import Authorization
from fhirserver.access.oauth.buckets import Buckets
from fhirserver.access.oauth.server import SmartServer
from fhirserver.access.oauth.signin import SignIn
from fhirserver.http.oauth import add_oauth
from fhirserver.http.oauth_desk import Desk, OnEvent
from fhirserver.http.oauth_frame import Frame, Renders
from fhirserver.http.oauth_pages import mount_pages
from fhirserver.http.oauth_people import People
from fhirserver.http.peer import networks

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fhirserver.access.oauth.parts import Parts
    from fhirserver.engine.stations import Engine
    from fhirserver.settings import Settings


def mount_oauth(
    site: FastAPI,
    settings: Settings,
    parts: Parts,
    pages: Renders,
    language_of: Callable[[str, str], str],
    engine: Callable[[], Engine],
    origins: Callable[[], Collection[str]],
    on_event: OnEvent,
) -> Desk:
    """The desk behind the endpoints. `engine`: the present FHIR engine. `origins`: of all active clients.

    `on_event`: the audit trail.
    """
    server = SmartServer(parts)
    desk = Desk(
        parts,
        server,
        Authorization(parts, server),
        SignIn(parts),
        Buckets(settings.oauth.calls_per_minute),
        on_event,
        settings.cors_origins,
        origins,
        networks(settings.trusted_proxies),
    )
    people = People(parts, engine)
    token = settings.oauth.registration_token
    add_oauth(site, desk, people, token.get_secret_value() if token is not None else None)
    mount_pages(site, Frame(desk, pages, language_of, ZoneInfo(settings.audit.timezone)), people)
    return desk
