"""A request to the authorization server, read strictly: every parameter once, nothing but forms.

Sources: RFC 6749 section 3.1 and 3.2, appendix A and B.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Visit

FORM = "application/x-www-form-urlencoded"
LARGEST, MOST_FIELDS = 64 * 2**10, 100
_PRINTABLE = re.compile(r"[ !#-\[\]-~]*")
_CHECKED = ("client_id", "redirect_uri", "response_type", "scope", "grant_type", "code", "refresh_token")
_SOMEWHERE = "https://localhost/auth"  # never used: addresses come from the settings


class Malformed(Exception):
    """The request cannot be read; the text says why without repeating any of it."""


def read_form(content_type: str, body: bytes, *, repeated: Sequence[str] = ()) -> dict[str, str]:
    """The parameters of a POST body, as read_pairs has them. Raises Malformed."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise Malformed(f"Send the parameters as {FORM}.")
    return read_pairs(body, repeated=repeated)


def read_pairs(text: bytes, *, repeated: Sequence[str] = ()) -> dict[str, str]:
    """The parameters of a form or query; each once, but those of `repeated`, which are joined by blanks.

    Raises Malformed.
    """
    if len(text) > LARGEST:
        raise Malformed("The request is too large.")
    try:
        pairs = parse_qsl(
            text.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise Malformed("The parameters are not valid percent-encoded UTF-8, or too many.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found and name not in repeated:
            raise Malformed("A parameter is given more than once.")
        if "\0" in value:
            raise Malformed("A parameter holds a null character.")
        found[name] = f"{found[name]} {value}" if name in found else value
    return found


def check_characters(parameters: Mapping[str, str]) -> None:
    """Raises Malformed where a parameter of the protocol holds what it cannot."""
    for name in _CHECKED:
        if not _PRINTABLE.fullmatch(parameters.get(name, "")):
            raise Malformed("A parameter holds characters other than printable ASCII.")


class SmartPayload(OAuth2Payload):
    """The parameters as the grant classes ask for them. An empty one counts as absent (RFC 6749 section 3.1)."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._data = {name: value for name, value in parameters.items() if value}

    @property
    def data(self) -> dict[str, str]:
        """Name -> value."""
        return self._data

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        """Name -> values."""
        return defaultdict(list, {name: [value] for name, value in self._data.items()})


class SmartRequest(OAuth2Request):
    """`authorization`: the header, None without one.

    `decision`: what the user said, at the end of a sign-in. `grant`: what the tokens that are made now stand for.
    """

    def __init__(
        self,
        method: str,
        parameters: Mapping[str, str],
        visit: Visit,
        *,
        authorization: str | None = None,
        origin: str | None = None,
    ) -> None:
        super().__init__(method, _SOMEWHERE)
        self.payload = SmartPayload(parameters)
        self.visit = visit
        self.authorization = authorization
        self.origin = origin
        self.decision: Any = None
        self.grant: Any = None

    @property
    def args(self) -> dict[str, str]:
        """Parameters of the query; the same as of the form: a request has one or the other."""
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        """Parameters of the form."""
        return self.payload.data
