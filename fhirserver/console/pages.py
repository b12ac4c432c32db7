"""Renders the pages of the authorization server. No request is read here and nothing is decided.

The style sheet is part of each page and named in the Content-Security-Policy by its hash: nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import segno
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fhirserver.console.scopewords import explained
from fhirserver.console.words import WORDS

_FOLDER = Path(__file__).parent / "templates"
LANGUAGES = ("pt", "en")


def language_of(accept: str, chosen: str = "") -> str:
    """Pt or en: the chosen one, else the first of Accept-Language that is one of them, else Portuguese."""
    if chosen in LANGUAGES:
        return chosen
    weighed = []
    for place, part in enumerate(accept.split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        weighed.append((-weight, place, name[:2].lower()))
    return next((name for _, _, name in sorted(weighed) if name in LANGUAGES), LANGUAGES[0])


def shown_date(iso: str, language: str) -> str:
    """A date (2026-05-17, or less precise) as people write it: 17/05/2026, 17 May 2026."""
    parts = iso.split("-")
    if not all(part.isdigit() for part in parts) or not 1 <= len(parts) <= 3:
        return iso
    if language == "pt":
        return "/".join(reversed(parts))
    if len(parts) == 1 or not 1 <= int(parts[1]) <= 12:
        return iso
    day = [str(int(parts[2]))] if len(parts) == 3 else []
    return " ".join([*day, MONTHS[int(parts[1]) - 1], parts[0]])


def shown_moment(at: datetime, language: str) -> str:
    """A time, in whatever zone it stands, as people write it: 17/05/2026 14:02, 17 May 2026 14:02."""
    return f"{shown_date(at.date().isoformat(), language)} {at:%H:%M}"


MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class Pages:
    """The pages as HTML texts."""

    def __init__(
        self,
        sheets: Iterable[str] = ("style.css",),
        words: Mapping[str, Mapping[str, str]] = WORDS,
    ) -> None:
        self._words = words
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["day"] = shown_date
        self._environment.filters["moment"] = shown_moment
        self._style = "".join((_FOLDER / sheet).read_text(encoding="utf-8") for sheet in sheets)
        self.style_hash = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()

    def policy(self, form_targets: Iterable[str] = ()) -> str:
        """The Content-Security-Policy of a page; `form_targets`: where its forms may lead besides back to us."""
        targets = " ".join(("'self'", *form_targets))
        return (
            f"default-src 'none'; style-src 'sha256-{self.style_hash}'; form-action {targets}; "
            "frame-ancestors 'none'; base-uri 'none'"
        )

    def render(self, name: str, language: str, **values: Any) -> str:
        """The page of the template `name`."""
        words = self._words[language]
        template = self._environment.get_template(f"{name}.html")
        return template.render(t=words, lang=language, style=Markup(self._style), **values)  # noqa: S704 a file of ours

    def login(self, language: str, **values: Any) -> str:
        """User name and password."""
        return self.render("login", language, **values)

    def factor(self, language: str, **values: Any) -> str:
        """The code of the second factor."""
        return self.render("factor", language, **values)

    def enrol(self, language: str, *, seed: str, address: str, **values: Any) -> str:
        """Setting up the second factor. `seed`: base32. `address`: otpauth: URI, shown as a QR code."""
        picture = segno.make(address, error="m").svg_inline(scale=5, border=4, light="#fff", omitsize=False)
        spaced = " ".join(seed[at : at + 4] for at in range(0, len(seed), 4))
        qr = Markup(picture)  # noqa: S704 made of digits by segno
        return self.render("enrol", language, qr=qr, seed=spaced, **values)

    def renew(self, language: str, **values: Any) -> str:
        """A password of one's own, at the first sign-in."""
        return self.render("renew", language, **values)

    def password(self, language: str, **values: Any) -> str:
        """Another password."""
        return self.render("password", language, **values)

    def consent(self, language: str, *, scopes: Iterable[str], **values: Any) -> str:
        """What an app asks for, and about whom. `scopes`: the tokens that are offered."""
        return self.render("consent", language, lines=explained(scopes, language), **values)

    def apps(self, language: str, *, grants: Iterable[Mapping[str, Any]], **values: Any) -> str:
        """The apps that a user has let in. Each grant: id, app, since, scopes, patient."""
        told = [
            {**grant, "lines": [line for line in explained(grant["scopes"], language) if line.of_data]}
            for grant in grants
        ]
        return self.render("apps", language, grants=told, **values)

    def logout(self, language: str, **values: Any) -> str:
        """Asks whether to sign out."""
        return self.render("logout", language, **values)

    def phrase(self, language: str, key: str) -> str:
        """A text of the pages."""
        return self._words[language][key]

    def message(self, language: str, title: str, text: str) -> str:
        """A page that only tells something; `title` and `text` are keys of the words."""
        words = self._words[language]
        return self.render("message", language, title=words[title], text=words[text], switch=None)
