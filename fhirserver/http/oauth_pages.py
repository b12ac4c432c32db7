"""The pages that people see: their routes. The pages themselves: oauth_signin, oauth_consent, oauth_account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.http.oauth_account import AccountPages
from fhirserver.http.oauth_consent import ConsentPage
from fhirserver.http.oauth_signin import SignInPages

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fhirserver.http.oauth_frame import Frame, Handler
    from fhirserver.http.oauth_people import People


def mount_pages(site: FastAPI, frame: Frame, people: People) -> None:
    """Adds the routes of the pages to the site."""
    consent, account = ConsentPage(frame, people), AccountPages(frame, people)
    signin = SignInPages(frame, consent)
    routes: tuple[tuple[str, str, Handler], ...] = (
        ("GET", "/auth/authorize", signin.authorize),
        ("POST", "/auth/authorize", signin.authorize),
        ("GET", "/auth/continue", signin.proceed),
        ("POST", "/auth/login", signin.login),
        ("POST", "/auth/factor", signin.factor),
        ("POST", "/auth/renew", signin.renew),
        ("POST", "/auth/consent", consent.consent),
        ("GET", "/auth/apps", account.apps),
        ("POST", "/auth/apps/{grant}/revoke", account.withdraw),
        ("GET", "/auth/password", account.ask_password),
        ("POST", "/auth/password", account.password),
        ("GET", "/auth/logout", account.ask_logout),
        ("POST", "/auth/logout", account.logout),
    )
    for method, path, handler in routes:
        site.add_api_route(
            path, frame.guarded(handler), methods=[method], include_in_schema=False, response_model=None
        )
